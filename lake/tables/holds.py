"""What a gate keeps back of a table, on record in the table's own properties, and which rows may hide others meanwhile.

A gated table has the branch ``audit``, which jobs commit to (audit.py). Its main branch is that of the audit branch that passed the
gate: all but *held* partitions, which show the last good state that they had. A row that nobody can read must hide no other: of a
held partition those pairs count as known that main has (horizon.py), and its own pairs hide only each other. So main is what it
would be if what is held had never come.

Each hold is a property of its own, written in one commit with *turned*: the ranges that a sweep has to look at again, since their
pairs begin or cease to hide others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyiceberg.table import Table

from lake.location import AUDIT
from lake.tables.iceberg import PublishedFile, dropped_branch, published_files

GATE_PROPERTY = "headrace.gate.partition-s"
CLOSED_PROPERTY, LATENESS_PROPERTY = "headrace.gate.closed-to", "headrace.gate.lateness-s"
PASSED_PROPERTY = "headrace.gate.passed"
_HELD, _TURNED = "headrace.gate.held.", "headrace.gate.turned."
Range = tuple[int, int]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Hold:
    """A partition that is kept back.

    from_us, to_us: its window times. content: what was judged, see ``content_of``. rules: that it failed. severity: the worst of
    them. judged_by: names the rules as they were. run_id: of the run that judged. since: when that was.
    """

    from_us: int
    to_us: int
    content: str
    rules: tuple[str, ...]
    severity: str
    judged_by: str
    run_id: str
    since: str

    @property
    def span(self) -> Range:
        """Its window times."""
        return self.from_us, self.to_us

    def properties(self) -> dict[str, str]:
        """As a property of the table."""
        return {held_key(self.span): json.dumps(asdict(self), sort_keys=True)}


def held_key(span: Range) -> str:
    """The name of the property of a hold."""
    return f"{_HELD}{span[0]}-{span[1]}"


def partition_length_s(table: Table) -> int | None:
    """How long the partitions of a gated table are; None of a table that has no gate."""
    said = table.properties.get(GATE_PROPERTY)
    return None if said is None else int(said)


def holds_of(table: Table) -> dict[Range, Hold]:
    """What is held of a table, by window times, in order."""
    read = [json.loads(value) for key, value in table.properties.items() if key.startswith(_HELD)]
    holds = [Hold(**{**one, "rules": tuple(one["rules"])}) for one in read]
    return {hold.span: hold for hold in sorted(holds, key=lambda hold: hold.span)}


def turned_ranges(table: Table) -> Mapping[str, tuple[Range, ...]]:
    """Ranges whose pairs began or ceased to hide others, by the property that says so."""
    return {
        key: tuple((low, high) for low, high in json.loads(value))
        for key, value in table.properties.items()
        if key.startswith(_TURNED)
    }


def turning(ranges: Iterable[Range]) -> dict[str, str]:
    """The property that says so of some more."""
    return {f"{_TURNED}{uuid4().hex}": json.dumps(sorted(ranges))}


def holds_token(table: Table) -> str:
    """Changes with what is held: what was worked out under another token may be wrong."""
    return " ".join(sorted(key for key in table.properties if key.startswith((_HELD, _TURNED))))


class Ghost(PublishedFile):
    """A file of main that stands for a held partition: its pairs hide others, and none of its rows is moved."""


class World(NamedTuple):
    """Rows that may hide each other, by place. moved: those of them that it decides on."""

    chosen: Mask
    moved: Mask


@dataclass(frozen=True)
class Hidden:
    """What is held of the branch that is swept. ghosts: main's files that reach into it."""

    ranges: tuple[Range, ...] = ()
    ghosts: tuple[Ghost, ...] = ()

    @classmethod
    def of(cls, table: Table, branch: str | None) -> Hidden:
        """Of a branch; of every other than the audit branch there is none."""
        ranges = tuple(holds_of(table)) if branch == AUDIT else ()
        if not ranges:
            return cls()
        return cls(ranges, tuple(_ghosts(table, ranges)))

    def worlds(self, rows: pa.Table, files: Sequence[PublishedFile], of: npt.NDArray[np.int64]) -> Iterator[World]:
        """Who may hide whom: what can be read, by itself; and each held partition, beside that.

        Args:
            rows: with their window time.
            files: that they lie in.
            of: which file each lies in.
        """
        if not self.ranges:
            everything = np.ones(len(rows), dtype=bool)
            yield World(everything, everything)
            return
        is_ghost = np.array([isinstance(file, Ghost) for file in files], dtype=bool)[of]
        place = self._places(rows)
        inside = place >= 0
        visible = np.where(is_ghost, inside, ~inside)
        yield World(visible, visible & ~is_ghost)
        for number in np.unique(place[inside & ~is_ghost]).tolist():
            own = ~is_ghost & (place == number)
            yield World(own | (visible & (place != number)), own)

    def _places(self, rows: pa.Table) -> npt.NDArray[np.int64]:
        """The number of the range that each row lies in; -1 for none."""
        times = rows.column("_window_time").cast(pa.int64()).to_numpy()
        after = np.searchsorted(np.array(self.ranges, dtype=np.int64).ravel(), times, side="right")
        return np.where(after % 2 == 1, after // 2, -1)


def _ghosts(table: Table, ranges: Sequence[Range]) -> Iterator[Ghost]:
    heads = (table.metadata.snapshot_by_name(ref) for ref in ("main", dropped_branch(None)))
    for dropped, head in zip((False, True), heads, strict=True):
        for file in published_files(table, head) if head else ():
            if any(file.from_us < high and file.to_us > low for low, high in ranges):
                yield Ghost(**{**asdict(file), "dropped": dropped})


def gate_properties(table: Table) -> list[str]:
    """All that a gate has put on record in a table."""
    return [key for key in table.properties if key.startswith("headrace.gate.")]


def closed_to(table: Table) -> int | None:
    """Up to where records told that partitions are over, when that was judged last, microseconds; None where no stream fed it."""
    return _number(table, CLOSED_PROPERTY)


def lateness_of(table: Table) -> int | None:
    """For how long after its end the stream that feeds a table waits for rows of a partition, seconds; None where none ever did."""
    return _number(table, LATENESS_PROPERTY)


def passed_to(table: Table) -> int:
    """The sequence number of the newest state of the audit branch that a pass of the gate has judged; 0 where there is none."""
    return _number(table, PASSED_PROPERTY) or 0


def _number(table: Table, name: str) -> int | None:
    said = table.properties.get(name)
    return None if said is None else int(said)
