"""Which code looks at rows for which kind of rule."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.spec.quality import QualityRule, RuleKind
from quality.counts import Completeness, DeadLetters, Invalid, Missing, Nulls, RowCount
from quality.measure import Context, Measure

_MEASURES: Mapping[RuleKind, type[Measure]] = {
    RuleKind.ROW_COUNT: RowCount,
    RuleKind.NULL_VALUES: Nulls,
    RuleKind.MISSING_VALUES: Missing,
    RuleKind.INVALID_VALUES: Invalid,
    RuleKind.COMPLETENESS: Completeness,
    RuleKind.DEAD_LETTERS: DeadLetters,
}


def measure_of(rule: QualityRule, context: Context) -> Measure:
    """A rule, ready for the rows of a partition."""
    return _MEASURES[rule.kind](rule, context)
