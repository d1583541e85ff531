"""Errors that a person can act on.

HeadraceError
├── ConfigurationError      wrong options, contract, source spec or project file; exit code 2
│   └── LayoutMismatchError the lake's tables have another layout than the job asks for
└── ComponentDownError      a catalog, store or broker does not answer; exit code 3
"""

from __future__ import annotations


class HeadraceError(Exception):
    """Base of all errors that end in one clear message instead of a traceback."""

    exit_code = 1


class ConfigurationError(HeadraceError):
    """Something that the user wrote is wrong. The message says what, where, and what to do."""

    exit_code = 2


class LayoutMismatchError(ConfigurationError):
    """A table was written with another grid or shard count; changing it means replay and promote."""


class ComponentDownError(HeadraceError):
    """A component that the job needs does not answer."""

    exit_code = 3
