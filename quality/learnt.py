"""Rules that are judged by history: how many rows, how many without a value, and how values are distributed.

What a partition shows is kept with its verdict, for baselines to learn from. Of a column only buckets are kept, but where the
contract says that it is not personal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from contracts.spec.model import Column, ColumnType
from contracts.spec.quality import QualityRule
from contracts.units import SECOND_US
from quality.baselines import Band, Excused, Figure, Learning, expectation
from quality.history import CategoryCounts, LearningOptions, Observation, Observed, Quantiles, State
from quality.measure import Context, Measure
from quality.past import Past
from quality.shifts import Shift, Shifts, category_shifts, quantile_shifts
from quality.verdicts import RuleVerdict, Verdict

SAMPLE_ROWS = 20_000  # of a distribution: those with the smallest hashes, so the same ones in any order and cut
MOST_CATEGORIES = 200
SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_BUCKETS = 64  # of values of personal columns: too few to tell one from another
_OPEN = {"public", "internal", "none", "non-personal"}
_NUMBERS = {ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.DECIMAL}
_SHOWN = 3


def is_personal(column: Column) -> bool:
    """Whether values of a column must not be kept: all, but where its classification says that it is not personal.

    Without a classification those are no secret that the contract itself names.
    """
    if column.classification:
        return column.classification.lower() not in _OPEN
    named = bool(column.enum) or column.type is ColumnType.BOOLEAN
    return not named or column.identifier is not None


class _Learnt(Measure):
    """A rule that is judged by what it observed before."""

    def options(self) -> LearningOptions:
        """How it is learnt."""
        options = LearningOptions(partition_us=self.context.contract.quality.partition_s * SECOND_US)
        return options if self.rule.sensitivity is None else replace(options, sensitivity=self.rule.sensitivity)

    def past(self) -> Iterator[tuple[Past, State]]:
        """What it observed of earlier partitions, and what each is an example of: none where it failed and nobody overruled it."""
        for past in self.context.history.past(self.rule.name, self.context.partition.from_us):
            failed = past.verdict is Verdict.FAILED and past.state is State.PUBLISHED
            yield past, State.HELD if failed else past.state

    def observed(self, past: Past, state: State) -> dict[str, Any]:
        """Fields of any observation."""
        return {
            "at_us": past.partition.from_us, "rows": past.rows, "id": past.run_id, "state": state, "new_normal": past.new_normal,
            "revision": past.judged_us,
        }  # fmt: skip

    def without_band(self, found: Learning | Excused, observed: float | None, what: str) -> RuleVerdict:
        """A verdict where history says nothing."""
        if isinstance(found, Excused):
            return self.told(Verdict.SKIPPED, observed, f"{what}; not judged: {found.reason}.")
        return self.told(Verdict.LEARNING, observed, f"{what}; learning, {found.have} of {found.need} partitions are known.")

    def by_band(self, found: Band | Learning | Excused, value: float, observed: float, what: str, unit: str) -> RuleVerdict:
        """A verdict of one figure. value: as the band has it; observed: as the rule has it."""
        if not isinstance(found, Band):
            return self.without_band(found, observed, what)
        scale = 100 if unit == "percent" else 1
        expected = f"between {found.low * scale:,.6g} and {found.high * scale:,.6g} {unit}"
        verdict = Verdict.OK if found.holds(value) else Verdict.FAILED
        wrong = "" if verdict is Verdict.OK else f"; expected {expected}, about {found.centre * scale:,.6g}"
        return replace(self.told(verdict, observed, f"{what}{wrong}."), expected=expected, baseline=found.used)


class Volume(_Learnt):
    """``volume``: rows against those of the same hour and weekday before."""

    def look(self, rows: pa.RecordBatch) -> None:
        """See Measure."""

    def verdict(self) -> RuleVerdict:
        """See Measure."""
        known = [
            Observation(value=past.observed, **self.observed(past, state))
            for past, state in self.past()
            if past.observed is not None
        ]
        found = expectation(known, self.context.partition.from_us, self.context.contract.quality.calendar, self.options())
        return self.by_band(found, self.rows, self.rows, f"{self.rows:,} rows", "rows")


class NullShare(_Learnt):
    """``null_share``: the percentage of rows without a value."""

    def __init__(self, rule: QualityRule, context: Context) -> None:
        super().__init__(rule, context)
        self.columns = rule.columns
        self._nulls = 0

    def look(self, rows: pa.RecordBatch) -> None:
        """See Measure."""
        self._nulls += rows.column(self.columns[0]).null_count if len(rows) else 0

    def verdict(self) -> RuleVerdict:
        """See Measure."""
        if not self.rows:
            return self.told(Verdict.SKIPPED, None, "There are no rows to judge.")
        known = [
            Observation(value=past.observed / 100, **self.observed(past, state))
            for past, state in self.past()
            if past.observed is not None
        ]
        partition, spec = self.context.partition, self.context.contract.quality
        found = expectation(known, partition.from_us, spec.calendar, self.options(), figure=Figure.SHARE, rows=self.rows)
        percent = 100 * self._nulls / self.rows
        what = f"{percent:.4g} % of {self.rows:,} rows have no {self.columns[0]}"
        return replace(self.by_band(found, self._nulls / self.rows, percent, what, "percent"), failing=0)


class Distribution(_Learnt):
    """``distribution``: shares of categories, or quantiles of numbers, of a sample of the rows."""

    def __init__(self, rule: QualityRule, context: Context) -> None:
        super().__init__(rule, context)
        self._column = context.contract.by_name[rule.columns[0]]
        self.columns = (self._column.name, "_row_hash")
        self._parts: list[pa.Table] = []

    def look(self, rows: pa.RecordBatch) -> None:
        """See Measure."""
        hashes = rows.column("_row_hash").cast(pa.binary())
        self._parts.append(pa.table({"hash": hashes, "value": rows.column(self._column.name)}))
        if sum(map(len, self._parts)) > 4 * SAMPLE_ROWS:
            self._parts = [self._sample()]

    def _sample(self) -> pa.Table:
        rows = pa.concat_tables(self._parts).combine_chunks()
        if len(rows) <= SAMPLE_ROWS:
            return rows
        return rows.take(pc.select_k_unstable(rows, SAMPLE_ROWS, [("hash", "ascending")]))

    def verdict(self) -> RuleVerdict:
        """See Measure."""
        if not self.rows:
            return self.told(Verdict.SKIPPED, None, "There are no rows to judge.")
        values = self._sample().column("value")
        partition, spec = self.context.partition, self.context.contract.quality
        if self._column.type in _NUMBERS and not is_personal(self._column):
            quantiles = quantiles_of(values, partition.from_us)
            seen = [
                Quantiles(shares=tuple(told["shares"]), values=tuple(told["values"]), **common)
                for told, common in self._observations("shares")
            ]
            told = json.dumps({"shares": quantiles.shares, "values": quantiles.values, "rows": quantiles.rows})
            return self._judged(quantile_shifts(seen, quantiles, spec.calendar, self.options()), quantiles, told)
        counts = counts_of(values, self._column, partition.from_us)
        form = "buckets" if is_personal(self._column) else "counts"  # one is not compared with the other
        known = [CategoryCounts(counts=told[form], **common) for told, common in self._observations(form)]
        told = json.dumps({form: counts.counts, "rows": counts.rows}, ensure_ascii=False, sort_keys=True)
        return self._judged(category_shifts(known, counts, spec.calendar, self.options()), counts, told)

    def _observations(self, kind: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for past, state in self.past():
            told = json.loads(past.observation) if past.observation else {}
            if kind in told:
                yield told, {**self.observed(past, state), "rows": told["rows"]}

    def _judged(self, found: Shifts | Learning | Excused, current: Observed, observation: str) -> RuleVerdict:
        name = self._column.name
        if isinstance(found, Learning | Excused):
            return replace(self.without_band(found, None, f"{name} of {self.rows:,} rows"), observation=observation)
        if found.found:
            more = f" and {len(found.found) - _SHOWN} more" if len(found.found) > _SHOWN else ""
            listed = "; ".join(_in_words(shift, isinstance(current, CategoryCounts)) for shift in found.found[:_SHOWN])
            told = self.told(Verdict.FAILED, found.stability, f"{name} is not distributed as before: {listed}{more}.")
        else:
            told = self.told(Verdict.OK, found.stability, f"{name} is distributed as before.")
        expected = f"{found.followed} {'shares' if isinstance(current, CategoryCounts) else 'quantiles'} as before"
        return replace(told, expected=expected, baseline=found.used, observation=observation)


def _in_words(shift: Shift, share: bool) -> str:
    scale, unit = (100, " %") if share else (1, "")
    low, high, seen = shift.band.low * scale, shift.band.high * scale, shift.observed * scale
    return f"{shift.what} {seen:,.4g}{unit}, expected {low:,.4g} to {high:,.4g}{unit}"


def quantiles_of(values: pa.ChunkedArray, at_us: int) -> Quantiles:
    """Quantiles of numbers; those that are none do not count."""
    numbers = values.drop_null().cast(pa.float64()).to_numpy()
    finite = np.sort(numbers[np.isfinite(numbers)] + 0.0)  # of -0.0 and 0.0 any would come first
    places = [max(math.ceil(share * len(finite)) - 1, 0) for share in SHARES]
    found = tuple(float(finite[place]) for place in places) if len(finite) else ()
    return Quantiles(at_us=at_us, rows=len(finite), id="", shares=SHARES if found else (), values=found)


def counts_of(values: pa.ChunkedArray, column: Column, at_us: int) -> CategoryCounts:
    """Rows by value, those of the most rows; by bucket where the column is personal."""
    counted = values.drop_null().value_counts()
    found: dict[str, int] = {}
    for value, count in zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True):
        category = bucket_of(value) if is_personal(column) else _text(value)
        found[category] = found.get(category, 0) + count
    first = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_CATEGORIES]
    return CategoryCounts(at_us=at_us, rows=len(values), id="", counts=dict(first))


def bucket_of(value: object) -> str:
    """Where a value of a personal column is counted: one of a few buckets, of numbers by their size."""
    if isinstance(value, str | bool):
        return f"bucket {xxhash.xxh3_64_intdigest(_text(value).encode()) % _BUCKETS}"
    number = float(value)  # type: ignore[arg-type]
    if not number:
        return "0"
    return f"{'-' if number < 0 else ''}1e{math.floor(math.log10(abs(number)))}"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
