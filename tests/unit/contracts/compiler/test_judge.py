"""The judge: paths, envelopes, versions, filters, and which violations are told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contracts.compiler.judge import EMPTY, RecordJudge, lookup
from contracts.spec.model import Column, ColumnType, Contract
from contracts.spec.paths import PayloadPath
from contracts.spec.rules import RequireAny, RequireWhen
from contracts.spec.source import SourceSpec
from tests.support.documents import everything_contract, everything_spec

GOOD: dict[str, Any] = {"id": "1", "kind": "c", "code": "A1", "at_local": "2026-11-02T10:00:00Z", "choices": {"x": True}}


def told(record: dict[str, Any], *, judge: RecordJudge | None = None) -> list[tuple[str, str]]:
    verdict = (judge or RecordJudge(everything_contract(), everything_spec())).judge(record)
    return [(v.path, v.rule) for v in verdict] if isinstance(verdict, list) else []


def test_a_good_record_gives_a_row_of_all_mapped_columns() -> None:
    contract = everything_contract()
    row = RecordJudge(contract, everything_spec()).judge(GOOD)
    assert isinstance(row, dict)
    assert row.keys() == {c.name for c in contract.columns} - contract.computed
    assert (row["id"], row["at_local"], row["choices"]) == ("1", 1_793_613_600_000_000, {"x": True})


def test_all_violations_are_told_in_the_order_of_the_contract_with_rules_last() -> None:
    record = {"id": 5, "kind": "a", "count": 11, "at_local": "x", "zz": 1, "extra": 1}
    assert told(record) == [
        ("id", "type"), ("count", "range"), ("at_local", "timestamp"), ("extra", "unknown_field"), ("zz", "unknown_field"),
        ("code|email|flag", "require_any"),
    ]  # fmt: skip


def test_a_rule_on_a_column_that_is_wrong_already_says_nothing_more() -> None:
    assert told({**GOOD, "code": 5}) == [("code", "type")]
    assert told({**GOOD, "choices": {"x": 1}}) == [("choices.x", "type")]


def test_a_rule_on_another_column_from_the_same_place_still_speaks() -> None:
    columns = (
        Column(name="id", type=ColumnType.STRING),
        Column(name="n", type=ColumnType.INTEGER),
        Column(name="other", type=ColumnType.STRING),
    )
    contract = Contract(
        name="c", version="1", kind="event", columns=columns, event_id="id",
        rules=(RequireWhen("id", frozenset({"x"}), ("other",)), RequireAny(("n", "other"))),
    )  # fmt: skip
    same = (PayloadPath(("v",)),)
    spec = SourceSpec(
        name="s", dataset="c", version=1, format="jsonl", columns={"id": same, "n": same, "other": (PayloadPath(("o",)),)}
    )
    assert told({"v": "x"}, judge=RecordJudge(contract, spec)) == [("v", "type"), ("o", "require_when")]


def test_a_missing_id_is_told_unless_it_is_derived() -> None:
    record = GOOD | {"id": "null"}
    assert told(record) == [("id", "required")]
    assert told(record, judge=RecordJudge(everything_contract(), everything_spec("derive"))) == []


@pytest.mark.parametrize(
    ("traffic", "filtered"),
    [
        ("bot", True),
        (7, True),
        (7.0, True),
        ("7", True),
        (True, True),
        ("Bot", False),
        (None, False),
        (["bot"], False),
        (10**400, False),
    ],
    ids=str,
)
def test_a_filter_compares_plain_texts(traffic: Any, filtered: bool) -> None:
    judge = RecordJudge(everything_contract(), everything_spec())
    assert judge.is_filtered({"meta": {"traffic": traffic}}) is filtered


@pytest.mark.parametrize("meta", [None, 5, "bot", [], {"other": "bot"}])
def test_a_filter_whose_place_is_not_there_takes_nothing_out(meta: Any) -> None:
    assert not RecordJudge(everything_contract(), everything_spec()).is_filtered({"meta": meta})


def test_the_first_path_with_a_value_fills_a_column() -> None:
    spec = everything_spec()
    spec = replace(spec, columns={**spec.columns, "kind": (PayloadPath(("kind",)), PayloadPath(("kind",), envelope=True))})
    judge = RecordJudge(everything_contract(), spec)
    kinds = [judge.judge({**GOOD, "kind": own}, {"kind": "b"}) for own in ("c", None)]
    assert [row["kind"] if isinstance(row, dict) else row for row in kinds] == ["c", "b"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", {"b": {"c": 1}}), ("a.b.c", 1), ("a.x.c", None), ("a.b.c.d", None), ("x", None), ("^.a", 2), ("^.x.y", None)],
)
def test_a_path_leads_through_objects_only(text: str, expected: Any) -> None:
    assert lookup({"a": {"b": {"c": 1}}}, {"a": 2}, PayloadPath.parse(text)) == expected
    assert lookup({}, EMPTY, PayloadPath.parse(text)) is None
