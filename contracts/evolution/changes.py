"""What differs between two versions of a contract, in terms of who can no longer read what.

Two directions, by the words of schema registries. *Backward*: readers of the new contract read data of the old one; where that
breaks, producers who have not changed yet are refused, and a replay of what is landed is. *Forward*: readers of the old contract
read data of the new one; where that breaks, consumers who have not changed yet get what their contract does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import get_args

from contracts.spec.model import Compatibility

MODES: tuple[Compatibility, ...] = get_args(Compatibility)


class Direction(StrEnum):
    """Who reads whose data."""

    BACKWARD = "backward"  # new readers, old data
    FORWARD = "forward"  # old readers, new data


BOTH = frozenset(Direction)
BACKWARD = frozenset({Direction.BACKWARD})
FORWARD = frozenset({Direction.FORWARD})
NEITHER: frozenset[Direction] = frozenset()
_AFFECTED = {Direction.BACKWARD: "producers", Direction.FORWARD: "consumers"}


class Step(IntEnum):
    """Which part of MAJOR.MINOR.PATCH has to go up."""

    NONE = 0
    PATCH = 1
    MINOR = 2
    MAJOR = 3


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference between two versions of a contract.

    code: what kind of, such as ``column_added``; closed, see docs/reference/compatibility.md. what: a sentence without a full stop.
    column: which one, None for the contract as a whole. breaks: directions in which data cannot be read, or is read as something
    else. lost: readers find nothing where they found something, though every reader of data gets along; needs a major version in
    every mode. documentation: nothing that data or readers depend on. migration: what to do, a sentence; empty for nothing.
    replay: whether rows that are there differ from what the new contract would make of the same payloads.
    """

    code: str
    what: str
    column: str | None = None
    breaks: frozenset[Direction] = NEITHER
    lost: bool = False
    documentation: bool = False
    migration: str = ""
    replay: bool = False

    @property
    def affected(self) -> tuple[str, ...]:
        """Whom it breaks: producers, consumers, both or nobody."""
        found = [_AFFECTED[direction] for direction in Direction if direction in self.breaks]
        return (*found, "consumers") if self.lost and "consumers" not in found else tuple(found)

    def forbidden(self, mode: Compatibility) -> bool:
        """Whether this mode rules it out."""
        return bool(self.breaks & guarded(mode))

    def step(self, mode: Compatibility) -> Step:
        """The version step that tells it, where its dataset keeps this mode."""
        if self.documentation:
            return Step.PATCH
        return Step.MAJOR if self.lost or self.forbidden(mode) else Step.MINOR


def guarded(mode: Compatibility) -> frozenset[Direction]:
    """The directions in which a mode promises that data can be read."""
    kind = mode.removesuffix("_TRANSITIVE")
    return {"BACKWARD": BACKWARD, "FORWARD": FORWARD, "FULL": BOTH}.get(kind, NEITHER)


def is_transitive(mode: Compatibility) -> bool:
    """Whether a mode looks at all earlier versions and not only at the last."""
    return mode.endswith("_TRANSITIVE")


def step_of(changes: Sequence[Change], mode: Compatibility) -> Step:
    """The version step that tells all of them."""
    return max((change.step(mode) for change in changes), default=Step.NONE)


def version_numbers(version: str) -> tuple[int, int, int]:
    """MAJOR.MINOR.PATCH as numbers; parts that are not there are 0."""
    parts = [int(part) for part in version.split(".")]
    return (*parts, 0, 0)[:3]  # type: ignore[return-value]


def step_between(before: str, after: str) -> Step | None:
    """Which part of the version went up; None where it went down."""
    old, new = version_numbers(before), version_numbers(after)
    if new < old:
        return None
    for step, (a, b) in zip((Step.MAJOR, Step.MINOR, Step.PATCH), zip(old, new, strict=True), strict=True):
        if a != b:
            return step
    return Step.NONE


def next_version(version: str, step: Step) -> str:
    """The version after this one."""
    major, minor, patch = version_numbers(version)
    return {
        Step.NONE: version,
        Step.PATCH: f"{major}.{minor}.{patch + 1}",
        Step.MINOR: f"{major}.{minor + 1}.0",
        Step.MAJOR: f"{major + 1}.0.0",
    }[step]
