"""Outcomes to the ledger table, as a PTransform."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
from apache_beam import coders

from lake.ledger.outcomes import Outcome, PositionOutcomes
from lake.ledger.sidecars import append_outcomes
from lake.location import Lake
from lake.tables.iceberg import LEDGER
from transforms.converge.transform import timed_panes
from transforms.converge.upkeep import UpkeepPlan

coders.registry.register_coder(PositionOutcomes, coders.FastPrimitivesCoder)


class CommitLedger(beam.PTransform):
    """Append outcomes to the ledger table.

    Input: PositionOutcomes, each emitted after its rows are committed. Output: none of interest.
    Guarantees: at least once; the ledger is a union, so repeats change nothing.
    """

    def __init__(
        self, lake: Lake, run_id: str, *, commit_every_s: int | None = None, upkeep: UpkeepPlan | None = None, epoch: int = 0
    ) -> None:
        """epoch: of what is said but of rejections, see ``FileOutcomes``: who reprocesses finds these said already."""
        super().__init__()
        self._commits = timed_panes(commit_every_s)
        self._append = _AppendFn(lake, run_id, upkeep, epoch)

    def expand(self, outcomes: beam.PCollection[PositionOutcomes]) -> beam.PCollection[int]:
        """See the class."""
        return (
            outcomes
            | "Global" >> self._commits
            | "Key" >> beam.Map(_with_one_key)
            | "OneCommitter" >> beam.GroupByKey()
            | "Append" >> beam.ParDo(self._append)
        )


def _with_one_key(outcome: PositionOutcomes) -> tuple[int, PositionOutcomes]:
    return 0, outcome


@beam.typehints.with_output_types(int)
class _AppendFn(beam.DoFn):
    _epoch = 0  # of the class: jobs of the version before bring none

    def __init__(self, lake: Lake, run_id: str, upkeep: UpkeepPlan | None, epoch: int) -> None:
        self._lake, self._run_id, self._upkeep, self._epoch = lake, run_id, upkeep, epoch

    def process(self, element: tuple[int, Iterable[PositionOutcomes]]) -> Iterator[int]:
        outcomes = list(element[1])
        if outcomes:
            for epoch, told in _by_epoch(outcomes, self._epoch):
                append_outcomes(self._lake, told, self._run_id, epoch)
            if self._upkeep:
                self._upkeep.step(self._lake, LEDGER, 0, self._run_id)
        yield len(outcomes)


def _by_epoch(outcomes: Sequence[PositionOutcomes], epoch: int) -> Iterator[tuple[int, list[PositionOutcomes]]]:
    """All at once where there is no epoch; else rejections apart, with none."""
    if not epoch:
        yield 0, list(outcomes)
        return
    yield epoch, [one for one in outcomes if one.outcome != Outcome.DEAD_LETTER]
    yield 0, [one for one in outcomes if one.outcome == Outcome.DEAD_LETTER]
