"""Errors that a person can act on, and what a command exits with.

HeadraceError
├── DataError               1  the data said no; what is good is written all the same
│   ├── OffsetGapError         records of a topic are gone that were never read
│   └── CeilingError           a run would take or took more of its machine than it may
├── ConfigurationError      2  wrong use: an option, contract, spec or name; the same command would end the same way
│   ├── LayoutMismatchError    a table of the lake has another layout than the job asks for
│   ├── TopicMissingError      a topic that is to be read does not exist
│   └── UnknownJobError        the cluster knows no such job
└── ComponentDownError      3  a catalog, store, broker or cluster does not answer; the same command may work later
    ├── RegistryDownError      the schema registry does not answer
    ├── SavepointError         a savepoint failed or did not complete in time
    ├── JobFailedError         a job on a cluster failed or was cancelled, for a reason that is none of the above
    └── GaveUpError            a supervised job failed too often

Whatever else is raised is a fault of this program: exit code 4, and a file to send (cli/fault.py).
Messages say what is wrong, where, and what to do. They quote what a user wrote for us to read, and never a value of a record.
"""

from __future__ import annotations


class HeadraceError(Exception):
    """Base of all errors that end in one clear message instead of a traceback."""

    exit_code: int


class DataError(HeadraceError):
    """What was to be read does not hold what it should. Everything good is written."""

    exit_code = 1


class OffsetGapError(DataError):
    """Offsets that were to be read are gone."""


class CeilingError(DataError):
    """A run would take, or took, more memory or CPU time than it may. What it committed stays on its branch."""


class ConfigurationError(HeadraceError):
    """Something that the user wrote is wrong. The message says what, where, and what to do."""

    exit_code = 2


class LayoutMismatchError(ConfigurationError):
    """A table was written with another grid or shard count; changing it means replay and promote."""


class TopicMissingError(ConfigurationError):
    """A topic that is to be read does not exist."""


class UnknownJobError(ConfigurationError):
    """The cluster does not know the job (any more)."""


class ComponentDownError(HeadraceError):
    """A component that the job needs does not answer."""

    exit_code = 3


class RegistryDownError(ComponentDownError):
    """The schema registry does not answer."""


class SavepointError(ComponentDownError):
    """A savepoint failed or did not complete in time."""


class JobFailedError(ComponentDownError):
    """A job on a cluster did not come to its end."""


class GaveUpError(ComponentDownError):
    """A job failed too often, or cannot be submitted again."""
