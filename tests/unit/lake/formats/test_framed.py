"""Messages that name the schema that they were written with: where the id stands, and what the body gives."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.codes import Code
from contracts.spec.paths import PayloadPath
from contracts.spec.source import SourceSpec
from contracts.spec.versions import SchemaVersionRule, Step, Upcast
from lake.formats import Bookmark, format_for
from lake.formats.base import ParsedRecords
from lake.formats.framed import WriterSchema, parse_framed
from lake.formats.framing import Headers, framing_of, landed_schema, schema_header
from lake.raw.schemas import encode_schema, fingerprint_of

SPEC = SourceSpec(name="orders", dataset="order", version=1, format="avro", columns={}, wire_format="confluent")
ORDER: dict[str, Any] = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}]}


def body(schema: Any, record: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), record)
    return out.getvalue()


def framed(number: int, content: bytes) -> bytes:
    return b"\0" + number.to_bytes(4, "big") + content


def document(schema: Any, kind: str = "AVRO", references: Sequence[tuple[str, Any]] = ()) -> bytes:
    text = schema if isinstance(schema, str) else json.dumps(schema)
    return encode_schema(WriterSchema(kind, text, tuple((name, json.dumps(other)) for name, other in references)))


def parse(
    values: Sequence[bytes], schema: bytes, spec: SourceSpec = SPEC, headers: Sequence[Headers] | None = None
) -> ParsedRecords:
    fingerprint = fingerprint_of(schema)
    own = [(*(headers[i] if headers else ()), schema_header(fingerprint, None)) for i in range(len(values))]
    return parse_framed(spec, values, own, {fingerprint: schema})


def codes(parsed: ParsedRecords) -> dict[int, Code]:
    return {index: violations[0].code for index, violations in parsed.failed.items()}


# Where the id stands


@pytest.mark.parametrize(
    ("value", "headers", "key", "start"),
    [
        (framed(17, b"x"), (), "id-17", 5),
        (b"\1" + UUID(int=7).bytes + b"x", (), f"guid-{UUID(int=7)}", 17),
        (b"x", (("__value_schema_id", b"\1" + UUID(int=7).bytes),), f"guid-{UUID(int=7)}", 0),
        (b"x", (("__value_schema_id", framed(17, b"")),), "id-17", 0),
        (b"x", (("__key_schema_id", framed(1, b"")), ("__value_schema_id", framed(17, b""))), "id-17", 0),
        (framed(3, b"x"), (("__value_schema_id", framed(9, b"")), ("__value_schema_id", framed(17, b""))), "id-17", 0),
        (b"x", (("apicurio.value.contentId", (17).to_bytes(8, "big")),), "id-17", 0),
        (b"x", (("apicurio.value.globalId", (17).to_bytes(8, "big")),), "global-17", 0),
        (b"\0\x7f\xff\xff\xff", (), "id-2147483647", 5),
    ],
)
def test_an_id_stands_in_front_or_in_a_header(value: bytes, headers: Headers, key: str, start: int) -> None:
    assert framing_of(value, headers) == (key, start)


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (b"", ()),
        (b"\0", ()),
        (b"\0\0\0\1", ()),
        (b"\1\0\0\0\1", ()),
        (b"\2\0\0\0\1x", ()),
        (b"\0\x80\0\0\0x", ()),
        (b"\0\xff\xff\xff\xffx", ()),
        (b'{"id": "a"}', ()),
        (b"x", (("__value_schema_id", b""),)),
        (b"x", (("__value_schema_id", b"\7\0\0\0\1"),)),
        (b"x", (("__value_schema_id", framed(1, b"more")),)),
        (b"x", (("apicurio.value.globalId", b"\0"),)),
        (b"x", (("apicurio.value.contentId", b"\xff" * 8),)),
    ],
)
def test_what_names_no_schema_is_malformed(value: bytes, headers: Headers) -> None:
    assert codes(parse([value], document(ORDER), headers=[headers])) == {0: Code.MALFORMED}


def test_the_header_of_the_landing_says_which_schema_and_version() -> None:
    assert landed_schema((schema_header("abc", "3"),)) == ("abc", "3")
    assert landed_schema((schema_header("abc", None),)) == ("abc", None)
    assert landed_schema((schema_header("", None),)) == ("", None)
    assert landed_schema((("other", b"x"),)) is None
    assert landed_schema((("headrace.schema", b"of a producer"), schema_header("abc", "3"))) == ("abc", "3")


@given(st.binary(max_size=40), st.lists(st.tuples(st.sampled_from(["__value_schema_id", "a"]), st.binary(max_size=20)), max_size=2))
def test_no_bytes_break_it(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    parsed = parse([value], document(ORDER), headers=[headers])
    assert len(parsed.records) == 1 and (0 in parsed.failed or isinstance(parsed.records[0], dict))


# What the body gives


def test_a_body_gives_the_values_that_a_file_of_the_same_schema_gives() -> None:
    """One way for both: logical types, decimals beyond their precision, nanoseconds, unions, text that is not UTF-8."""
    schema = {
        "type": "record",
        "name": "All",
        "fields": [
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-nanos"}},
            {"name": "late", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}},
            {"name": "odd", "type": {"type": "bytes", "logicalType": "decimal", "precision": 0}},
            {"name": "either", "type": ["null", "int", {"type": "map", "values": "string"}]},
            {"name": "text", "type": "string"},
        ],
    }
    raw = {
        "type": "record",
        "name": "All",
        "fields": [
            {"name": "at", "type": "long"},
            {"name": "late", "type": "long"},
            {"name": "price", "type": "bytes"},
            {"name": "odd", "type": "bytes"},
            {"name": "either", "type": ["null", "int", {"type": "map", "values": "string"}]},
            {"name": "text", "type": "bytes"},
        ],
    }
    rows = [
        {"at": 1_764_000_000_123_456_789, "late": 1, "price": b"\x00\xff\xff", "odd": b"\1", "either": 5, "text": b"caf\xc3\xa9"},
        {"at": 0, "late": 2**62, "price": b"\x80", "odd": b"", "either": {"a": "b"}, "text": b"caf\xe9"},
        {"at": 0, "late": 0, "price": b"", "odd": b"", "either": None, "text": b""},
    ]
    blocks = [body(raw, row) for row in rows]
    out = io.BytesIO()
    _container(out, schema, blocks)
    (block,) = list(format_for(SPEC).blocks(out, Bookmark()))
    from_file, from_messages = block.parse(), parse([framed(1, one) for one in blocks], document(schema))
    assert from_messages.records == from_file.records and codes(from_messages) == codes(from_file) == {}
    assert from_messages.records[0]["price"] == Decimal("655.35")
    assert from_messages.records[0]["at"] == datetime(2025, 11, 24, 16, 0, 0, 123456, UTC)


def _container(out: io.BytesIO, schema: Any, blocks: Sequence[bytes]) -> None:
    """An Avro file of one block."""
    meta = {"type": "map", "values": "bytes"}
    out.write(b"Obj\1")
    fastavro.schemaless_writer(out, meta, {"avro.schema": json.dumps(schema).encode(), "avro.codec": b"null"})
    out.write(b"s" * 16)
    for number in (len(blocks), sum(map(len, blocks))):
        fastavro.schemaless_writer(out, "long", number)
    out.write(b"".join(blocks) + b"s" * 16)


@pytest.mark.parametrize(
    "content", [b"", b"\x04a", b"\x02ab", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", body(ORDER, {"id": "a"}) * 2]
)
def test_a_body_that_is_not_of_its_schema_costs_itself(content: bytes) -> None:
    good = framed(1, body(ORDER, {"id": "a"}))
    parsed = parse([good, framed(1, content), good], document(ORDER))
    assert codes(parsed) == {1: Code.MALFORMED}
    assert [parsed.records[i]["id"] for i in (0, 2)] == ["a", "a"]
    assert parsed.raw(1) == framed(1, content)


def test_a_body_larger_than_a_record_may_be_is_too_large() -> None:
    spec = replace(SPEC, record_bytes=100)
    parsed = parse([framed(1, body(ORDER, {"id": "x" * 100})), framed(1, body(ORDER, {"id": "x" * 98}))], document(ORDER), spec)
    assert codes(parsed) == {0: Code.TOO_LARGE}
    assert len(parsed.raw(0)) == 100


def test_an_id_that_the_registry_has_not_is_an_unknown_schema_version() -> None:
    parsed = parse_framed(SPEC, [framed(17, b"x")], [(schema_header("", None),)], {})
    assert codes(parsed) == {0: Code.UNKNOWN_SCHEMA_VERSION}
    assert "17" in parsed.failed[0][0].expected


def test_json_is_read_behind_its_id_and_protobuf_is_refused_in_words() -> None:
    parsed = parse([framed(1, b'{"id": 0.1}'), framed(1, b"{")], document("{}", "JSON"))
    assert parsed.records[0] == {"id": 0.1} and codes(parsed) == {1: Code.MALFORMED}
    parsed = parse([framed(1, b"\0\x08\1")], document('syntax = "proto3";', "PROTOBUF"))
    assert codes(parsed) == {0: Code.MALFORMED} and "PROTOBUF is not read" in parsed.failed[0][0].expected


def test_plain_json_is_read_where_the_source_is_json() -> None:
    """A topic that goes from JSON to Avro holds both for a while."""
    spec = replace(SPEC, format="jsonl")
    values = [b'\xef\xbb\xbf{"id": "plain"}', framed(1, body(ORDER, {"id": "avro"}))]
    parsed = parse(values, document(ORDER), spec)
    assert parsed.records == [{"id": "plain"}, {"id": "avro"}] and parsed.failed == {}
    assert codes(parse(values[:1], document(ORDER))) == {0: Code.MALFORMED}


def test_a_body_behind_a_header_id_may_begin_with_any_bytes() -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "n", "type": {"type": "fixed", "name": "F", "size": 3}}]}
    for content in (b"\xef\xbb\xbf", b"\0\0\0", b'{"a'):
        parsed = parse([content], document(schema), headers=[(("__value_schema_id", framed(1, b"")),)])
        assert parsed.records == [{"n": content}] and parsed.failed == {}


@pytest.mark.parametrize(
    "schema", ["", "{", "17", "[]", '{"type": "record"}', '"Order"', '{"type":"array","items":"null"}', "null"]
)
def test_a_schema_that_is_none_costs_its_messages(schema: str) -> None:
    parsed = parse([framed(1, b"\2"), framed(1, b"")], document(schema))
    assert len(parsed.records) == 2
    assert all(not isinstance(record, dict) for record in parsed.records)


def test_fields_that_the_source_maps_and_the_schema_has_not_reject_as_in_a_file() -> None:
    spec = replace(SPEC, columns={"total": (PayloadPath.parse("total"),)})
    value = framed(1, body(ORDER, {"id": "a"}))
    assert codes(parse([value], document(ORDER), spec)) == {0: Code.HEADER_MISMATCH}
    assert codes(parse([value], document(ORDER), replace(spec, optional=frozenset({"total"})))) == {}
    upcasts = (Upcast("1", "2", (Step(kind="default", paths=(PayloadPath.parse("total"),), value=0),)),)
    rule = SchemaVersionRule(registry=True, accepted=frozenset({"1", "2"}), upcasts=upcasts)
    assert codes(parse([value], document(ORDER), replace(spec, schema_version=rule))) == {}  # an upcast may give it


# Schemas that are odd, but schemas


def test_a_recursive_schema_is_read_and_one_that_goes_too_deep_costs_itself() -> None:
    node = {
        "type": "record",
        "name": "Node",
        "fields": [{"name": "n", "type": "int"}, {"name": "next", "type": ["null", "Node"]}],
    }
    nested: Any = None
    for number in range(5):
        nested = {"n": number, "next": nested}
    deep = b"\2\2" * 100_000 + b"\2\0"
    parsed = parse([framed(1, body(node, nested)), framed(1, deep)], document(node))
    assert parsed.records[0] == nested and codes(parsed) == {1: Code.MALFORMED}


def test_types_whose_names_differ_by_case_are_two() -> None:
    schema = {
        "type": "record",
        "name": "Order",
        "fields": [
            {"name": "a", "type": {"type": "record", "name": "order", "fields": [{"name": "x", "type": "int"}]}},
            {"name": "b", "type": {"type": "record", "name": "ORDER", "fields": [{"name": "y", "type": "string"}]}},
            {"name": "A", "type": "order"},
        ],
    }
    row = {"a": {"x": 1}, "b": {"y": "s"}, "A": {"x": 2}}
    assert parse([framed(1, body(schema, row))], document(schema)).records == [row]


def test_types_of_other_schemas_are_found_by_their_full_names_and_each_is_defined_once() -> None:
    country = {"type": "enum", "name": "Country", "namespace": "org.geo", "symbols": ["DE", "FR"]}
    address = {
        "type": "record",
        "name": "org.geo.Address",
        "fields": [{"name": "country", "type": "Country"}, {"name": "of", "type": ["null", "org.shop.Kind"]}],
    }
    kind = {"type": "enum", "name": "org.shop.Kind", "symbols": ["HOME"]}
    plain = {"type": "fixed", "name": "Plain", "size": 1}
    order = {
        "type": "record",
        "name": "Order",
        "namespace": "org.shop",
        "fields": [
            {"name": "kind", "type": "Kind"},
            {"name": "to", "type": "org.geo.Address"},
            {"name": "lines", "type": {"type": "array", "items": "org.geo.Country"}},
            {"name": "flag", "type": "Plain"},
        ],
    }
    whole = json.loads(json.dumps(order))
    whole["fields"][0]["type"] = kind
    whole["fields"][1]["type"] = {
        **address,
        "fields": [{"name": "country", "type": country}, {"name": "of", "type": ["null", "org.shop.Kind"]}],
    }
    whole["fields"][3]["type"] = {**plain, "namespace": ""}
    row = {"kind": "HOME", "to": {"country": "FR", "of": "HOME"}, "lines": ["DE"], "flag": b"x"}
    references = [("org.geo.Country", country), ("Kind", kind), ("org.geo.Address", address), ("Plain", plain)]
    assert parse([framed(1, body(whole, row))], document(order, references=references)).records == [row]


def test_a_schema_of_five_megabytes_is_read_once() -> None:
    fields = [{"name": f"field_{n}", "type": ["null", "string"], "default": None, "doc": "x" * 200} for n in range(17_000)]
    schema = {"type": "record", "name": "Wide", "fields": fields}
    content = body(schema, {})
    found = document(schema)
    assert len(found) > 5_000_000
    spec = replace(SPEC, record_bytes=1 << 20)
    for _ in range(2):
        parsed = parse([framed(1, content)] * 2, found, spec)
        assert parsed.failed == {} and len(parsed.records[1]) == 17_000


def test_several_schemas_in_one_batch_keep_the_order() -> None:
    wide = {**ORDER, "fields": [*ORDER["fields"], {"name": "total", "type": "int"}]}
    documents: Mapping[str, bytes] = {fingerprint_of(d): d for d in (document(ORDER), document(wide))}
    names = list(documents)
    values = [framed(n % 2, body(wide if n % 2 else ORDER, {"id": str(n), "total": n})) for n in range(10)]
    headers = [(schema_header(names[n % 2], str(n % 2 + 1)),) for n in range(10)]
    parsed = parse_framed(SPEC, values, headers, documents)
    assert [record["id"] for record in parsed.records] == [str(n) for n in range(10)]
    assert parsed.versions == ["1", "2"] * 5
