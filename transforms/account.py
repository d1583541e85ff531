"""Outcomes to the ledger table, as a PTransform."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam import coders

from transforms.converge.transform import commit_windows
from transforms.lake.ledger import append_outcomes
from transforms.lake.location import Lake
from transforms.outcomes import PositionOutcomes

coders.registry.register_coder(PositionOutcomes, coders.FastPrimitivesCoder)


class CommitLedger(beam.PTransform):
    """Append outcomes to the ledger table.

    Input: PositionOutcomes, each emitted after its rows are committed. Output: none of interest.
    Guarantees: at least once; the ledger is a union, so repeats change nothing.
    """

    def __init__(self, lake: Lake, run_id: str, *, commit_every_s: int | None = None) -> None:
        super().__init__()
        self._commits = commit_windows(commit_every_s)
        self._append = _AppendFn(lake, run_id)

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
    def __init__(self, lake: Lake, run_id: str) -> None:
        self._lake, self._run_id = lake, run_id

    def process(self, element: tuple[int, Iterable[PositionOutcomes]]) -> Iterator[int]:
        outcomes = list(element[1])
        if outcomes:
            append_outcomes(self._lake, outcomes, self._run_id)
        yield len(outcomes)
