"""What a promotion or a rollback changed, row by row: files for those who read the dataset, and letters of rows that lost."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.table import Table

from contracts.units import SECOND_US
from lake.location import Lake
from lake.runs.replays import FOLDER, Replay
from lake.tables.data_files import rows_at
from lake.tables.diff import Block, compare
from lake.tables.fold import fold_rows
from lake.tables.iceberg import PublishedFile, dropped_branch, horizon_s
from lake.tables.swap import files_at
from lake.upkeep import key_of
from operations.replay.letters import Letters
from transforms.letters import ConflictLetters

Change = tuple[str, pa.Table]


@dataclass(frozen=True)
class States:
    """References to states of a table: before a replay's rows were put in place, right after that, and settled again."""

    before: str
    after: str
    settled: str


def write_changes(lake: Lake, replay: Replay, table: Table, states: States, folder: str) -> dict[str, int]:
    """Write what changed for those who read the dataset: ``_replays/<folder>/<from>-<to>-<shard>.parquet``.

    Rows of the table with ``_change``: added and changed rows as they are now, removed ones as they were. Behind the
    replay's ranges these are rows that the horizon drops now, in files ``…-removed.parquet``, and those that it drops no longer, in
    files ``…-added.parquet``. Always the same files.

    Returns:
        How many rows were added, removed and changed.
    """
    counts = {"added": 0, "removed": 0, "changed": 0}
    for name, changes in chain(_replaced(replay, table, states), _moved(replay, table, states)):
        for change, rows in changes:
            counts[change] += len(rows)
        parts = [rows.append_column("_change", pa.array([change] * len(rows))) for change, rows in changes if len(rows)]
        if parts:
            out = io.BytesIO()
            pq.write_table(pa.concat_tables(parts, promote_options="permissive"), out, compression="zstd")
            lake.storage.write(lake.at_key(f"{FOLDER}/{folder}/{name}.parquet"), out.getvalue())
    return counts


def _replaced(replay: Replay, table: Table, states: States) -> Iterator[tuple[str, list[Change]]]:
    """What the replay put in place of what, by block."""
    before, after = (files_at(table, ref, replay.ranges) for ref in (states.before, states.after))
    for block in compare(before, after, replay.ranges, key_of(replay.table)):
        yield (
            _name(block),
            [
                ("added", _rows_at(block.after_files, block.after, block.added)),
                ("changed", _rows_at(block.after_files, block.after, block.changed[1])),
                ("removed", _rows_at(block.before_files, block.before, block.removed)),
            ],
        )


def _moved(replay: Replay, table: Table, states: States) -> Iterator[tuple[str, list[Change]]]:
    """What the horizon drops behind the ranges now, and what no longer, by block."""
    published, dropped = ([files_at(table, wrap(ref)) for ref in (states.before, states.settled)] for wrap in (str, dropped_branch))
    ranges = _behind(replay.ranges, horizon_s(table) * SECOND_US, max((f.to_us for f in chain(*published, *dropped)), default=0))
    back = _only_in(dropped[0], dropped[1]), _only_in(published[1], published[0])
    away = _only_in(published[0], published[1]), _only_in(dropped[1], dropped[0])
    for block in compare(*back, ranges, key_of(replay.table)):
        both = np.setdiff1d(np.arange(len(block.after)), block.added)
        yield f"{_name(block)}-added", [("added", _rows_at(block.after_files, block.after, both))]
    for block in compare(*away, ranges, key_of(replay.table)):
        both = np.setdiff1d(np.arange(len(block.before)), block.removed)
        yield f"{_name(block)}-removed", [("removed", _rows_at(block.before_files, block.before, both))]


def _behind(ranges: Sequence[tuple[int, int]], length: int, end: int) -> list[tuple[int, int]]:
    """What lies behind these ranges, so far and no further than an end, and in none of them."""
    found = []
    for (_, low), following in zip(ranges, [*(start for start, _ in ranges[1:]), end], strict=True):
        if low < (high := min(low + length, following, end)):
            found.append((low, high))
    return found


def _only_in(files: Sequence[PublishedFile], others: Sequence[PublishedFile]) -> list[PublishedFile]:
    known = {file.path for file in others}
    return [file for file in files if file.path not in known]


def _name(block: Block) -> str:
    return f"{block.from_us}-{block.to_us}-{block.shard}"


def _rows_at(files: Sequence[str], side: pa.Table, places: Sequence[int] | npt.NDArray[np.int64]) -> pa.Table:
    """Whole rows at these places of a side of a block."""
    chosen = side.take(pa.array(places, pa.int64()))
    return rows_at(files, chosen) if len(chosen) else chosen


def letters_of_lost_rows(lake: Lake, replay: Replay, refs: tuple[str, str], conflicts: ConflictLetters) -> list[Letters]:
    """Letters of rows that were put in place and lost against what live jobs published meanwhile."""
    table, key = lake.load(replay.table), key_of(replay.table)
    put, there = (files_at(table, ref, replay.ranges) for ref in refs)
    found: list[Letters] = []
    for block in compare(put, there, replay.ranges, key):
        if len(block.changed[0]):
            sides = (block.before_files, block.before, block.changed[0]), (block.after_files, block.after, block.changed[1])
            rows = [_rows_at(*side) for side in sides]
            folded = fold_rows([pa.concat_tables(rows, promote_options="permissive")], key)
            if len(folded.losers):
                found += conflicts(folded.losers, folded.won)
    return found
