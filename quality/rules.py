"""Which code looks at rows for which kind of rule."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.spec.quality import QualityRule, RuleKind
from quality.counts import Completeness, DeadLetters, Invalid, Missing, Nulls, RowCount
from quality.keys import Agreement, References, Unique
from quality.learnt import Distribution, NullShare, Volume
from quality.measure import Context, Measure
from quality.sql import Sql
from quality.times import Delay, Freshness

_MEASURES: Mapping[RuleKind, type[Measure]] = {
    RuleKind.ROW_COUNT: RowCount,
    RuleKind.NULL_VALUES: Nulls,
    RuleKind.MISSING_VALUES: Missing,
    RuleKind.INVALID_VALUES: Invalid,
    RuleKind.COMPLETENESS: Completeness,
    RuleKind.DEAD_LETTERS: DeadLetters,
    RuleKind.DUPLICATE_VALUES: Unique,
    RuleKind.UNIQUE: Unique,
    RuleKind.REFERENCES: References,
    RuleKind.AGREEMENT: Agreement,
    RuleKind.FRESHNESS: Freshness,
    RuleKind.DELAY: Delay,
    RuleKind.SQL: Sql,
    RuleKind.VOLUME: Volume,
    RuleKind.NULL_SHARE: NullShare,
    RuleKind.DISTRIBUTION: Distribution,
}


def measure_of(rule: QualityRule, context: Context) -> Measure:
    """A rule, ready for the rows of a partition."""
    return _MEASURES[rule.kind](rule, context)
