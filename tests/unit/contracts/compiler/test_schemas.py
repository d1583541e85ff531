"""The exported schemas: JSON Schema says what the checker does, Arrow holds every canonical value."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.compiler.checker import RecordChecker
from contracts.compiler.schemas import PROVENANCE, arrow_type, json_schema, row_schema, to_arrow
from contracts.spec.model import Column, ColumnType
from contracts.spec.paths import PayloadPath
from contracts.spec.rules import RequireWhen
from contracts.spec.source import EpochUnit
from contracts.spec.versions import SchemaVersionRule
from tests.support.documents import documents, everything_contract, everything_spec
from tests.support.reference import validator

# What JSON Schema cannot say: relations between fields, and what a text holds. (path, rule)
UNSAYABLE_RULES = {"compare"}
TEXT_COLUMNS = {"count_text", "size_text", "price_text", "flag_text", "details_text"}


def compare_verdicts(checker: RecordChecker, schema: Any, record: dict[str, Any]) -> None:
    """Accepted means valid; rejected means invalid, unless the schema has no words for any of the reasons."""
    checked = checker.check([record])
    if checked.filtered:
        return
    valid = schema.is_valid(record)
    if checked.accepted:
        assert valid, [error.message for error in schema.iter_errors(record)]
        return
    reasons = checked.rejected[0]
    sayable = [
        v for v in reasons if v.rule not in UNSAYABLE_RULES and not (v.path in TEXT_COLUMNS and type(record.get(v.path)) is str)
    ]
    if sayable:
        assert not valid, sayable


@pytest.mark.parametrize("unknown", ["keep", "drop", "reject"])
@pytest.mark.parametrize("missing_event_id", ["derive", "reject"])
@pytest.mark.parametrize("default_version", ["1", None])
def test_the_schema_and_the_checker_agree_on_a_contract_with_every_feature(
    unknown: Any, missing_event_id: Any, default_version: str | None
) -> None:
    contract, spec = everything_contract(unknown), everything_spec(missing_event_id, default_version)
    checker, schema = RecordChecker(contract, spec), validator(json_schema(contract, spec))
    common = {"deadline": None, "derandomize": True, "suppress_health_check": (HealthCheck.too_slow, HealthCheck.data_too_large)}

    @settings(max_examples=40, **common)
    @given(documents(contract, spec))
    def agree(record: dict[str, Any]) -> None:
        compare_verdicts(checker, schema, record)

    agree()


GOOD: dict[str, Any] = {"id": "1", "kind": "c", "code": "A1", "at_local": "2026-11-02T10:00:00", "choices": {"x": True}}


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({}, True),
        ({"v": 1}, True), ({"v": 1.0}, True), ({"v": "1"}, True), ({"v": "02"}, True), ({"v": 2}, False), ({"v": True}, False),
        ({"v": "beta"}, True), ({"v": None}, True), ({"v": []}, False),
        ({"kind": None}, False), ({"kind": None, "meta": {"kind": "b"}}, True), ({"kind": "-", "meta": {"kind": "b"}}, True),
        ({"kind": None, "meta": {"kind": "a"}}, False), ({"kind": None, "meta": {"kind": "a", "size": 5}, "count": 5}, True),
        ({"kind": None, "meta": 5}, False),
        ({"code": None}, False), ({"code": "NONE"}, False), ({"code": None, "flag": False}, True), ({"code": "A1\n"}, False),
        ({"code": "NONE", "meta": {"code": "B1"}}, True), ({"code": None, "meta": {"code": None, "deep": {"code": "B1"}}}, True),
        ({"count": 10.0}, True), ({"count": 11}, False), ({"count": True}, False), ({"count": "5"}, False),
        ({"count_text": "5"}, True),
        ({"count_text": "five"}, False), ({"count_text": 2**63}, False), ({"count_text": -(2**63)}, True),
        ({"size_text": "1e3"}, True),
        ({"price": 0.07}, True), ({"price": 0.075}, False), ({"price": 9999.99}, True), ({"price": 10000}, False),
        ({"price": -0.01}, False),
        ({"price": 1e-7}, False), ({"flag": 1}, False), ({"flag_text": "YES"}, True), ({"flag_text": "ja"}, False),
        ({"at": "2026-11-02T10:00:00"}, False), ({"at_epoch": 10**16 - 1}, True), ({"at_epoch": 10**16}, False),
        ({"at_epoch": 10**400}, False), ({"at_epoch": 31_536_000_000}, False), ({"at_epoch": 10**9}, True),
        ({"at_epoch": 10**9 - 1}, False), ({"at": "2026-11-02 10:00 +00"}, True), ({"at": "2016-12-31T23:59:60Z"}, True),
        ({"day": "2026-02-29"}, False),
        ({"day": "2024-02-29"}, True), ({"day": "0000-00-00"}, True),
        ({"list": {}}, False), ({"list": []}, True), ({"details_text": '{"a":1}'}, True), ({"details_text": "x"}, False),
        ({"choices": {"x": None}}, False), ({"choices": {}}, True), ({"extra": 1}, False), ({"ignored": 1}, True),
    ],
)  # fmt: skip
def test_the_schema_and_the_checker_give_the_expected_verdict(change: dict[str, Any], accepted: bool) -> None:
    contract, spec = everything_contract(), everything_spec()
    record = {**GOOD, **change}
    assert bool(RecordChecker(contract, spec).check([record]).accepted) is accepted
    assert validator(json_schema(contract, spec)).is_valid(record) is accepted


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_schema_and_the_checker_agree_on_numbers_of_a_stated_unit(unit: EpochUnit) -> None:
    contract, spec = everything_contract(), replace(everything_spec(), epoch=(("at_epoch", unit),))
    check, schema = RecordChecker(contract, spec), validator(json_schema(contract, spec))
    scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    for number, accepted in ((0, True), (-62_135_596_800, True), (-62_135_596_801, False), (253_402_300_800, False)):
        record = {**GOOD, "at_epoch": number * scale}
        assert bool(check.check([record]).accepted) is accepted
        assert schema.is_valid(record) is accepted
    assert check.check([{**GOOD, "at_epoch": "7"}]).columns["at_epoch"] == [7 * 10**6 // scale]


def test_a_rule_on_a_column_that_no_path_fills_never_applies() -> None:
    contract = replace(everything_contract(), rules=(RequireWhen("flag", frozenset({True}), ("count",)),))
    spec = everything_spec()
    spec = replace(
        spec, columns={name: paths for name, paths in spec.columns.items() if name != "flag"}, ignore=frozenset({"flag"})
    )
    record = {**GOOD, "flag": True}
    assert RecordChecker(contract, spec).check([record]).accepted == [0]
    assert validator(json_schema(contract, spec)).is_valid(record)


@pytest.mark.parametrize(("value", "accepted"), [(True, False), (False, True), (None, True)])
def test_a_rule_may_stand_on_a_boolean(value: bool | None, accepted: bool) -> None:
    contract, spec = replace(everything_contract(), rules=(RequireWhen("flag", frozenset({True}), ("count",)),)), everything_spec()
    checked = RecordChecker(contract, spec).check([{**GOOD, "flag": value}])
    assert bool(checked.accepted) is accepted
    assert validator(json_schema(contract, spec)).is_valid({**GOOD, "flag": value}) is accepted


def test_a_version_that_must_be_there_is_required() -> None:
    contract, spec = everything_contract(), everything_spec(default_version=None)
    schema = validator(json_schema(contract, spec))
    assert not schema.is_valid(GOOD) and not RecordChecker(contract, spec).check([GOOD]).accepted
    assert schema.is_valid({**GOOD, "v": 1}) and RecordChecker(contract, spec).check([{**GOOD, "v": 1}]).accepted


def test_versions_that_are_no_plain_numbers_are_only_texts() -> None:
    spec = replace(
        everything_spec(),
        schema_version=SchemaVersionRule(path=PayloadPath(("v",)), accepted=frozenset({"²", "-3", "true"}), default="-3"),
    )
    (versions,) = [
        s["properties"]["v"]["enum"] for s in json_schema(everything_contract(), spec)["allOf"] if "v" in s.get("properties", {})
    ]
    assert versions == ["-3", -3, "true", True, "²", None]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (Column(name="c", type=ColumnType.STRING), ["", "ü", None]),
        (Column(name="c", type=ColumnType.INTEGER), [-(2**63), 2**63 - 1, None]),
        (Column(name="c", type=ColumnType.NUMBER), [0.0, -1.5e300, None]),
        (Column(name="c", type=ColumnType.DECIMAL, precision=38, scale=2), [Decimal("9" * 36 + ".99"), Decimal("-0.01"), None]),
        (Column(name="c", type=ColumnType.BOOLEAN), [True, False, None]),
        (Column(name="c", type=ColumnType.DATE), [date(1, 1, 1), date(9999, 12, 31), None]),
        (Column(name="c", type=ColumnType.JSON), ["{}", None]),
        (Column(name="c", type=ColumnType.BOOLEAN_MAP), [{}, {"b": False, "a": True}, None]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, Column) else "",
)
def test_arrow_holds_every_canonical_value(column: Column, values: list[Any]) -> None:
    array = to_arrow(arrow_type(column), values)
    back = [dict(value) if isinstance(value, list) else value for value in array.to_pylist()]
    assert back == values


@given(st.dictionaries(st.text(max_size=3), st.booleans(), max_size=4))
def test_maps_go_into_arrow_in_the_order_of_their_keys(choices: dict[str, bool]) -> None:
    (stored,) = to_arrow(pa.map_(pa.string(), pa.bool_()), [choices]).to_pylist()
    assert stored == sorted(choices.items())


def test_rows_are_the_contracts_columns_and_then_provenance() -> None:
    contract = everything_contract("keep")
    assert row_schema(contract).names == [c.name for c in contract.columns] + PROVENANCE.names
