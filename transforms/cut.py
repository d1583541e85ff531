"""Rows cut by event-time window and shard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from contracts.units import SECOND_US
from lake.tables.ranges import Ranging
from transforms.batch import RowBatch

# Of a batch of rows in memory, where a runner keeps and sorts batches; a quarter of that once it is compressed.
BATCH_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How batches are cut.

    window_s: length of the event-time windows, and of the tables' ranges. by_density: these are chosen by the rows of a window.
    allowed_lateness_s: see late.py. ranges: None takes rows of any time; else only those whose ``_window_time`` lies in one of
    these [from, to), sorted and disjoint, microseconds. batch_bytes: of the columns of one batch, about; None for any number. Where
    panes are bounded by how many batches they hold, it bounds their bytes.
    """

    window_s: int = 3_600
    num_shards: int = 4
    allowed_lateness_s: int = 600
    ranges: tuple[tuple[int, int], ...] | None = None
    by_density: bool = False
    batch_bytes: int | None = None

    @property
    def ranging(self) -> Ranging:
        """How the ranges of rows of any time are chosen, such as those of dead letters."""
        return Ranging(self.window_s, self.by_density)

    @property
    def row_ranging(self) -> Ranging:
        """How the ranges of rows are chosen that lie in ``ranges``."""
        return replace(self.ranging, within=self.ranges)

    def outside(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which times lie in none of the ranges."""
        if self.ranges is None:
            return np.zeros(len(times), dtype=bool)
        bounds = np.array(self.ranges, dtype=np.int64).ravel()
        outside: npt.NDArray[np.bool_] = np.searchsorted(bounds, times, side="right") % 2 == 0
        return outside


def cut_batches(rows: pa.Table, key: str, cut: Cut, times_us: npt.NDArray[np.int64] | None = None) -> Iterator[TimestampedValue]:
    """Rows as (shard, RowBatch), as few as there can be per window and shard, stamped with the last moment of the window.

    Args:
        rows: of a folded table.
        key: its key column.
        cut: windows and shards.
        times_us: decide the window of each row; None for ``_window_time``.
    """
    if len(rows) == 0:
        return
    shards = shards_of(rows.column(key).to_pylist(), cut.num_shards)
    window_us = cut.window_s * SECOND_US
    windows = (rows.column("_window_time").cast(pa.int64()).to_numpy() if times_us is None else times_us) // window_us
    slots = windows * cut.num_shards + shards
    order = np.argsort(slots, kind="stable")
    ordered = slots[order]
    rows = rows.take(pa.array(order))
    edges = [0, *(np.flatnonzero(np.diff(ordered)) + 1).tolist(), len(ordered)]
    for start, end in pairwise(edges):
        window, shard = divmod(int(ordered[start]), cut.num_shards)
        last_moment = Timestamp(micros=(window + 1) * window_us - 1_000)  # runners keep milliseconds
        for batch in _batches(rows.slice(start, end - start), cut.batch_bytes):
            yield TimestampedValue((shard, batch), last_moment)


def cut_shards(rows: pa.Table, key: str, cut: Cut) -> Iterator[tuple[int, RowBatch]]:
    """Rows of any time as (shard, RowBatch)."""
    if len(rows) == 0:
        return
    shards = shards_of(rows.column(key).to_pylist(), cut.num_shards)
    for shard in np.unique(shards).tolist():
        for batch in _batches(rows.filter(pa.array(shards == shard)), cut.batch_bytes):
            yield shard, batch


def _batches(rows: pa.Table, most_bytes: int | None) -> Iterator[RowBatch]:
    """Equal parts of about so many bytes at most."""
    count = 1 if most_bytes is None else min(-(-rows.nbytes // most_bytes), len(rows))
    for n in range(count):
        start, end = len(rows) * n // count, len(rows) * (n + 1) // count
        yield RowBatch(rows.slice(start, end - start))


def shards_of(keys: Sequence[str], num_shards: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """``xxh3_128(key) % num_shards``, per key."""
    digest = xxhash.xxh3_128_intdigest
    return np.fromiter((digest(key.encode()) % num_shards for key in keys), dtype=np.int64, count=len(keys))
