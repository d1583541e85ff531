"""Specs as YAML files: read as mappings, with every problem named at once."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts.errors import ConfigurationError
from contracts.spec.yaml_files import read_yaml

_NAME = re.compile(r"[a-z][a-z0-9_-]*")


def read_mapping(path: Path, kind: str, keys: str) -> dict[str, Any]:
    """The mapping that a file holds.

    Args:
        path: the file.
        kind: of spec, for messages.
        keys: what such a mapping has, for messages.

    Raises:
        ConfigurationError: there is no such file, it is not valid YAML within bounds, or it holds no mapping.
    """
    document = read_yaml(path, kind)
    if not isinstance(document, dict):
        raise ConfigurationError(f"{kind} {path}: expected a mapping with {keys}")
    return document


def refuse(what: str, problems: Sequence[str]) -> None:
    """Raise ConfigurationError where there are problems; names them all."""
    if problems:
        raise ConfigurationError(f"{what}:\n  - " + "\n  - ".join(problems))


def check_keys(document: Mapping[str, Any], known: Collection[str], required: Sequence[str], problems: list[str]) -> None:
    """Note keys that nobody knows, and those that are missing."""
    problems += [f"no key {key!r}; known: {', '.join(sorted(known))}" for key in document if key not in known]
    problems += [f"{key}: missing" for key in required if not document.get(key)]


def name_of(document: Mapping[str, Any], key: str, problems: list[str]) -> str:
    """The name of a spec."""
    name = str(document[key])
    if not _NAME.fullmatch(name):
        problems.append(f"{key}: {name!r} is not lower case letters, digits, _ and -")
    return name


def major_version(document: Mapping[str, Any], problems: list[str]) -> int:
    """The major version of the contract that a spec follows; 1 where it names none."""
    version = document.get("version", 1)
    if type(version) is not int or version < 1:
        problems.append(f"version: {version!r} is not a major version such as 1")
        return 1
    return version


def listed(value: Any) -> Sequence[Any]:
    """A list, or the one that stands in place of it."""
    return value if isinstance(value, list) else [value]
