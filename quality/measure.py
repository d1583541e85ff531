"""What all rules have in common: rows come in batches, a verdict comes out."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from contracts.spec.model import Contract
from contracts.spec.quality import QualityRule
from quality.past import History
from quality.sql_process import Queries
from quality.verdicts import Partition, RuleVerdict, Verdict
from quality.view import References, TableView

PLACE = ("_source", "_raw_file", "_position")
MOST_SAMPLES = 5
_EXACT = 2**53  # above, a float is not the number

Place = tuple[str, str, int]


@dataclass(frozen=True)
class Context:
    """What a rule may look at beside the rows of its partition."""

    view: TableView
    contract: Contract
    partition: Partition
    history: History
    references: References
    queries: Queries


class Measure(ABC):
    """One rule over one partition. What it is told of the rows depends on their set, not on their order or batches."""

    columns: tuple[str, ...] = ()  # that it reads

    def __init__(self, rule: QualityRule, context: Context) -> None:
        self.rule, self.context = rule, context
        self.rows = 0

    def add(self, rows: pa.RecordBatch) -> None:
        """Take in some rows of the partition; they have the columns of this and other rules, and PLACE."""
        if self.rule.source:
            rows = rows.filter(pc.equal(rows.column("_source"), self.rule.source))
        if len(rows):
            self.rows += len(rows)
            self.look(rows)

    @abstractmethod
    def look(self, rows: pa.RecordBatch) -> None:
        """Take in rows of the rule's source."""

    @abstractmethod
    def verdict(self) -> RuleVerdict:
        """What the rule says, when all rows have come."""

    def told(self, verdict: Verdict, observed: float | int | Decimal | str | None, detail: str) -> RuleVerdict:
        """A verdict of this rule."""
        rule = self.rule
        return RuleVerdict(
            rule=rule.name,
            kind=str(rule.kind),
            column=rule.column,
            severity=rule.severity,
            partition=self.context.partition,
            verdict=verdict,
            observed=_plain(observed),
            expected=rule.expected.words(rule.unit) if rule.expected else "",
            rows=self.rows,
            detail=detail,
        )

    def compared(self, observed: float | int | Decimal | str | None, what: str, shown: str | None = None) -> RuleVerdict:
        """A verdict by the rule's expectation.

        Args:
            observed: is compared.
            what: was observed, in words, such as ``3 rows have no email``.
            shown: in place of what was observed, where that is not to be kept.
        """
        assert self.rule.expected is not None
        kept = observed if shown is None else shown
        if self.rule.expected.holds(observed):
            return self.told(Verdict.OK, kept, f"{what}.")
        return self.told(Verdict.FAILED, kept, f"{what}; expected {self.rule.expected.words(self.rule.unit)}.")


class CountingMeasure(Measure):
    """A rule about single rows: how many of them are not as they should be, in rows or percent."""

    def __init__(self, rule: QualityRule, context: Context) -> None:
        super().__init__(rule, context)
        self.failing = 0
        self.samples = Samples()

    def note(self, rows: pa.RecordBatch, failing: pa.BooleanArray) -> None:
        """Count rows that are not as they should be."""
        count = failing.true_count
        if count:
            self.failing += count
            self.samples.add(rows, failing)

    def counted(self, what: str) -> RuleVerdict:
        """A verdict by how many fail. what: is wrong with a row, such as ``without email``."""
        return judged_share(self, self.failing, self.rows, what, self.samples)


def judged_share(measure: Measure, counted: int, rows: int, what: str, samples: Samples, failing: int | None = None) -> RuleVerdict:
    """A verdict by a count, or its percentage of rows. There is none of no rows, and nothing is right about no rows.

    Args:
        measure: whose.
        counted: is compared.
        rows: that it is a part of.
        what: was counted, in words that follow the number of rows.
        samples: of those that fail.
        failing: how many fail, where that is not what is counted.
    """
    percent = measure.rule.unit == "percent"
    bad = counted if failing is None else failing
    assert measure.rule.expected is not None
    if not rows and (percent or measure.rule.expected.holds(0)):
        return replace(measure.told(Verdict.SKIPPED, None, "There are no rows to judge."), rows=0)
    share = f" of {rows:,}" + (f" ({_percent(counted, rows)} %)" if rows else "")
    found = measure.compared(100 * counted / rows if percent else counted, f"{counted:,}{share} rows {what}")
    return replace(found, rows=rows, failing=bad, samples=samples.first() if found.verdict is Verdict.FAILED else ())


def _percent(counted: int, rows: int) -> str:
    """For people; 100 of all rows alone: what is judged by the last of them is told by as many digits."""
    shown = (f"{100 * counted / rows:.{digits}g}" for digits in range(3, 17))
    return next((text for text in shown if text != "100" or counted == rows), "100")


class Samples:
    """The first few of some rows by source, raw file and position."""

    def __init__(self) -> None:
        self._first: list[Place] = []

    def add(self, rows: pa.RecordBatch, chosen: pa.BooleanArray) -> None:
        """Take in rows that are chosen."""
        table = pa.table([rows.column(name) for name in PLACE], names=list(PLACE)).filter(chosen)
        first = pc.select_k_unstable(table, MOST_SAMPLES, [(name, "ascending") for name in PLACE])
        found = zip(*(table.column(name).take(first).to_pylist() for name in PLACE), strict=True)
        self._first = heapq.nsmallest(MOST_SAMPLES, {*self._first, *found})

    def first(self) -> tuple[Place, ...]:
        """In order."""
        return tuple(self._first)


def is_true(mask: pa.Array | pa.ChunkedArray) -> pa.BooleanArray:
    """A mask with false in place of null."""
    return pc.fill_null(mask, False)


def listed(columns: Sequence[str]) -> str:
    """Names for people."""
    return ", ".join(columns)


def _plain(observed: float | int | Decimal | str | None) -> float | str | None:
    if observed is None or isinstance(observed, str):
        return observed
    return float(observed) if -_EXACT <= observed <= _EXACT else str(observed)
