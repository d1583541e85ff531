"""What a promotion or a rollback changed, row by row: files for those who read the dataset, and letters of rows that lost."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.table import Table

from lake.location import Lake
from lake.runs.replays import FOLDER, Replay
from lake.tables.data_files import rows_at
from lake.tables.diff import compare
from lake.tables.fold import fold_rows
from lake.tables.swap import files_at
from lake.upkeep import key_of
from operations.replay.letters import Letters
from transforms.letters import ConflictLetters


def write_changes(lake: Lake, replay: Replay, table: Table, tags: tuple[str, str], folder: str) -> dict[str, int]:
    """Write what changed for those who read the dataset: ``_replays/<folder>/<from>-<to>-<shard>.parquet``.

    Rows of the table with ``_change``: added and changed rows as they are now, removed ones as they were. Always the same files.

    Returns:
        How many rows were added, removed and changed.
    """
    before, after = (files_at(table, tag, replay.ranges) for tag in tags)
    counts = {"added": 0, "removed": 0, "changed": 0}
    for block in compare(before, after, replay.ranges, key_of(replay.table)):
        kinds: list[tuple[str, Any, pa.Table, Sequence[str]]] = [
            ("added", block.added, block.after, block.after_files),
            ("changed", block.changed[1], block.after, block.after_files),
            ("removed", block.removed, block.before, block.before_files),
        ]
        parts = []
        for change, places, side, files in kinds:
            counts[change] += len(places)
            if len(places):
                chosen = rows_at(files, side.take(pa.array(places)))
                parts.append(chosen.append_column("_change", pa.array([change] * len(chosen))))
        if parts:
            out = io.BytesIO()
            pq.write_table(pa.concat_tables(parts, promote_options="permissive"), out, compression="zstd")
            lake.storage.write(
                lake.at_key(f"{FOLDER}/{folder}/{block.from_us}-{block.to_us}-{block.shard}.parquet"), out.getvalue()
            )
    return counts


def letters_of_lost_rows(lake: Lake, replay: Replay, refs: tuple[str, str], conflicts: ConflictLetters) -> list[Letters]:
    """Letters of rows that were put in place and lost against what live jobs published meanwhile."""
    table, key = lake.load(replay.table), key_of(replay.table)
    put, there = (files_at(table, ref, replay.ranges) for ref in refs)
    found: list[Letters] = []
    for block in compare(put, there, replay.ranges, key):
        if len(block.changed[0]):
            sides = (block.before_files, block.before, block.changed[0]), (block.after_files, block.after, block.changed[1])
            rows = [rows_at(files, side.take(pa.array(places))) for files, side, places in sides]
            folded = fold_rows([pa.concat_tables(rows, promote_options="permissive")], key)
            if len(folded.losers):
                found += conflicts(folded.losers, folded.won)
    return found
