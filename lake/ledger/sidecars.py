"""What jobs and promotions wrote down of source positions: rows of the ledger table, written and read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyiceberg.expressions import And, BooleanExpression, EqualTo, GreaterThanOrEqual, In, IsNull, LessThan, Or
from pyiceberg.table.refs import MAIN_BRANCH

from lake.ledger.outcomes import Outcome, PositionOutcomes
from lake.location import Lake
from lake.raw.positions import Extent, Ints, Positions
from lake.tables.iceberg import LEDGER, LEDGER_SCHEMA, committed

ROW_RUNS = 1 << 14  # a row of the ledger table has no more, so that reading a part of a log reads little else
NUMBERS = {outcome: number for number, outcome in enumerate(Outcome, 1)}


def append_outcomes(lake: Lake, outcomes: Sequence[PositionOutcomes], run_id: str, epoch: int = 0) -> None:
    """Append outcomes to the ledger table, in a fixed order. epoch: see ``FileOutcomes``."""
    rows = pa.Table.from_pylist([row for o in outcomes for row in ledger_rows(o, run_id, epoch)], schema=LEDGER_SCHEMA)
    if len(rows):
        ordered = in_ledger_order(rows)
        committed(LEDGER, lambda: lake.load(LEDGER).append(ordered, branch=lake.branch or MAIN_BRANCH))


def in_ledger_order(rows: pa.Table) -> pa.Table:
    """Rows of the ledger table in the order in which a file keeps them: reading a part of a log then skips most of a file."""
    return rows.sort_by([(name, "ascending") for name in ("source", "raw_file", "outcome", "first", "last")])


def ledger_rows(outcome: PositionOutcomes, run_id: str, epoch: int = 0) -> Iterator[dict[str, object]]:
    """Rows of at most ROW_RUNS runs, each with the smallest and largest position."""
    for start in range(0, len(outcome.runs), 2 * ROW_RUNS):
        runs = outcome.runs[start : start + 2 * ROW_RUNS]
        yield {
            "source": outcome.source,
            "raw_file": outcome.raw_file,
            "outcome": str(outcome.outcome),
            "runs": runs,
            "window_from": outcome.window_from,
            "window_to": outcome.window_to,
            "run_id": run_id,
            "first": runs[0],
            "last": runs[-2] + runs[-1] - 1,
            "epoch": epoch,
            "dataset": outcome.dataset,
            "item": outcome.item,
        }


@dataclass
class FileOutcomes:
    """What the sidecars say of one raw file or log, or a part of it.

    runs: flat runs per epoch and outcome, as they were written; they may overlap. Epoch 0 is what jobs wrote; a promoted replay has
    the number of its promotion, and what it says of a position holds against what was said before. window_from, window_to: what the
    accepted ones reach, microseconds.
    """

    runs: dict[tuple[int, Outcome], list[Ints]] = field(default_factory=dict)
    window_from: int | None = None
    window_to: int | None = None

    def states(self, positions: Positions) -> npt.NDArray[np.uint8]:
        """Per place the outcome that holds: its place in ``Outcome`` from 1; 0 where there is none."""
        states = np.zeros(len(positions), dtype=np.uint8)
        for epoch in sorted({epoch for epoch, _ in self.runs}):
            for outcome, number in reversed(NUMBERS.items()):  # the first in the list holds, so it is written last
                if (runs := self.runs.get((epoch, outcome))) and outcome is not Outcome.DUPLICATE:
                    states[positions.covered(np.concatenate(runs))] = number
        return states

    def said(self, outcome: Outcome, positions: Positions) -> npt.NDArray[np.bool_]:
        """By place, whether some row says this, be it what holds or not. Of any epoch: jobs that note what lost know of none."""
        parts = [runs for (_, told), listed in self.runs.items() if told is outcome for runs in listed]
        return positions.covered(np.concatenate(parts)) if parts else np.zeros(len(positions), dtype=bool)

    def all_runs(self) -> Ints:
        """Runs of every position that has an outcome, in any order."""
        parts = [runs for (_, outcome), listed in self.runs.items() if outcome is not Outcome.DUPLICATE for runs in listed]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def outcomes_of(lake: Lake, source: str, extents: Sequence[Extent], before_epoch: int | None = None) -> dict[str, FileOutcomes]:
    """The union of all sidecars of these extents of one source, by raw file; two sources may hold the same bytes.

    before_epoch: sidecars of this promotion and later ones do not count; None for all.
    """
    table = lake.load(LEDGER)
    low, high = bounds_of(extents)
    condition: BooleanExpression = And(EqualTo("source", source), In("raw_file", {s.raw_file for s in extents}))
    if "first" in table.schema().column_names:  # a lake that only older versions wrote to has none
        condition = And(condition, Or(IsNull("first"), And(LessThan("first", high), GreaterThanOrEqual("last", low))))
    fields_read: tuple[str, ...] = ("raw_file", "outcome", "runs", "window_from", "window_to")
    fields_read += ("epoch",) if "epoch" in table.schema().column_names else ()
    found: dict[str, FileOutcomes] = {}
    for batch in table.scan(row_filter=condition, selected_fields=fields_read).to_arrow_batch_reader():
        for raw_file, name, runs, window_from, window_to, epoch in _sidecars(batch):
            if before_epoch is not None and epoch >= before_epoch:
                continue
            outcome = Outcome(name)
            file = found.setdefault(raw_file, FileOutcomes())
            file.runs.setdefault((epoch, outcome), []).append(runs)
            if outcome is Outcome.ACCEPTED and window_from is not None and window_to is not None:
                file.window_from = min(window_from, file.window_from if file.window_from is not None else window_from)
                file.window_to = max(window_to, file.window_to if file.window_to is not None else window_to)
    return found


def _sidecars(batch: pa.RecordBatch) -> Iterator[tuple[str, str, Ints, int | None, int | None, int]]:
    runs = batch.column("runs")
    values, offsets = runs.values.to_numpy(), runs.offsets.to_numpy()
    columns = [batch.column(name).to_pylist() for name in ("raw_file", "outcome", "window_from", "window_to")]
    epochs = batch.column("epoch").to_pylist() if "epoch" in batch.schema.names else [None] * len(batch)
    for i, (raw_file, outcome, window_from, window_to) in enumerate(zip(*columns, strict=True)):
        yield raw_file, outcome, values[offsets[i] : offsets[i + 1]], window_from, window_to, epochs[i] or 0


def bounds_of(extents: Sequence[Extent]) -> tuple[int, int]:
    """[smallest position, largest + 1) of these extents."""
    bounds = [extent.positions.bounds for extent in extents]
    return min(low for low, _ in bounds), max(high for _, high in bounds)
