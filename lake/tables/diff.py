"""What two states of a table differ in, within some ranges: rows added, removed and changed, block by block of bounded memory.

A row is one key in one cell of time (see fold.py). Rows are equal if their hashes are; where a row came from does not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.units import DAY_US, SECOND_US
from lake.tables.data_files import read_columns
from lake.tables.fold import GRID_S
from lake.tables.iceberg import PublishedFile
from lake.tables.swap import in_ranges

Range = tuple[int, int]
Ints = npt.NDArray[np.int64]
_COLUMNS = ("_window_time", "_row_hash", "_source", "_raw_file", "_position")


@dataclass(frozen=True)
class Block:
    """The rows of one shard within [from_us, to_us) before and after, with their key, window time, hash and provenance.

    added: places in ``after``; removed: in ``before``; changed: pairs of both.
    """

    from_us: int
    to_us: int
    shard: int
    before: pa.Table
    after: pa.Table
    before_files: tuple[str, ...]
    after_files: tuple[str, ...]
    added: Ints
    removed: Ints
    changed: tuple[Ints, Ints]


def compare(before: Sequence[PublishedFile], after: Sequence[PublishedFile], ranges: Sequence[Range], key: str) -> Iterator[Block]:
    """Compare two states.

    Args:
        before: data files of the one,
        after: and of the other.
        ranges: [from, to) in microseconds; what lies outside is not looked at.
        key: the key column.
    """
    shards = sorted({file.shard for file in (*before, *after)})
    for from_us, to_us in _days(ranges):
        for shard in shards:
            files = [[f.path for f in state if f.overlaps(from_us, to_us, shard)] for state in (before, after)]
            if not any(files):
                continue
            old, new = (_rows(paths, (from_us, to_us), key) for paths in files)
            yield Block(from_us, to_us, shard, old, new, tuple(files[0]), tuple(files[1]), *_differences(old, new, key))


def _days(ranges: Sequence[Range]) -> Iterator[Range]:
    for low, high in ranges:
        edges = [low, *range((low // DAY_US + 1) * DAY_US, high, DAY_US), high]
        yield from pairwise(edges)


def _rows(paths: Sequence[str], span: Range, key: str) -> pa.Table:
    tables = [read_columns(path, (key, *_COLUMNS)) for path in paths]
    if not tables:
        fields = [(key, pa.string()), ("_window_time", pa.timestamp("us", "UTC")), ("_row_hash", pa.binary(16))]
        fields += [("_source", pa.string()), ("_raw_file", pa.string()), ("_position", pa.int64())]
        return pa.schema(fields).empty_table()
    rows = pa.concat_tables(tables, promote_options="permissive")
    return rows.filter(pa.array(in_ranges(rows, [span]))).combine_chunks()


def _differences(before: pa.Table, after: pa.Table, key: str) -> tuple[Ints, Ints, tuple[Ints, Ints]]:
    codes = _codes(before, after, key)
    old, new = codes[: len(before)], codes[len(before) :]
    _, in_old, in_new = np.intersect1d(old, new, assume_unique=True, return_indices=True)
    added, removed = np.flatnonzero(~np.isin(new, old)), np.flatnonzero(~np.isin(old, new))
    differ = _hashes(before)[in_old] != _hashes(after)[in_new]
    return added, removed, (in_old[differ].astype(np.int64), in_new[differ].astype(np.int64))


def _codes(before: pa.Table, after: pa.Table, key: str) -> Ints:
    """A number per distinct key and cell, of the rows before and then after."""
    ids = pa.concat_arrays([t.column(key).cast(pa.string()).combine_chunks() for t in (before, after)]).dictionary_encode()
    times = np.concatenate([t.column("_window_time").cast(pa.int64()).to_numpy() for t in (before, after)])
    cells, cell = np.unique(times // (GRID_S * SECOND_US), return_inverse=True)
    codes: Ints = ids.indices.to_numpy(zero_copy_only=False).astype(np.int64) * max(len(cells), 1) + cell.ravel()
    return codes


def _hashes(rows: pa.Table) -> npt.NDArray[np.bytes_]:
    return np.array(rows.column("_row_hash").to_pylist(), dtype="V16") if len(rows) else np.empty(0, dtype="V16")
