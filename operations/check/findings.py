"""What ``headrace lake check`` finds: things that do not fit, by part, and whether they keep a lake from being sound."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

_MOST_NAMED = 5


class State(StrEnum):
    """What a finding is."""

    MISSING = "missing"
    CHANGED = "changed"
    ORPHANED = "orphaned"
    NOTED = "noted"


@dataclass
class Finding:
    """Things of one kind that do not fit. names: a few of them. remedy: what to do."""

    part: str
    what: str
    state: State
    remedy: str
    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """One more."""
        self.count += 1
        if len(self.names) < _MOST_NAMED:
            self.names.append(name)


@dataclass(frozen=True)
class Checked:
    """How many things of each part were looked at, and what does not fit."""

    looked_at: dict[str, int]
    findings: list[Finding]

    @property
    def sound(self) -> bool:
        """Whether nothing is missing or changed. What is orphaned only takes room, and what is noted may be as it should."""
        return not any(finding.state in (State.MISSING, State.CHANGED) for finding in self.findings)


class Notes:
    """Takes notes while parts are looked at. root: of the lake; names are told below it."""

    def __init__(self, root: str) -> None:
        self.looked_at: dict[str, int] = {}
        self.found: dict[tuple[str, str], Finding] = {}
        self._root = f"{root}/"

    def looked(self, part: str, number: int) -> None:
        """So many things of a part were looked at."""
        self.looked_at[part] = self.looked_at.get(part, 0) + number

    def add(self, part: str, what: str, state: State, remedy: str, name: str) -> None:
        """This thing does not fit."""
        finding = self.found.setdefault((part, what), Finding(part, what, state, remedy))
        finding.add(name.removeprefix("file://").removeprefix(self._root))

    def has(self, parts: set[str]) -> bool:
        """Whether something of one of these parts is missing or changed."""
        unsound = (State.MISSING, State.CHANGED)
        return any(finding.part in parts and finding.state in unsound for finding in self.found.values())
