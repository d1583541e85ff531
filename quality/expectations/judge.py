"""Partitions judged by Great Expectations: its outcomes as verdicts, with places of rows in place of values."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from contracts.spec.model import Contract
from contracts.spec.quality import RuleKind
from quality.expectations.frame import frame_of
from quality.expectations.run import Outcome, Results, evaluate
from quality.expectations.suite import Suite
from quality.measure import MOST_SAMPLES, PLACE
from quality.verdicts import Partition, RuleVerdict, Verdict
from quality.view import TableView


@dataclass(frozen=True)
class Evaluated:
    """What came of a partition. results: as Great Expectations has them."""

    partition: Partition
    verdicts: tuple[RuleVerdict, ...]
    results: Results


def evaluate_partition(view: TableView, contract: Contract, suite: Suite, partition: Partition) -> Evaluated:
    """Run a contract's suite over a partition; its rows are held in memory at once.

    Raises:
        ConfigurationError: Great Expectations is not installed.
    """
    columns = list(dict.fromkeys([*PLACE, *suite.columns]))
    frame = frame_of(view.batches(columns, partition.from_us, partition.to_us), columns)
    results = evaluate(suite, frame, str(partition))
    places = list(zip(*(frame[name] for name in PLACE), strict=True))
    verdicts = []
    for outcome in results.outcomes:
        samples = heapq.nsmallest(MOST_SAMPLES, (places[number] for number in outcome.failing))
        verdicts.append(_verdict(outcome, partition, tuple(samples)))
    return Evaluated(partition, tuple(verdicts), results)


def _verdict(outcome: Outcome, partition: Partition, samples: tuple[tuple[str, str, int], ...]) -> RuleVerdict:
    expectation, failing = outcome.expectation, len(outcome.failing)
    verdict, detail = Verdict.OK, f"{failing:,} of {outcome.rows:,} rows are not so."
    observed: float | None = 100 * failing / outcome.rows if expectation.unit == "percent" and outcome.rows else failing
    if expectation.kind == RuleKind.ROW_COUNT:
        observed, detail = outcome.observed, f"{outcome.observed or 0:,} rows."
    elif not outcome.rows:
        verdict, observed, detail = Verdict.SKIPPED, None, "There are no rows to judge."
    if outcome.raised:
        verdict, observed, detail = Verdict.ERROR, None, "Great Expectations gave an error in place of an answer."
    elif verdict is Verdict.OK and not outcome.success:
        verdict, detail = Verdict.FAILED, f"{detail.removesuffix('.')}; expected {expectation.expected}."
    return RuleVerdict(
        rule=expectation.rule,
        kind=expectation.kind,
        column=expectation.column,
        severity=expectation.severity,
        partition=partition,
        verdict=verdict,
        observed=None if observed is None else float(observed),
        expected=expectation.expected,
        rows=outcome.rows,
        failing=failing,
        samples=samples if verdict is Verdict.FAILED else (),
        detail=detail,
    )


def differing(ours: Iterable[RuleVerdict], theirs: Iterable[RuleVerdict]) -> list[tuple[RuleVerdict, RuleVerdict]]:
    """Rules that both judged, and not alike."""
    known = {(each.partition, each.rule): each for each in ours}
    pairs = ((known.get((each.partition, each.rule)), each) for each in theirs)
    return [(own, each) for own, each in pairs if own is not None and own.verdict is not each.verdict]
