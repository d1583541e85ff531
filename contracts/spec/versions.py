"""Versions of a payload's own schema: how a record tells its version, and how older ones are read as the newest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from contracts.spec.paths import PayloadPath

StepKind = Literal["rename", "default", "split", "join", "unit", "widen", "cast", "replace", "map", "remove"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One change of a payload, on the way from a version to the next.

    kind: what it does; see docs/reference/sources.md. paths: what it reads. into: what it writes; empty where that is the path
    itself. value: of ``default`` and ``replace``. separator: of ``split`` and ``join``. factor, offset: of ``unit``, as decimal
    texts: factor * value + offset. type: of ``widen`` and ``cast``. values: of ``map``, pairs of plain text and the new value.
    otherwise: what ``map`` does with a value that it does not list. pattern: of ``replace``: a regular expression, whose matches in
    a text give way to the value; None where the value gives way as a whole.
    """

    kind: StepKind
    paths: tuple[PayloadPath, ...]
    into: tuple[PayloadPath, ...] = ()
    value: Any = None
    separator: str = ""
    factor: str = "1"
    offset: str = "0"
    type: Literal["number", "text", "integer", "boolean"] = "number"
    values: tuple[tuple[str, Any], ...] = ()
    otherwise: Literal["keep", "reject"] = "reject"
    pattern: str | None = None


@dataclass(frozen=True)
class Upcast:
    """How records of one version become records of the next. ``from_version`` may be a pattern such as ``1.*``."""

    from_version: str
    to_version: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True)
class SchemaVersionRule:
    """The payload's version of its own schema: where it stands, which are known, and which one holds where it is missing.

    Exactly one of path, header, registry and constant says where the version stands: in the payload, in a header of the message, in
    the registry by the message's schema id, or nowhere, since all records are of one version.
    accepted: plain texts, or patterns such as ``1.*`` and ``1-*`` for every version of a major.
    """

    accepted: frozenset[str]
    path: PayloadPath | None = None
    header: str | None = None
    registry: bool = False
    constant: str | None = None
    default: str | None = None
    upcasts: tuple[Upcast, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Example:
    """A payload and what must come of it: ``headrace contract test``.

    payload: as JSON gives it, a mapping. version: what a header, the registry or a constant would say; None where the payload does.
    row: some columns of its row, as JSON. rejected: rules that it breaks. One of row, rejected and filtered is given.
    """

    payload: Any
    name: str = ""
    version: str | None = None
    row: tuple[tuple[str, Any], ...] | None = None
    rejected: tuple[str, ...] | None = None
    filtered: bool = False


def matches(version: str, accepted: str) -> bool:
    """Whether a version is the accepted one, or one of its major where that is a pattern such as ``1.*``."""
    return version.startswith(accepted[:-1]) if is_pattern(accepted) else version == accepted


def is_pattern(accepted: str) -> bool:
    """Whether it stands for all versions of a major."""
    return accepted.endswith((".*", "-*"))


def steps_from(version: str, upcasts: Sequence[Upcast]) -> list[Upcast]:
    """The upcasts that lead from a version, or the versions of a pattern, to the newest, in order; a loop is followed once."""
    found: list[Upcast] = []
    while (following := _following(version, upcasts)) is not None and following not in found:
        found.append(following)
        version = following.to_version
    return found


def _following(version: str, upcasts: Sequence[Upcast]) -> Upcast | None:
    exact = (u for u in upcasts if u.from_version == version)
    return next(exact, next((u for u in upcasts if is_pattern(u.from_version) and matches(version, u.from_version)), None))
