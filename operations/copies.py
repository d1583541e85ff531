"""Every copy of an event id that a lake knows, and what became of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import And, In, NotEqualTo

from contracts.units import SECOND_US
from lake.location import Lake
from lake.raw.files import find_raw_file
from lake.raw.log_ids import is_log
from lake.tables.audit import audited
from lake.tables.data_files import read_columns
from lake.tables.horizon import CELL_US
from lake.tables.iceberg import DEAD_LETTERS, WITHDRAWN, PublishedFile, horizon_s, known_files, num_shards
from lake.tables.key_filters import key_hashes, read_filter
from lake.upkeep import folded_tables, key_of
from transforms.cut import shards_of

_LETTER_ID_CHARS = 256  # what a letter of a rejected record keeps of its id
_COLUMNS = ("_window_time", "_source", "_raw_file", "_position", "_fingerprint")


@dataclass(frozen=True)
class Copy:
    """One row of an id, or one dead letter.

    state: published, held (its gate did not let it through), dropped, late, or the code of a dead letter. at: its window time.
    input: the name of the file that it came from; None of a log. copy_of: the window time of the first copy in the horizon before
    it, for which it is dropped, or will be by the next sweep; None of one that stays published. same_content: whether a copy in the
    horizon before has the same content; None where there is none.
    """

    dataset: str
    state: str
    at: datetime
    source: str
    raw_file: str
    position: int
    input: str | None = None
    copy_of: datetime | None = None
    same_content: bool | None = None


@dataclass(frozen=True)
class Copies:
    """What is known of an id. looked_in: the tables. horizon_s: by dataset, seconds."""

    event_id: str
    looked_in: tuple[str, ...]
    horizon_s: dict[str, int]
    copies: tuple[Copy, ...]


def copies_of(lake: Lake, event_id: str, dataset: str | None = None) -> Copies:
    """Find every copy of an event id.

    Args:
        lake: where.
        event_id: as the tables have it.
        dataset: only this one; None for all.
    """
    inputs = _Inputs(lake)
    tables = [name for name in folded_tables(lake) if name != DEAD_LETTERS and dataset in (None, name.split(".")[1])]
    found: list[Copy] = []
    horizons: dict[str, int] = {}
    for name in tables:
        if name.startswith("validated."):
            horizons[name.split(".")[1]] = horizon_s(lake.load(name))
        found += _in_table(lake, name, event_id, inputs)
    found += _letters(lake, event_id, dataset, inputs)
    return Copies(event_id, (*tables, DEAD_LETTERS), horizons, tuple(sorted(found, key=lambda c: (c.dataset, c.at, c.state))))


def _in_table(lake: Lake, name: str, event_id: str, inputs: _Inputs) -> Iterator[Copy]:
    table, key = lake.load(name), key_of(name)
    namespace, dataset = name.split(".")
    horizon_us = horizon_s(table) * SECOND_US
    (shard,) = shards_of([event_id], num_shards(table))
    written = audited(lake, name)
    states = {"published": known_files(table, lake.branch)}
    if written is not lake:
        states["held"] = known_files(written.load(name), written.branch_of(name))
    rows: list[tuple[str, dict[str, Any]]] = []
    for state, files in states.items():
        met = [row for _, row in rows]
        there = [
            (file.dropped, row) for file in files if file.shard == shard for row in _rows(file, key, event_id, bool(horizon_us))
        ]
        rows += [("dropped" if dropped else state, row) for dropped, row in there if row not in met]
    for state, row in rows:
        cell = _cell(row)
        before = [other for _, other in rows if cell - horizon_us // CELL_US <= _cell(other) < cell]
        yield Copy(
            dataset,
            namespace if namespace != "validated" else state,
            row["_window_time"],
            row["_source"],
            row["_raw_file"],
            row["_position"],
            inputs.name_of(row["_source"], row["_raw_file"]),
            min(other["_window_time"] for other in before) if before else None,
            any(other["_fingerprint"] == row["_fingerprint"] for other in before) if before else None,
        )


def _cell(row: dict[str, Any]) -> int:
    return int(row["_window_time"].timestamp()) * SECOND_US // CELL_US


def _rows(file: PublishedFile, key: str, event_id: str, filtered: bool) -> list[dict[str, Any]]:
    """Rows of this id in a data file."""
    wanted = pa.array([event_id])
    if filtered and not np.any(read_filter(file.path, key).may_hold(key_hashes(pa.chunked_array([wanted])))):
        return []
    if not pc.any(pc.is_in(read_columns(file.path, [key]).column(key), value_set=wanted)).as_py():
        return []
    rows = read_columns(file.path, (key, *_COLUMNS))
    listed: list[dict[str, Any]] = rows.filter(pc.is_in(rows.column(key), value_set=wanted)).to_pylist()
    return listed


def _letters(lake: Lake, event_id: str, dataset: str | None, inputs: _Inputs) -> Iterator[Copy]:
    try:
        table = lake.load(DEAD_LETTERS)
    except NoSuchTableError:
        return
    ids = {event_id, event_id[:_LETTER_ID_CHARS]}
    condition = And(In("event_id", ids), NotEqualTo("code", WITHDRAWN))
    columns = ("code", "dataset", "_window_time", "_source", "_raw_file", "_position")
    for row in table.scan(row_filter=condition, selected_fields=columns).to_arrow().to_pylist():
        if dataset in (None, row["dataset"]):
            where = row["_source"], row["_raw_file"], row["_position"], inputs.name_of(row["_source"], row["_raw_file"])
            yield Copy(row["dataset"], row["code"], row["_window_time"], *where)


class _Inputs:
    """Names of input files by source and raw file, as the raw index has them."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._known: dict[tuple[str, str], str | None] = {}

    def name_of(self, source: str, raw_file: str) -> str | None:
        """None of a log, and of a file whose index is gone."""
        if (source, raw_file) not in self._known:
            found = None if is_log(raw_file) else find_raw_file(self._lake, source, raw_file)
            self._known[source, raw_file] = found.name if found else None
        return self._known[source, raw_file]
