"""What folds say of source positions: that their rows came in, and which of them lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from lake.ledger.outcomes import Outcome, PositionOutcomes, runs_of
from lake.ledger.sidecars import append_outcomes
from lake.location import Lake
from lake.tables.fold import codes_of
from lake.tables.ipc import decode_rows
from lake.tables.publish import RangeFold, with_cells


def committed_outcomes(folds: Sequence[RangeFold], outcome: Outcome, dataset: str | None = None) -> Iterator[PositionOutcomes]:
    """What is to be said of every position that came into folds, once they are committed; one element per raw file and outcome.

    Of accepted rows also which of them lost, and that first: so nobody sees an accepted one without what proves it.
    """
    if outcome is Outcome.ACCEPTED:
        beaten = [(fold, data) for fold in folds for data in fold.beaten or ()]
        yield from _outcomes(beaten, Outcome.DUPLICATE, dataset)
    yield from _outcomes([(fold, data) for fold in folds for data in fold.positions], outcome, dataset)


def displaced_outcomes(folds: Sequence[RangeFold], dataset: str | None = None) -> list[PositionOutcomes]:
    """Notes of rows that were known and lose by these folds. To be written before the commit: afterwards nobody knows them."""
    return list(_outcomes([(fold, data) for fold in folds for data in fold.displaced], Outcome.DUPLICATE, dataset))


class LostNotes:
    """Writes down what loses by folds before they are committed, each time that a commit is tried, if there is something new.

    Args:
        lake: where.
        dataset: whose rows are folded.
        run_id: who says so.
        came: also of rows that came in; for folds after whose commit nobody says it.
    """

    def __init__(self, lake: Lake, dataset: str | None, run_id: str, *, came: bool = False) -> None:
        self._lake, self._dataset, self._run_id, self._came = lake, dataset, run_id, came
        self._written: list[PositionOutcomes] = []

    def write(self, folds: Sequence[RangeFold]) -> None:
        """Write down what loses by these folds."""
        notes = displaced_outcomes(folds, self._dataset)
        if self._came:
            came = [(fold, data) for fold in folds for data in fold.beaten or ()]
            notes += _outcomes(came, Outcome.DUPLICATE, self._dataset)
        if notes != self._written:
            append_outcomes(self._lake, notes, self._run_id)
            self._written = notes


def _outcomes(parts: Iterable[tuple[RangeFold, bytes]], outcome: Outcome, dataset: str | None) -> Iterator[PositionOutcomes]:
    tables = [with_cells(decode_rows(data), fold) for fold, data in parts]
    yield from outcomes_at(pa.concat_tables(tables, promote_options="permissive"), outcome, dataset) if tables else ()


def outcomes_at(rows: pa.Table, outcome: Outcome, dataset: str | None = None) -> Iterator[PositionOutcomes]:
    """One outcome for the positions of rows, one element per source and raw file.

    Args:
        rows: with provenance; ``from`` and ``to``, where there are such columns, is what each reaches.
        outcome: what it is.
        dataset: whose rows these are.
    """
    sources, files = codes_of(rows.column("_source")), codes_of(rows.column("_raw_file"))
    codes = sources * (int(files.max(initial=0)) + 1) + files
    order = np.argsort(codes, kind="stable")
    positions = rows.column("_position").to_numpy()[order]
    reach = [rows.column(name).to_numpy()[order] for name in ("from", "to") if name in rows.column_names]
    edges = [*np.flatnonzero(np.diff(codes[order], prepend=-1)).tolist(), len(order)]
    for start, end in pairwise(edges):
        source, raw_file = (rows.column(name)[int(order[start])].as_py() for name in ("_source", "_raw_file"))
        low, high = (int(reach[0][start:end].min()), int(reach[1][start:end].max())) if reach else (None, None)
        yield PositionOutcomes(source, raw_file, outcome, runs_of(positions[start:end]), low, high, dataset)
