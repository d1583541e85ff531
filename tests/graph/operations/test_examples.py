"""Examples of source specs: what is as expected, and every way in which one is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from contracts.spec.model import Column, ColumnType, Contract
from contracts.spec.paths import PayloadPath
from contracts.spec.source import DropRule, SourceSpec
from contracts.spec.versions import Example, SchemaVersionRule, Step, Upcast
from operations.examples import run_examples, without_examples

COLUMNS = {
    "id": ColumnType.STRING, "at": ColumnType.TIMESTAMP, "day": ColumnType.DATE, "count": ColumnType.INTEGER,
    "price": ColumnType.DECIMAL, "paid": ColumnType.BOOLEAN, "more": ColumnType.JSON, "consent": ColumnType.BOOLEAN_MAP,
}  # fmt: skip
CONTRACT = Contract(
    name="thing", version="1.0.0", kind="event", event_id="id", window_time=("at",),
    columns=tuple(
        Column(name=name, type=kind, required=name == "id", precision=10, scale=2, minimum=0 if name == "count" else None)
        for name, kind in COLUMNS.items()
    ),
)  # fmt: skip
SPEC = SourceSpec(
    name="s", dataset="thing", version=1, format="jsonl", columns={name: (PayloadPath((name,)),) for name in COLUMNS},
    filters=(DropRule(PayloadPath(("bot",)), frozenset({"true"})),),
    schema_version=SchemaVersionRule(
        path=PayloadPath(("v",)), accepted=frozenset({"1", "2"}), default="2",
        upcasts=(Upcast("1", "2", (Step(kind="rename", paths=(PayloadPath(("n",)),), into=(PayloadPath(("count",)),)),)),),
    ),
)  # fmt: skip
FULL = {
    "id": "a", "at": datetime(2026, 1, 1, 12, tzinfo=UTC), "day": date(2026, 1, 2), "count": 7, "price": 12.5, "paid": True,
    "more": {"b": [1], "a": None}, "consent": {"ads": False},
}  # fmt: skip


def problems(spec: SourceSpec = SPEC, **example: Any) -> tuple[str, ...]:
    """Of one example."""
    (result,) = run_examples(replace(spec, examples=(Example(**example),)), CONTRACT)
    return result.problems


def row(**values: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(values.items())


def test_every_type_is_compared_as_it_is_written_in_yaml() -> None:
    expected = FULL | {"price": "12.50", "at": "2026-01-01T13:00:00+01:00"}
    assert problems(payload=FULL, row=tuple(expected.items())) == ()
    assert problems(payload=FULL, row=tuple(FULL.items())) == ()
    assert problems(payload={"id": "a"}, row=row(count=None, at=None, more=None)) == ()


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        ({"payload": FULL, "row": row(count=8)}, "count: expected 8, got 7"),
        ({"payload": FULL, "row": row(at="2026-01-01T12:00:01Z")}, "at: expected 2026-01-01T12:00:01Z, got 2026-01-01T12:00:00Z"),
        ({"payload": FULL, "row": row(price="12.51")}, "price: expected 12.51, got 12.50"),
        ({"payload": FULL, "row": row(day=None)}, "day: expected no value, got 2026-01-02"),
        ({"payload": FULL, "row": row(count="seven")}, "count: the expected value is no integer"),
        ({"payload": FULL, "row": row(cuont=7)}, "thing has no column cuont"),
        ({"payload": {"v": 1, "id": "a", "n": 3}, "row": row(count=4)}, "count: expected 4, got 3"),
        ({"payload": {}, "row": ()}, "expected row, got rejected (id: required, expected a value)"),
        ({"payload": FULL, "rejected": ("type",)}, "expected rejected, got row"),
        ({"payload": FULL, "filtered": True}, "expected filtered, got row"),
        ({"payload": {"id": 1, "count": -1}, "rejected": ("type",)}, "breaks range too"),
        ({"payload": {"id": 1}, "rejected": ("type", "not_in_enum")}, "expected to break not_in_enum"),
        ({"payload": [1], "row": ()}, "expected row, got rejected ($: syntax, expected an object)"),
    ],
)
def test_what_is_not_as_expected_is_told(example: dict[str, Any], expected: str) -> None:
    assert problems(**example) == (expected,)


def test_rejections_are_expected_by_rule_or_code_and_filters_hold() -> None:
    assert problems(payload={"id": 1, "count": -1}, rejected=("type", "out_of_range")) == ()
    assert problems(payload={"v": 9}, rejected=("unknown_schema_version",)) == ()
    assert problems(payload={"v": 1, "n": 1, "count": 2}, rejected=("upcast",)) == ()
    assert problems(payload={"bot": True}, filtered=True) == ()


def test_a_batch_of_records_is_an_example_of_one() -> None:
    spec = replace(SPEC, records=PayloadPath(("batch",)))
    assert problems(spec, payload={"batch": [{"id": "a", "count": 1}]}, row=row(count=1)) == ()
    assert problems(spec, payload={"batch": [{}, {}]}, row=()) == ("holds 2 records; an example is one",)


def test_a_csv_has_texts_and_a_header_tells_a_version() -> None:
    header = replace(SPEC.schema_version, path=None, header="v") if SPEC.schema_version else None
    spec = replace(SPEC, format="csv", schema_version=header)
    assert problems(spec, payload={"id": "a", "n": 12}, version="1", row=row(count=12)) == ()
    assert problems(spec, payload={"id": "a", "n": 12}, version="3", rejected=("schema_version",)) == ()


def test_versions_without_an_example_are_named() -> None:
    assert without_examples(SPEC) == ["1"]
    assert without_examples(replace(SPEC, examples=(Example(payload={"v": 1}, row=()),))) == []
    assert without_examples(replace(SPEC, schema_version=None)) == []
