"""A contract as a suite of expectations."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from contracts.spec.model import Column, ColumnType
from contracts.spec.quality import Expected, Operator, QualityRule, QualitySpec, RuleKind
from quality.expectations.suite import MAPPED, UNMAPPED, Expectation, Unmapped, ascii_pattern, suite_of
from tests.support.contract_table import BASE

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "great-expectations.md"
_OF_RECORDS = {"required", "enum", "pattern", "format", "length", "range", "type", "timestamp", "precision", "unknown_field"}


def test_every_kind_of_rule_has_an_expectation_or_a_reason() -> None:
    assert not MAPPED.keys() & UNMAPPED.keys()
    assert MAPPED.keys() | UNMAPPED.keys() == {*map(str, RuleKind)} | _OF_RECORDS | {"require_any", "require_when", "compare"}


def test_the_page_lists_what_is_mapped_and_what_is_not() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|$", PAGE.read_text("utf-8"), re.MULTILINE))
    assert rows == {**MAPPED, **UNMAPPED}


def _of_column(**given: Any) -> Any:
    contract = replace(BASE, columns=(*BASE.columns, Column(name="x", **given)))
    found = suite_of(contract)
    own = [e for e in found.expectations if e.column == "x"] + [u for u in found.unmapped if u.rule.startswith("x.")]
    assert len(own) == 1
    return own[0]


@pytest.mark.parametrize(
    ("bound", "scale", "reads"),
    [("0.10", 2, True), ("12345678901234.56", 2, True), ("12345678901234567890.01", 2, False), ("0.000000000000000001", 18, True)],
)
def test_a_bound_lets_the_same_decimals_through_or_is_not_mapped(bound: str, scale: int, reads: bool) -> None:
    found = _of_column(type=ColumnType.DECIMAL, precision=38, scale=scale, minimum=Decimal(bound), maximum=Decimal(bound))
    assert isinstance(found, Expectation if reads else Unmapped)
    if reads:
        step, low, high = Decimal(1).scaleb(-scale), found.arguments["min_value"], found.arguments["max_value"]
        assert low <= Decimal(bound) <= high
        assert Decimal(bound) - step < low and high < Decimal(bound) + step


def test_whole_numbers_beyond_a_float_are_not_mapped() -> None:
    assert isinstance(_of_column(type=ColumnType.INTEGER, minimum=2**53), Expectation)
    assert isinstance(_of_column(type=ColumnType.INTEGER, minimum=2**53 + 1), Unmapped)


def test_patterns_keep_the_flags_that_they_begin_with() -> None:
    assert ascii_pattern(r"^\w+$") == r"(?a)^\w+$"
    for pattern in ("(?i)x", "(?sx) y", "(?a)z", "(?:i)", "(?=i)"):
        re.compile(ascii_pattern(pattern))
    assert re.search(ascii_pattern("(?i)^x"), "X")


def _rule(kind: RuleKind, operator: Operator, *values: Any, **given: Any) -> Expectation | Unmapped:
    rule = QualityRule(name="r", kind=kind, columns=("event_id",), expected=Expected(operator, values), **given)
    suite = suite_of(replace(BASE, columns=(), rules=(), quality=QualitySpec((rule,))))
    return (*suite.expectations, *suite.unmapped)[0]


@pytest.mark.parametrize(
    ("operator", "values", "bounds"),
    [
        (Operator.BE, (7,), {"min_value": 7, "max_value": 7}),
        (Operator.GREATER, (7.5,), {"min_value": 8}),
        (Operator.GREATER, (7,), {"min_value": 8}),
        (Operator.GREATER_EQUAL, (7.5,), {"min_value": 8}),
        (Operator.LESS, (7.5,), {"max_value": 7}),
        (Operator.LESS, (7,), {"max_value": 6}),
        (Operator.LESS_EQUAL, (7.5,), {"max_value": 7}),
        (Operator.BETWEEN, (1.5, 3.5), {"min_value": 2, "max_value": 3}),
        (Operator.NOT_BE, (7,), None),
        (Operator.NOT_BETWEEN, (1, 2), None),
    ],
)
def test_numbers_of_rows_have_whole_bounds(operator: Operator, values: tuple[float, ...], bounds: dict[str, int] | None) -> None:
    found = _rule(RuleKind.ROW_COUNT, operator, *values, unit="rows")
    assert (found.arguments if isinstance(found, Expectation) else None) == bounds


@pytest.mark.parametrize(
    ("kind", "operator", "value", "more"),
    [
        (RuleKind.NULL_VALUES, Operator.GREATER, 1, {}),
        (RuleKind.NULL_VALUES, Operator.BE, 3, {}),
        (RuleKind.COMPLETENESS, Operator.GREATER_EQUAL, 5, {"unit": "rows"}),
        (RuleKind.UNIQUE, Operator.BE, 0, {"across_s": 3_600}),
        (RuleKind.UNIQUE, Operator.LESS_EQUAL, 2, {}),
        (RuleKind.MISSING_VALUES, Operator.BE, 0, {"values": (None, "n/a")}),
        (RuleKind.INVALID_VALUES, Operator.BE, 0, {"values": ("a",), "pattern": "a"}),
        (RuleKind.FRESHNESS, Operator.LESS, 60, {}),
        (RuleKind.REFERENCES, Operator.BE, 0, {}),
    ],
)
def test_what_great_expectations_would_say_otherwise_is_not_mapped(
    kind: RuleKind, operator: Operator, value: float, more: dict[str, Any]
) -> None:
    found = _rule(kind, operator, value, **more)
    assert isinstance(found, Unmapped) and found.why
