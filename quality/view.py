"""Rows of one state of a table, for rules to look at: a stretch of time, some columns, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table

from contracts.compiler.schemas import TIMESTAMP
from contracts.spec.model import Contract
from contracts.spec.quality import Reference
from lake.location import Lake
from lake.storage import read_batches, read_parquet
from lake.tables.iceberg import DEAD_LETTERS, PublishedFile, published_files

WINDOW_TIME = "_window_time"


class TableView(Protocol):
    """Rows of one state of a table."""

    @property
    def snapshot_id(self) -> int | None:
        """Which state; None of a table without rows, and of rows that are in no table."""
        ...

    def batches(self, columns: Sequence[str], from_us: int | None, to_us: int | None) -> Iterator[pa.RecordBatch]:
        """Rows whose window time is in [from_us, to_us), in no order that means anything.

        Args:
            columns: the batches have these, in this order; null where the table or a file has no such column.
            from_us: microseconds; None for all before.
            to_us: the same; None for all after.
        """
        ...

    def newest_us(self, before_us: int | None = None) -> int | None:
        """The largest window time, or the largest one before a time; None where there is no row."""
        ...


class References(Protocol):
    """Other tables that rules look at, each in one state. keys: distinct ones of them, by what they are of (keys.py)."""

    @property
    def keys(self) -> dict[Reference, pa.StringArray | None]:
        """What is remembered of them from one partition to the next."""
        ...

    def view(self, dataset: str) -> TableView | None:
        """The rows of a dataset; None where it has no table."""
        ...

    def letters(self) -> TableView | None:
        """The dead letters of all datasets; None where there are none."""
        ...


@dataclass(frozen=True)
class RowsView:
    """Rows in memory, such as those of a window."""

    rows: pa.Table
    snapshot_id: int | None = None

    def batches(self, columns: Sequence[str], from_us: int | None, to_us: int | None) -> Iterator[pa.RecordBatch]:
        """See TableView."""
        for batch in within(self.rows, from_us, to_us).to_batches():
            yield _shaped(batch, columns, self.rows.schema)

    def newest_us(self, before_us: int | None = None) -> int | None:
        """See TableView."""
        return _largest(self.rows.column(WINDOW_TIME), before_us)


@dataclass(frozen=True)
class LakeView:
    """A snapshot of a table that is folded into. What it reads of files is a batch; only their list is kept."""

    table: Table = field(repr=False)
    files: tuple[PublishedFile, ...] = field(repr=False)
    snapshot_id: int | None
    _newest: list[int | None] = field(default_factory=list, repr=False, compare=False)  # once it is known

    @classmethod
    def of(cls, lake: Lake, name: str, snapshot_id: int | None = None) -> LakeView | None:
        """A table as the lake's branch has it.

        Args:
            lake: where, and which branch.
            name: ``namespace.table``.
            snapshot_id: an earlier state; None for the newest.

        Returns:
            None where there is no such table.
        """
        try:
            table = lake.load(name)
        except NoSuchTableError:
            return None
        snapshot = table.current_snapshot() if snapshot_id is None else table.snapshot_by_id(snapshot_id)
        files = tuple(published_files(table, snapshot)) if snapshot else ()
        return cls(table, files, snapshot.snapshot_id if snapshot else None)

    def batches(self, columns: Sequence[str], from_us: int | None, to_us: int | None) -> Iterator[pa.RecordBatch]:
        """See TableView."""
        schema = self.table.schema().as_arrow()
        wanted = [*dict.fromkeys([*columns, WINDOW_TIME])]
        for file in self.files:
            if (to_us is None or file.from_us < to_us) and (from_us is None or file.to_us > from_us):
                whole = (from_us is None or from_us <= file.from_us) and (to_us is None or file.to_us <= to_us)
                for read in read_batches(file.path, wanted):
                    batch = read if whole else within(read, from_us, to_us)
                    if len(batch):
                        yield _shaped(batch, columns, schema)

    def newest_us(self, before_us: int | None = None) -> int | None:
        """See TableView."""
        if before_us is None and self._newest:
            return self._newest[0]
        newest: int | None = None
        for file in sorted(self.files, key=lambda file: -file.to_us):
            if newest is not None and file.to_us <= newest:
                break
            if before_us is None or file.from_us < before_us:
                here = _largest(read_parquet(file.path, [WINDOW_TIME]).column(WINDOW_TIME), before_us)
                newest = here if newest is None else max(newest, here or newest)
        if before_us is None:
            self._newest.append(newest)
        return newest


@dataclass(frozen=True)
class LakeReferences:
    """The tables of a lake, each in the state of when it was asked for first."""

    lake: Lake
    keys: dict[Reference, pa.StringArray | None] = field(default_factory=dict, repr=False)
    _views: dict[str, LakeView | None] = field(default_factory=dict, repr=False)

    def view(self, dataset: str) -> TableView | None:
        """See References."""
        return self._view(f"validated.{dataset}")

    def letters(self) -> TableView | None:
        """See References."""
        return self._view(DEAD_LETTERS)

    def _view(self, name: str) -> LakeView | None:
        if name not in self._views:
            self._views[name] = LakeView.of(self.lake, name)
        return self._views[name]


def within(rows: pa.Table | pa.RecordBatch, from_us: int | None, to_us: int | None) -> pa.Table | pa.RecordBatch:
    """Rows whose window time is in [from_us, to_us)."""
    times = rows.column(WINDOW_TIME)
    if from_us is not None:
        rows = rows.filter(pc.greater_equal(times, pa.scalar(from_us, TIMESTAMP)))
    if to_us is not None:
        rows = rows.filter(pc.less(rows.column(WINDOW_TIME), pa.scalar(to_us, TIMESTAMP)))
    return rows


def view_of(lake: Lake, contract: Contract, snapshot_id: int | None = None) -> LakeView | None:
    """The published rows of a contract as the lake's branch has them; None where there is no table yet."""
    return LakeView.of(lake, contract.table, snapshot_id)


def _shaped(batch: pa.RecordBatch, columns: Sequence[str], schema: pa.Schema) -> pa.RecordBatch:
    """With these columns, typed as the table has them."""
    have, count = set(batch.schema.names), len(batch)
    types = {name: schema.field(name).type if name in schema.names else pa.null() for name in columns}
    found = [batch.column(name) if name in have else pa.nulls(count, types[name]) for name in columns]
    cast = [column if column.type == types[name] else column.cast(types[name]) for name, column in zip(columns, found, strict=True)]
    return pa.RecordBatch.from_arrays(cast, schema=pa.schema([pa.field(n, types[n]) for n in columns]))


def _largest(times: pa.ChunkedArray, before_us: int | None) -> int | None:
    if before_us is not None:
        times = times.filter(pc.less(times, pa.scalar(before_us, TIMESTAMP)))
    found: int | None = pc.max(times).cast(pa.int64()).as_py()
    return found
