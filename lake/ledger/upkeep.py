"""The ledger table kept small: many little appends become few rows with merged runs. The ledger is a union, so nothing is lost."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from lake.ledger.outcomes import PositionOutcomes
from lake.ledger.sidecars import in_ledger_order, ledger_rows
from lake.location import Lake
from lake.raw.positions import Ints, merged_runs
from lake.tables.appended import MERGE_AT, merge_appended
from lake.tables.data_files import with_schema
from lake.tables.iceberg import LEDGER, LEDGER_SCHEMA

_PLAIN = pa.schema([f for f in LEDGER_SCHEMA if f.name != "runs"])


class _Said(NamedTuple):
    """What rows have in common that are merged."""

    source: str
    raw_file: str
    outcome: str
    epoch: int
    dataset: str | None
    item: int | None


def merge_ledger(lake: Lake, run_id: str, *, at_least: int = MERGE_AT) -> tuple[int, int]:
    """Merge small files of the ledger table into one, in one transaction. What rivals append meanwhile stays.

    Args:
        lake: where.
        run_id: goes into the merged rows.
        at_least: do nothing where no size class has so many files.

    Returns:
        Data files before and after.

    Raises:
        ComponentDownError: no commit succeeded before the deadline.
    """
    return merge_appended(lake, LEDGER, at_least=at_least, merge=lambda tables: merged_rows(tables, run_id))


def merged_rows(tables: Iterable[pa.Table], run_id: str) -> pa.Table:
    """Rows of the ledger table as few rows that say the same."""
    runs: dict[_Said, list[Ints]] = {}
    windows: dict[_Said, list[int]] = {}
    for rows in tables:
        whole = with_schema(rows, _PLAIN)
        said = itertools.starmap(_Said, zip(*(whole.column(name).to_pylist() for name in _Said._fields), strict=True))
        reaches = zip(*(whole.column(name).to_pylist() for name in ("window_from", "window_to")), strict=True)
        for each, reach, own in zip(said, reaches, rows.column("runs"), strict=True):
            key = each._replace(epoch=each.epoch or 0)
            runs.setdefault(key, []).append(own.values.to_numpy())
            windows.setdefault(key, []).extend(us for us in reach if us is not None)
    merged: list[dict[str, object]] = []
    for key, parts in runs.items():
        reached = min(windows[key], default=None), max(windows[key], default=None)
        flat = tuple(merged_runs(np.concatenate(parts)).tolist())
        outcome = PositionOutcomes(key.source, key.raw_file, key.outcome, flat, *reached, key.dataset, key.item)
        merged += ledger_rows(outcome, run_id, key.epoch)
    return in_ledger_order(pa.Table.from_pylist(merged, schema=LEDGER_SCHEMA))
