"""Rules that count rows: how many there are, and how many lack a value or have one that they should not have."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from contracts.spec.model import pattern_of
from contracts.spec.quality import QualityRule, RuleKind, as_written
from lake.tables.iceberg import WITHDRAWN
from quality.measure import Context, CountingMeasure, Measure, Samples, is_true, judged_share, listed
from quality.verdicts import RuleVerdict


class RowCount(Measure):
    """``rowCount``."""

    def look(self, rows: pa.RecordBatch) -> None:
        """See Measure."""

    def verdict(self) -> RuleVerdict:
        """See Measure."""
        return self.compared(self.rows, f"{self.rows:,} rows")


class Nulls(CountingMeasure):
    """``nullValues``."""

    def __init__(self, rule: QualityRule, context: Context) -> None:
        super().__init__(rule, context)
        self.columns = rule.columns

    def look(self, rows: pa.RecordBatch) -> None:
        """See Measure."""
        self.note(rows, pc.is_null(rows.column(self.columns[0])))

    def verdict(self) -> RuleVerdict:
        """See Measure."""
        return self.counted(f"have no {self.columns[0]}")


class Missing(Nulls):
    """``missingValues``: null where that is named, and values that stand for none."""

    def look(self, rows: pa.RecordBatch) -> None:
        """See Measure."""
        column = rows.column(self.columns[0])
        named = [value for value in self.rule.values if value is not None]
        missing = _is_one_of(column, named)
        self.note(rows, pc.or_(missing, pc.is_null(column)) if None in self.rule.values else missing)

    def verdict(self) -> RuleVerdict:
        """See Measure."""
        return self.counted(f"have no {self.columns[0]}, or a value that stands for none")


class Invalid(Nulls):
    """``invalidValues``: values that are none of the valid ones, or do not match the pattern. No value is not invalid."""

    def look(self, rows: pa.RecordBatch) -> None:
        """See Measure."""
        column = rows.column(self.columns[0])
        fits = pa.repeat(pa.scalar(True), len(rows))
        if self.rule.kind is RuleKind.INVALID_VALUES and self.rule.values:
            fits = _is_one_of(column, [value for value in self.rule.values if value is not None])
        if self.rule.pattern:
            fits = pc.and_(fits, _matches(column, self.rule.pattern))
        self.note(rows, pc.and_(pc.is_valid(column), pc.invert(fits)))

    def verdict(self) -> RuleVerdict:
        """See Measure."""
        return self.counted(f"have a {self.columns[0]} that is not valid")


class Completeness(CountingMeasure):
    """``completeness``: rows in which every one of some columns has a value."""

    def __init__(self, rule: QualityRule, context: Context) -> None:
        super().__init__(rule, context)
        self.columns = rule.columns

    def look(self, rows: pa.RecordBatch) -> None:
        """See Measure."""
        lacking = pc.is_null(rows.column(self.columns[0]))
        for name in self.columns[1:]:
            lacking = pc.or_(lacking, pc.is_null(rows.column(name)))
        self.note(rows, lacking)

    def verdict(self) -> RuleVerdict:
        """See Measure."""
        what = f"have {listed(self.columns)}"
        return judged_share(self, self.rows - self.failing, self.rows, what, self.samples, self.failing)


class DeadLetters(Measure):
    """``dead_letters``: records of the partition that were rejected, against all that there were of it."""

    def look(self, rows: pa.RecordBatch) -> None:
        """See Measure."""

    def verdict(self) -> RuleVerdict:
        """See Measure."""
        letters, samples = 0, Samples()
        view, partition = self.context.references.letters(), self.context.partition
        columns = ("dataset", "code", "_source", "_raw_file", "_position")
        for batch in view.batches(columns, partition.from_us, partition.to_us) if view else ():
            counts = pc.and_(pc.equal(batch.column("dataset"), partition.dataset), pc.not_equal(batch.column("code"), WITHDRAWN))
            if self.rule.codes:
                counts = pc.and_(counts, pc.is_in(batch.column("code"), value_set=pa.array(self.rule.codes)))
            if self.rule.source:
                counts = pc.and_(counts, pc.equal(batch.column("_source"), self.rule.source))
            counts = is_true(counts)
            if counts.true_count:
                letters += counts.true_count
                samples.add(batch, counts)
        return judged_share(self, letters, self.rows + letters, "are dead letters", samples)


def _is_one_of(column: pa.Array, values: Sequence[object]) -> pa.BooleanArray:
    if pa.types.is_null(column.type) or not values:
        return pa.repeat(pa.scalar(False), len(column))
    given = [as_written(value) for value in values] if pa.types.is_decimal(column.type) else values
    return pc.is_in(column, value_set=pa.array(given, column.type))


def _matches(column: pa.Array, pattern: str) -> pa.BooleanArray:
    """By Python's regular expressions, as records are checked; null where there is no value. Each text is looked at once."""
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.bool_())
    search, encoded = pattern_of(pattern).search, column.dictionary_encode()
    fits = pa.array([search(text) is not None for text in encoded.dictionary.to_pylist()], pa.bool_())
    return fits.take(encoded.indices)
