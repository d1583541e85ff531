"""Rules over columns: what they reject, and that the fast suspicion names at least that."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.codes import RULE_CODES, Code
from contracts.spec.rules import Compare, RequireAny, RequireWhen, Rule, parse_rule

PATHS = {"kind": "type", "a": "ctx.a", "b": "ctx.b"}
RULES: tuple[Rule, ...] = (
    RequireAny(("a", "b")),
    RequireAny(("a",)),
    RequireWhen("kind", frozenset({1}), ("a", "b")),
    RequireWhen("kind", frozenset({1, 2}), ("a", "b"), any_is_enough=True),
    *(Compare("a", relation, "b") for relation in ("<", "<=", "==", ">=", ">")),
)


@given(st.sampled_from(RULES), st.lists(st.tuples(*[st.none() | st.integers(0, 3)] * 3), max_size=8))
def test_every_row_that_a_rule_rejects_is_suspected(rule: Rule, rows: list[tuple[int | None, ...]]) -> None:
    columns = {name: [row[i] for row in rows] for i, name in enumerate(PATHS)}
    suspects = set(rule.suspects(columns))
    broken = {i for i, row in enumerate(rows) if rule.violations(dict(zip(PATHS, row, strict=True)), PATHS)}
    assert broken <= suspects <= set(range(len(rows)))


def told(rule: Rule, **row: Any) -> list[tuple[str, str, str]]:
    full = {"kind": None, "a": None, "b": None} | row
    return [(v.path, v.rule, v.expected) for v in rule.violations(full, PATHS)]


def test_one_value_of_several_is_enough() -> None:
    rule = RequireAny(("a", "b"))
    assert told(rule) == [("ctx.a|ctx.b", "require_any", "at least one has a value")]
    assert told(rule, b="") == told(rule, a=0) == told(rule, a=False) == []


def test_all_are_required_where_the_condition_holds() -> None:
    rule = RequireWhen("kind", frozenset({"x", "w"}), ("a", "b"))
    expected = "required where type is w or x"
    assert told(rule, kind="x") == [("ctx.a", "require_when", expected), ("ctx.b", "require_when", expected)]
    assert told(rule, kind="w", a=1) == [("ctx.b", "require_when", expected)]
    assert told(rule, kind="y") == told(rule) == told(rule, kind="x", a=1, b=2) == []


def test_one_is_enough_where_the_rule_says_so() -> None:
    rule = RequireWhen("kind", frozenset({"x"}), ("a", "b"), any_is_enough=True)
    assert told(rule, kind="x") == [("ctx.a|ctx.b", "require_when", "one is required where type is x")]
    assert told(rule, kind="x", b=1) == []


def test_a_condition_on_numbers_is_told_in_words() -> None:
    assert told(RequireWhen("kind", frozenset({1, 2}), ("a",)), kind=2) == [
        ("ctx.a", "require_when", "required where type is 1 or 2")
    ]


@pytest.mark.parametrize(
    ("relation", "holds"),
    [
        ("<", (True, False, False)),
        ("<=", (True, True, False)),
        ("==", (False, True, False)),
        (">=", (False, True, True)),
        (">", (False, False, True)),
    ],
)
def test_a_comparison_at_its_boundary(relation: str, holds: tuple[bool, bool, bool]) -> None:
    rule = Compare("a", relation, "b")
    assert tuple(not told(rule, a=Decimal(a), b=Decimal("1.00")) for a in ("0.99", "1", "1.01")) == holds
    assert told(rule, a=1) == told(rule, b=1) == []


def test_a_comparison_is_told_with_both_places() -> None:
    assert told(Compare("a", "<", "b"), a=2, b=1) == [("ctx.a|ctx.b", "compare", "a < b")]


@pytest.mark.parametrize(
    ("definition", "rule"),
    [
        ({"require_any": ["a", "b"]}, RequireAny(("a", "b"))),
        ({"when": {"kind": ["x"]}, "require": ["a"]}, RequireWhen("kind", frozenset({"x"}), ("a",))),
        ({"when": {"kind": ["x"]}, "require_any": ["a"]}, RequireWhen("kind", frozenset({"x"}), ("a",), any_is_enough=True)),
        ({"compare": ["a", "<=", "b"]}, Compare("a", "<=", "b")),
    ],
)
def test_a_rule_is_read_from_its_yaml(definition: dict[str, Any], rule: Rule) -> None:
    assert parse_rule(definition) == rule


@pytest.mark.parametrize(
    "definition",
    [{}, 5, "require_any", {"require_any": []}, {"when": {}, "require": ["a"]}, {"when": {"a": [1], "b": [1]}, "require": ["a"]},
     {"when": {"a": []}, "require": ["a"]}, {"when": {"a": [1]}}, {"compare": ["a", "<"]}, {"compare": ["a", "!=", "b"]},
     {"when": {"a": [1]}, "require": ["b"], "require_any": ["c"]}, {5: 6}],
)  # fmt: skip
def test_what_is_no_rule_is_refused(definition: Any) -> None:
    with pytest.raises(ValueError):
        parse_rule(definition)


def test_every_code_comes_from_a_rule() -> None:
    assert set(RULE_CODES.values()) == set(Code)
