"""Rules beyond one record, compiled: what ``quality`` of a contract says about a partition of its rows."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from contracts.units import HOUR_S

Number = int | float | Decimal


class Severity(StrEnum):
    """What becomes of a partition that breaks a rule. warn: it is noted; quarantine: it is held; stop: the run ends."""

    WARN = "warn"
    QUARANTINE = "quarantine"
    STOP = "stop"


class RuleKind(StrEnum):
    """What a rule looks at. The first five are ODCS's library metrics, by their names."""

    ROW_COUNT = "rowCount"
    NULL_VALUES = "nullValues"
    MISSING_VALUES = "missingValues"
    INVALID_VALUES = "invalidValues"
    DUPLICATE_VALUES = "duplicateValues"
    SQL = "sql"
    UNIQUE = "unique"
    COMPLETENESS = "completeness"
    REFERENCES = "references"
    AGREEMENT = "agreement"
    FRESHNESS = "freshness"
    DELAY = "delay"
    DEAD_LETTERS = "dead_letters"
    VOLUME = "volume"
    NULL_SHARE = "null_share"
    DISTRIBUTION = "distribution"


LEARNT = frozenset({RuleKind.VOLUME, RuleKind.NULL_SHARE, RuleKind.DISTRIBUTION})  # judged by history


class Operator(StrEnum):
    """How what was observed is compared, by ODCS's names."""

    BE = "mustBe"
    NOT_BE = "mustNotBe"
    GREATER = "mustBeGreaterThan"
    GREATER_EQUAL = "mustBeGreaterOrEqualTo"
    LESS = "mustBeLessThan"
    LESS_EQUAL = "mustBeLessOrEqualTo"
    BETWEEN = "mustBeBetween"
    NOT_BETWEEN = "mustNotBeBetween"


_RELATIONS: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.BE: operator.eq, Operator.NOT_BE: operator.ne, Operator.GREATER: operator.gt, Operator.GREATER_EQUAL: operator.ge,
    Operator.LESS: operator.lt, Operator.LESS_EQUAL: operator.le,
}  # fmt: skip
_WORDS = {
    Operator.BE: "= {0}", Operator.NOT_BE: "≠ {0}", Operator.GREATER: "> {0}", Operator.GREATER_EQUAL: "≥ {0}",
    Operator.LESS: "< {0}", Operator.LESS_EQUAL: "≤ {0}", Operator.BETWEEN: "between {0} and {1}",
    Operator.NOT_BETWEEN: "not between {0} and {1}",
}  # fmt: skip


def as_written(value: Any) -> Any:
    """A number as a file has it, as a decimal; what is no number stays."""
    return Decimal(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else value


@dataclass(frozen=True)
class Expected:
    """What must hold of an observed value. Bounds of between are included, as ODCS says."""

    operator: Operator
    values: tuple[Number | str | bool, ...]

    def holds(self, observed: Number | str | bool | None) -> bool:
        """Whether an observed value is as it must be. None and NaN never are."""
        if observed is None or (isinstance(observed, float) and math.isnan(observed)):
            return False
        if isinstance(observed, Decimal):  # 0.1 of a file is the decimal 0.1, and the float next to it is another number
            return Expected(self.operator, tuple(map(as_written, self.values)))._holds(observed)
        return self._holds(observed)

    def _holds(self, observed: Number | str | bool) -> bool:
        if isinstance(observed, str) != isinstance(self.values[0], str):  # another kind of value: only not what it must not be
            return self.operator in (Operator.NOT_BE, Operator.NOT_BETWEEN)
        if self.operator in _RELATIONS:
            return _RELATIONS[self.operator](observed, self.values[0])
        low, high = self.values
        within: bool = low <= observed <= high  # type: ignore[operator]
        return within == (self.operator is Operator.BETWEEN)

    def words(self, unit: str = "") -> str:
        """For people: ``≤ 1 percent``."""
        told = _WORDS[self.operator].format(*self.values)
        return f"{told} {unit}".rstrip()


@dataclass(frozen=True)
class Reference:
    """Rows of another dataset. columns: of it, one for each of the rule's; source: only rows of this source, empty for all."""

    dataset: str
    columns: tuple[str, ...]
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class QualityRule:
    """One rule about a partition.

    name: unique in the contract. column: that it stands at; None of the table. columns: that it reads, the key of several among
    them. source: only rows of this source count, empty for all. unit: of what is observed: rows, percent or seconds, empty where it
    has none. expected: None for rules that are judged by history.
    values: of missingValues those that count as missing (None for null), of invalidValues the valid ones. pattern: of valid values.
    query: of sql rules, as the user wrote it. reference: where keys must be found; grace_s: for how long they may arrive later.
    within_s: how far around the partition the other side of an agreement is looked at, None for everywhere. across_s: how far back
    a key is unique. quantile: of a delay. codes: dead letters that count, empty for all. sensitivity: how far from what history
    says it may be, in robust standard deviations; None for the default of baselines.
    """

    name: str
    kind: RuleKind
    severity: Severity = Severity.WARN
    column: str | None = None
    columns: tuple[str, ...] = ()
    source: str = ""
    unit: str = ""
    expected: Expected | None = None
    values: tuple[str | int | float | bool | None, ...] = ()
    pattern: str | None = None
    query: str = ""
    reference: Reference | None = None
    grace_s: int = 0
    within_s: int | None = None
    across_s: int = 0
    quantile: float = 1.0
    codes: tuple[str, ...] = ()
    sensitivity: float | None = None
    description: str = ""

    @property
    def holds_for_parts(self) -> bool:
        """Whether a part of a partition that breaks it cannot be mended by the rows that are still to come."""
        if self.kind not in _COUNTING or self.unit != "rows" or self.expected is None:
            return False
        most = self.expected.operator in (Operator.LESS, Operator.LESS_EQUAL)
        return most or (self.expected.operator is Operator.BE and self.expected.values == (0,))


_COUNTING = frozenset(
    {
        RuleKind.ROW_COUNT, RuleKind.NULL_VALUES, RuleKind.MISSING_VALUES, RuleKind.INVALID_VALUES, RuleKind.DUPLICATE_VALUES,
        RuleKind.UNIQUE,
    }
)  # fmt: skip


@dataclass(frozen=True)
class DeclaredDays:
    """Days that are not as others. first, last: both included, of the calendar's zone. treat_as: a weekday, or ignore."""

    first: date
    last: date
    treat_as: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "ignore"] = "ignore"
    reason: str = ""


@dataclass(frozen=True)
class QualityCalendar:
    """Whose hours and weekdays history is compared by. zone: IANA name."""

    zone: str = "UTC"
    days: tuple[DeclaredDays, ...] = ()


@dataclass(frozen=True)
class QualitySpec:
    """All rules of a contract. partition_s: length of a partition; partitions begin on multiples of it since 1970."""

    rules: tuple[QualityRule, ...] = ()
    partition_s: int = HOUR_S
    calendar: QualityCalendar = field(default_factory=QualityCalendar)

    @property
    def gate(self) -> bool:
        """Whether a partition can be held."""
        return any(rule.severity is not Severity.WARN for rule in self.rules)
