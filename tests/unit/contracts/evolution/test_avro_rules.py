"""Avro's rules on schemas of anybody's making, as a registry holds them: what is documented, and what checkers got wrong.

What is said to be readable is read: fastavro writes by one schema and reads by the other.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from typing import Any

import fastavro
import pytest
from fastavro.utils import generate_many

from contracts.evolution.avro import avro_schema, logical_misfits, reading
from contracts.evolution.registered import RegisteredAvro, judge_registered
from tests.support.contract_table import contract_of


def _record(*fields: Any, **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "r", "fields": list(fields), **more}


def _f(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def _enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "e", "symbols": list(symbols), **more}


def _symbols(*symbols: str, **more: Any) -> dict[str, Any]:
    return _record(_f("x", _enum(*symbols, **more)))


def _fixed(size: int) -> dict[str, Any]:
    return _record(_f("x", {"type": "fixed", "name": "f", "size": size}))


def _items(kind: str) -> dict[str, Any]:
    return _record(_f("x", {"type": "array", "items": kind}))


def _values(kind: str) -> dict[str, Any]:
    return _record(_f("x", {"type": "map", "values": kind}))


_TEXT, _OPTIONAL = _f("x", "string"), _f("x", ["null", "string"], default=None)
_CASES: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    # change, reader, writer, whether it reads
    ("a field without a default that the data lacks", _record(_TEXT, _f("y", "long")), _record(_TEXT), False),
    ("a field with a default that the data lacks", _record(_TEXT, _f("y", "long", default=0)), _record(_TEXT), True),
    ("a field that the reader does not have", _record(_TEXT), _record(_TEXT, _f("y", "long")), True),
    ("null without a default (redpanda#16649)", _record(_f("x", ["null", "string"])), _record(_f("y", "long")), False),
    ("null with a default", _record(_OPTIONAL), _record(_f("y", "long")), True),
    ("a value as an optional one", _record(_OPTIONAL), _record(_TEXT), True),
    ("an optional value as one that is needed", _record(_TEXT), _record(_OPTIONAL), False),
    ("branches in another order", _record(_f("x", ["string", "null"])), _record(_OPTIONAL), True),
    ("a branch more", _record(_f("x", ["null", "string", "long"])), _record(_OPTIONAL), True),
    ("a branch less", _record(_OPTIONAL), _record(_f("x", ["null", "string", "long"], default=None)), False),
    ("int as long", _record(_f("x", "long")), _record(_f("x", "int")), True),
    ("int as float", _record(_f("x", "float")), _record(_f("x", "int")), True),
    ("long as double", _record(_f("x", "double")), _record(_f("x", "long")), True),
    ("long as int", _record(_f("x", "int")), _record(_f("x", "long")), False),
    ("double as float", _record(_f("x", "float")), _record(_f("x", "double")), False),
    ("string as bytes", _record(_f("x", "bytes")), _record(_TEXT), True),
    ("bytes as string", _record(_TEXT), _record(_f("x", "bytes")), True),
    ("long as string", _record(_TEXT), _record(_f("x", "long")), False),
    ("a symbol more in the data (schema-registry#601, apicurio#2572)", _symbols("A"), _symbols("A", "B"), False),
    ("a symbol more in the data, and a default", _symbols("A", default="A"), _symbols("A", "B"), True),
    ("a symbol less in the data (schema-registry#880)", _symbols("A", "B"), _symbols("A"), True),
    ("an alias", _record(_f("y", "string", aliases=["x"])), _record(_TEXT), True),
    ("a name without an alias", _record(_f("y", "string")), _record(_TEXT), False),
    ("another size", _fixed(8), _fixed(4), False),
    ("items that widen", _items("long"), _items("int"), True),
    ("items that narrow", _items("int"), _items("long"), False),
    ("values that widen", _values("double"), _values("long"), True),
    ("an array as a map", _values("int"), _items("int"), False),
    (
        "a record within, with a field more",
        _record(_f("x", {"type": "record", "name": "i", "fields": [_f("a", "int"), _f("b", "int", default=1)]})),
        _record(_f("x", {"type": "record", "name": "i", "fields": [_f("a", "int")]})),
        True,
    ),
    (
        "a record within, with a field more and no default",
        _record(_f("x", {"type": "record", "name": "i", "fields": [_f("a", "int"), _f("b", "int")]})),
        _record(_f("x", {"type": "record", "name": "i", "fields": [_f("a", "int")]})),
        False,
    ),
    (
        "a record that holds itself",
        _record(_f("next", ["null", "r"], default=None), _f("y", "long", default=0)),
        _record(_f("next", ["null", "r"], default=None)),
        True,
    ),
]  # fmt: skip


def _rows(writer: dict[str, Any], parsed: Any) -> Iterable[Any]:
    if "next" in str(writer):
        return [{"next": None}, {"next": {"next": None}}]
    if writer["fields"][0]["type"] == "bytes":
        return [{"x": b"abc"}]  # read as string, other bytes fail as they are read: Avro's rule looks at types alone
    return generate_many(parsed, 20)


@pytest.mark.parametrize(("case", "reader", "writer", "reads"), _CASES, ids=[case[0] for case in _CASES])
def test_a_schema_reads_what_avro_says(case: str, reader: dict[str, Any], writer: dict[str, Any], reads: bool) -> None:
    problems = reading(reader, writer)
    assert (problems == []) is reads, problems
    if reads:
        _expect_read(reader, writer)


def _expect_read(reader: dict[str, Any], writer: dict[str, Any]) -> None:
    parsed = [fastavro.parse_schema(schema, named_schemas={}) for schema in (writer, reader)]
    for row in _rows(writer, parsed[0]):
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed[0], row)
        fastavro.schemaless_reader(io.BytesIO(out.getvalue()), *parsed)


def test_each_field_that_does_not_fit_is_named_with_its_own_reason() -> None:
    reader = _record(_f("x", "string"), _f("y", "string"), _f("z", "long"), _f("same", "int"))
    writer = _record(_OPTIONAL, _f("y", "long"), _f("same", "int"))
    assert reading(reader, writer) == [
        "x is string, and null or string in the data",
        "y is string, and long in the data",
        "z is required, and the data does not have it",
    ]


_DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}


@pytest.mark.parametrize(
    ("reader", "writer", "told"),
    [  # avro#247 (AVRO-2078), avro#884 (AVRO-2837), spark#47584, hamba/avro#38
        (_DECIMAL, _DECIMAL, []),
        ({**_DECIMAL, "precision": 12}, _DECIMAL, []),
        ({**_DECIMAL, "precision": 8}, _DECIMAL, ["x is decimal(8,2), and decimal(10,2) in the data"]),
        ({**_DECIMAL, "scale": 4}, _DECIMAL, ["x is decimal(10,4), and decimal(10,2) in the data"]),
        (["null", {**_DECIMAL, "precision": 12, "scale": 4}], _DECIMAL, ["x is decimal(12,4), and decimal(10,2) in the data"]),
        ("bytes", _DECIMAL, ["x is of no logical type, and decimal(10,2) in the data"]),
        (
            {"type": "int", "logicalType": "time-millis"},
            {"type": "int", "logicalType": "date"},
            ["x is time-millis, and date in the data"],
        ),
        (
            {"type": "long", "logicalType": "timestamp-micros"},
            "long",
            ["x is timestamp-micros, and of no logical type in the data"],
        ),
    ],
)
def test_what_avro_passes_over_is_found(reader: Any, writer: Any, told: list[str]) -> None:
    assert reading(_record(_f("x", reader)), _record(_f("x", writer))) == []
    assert logical_misfits(_record(_f("x", reader)), _record(_f("x", writer))) == told


def test_transitive_modes_ask_about_the_new_schema_and_each_earlier_one() -> None:
    """Not about each pair of neighbours (apicurio#1239, schema-registry#438)."""
    contract = contract_of({"x": {"type": "integer"}})
    earlier = [contract_of({"x": {"type": "string"}}), contract_of({})]
    registered = [RegisteredAvro(f"version {n}", json.dumps(avro_schema(each))) for n, each in enumerate(earlier, 1)]
    verdict = judge_registered(contract, registered)
    assert [name for name, _ in verdict.forbidden] == ["version 1"]
    assert "x is null or long, and null or string in the data" in verdict.forbidden[0][1].what
    assert judge_registered(contract, registered[1:]).allowed
