"""A contract as expectations by the names of Great Expectations 1.x, and what of it has none. Knows no Great Expectations itself.

Bounds travel as floats there, and shares of rows as ``mostly``: what would not come out exactly so is not mapped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal

from contracts.spec.model import Column, ColumnType, Contract, pattern_of
from contracts.spec.quality import Expected, Operator, QualityRule, RuleKind, Severity
from contracts.spec.rules import Compare, RequireAny, RequireWhen, Rule

# What a kind of rule becomes. Of records, by the names that violations have; then rules about partitions.
MAPPED: Mapping[str, str] = MappingProxyType(
    {
        "required": "ExpectColumnValuesToNotBeNull",
        "enum": "ExpectColumnValuesToBeInSet",
        "pattern": "ExpectColumnValuesToMatchRegex",
        "format": "ExpectColumnValuesToMatchRegex",
        "length": "ExpectColumnValueLengthsToBeBetween",
        "range": "ExpectColumnValuesToBeBetween, where the bound is exactly a float",
        "require_any": "ExpectColumnValuesToNotBeNull, where the other columns have no value",
        "require_when": "ExpectColumnValuesToNotBeNull, where the condition holds",
        "compare": "ExpectColumnPairValuesAToBeGreaterThanB, or ExpectColumnPairValuesToBeEqual",
        RuleKind.ROW_COUNT: "ExpectTableRowCountToBeBetween",
        RuleKind.NULL_VALUES: "ExpectColumnValuesToNotBeNull, with mostly",
        RuleKind.MISSING_VALUES: "ExpectColumnValuesToNotBeNull or …ToNotBeInSet, with mostly",
        RuleKind.INVALID_VALUES: "ExpectColumnValuesToBeInSet or …ToMatchRegex, with mostly",
        RuleKind.DUPLICATE_VALUES: "ExpectColumnValuesToBeUnique, where none may be",
        RuleKind.UNIQUE: "ExpectColumnValuesToBeUnique or ExpectCompoundColumnsToBeUnique, within the partition",
        RuleKind.COMPLETENESS: "ExpectColumnValuesToNotBeNull, with mostly, of one column",
    }
)
_OTHER_TABLES = "looks at another table, a suite has one"
_HISTORY = "is learnt from history, and the profilers of Great Expectations are gone since 1.0"
UNMAPPED: Mapping[str, str] = MappingProxyType(
    {
        "type": "the table's column has the type",
        "timestamp": "the table's column has the type",
        "precision": "the table's column has the type",
        "unknown_field": "fields that no column names are in no column",
        RuleKind.SQL: "DuckDB's dialect over several tables; Great Expectations runs SQL in a database alone",
        RuleKind.REFERENCES: _OTHER_TABLES,
        RuleKind.AGREEMENT: _OTHER_TABLES,
        RuleKind.DEAD_LETTERS: _OTHER_TABLES,
        RuleKind.FRESHNESS: "is about what is not there yet, and about no row",
        RuleKind.DELAY: "has no expectation: a quantile of the difference of two columns",
        RuleKind.VOLUME: _HISTORY,
        RuleKind.NULL_SHARE: _HISTORY,
        RuleKind.DISTRIBUTION: _HISTORY,
    }
)


@dataclass(frozen=True)
class Condition:
    """Rows that an expectation is about: those whose column has no value, or, with among, one of these."""

    column: str
    among: tuple[Any, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One expectation. Its rule may have several, one a column.

    rule: of ours, as verdicts and pages call it. kind: key of MAPPED. type: class of Great Expectations. arguments: of it. when:
    all must hold of a row. expected: in words. most: how many rows may be otherwise, in rows or percent of those looked at; with
    below, fewer than that.
    """

    rule: str
    kind: str
    type: str
    arguments: Mapping[str, Any]
    expected: str
    column: str | None = None
    severity: Severity = Severity.QUARANTINE
    when: tuple[Condition, ...] = ()
    most: int | float = 0
    below: bool = False
    unit: Literal["rows", "percent"] = "rows"


@dataclass(frozen=True)
class Unmapped:
    """A rule that has no expectation, and why, a sentence without a full stop."""

    rule: str
    kind: str
    why: str


@dataclass(frozen=True)
class Suite:
    """A contract's expectations, in its order, and its rules that have none."""

    expectations: tuple[Expectation, ...] = ()
    unmapped: tuple[Unmapped, ...] = field(default=())

    @property
    def columns(self) -> list[str]:
        """Columns that the expectations read."""
        found: list[str] = []
        for each in self.expectations:
            found += [each.arguments[key] for key in ("column", "column_A", "column_B") if key in each.arguments]
            found += [*each.arguments.get("column_list", ()), *(condition.column for condition in each.when)]
        return list(dict.fromkeys(found))


def suite_of(contract: Contract) -> Suite:
    """The suite of a contract: what it says of a record, then what it says of a partition."""
    parts = [part for column in contract.columns if column.name not in contract.computed for part in _of_column(column)]
    parts += [part for number, rule in enumerate(contract.rules, 1) for part in _of_rule(rule, number)]
    parts += map(_of_partition, contract.quality.rules)
    return Suite(
        tuple(part for part in parts if isinstance(part, Expectation)), tuple(part for part in parts if isinstance(part, Unmapped))
    )


_Part = Expectation | Unmapped


def _of_column(column: Column) -> Iterator[_Part]:
    name = column.name

    def part(kind: str, type_: str, expected: str, **arguments: Any) -> Expectation:
        return Expectation(
            rule=f"{name}.{kind}", kind=kind, type=type_, arguments={"column": name, **arguments}, expected=expected, column=name
        )

    if column.required:
        yield part("required", "ExpectColumnValuesToNotBeNull", "a value")
    if column.enum:
        yield part("enum", "ExpectColumnValuesToBeInSet", f"one of {', '.join(column.enum)}", value_set=list(column.enum))
    if column.regex:
        kind = "pattern" if column.pattern else "format"
        told = column.pattern or column.format or ""
        yield part(kind, "ExpectColumnValuesToMatchRegex", told, regex=ascii_pattern(column.regex.pattern))
    if column.type is ColumnType.STRING and not column.min_length is column.max_length is None:
        bounds = {"min_value": column.min_length, "max_value": column.max_length}
        yield part("length", "ExpectColumnValueLengthsToBeBetween", _within(bounds, "characters"), **bounds)
    if not column.minimum is column.maximum is None:
        limits = {"min_value": column.minimum, "max_value": column.maximum}
        exact = {"min_value": _float_bound(column, column.minimum, -1), "max_value": _float_bound(column, column.maximum, 1)}
        if any(exact[key] is None and limits[key] is not None for key in limits):
            yield Unmapped(f"{name}.range", "range", "a bound has more digits than a float, which Great Expectations makes of it")
        else:
            yield part("range", "ExpectColumnValuesToBeBetween", _within(limits), **exact)


def _within(bounds: Mapping[str, Any], unit: str = "") -> str:
    words = {"min_value": "at least", "max_value": "at most"}
    return " and ".join(f"{words[key]} {value} {unit}".rstrip() for key, value in bounds.items() if value is not None)


def ascii_pattern(pattern: str) -> str:
    """A pattern with the flag that contracts match by inside it; it may begin with flags of its own."""
    own = re.match(r"\(\?([aimsx]+)\)", pattern)
    return f"(?a{own[1].replace('a', '')}){pattern[own.end() :]}" if own else f"(?a){pattern}"


def _float_bound(column: Column, bound: Any, outwards: int) -> Any:
    """A bound as a float that lets the same values of the column through; None where there is none.

    A decimal has values at steps of its scale: a float between the bound and the next value outside does as well as the bound.
    """
    if bound is None or not isinstance(bound, int | float | Decimal):
        return bound  # a date goes as it is
    nearest = float(bound)
    if Decimal(nearest) == Decimal(bound):
        return nearest
    if column.type is not ColumnType.DECIMAL:
        return None
    if (Decimal(nearest) - Decimal(bound)) * outwards < 0:
        nearest = math.nextafter(nearest, outwards * math.inf)
    return nearest if abs(Decimal(nearest) - Decimal(bound)) < Decimal(1).scaleb(-column.scale) else None


def _of_rule(rule: Rule, number: int) -> Iterator[_Part]:
    """Rules over several columns of a record; they have no names, so they are called by their kind, number and columns."""
    if isinstance(rule, RequireAny):
        yield _one_of(f"require_any.{number}", "require_any", rule.any_of, (), "at least one has a value")
    elif isinstance(rule, RequireWhen):
        among = sorted(rule.among, key=str)
        when, words = (Condition(rule.when, tuple(among)),), f"where {rule.when} is {' or '.join(map(str, among))}"
        if rule.any_is_enough:
            yield _one_of(f"require_when.{number}", "require_when", rule.required, when, f"one has a value {words}")
        else:
            for name in rule.required:
                yield _one_of(f"require_when.{number}.{name}", "require_when", (name,), when, f"a value {words}")
    elif isinstance(rule, Compare):
        yield _comparison(rule, f"compare.{number}")


def _one_of(rule: str, kind: str, columns: Sequence[str], when: tuple[Condition, ...], expected: str) -> Expectation:
    *others, last = columns
    return Expectation(
        rule=rule, kind=kind, type="ExpectColumnValuesToNotBeNull", arguments={"column": last},
        expected=f"{', '.join(columns)}: {expected}", when=(*when, *(Condition(name) for name in others)),
    )  # fmt: skip


def _comparison(rule: Compare, name: str) -> Expectation:
    left, right = (rule.left, rule.right) if rule.relation in (">", ">=", "==") else (rule.right, rule.left)
    arguments: dict[str, Any] = {"column_A": left, "column_B": right, "ignore_row_if": "either_value_is_missing"}
    equal = rule.relation == "=="
    return Expectation(
        rule=name, kind="compare", expected=f"{rule.left} {rule.relation} {rule.right}",
        type="ExpectColumnPairValuesToBeEqual" if equal else "ExpectColumnPairValuesAToBeGreaterThanB",
        arguments=arguments if equal else {**arguments, "or_equal": rule.relation in (">=", "<=")},
    )  # fmt: skip


_Most = tuple[int | float, bool]  # how many rows may be otherwise, or whether they must be fewer
_NONE: _Most = (0, False)
_Made = tuple[str, Mapping[str, Any], _Most]  # of a class, with arguments


class _NoExpectation(Exception):
    """Why there is none."""


def _of_partition(rule: QualityRule) -> _Part:
    try:
        type_, arguments, most = _expectation_of(rule)
    except _NoExpectation as why:
        return Unmapped(rule.name, rule.kind, str(why))
    return Expectation(
        rule=rule.name, kind=rule.kind, type=type_, arguments=arguments, column=rule.column, severity=rule.severity,
        expected=rule.expected.words(rule.unit) if rule.expected else "", most=most[0], below=most[1],
        unit="percent" if rule.unit == "percent" else "rows",
        when=(Condition("_source", (rule.source,)),) if rule.source else (),
    )  # fmt: skip


def _expectation_of(rule: QualityRule) -> _Made:
    if rule.kind in UNMAPPED or rule.expected is None:
        raise _NoExpectation(UNMAPPED.get(rule.kind, "expects nothing"))
    if rule.kind is RuleKind.ROW_COUNT:
        return "ExpectTableRowCountToBeBetween", _row_bounds(rule.expected), _NONE
    most = _most_missing(rule) if rule.kind is RuleKind.COMPLETENESS else _most(rule.expected)
    if rule.kind in (RuleKind.UNIQUE, RuleKind.DUPLICATE_VALUES):
        return _unique(rule, most)
    if len(rule.columns) > 1:
        raise _NoExpectation("no expectation says that each of several columns has a value")
    type_, arguments = _of_values(rule)
    return type_, {"column": rule.columns[0], **arguments}, most


def _of_values(rule: QualityRule) -> tuple[str, Mapping[str, Any]]:
    named = [value for value in rule.values if value is not None]
    if rule.kind is RuleKind.INVALID_VALUES:
        if named and rule.pattern:
            raise _NoExpectation("values and a pattern are two expectations")
        if rule.pattern:
            return "ExpectColumnValuesToMatchRegex", {"regex": ascii_pattern(pattern_of(rule.pattern).pattern)}
        return "ExpectColumnValuesToBeInSet", {"value_set": named}
    if rule.kind is RuleKind.MISSING_VALUES and named:
        if None in rule.values:
            raise _NoExpectation("null and values that stand for it are two expectations")
        return "ExpectColumnValuesToNotBeInSet", {"value_set": named}
    return "ExpectColumnValuesToNotBeNull", {}


def _unique(rule: QualityRule, most: _Most) -> _Made:
    if most not in (_NONE, (1, True)) or rule.across_s or (most[1] and rule.unit == "percent"):
        raise _NoExpectation("Great Expectations counts every copy, and within the partition: only none at all says the same")
    columns = list(rule.columns)
    if len(columns) == 1:
        return "ExpectColumnValuesToBeUnique", {"column": columns[0]}, _NONE
    return "ExpectCompoundColumnsToBeUnique", {"column_list": columns, "ignore_row_if": "any_value_is_missing"}, _NONE


def _most(expected: Expected) -> _Most:
    """How many there may be."""
    first: Any = expected.values[0]
    if expected.operator is Operator.LESS_EQUAL or (expected.operator is Operator.BE and first == 0):
        return first, False
    if expected.operator is Operator.LESS and first > 0:
        return first, True
    if expected.operator is Operator.BETWEEN and first <= 0:
        return expected.values[1], False  # type: ignore[return-value]
    raise _NoExpectation("mostly says how many at most, and nothing of how many at least")


def _most_missing(rule: QualityRule) -> _Most:
    """The same of a share that must be there, in percent."""
    expected = rule.expected
    assert expected is not None
    wanted = expected.operator in (Operator.GREATER_EQUAL, Operator.GREATER)
    if rule.unit != "percent" or not (wanted or (expected.operator is Operator.BE and expected.values[0] == 100)):
        raise _NoExpectation("mostly says which share at least, and nothing else")
    return float(100 - Decimal(str(expected.values[0]))), expected.operator is Operator.GREATER


def _row_bounds(expected: Expected) -> Mapping[str, int]:
    first, last = (math.ceil(expected.values[0]), math.floor(expected.values[-1]))  # type: ignore[arg-type]
    bounds: dict[Operator, tuple[int | None, int | None]] = {
        Operator.BE: (first, last),
        Operator.BETWEEN: (first, last),
        Operator.GREATER: (last + 1, None),
        Operator.GREATER_EQUAL: (first, None),
        Operator.LESS: (None, first - 1),
        Operator.LESS_EQUAL: (None, last),
    }
    if expected.operator not in bounds:
        raise _NoExpectation("no expectation says which number of rows it must not be")
    return {
        key: value for key, value in zip(("min_value", "max_value"), bounds[expected.operator], strict=True) if value is not None
    }
