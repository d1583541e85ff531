"""The letters that are reprocessed, in the order of their raw; about a hundred bytes are held of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.ledger.outcomes import runs_of
from lake.location import Lake
from lake.raw.positions import Ints, Positions
from lake.tables.letter_history import Act, ActOutcome, last_acts
from operations.deadletters.late import LATE
from operations.deadletters.selection import LetterSelection, select

DECODE, CONVERGE, DELIVER = "decode", "converge", "deliver"  # stages of letters
COLUMNS = (
    "dead_letter_id", "source", "_raw_file", "_position", "dataset", "stage", "code", "attempt", "_window_time", "_received_at",
    "_revision",
)  # fmt: skip
_REPEATING = ("source", "_raw_file", "dataset", "stage", "code")


@dataclass(frozen=True)
class FileLetters:
    """Letters of one source and raw file or log, by position. rows: COLUMNS."""

    source: str
    raw_file: str
    rows: pa.Table

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def positions(self) -> Ints:
        """Of each letter, ascending; a record may have two."""
        found: Ints = self.rows.column("_position").to_numpy()
        return found

    @property
    def runs(self) -> Positions:
        """The same as runs."""
        return Positions.of(runs_of(self.positions))

    def within(self, chosen: Positions) -> FileLetters:
        """Those at these positions."""
        at = self.positions
        mask = chosen.ranks(at + 1) > chosen.ranks(at)
        return FileLetters(self.source, self.raw_file, self.rows.filter(pa.array(mask)))

    def of_dataset(self, dataset: str) -> FileLetters:
        """Those of one dataset; a source may have fed another before."""
        mask = pc.equal(self.rows.column("dataset").cast(pa.string()), dataset)
        return FileLetters(self.source, self.raw_file, self.rows.filter(mask))

    def column(self, name: str) -> list[Any]:
        """One of COLUMNS."""
        values: list[Any] = self.rows.column(name).to_pylist()
        return values


@dataclass(frozen=True)
class ChosenLetters:
    """What is reprocessed. aside: how many letters were selected and are not read again, by stage and why."""

    files: tuple[FileLetters, ...]
    aside: Mapping[str, int]

    def __len__(self) -> int:
        return sum(map(len, self.files))

    def sources(self) -> dict[str, list[FileLetters]]:
        """By source."""
        found: dict[str, list[FileLetters]] = {}
        for file in self.files:
            found.setdefault(file.source, []).append(file)
        return found


def chosen_letters(lake: Lake, selection: LetterSelection, *, late: bool, conflicts: bool, max_attempts: int) -> ChosenLetters:
    """The letters of a selection that are read again.

    Args:
        lake: where.
        selection: which.
        late: late rows; else dead letters.
        conflicts: also what lost against another row; only a recipe can change that.
        max_attempts: letters that were read so often stay as they are.
    """
    aside: dict[str, int] = {}
    parts = []
    stages = (LATE,) if late else (DECODE, CONVERGE) if conflicts else (DECODE,)
    for batch in select(lake, selection, COLUMNS):
        rows = pa.Table.from_batches([batch])
        wanted = pc.is_in(rows.column("stage"), value_set=pa.array(stages, pa.string()))
        for stage, count in _counted(rows.filter(pc.invert(wanted)).column("stage")):
            if late == (stage == LATE):
                aside[stage] = aside.get(stage, 0) + count
        rows = rows.filter(wanted)
        tired = attempts_of(lake, rows) >= max_attempts
        if given_up := int(tired.sum()):
            aside["given up"] = aside.get("given up", 0) + given_up
            rows = rows.filter(pa.array(~tired))
        if len(rows):
            parts.append(_compact(rows))
    return ChosenLetters(tuple(_by_file(parts)), aside)


def attempts_of(lake: Lake, rows: pa.Table) -> Ints:
    """How often the record of each letter was read: by its row, or by the history where that knows of more failures.

    A row may be older than its history: a replay writes letters anew, what lost keeps its letter, and late rows count nothing.

    Args:
        lake: where.
        rows: ``dead_letter_id``, ``attempt`` and what ``places_of`` needs; few enough to be looked up together.
    """
    counted: Ints = rows.column("attempt").to_numpy().astype(np.int64)
    if not len(rows):
        return counted
    last = last_acts(lake, places_of(rows), Act.REPROCESSED)
    told = [last.get(letter, (0, "")) for letter in rows.column("dead_letter_id").to_pylist()]
    failed = [0 if outcome == ActOutcome.RECOVERED else attempt for attempt, outcome in told]
    return np.maximum(counted, np.array(failed, dtype=np.int64))


def places_of(rows: pa.Table) -> pa.Table:
    """Where the records of letters lie, as the history is asked for them."""
    return pa.table([rows.column(n) for n in ("source", "_raw_file", "_position")], names=["source", "raw_file", "position"])


def _counted(column: pa.ChunkedArray) -> Iterator[tuple[str, int]]:
    for entry in pc.value_counts(column):
        yield entry["values"].as_py(), entry["counts"].as_py()


def _compact(rows: pa.Table) -> pa.Table:
    for name in _REPEATING:
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, name, rows.column(name).combine_chunks().dictionary_encode())
    return rows


def _by_file(parts: list[pa.Table]) -> Iterator[FileLetters]:
    if not parts:
        return
    rows = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
    parts.clear()
    names = [rows.column(name).combine_chunks() for name in ("source", "_raw_file")]
    codes = [name.indices.to_numpy(zero_copy_only=False).astype(np.int64) for name in names]
    keys = codes[0] * (len(names[1].dictionary) + 1) + codes[1]
    order = np.lexsort((rows.column("_position").to_numpy(), keys))
    rows, keys = rows.take(pa.array(order)), keys[order]
    edges = [*np.flatnonzero(np.diff(keys, prepend=-1)).tolist(), len(keys)]
    for start, end in pairwise(edges):
        part = rows.slice(start, end - start)
        yield FileLetters(part.column("source")[0].as_py(), part.column("_raw_file")[0].as_py(), part)
