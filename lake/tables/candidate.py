"""A settled state of the audit branch of a gated table beside main: what may be published, by partition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pyarrow as pa
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Snapshot

from contracts.units import SECOND_US
from lake.location import AUDIT, Lake
from lake.tables.data_files import read_columns
from lake.tables.fold import add_hashes, content_hash
from lake.tables.holds import Range, holds_token, partition_length_s, turned_ranges
from lake.tables.iceberg import PublishedFile, Vacated, dropped_branch, horizon_s, known_files, published_files, settled_refs
from lake.tables.swap import overlaps

Sums = dict[tuple[int, bool], tuple[int, int]]  # by partition and whether they are dropped: rows, and their hash


@dataclass(frozen=True)
class Candidate:
    """A settled state of the audit branch beside main: what may be published.

    token: of what is held, see ``holds_token``. snapshot: of the audit branch. files: of it, published and dropped. main: the same
    of main. length_us: of a partition.
    """

    table: Table
    token: str
    snapshot: Snapshot
    files: tuple[PublishedFile, ...]
    main: tuple[PublishedFile, ...]
    length_us: int

    @classmethod
    def of(cls, lake: Lake, name: str, length_s: int) -> Candidate | None:
        """Of a table; None where there is something to sweep first, or no state at all."""
        table = lake.public.load(name)
        if turned_ranges(table) or Vacated.of(table).ranges:
            return None
        refs = settled_refs(AUDIT) if horizon_s(table) else (AUDIT, dropped_branch(AUDIT))
        snapshot, dropped = map(table.metadata.snapshot_by_name, refs)
        if snapshot is None:
            return None
        files = [*published_files(table, snapshot)]
        files += [replace(file, dropped=True) for file in (published_files(table, dropped) if dropped else ())]
        main = known_files(table, None)
        return cls(table, holds_token(table), snapshot, tuple(sorted(files)), tuple(main), length_s * SECOND_US)

    @classmethod
    def newest(cls, lake: Lake, name: str) -> Candidate:
        """What jobs committed last, settled or not, to be looked at; the table is gated."""
        table = lake.public.load(name)
        files = known_files(lake.auditing([name]).load(name), AUDIT)
        snapshot = table.metadata.snapshot_by_name(AUDIT) or table.metadata.snapshot_by_name(MAIN_BRANCH)
        assert snapshot is not None
        length_us = (partition_length_s(table) or 0) * SECOND_US
        return cls(table, holds_token(table), snapshot, tuple(files), tuple(known_files(table, None)), length_us)

    def public_rows(self, span: Range) -> int:
        """How many rows main has of a partition."""
        files = [file for file in self.main if not file.dropped and overlaps(file, [span])]
        return sums_of(files, self.length_us).get((span[0] // self.length_us, False), (0, 0))[0]

    def span(self, number: int) -> Range:
        """The window times of a partition."""
        return number * self.length_us, (number + 1) * self.length_us

    def changed(self) -> list[int]:
        """Partitions with other published rows than main has, by number, in the order of time."""
        audit, main = (sums_of(files, self.length_us) for files in files_apart(self.files, self.main))
        keys = {key for key in {*audit, *main} if not key[1]}
        return sorted(number for number, dropped in keys if audit.get((number, dropped)) != main.get((number, dropped)))

    def content_of(self, number: int) -> str:
        """Names the published rows of a partition: their number, and the sum of their hashes."""
        low, high = self.span(number)
        files = [file for file in self.files if not file.dropped and file.from_us < high and file.to_us > low]
        rows, digest = sums_of(files, self.length_us).get((number, False), (0, 0))
        return f"{rows}-{digest:032x}"

    def received_us(self) -> int:
        """When the newest record was received whose row is on the audit branch, microseconds; 0 where there is none."""
        files = (file for file in self.files if not file.dropped)
        return max((_received(f.path) if f.received_us is None else f.received_us for f in files), default=0)


@lru_cache(maxsize=20_000)
def _received(path: str) -> int:
    """Of a file whose manifest does not tell."""
    received = read_columns(path, ("_received_at",)).column("_received_at").cast(pa.int64()).to_numpy()
    return int(received.max(initial=0))


@lru_cache(maxsize=20_000)
def _filesums_of(path: str, length_us: int) -> tuple[tuple[int, int, int], ...]:
    """By partition, rows and hash of a data file."""
    rows = read_columns(path, ("_window_time", "_row_hash"))
    numbers = rows.column("_window_time").cast(pa.int64()).to_numpy() // length_us
    found = []
    for number in np.unique(numbers).tolist():
        own = rows.filter(pa.array(numbers == number))
        found.append((number, len(own), content_hash(own)))
    return tuple(found)


def sums_of(files: Iterable[PublishedFile], length_us: int) -> Sums:
    """Rows and hashes of data files, by partition, and whether they are dropped."""
    found: Sums = {}
    for file in files:
        for number, rows, digest in _filesums_of(file.path, length_us):
            known = found.get((number, file.dropped), (0, 0))
            found[number, file.dropped] = known[0] + rows, add_hashes(known[1], digest)
    return found


def files_apart(audit: Sequence[PublishedFile], main: Sequence[PublishedFile]) -> tuple[list[PublishedFile], list[PublishedFile]]:
    """Files that only the one has, and that only the other has."""
    known, there = ({(file.path, file.dropped) for file in files} for files in (audit, main))
    return [f for f in audit if (f.path, f.dropped) not in there], [f for f in main if (f.path, f.dropped) not in known]
