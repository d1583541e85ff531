"""What others reported of readers of such messages, each as an input."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contracts.codes import Code
from lake.formats.framed import parse_framed
from lake.formats.framing import schema_header
from tests.unit.lake.formats.test_framed import ORDER, SPEC, body, codes, document, framed, parse

POINT = {"type": "record", "name": "Point", "namespace": "test", "fields": [{"name": "x", "type": "float"}]}


def test_a_body_whose_first_byte_is_0_behind_a_header_is_no_magic_byte() -> None:
    """Apicurio/apicurio-registry#1479: an optional first field that is null begins with 0."""
    schema = {"type": "record", "name": "A", "fields": [{"name": "alternative", "type": ["null", "string"]}]}
    content = body(schema, {"alternative": None})
    assert content == b"\0"
    parsed = parse([content], document(schema), headers=[(("__value_schema_id", framed(7, b"")),)])
    assert parsed.records == [{"alternative": None}] and parsed.failed == {}


@pytest.mark.parametrize("value", [b'{"id": "a"}', b"0123", b"Obj\x01"])
def test_messages_of_a_producer_without_the_serializer_are_told_as_such(value: bytes) -> None:
    """confluentinc/confluent-kafka-dotnet#1938 (magic byte was 48), pinterest/secor#950 (unknown magic byte)."""
    assert codes(parse([value], document(ORDER))) == {0: Code.MALFORMED}


def test_ids_of_eight_bytes_are_told_as_such() -> None:
    """Apicurio/apicurio-registry#2547, #2151; confluentinc/ksql#9519: the first half of such an id is 0."""
    value = b"\0" + (15).to_bytes(8, "big") + body(ORDER, {"id": "a"})
    parsed = parse_framed(SPEC, [value], [(schema_header("", None),)], {})
    assert codes(parsed) == {0: Code.UNKNOWN_SCHEMA_VERSION}
    assert "8 bytes" in parsed.failed[0][0].expected


def test_an_envelope_whose_second_part_names_the_type_of_the_first_is_read() -> None:
    """Apicurio/apicurio-registry#2498, fastavro/fastavro#101: Debezium's before and after."""
    value = {
        "type": "record",
        "name": "Value",
        "namespace": "video.company.video",
        "fields": [{"name": "video_id", "type": "long"}],
    }
    envelope = {
        "type": "record",
        "name": "Envelope",
        "namespace": "video.company.video",
        "connect.version": 1,
        "fields": [
            {"name": "before", "type": ["null", {**value, "connect.name": "video.company.video.Value"}], "default": None},
            {"name": "after", "type": ["null", "video.company.video.Value"], "default": None},
            {"name": "op", "type": "string"},
        ],
    }
    rows = [
        {"before": None, "after": None, "op": "r"},
        {"before": {"video_id": 123}, "after": None, "op": "d"},
        {"before": {"video_id": 234}, "after": {"video_id": 345}, "op": "u"},
    ]
    assert parse([framed(1, body(envelope, row)) for row in rows], document(envelope)).records == rows


@pytest.mark.parametrize(
    ("schema", "content", "value"), [('"string"', b"\x02a", "a"), ('{"type":"int"}', b"\x04", 2), ('["null","int"]', b"\2\4", 2)]
)
def test_a_schema_of_no_record_is_read_and_is_no_record(schema: str, content: bytes, value: Any) -> None:
    """confluentinc/confluent-kafka-python#1162: primitives and unions at the top."""
    assert parse([framed(1, content)], document(schema)).records == [value]


def test_a_named_type_in_a_mapping_of_its_own_is_read() -> None:
    """fastavro/fastavro#804: ``{"type": "test.Point"}``."""
    schema = {
        "type": "record",
        "name": "Nested",
        "fields": [{"name": "a", "type": POINT}, {"name": "b", "type": {"type": "test.Point", "logicalType": "x"}}],
    }
    written = {**schema, "fields": [{"name": "a", "type": POINT}, {"name": "b", "type": "test.Point"}]}  # type: ignore[dict-item]
    row = {"a": {"x": 1.0}, "b": {"x": 2.0}}
    content = framed(1, body(written, row))
    assert parse([content], document(schema)).records == [row]
    apart = {**schema, "fields": [{"name": "a", "type": {"type": "test.Point"}}, {"name": "b", "type": ["test.Point"]}]}
    referring = document(apart, references=[("test.Point", POINT)])
    assert parse([framed(1, body(written, row)[:4] + b"\0" + body(written, row)[4:])], referring).records == [row]


def test_a_type_whose_definition_moved_within_the_schema_is_read_by_each_writers_own() -> None:
    """fastavro/fastavro#780, #896: matching a reader's schema fails there; here no reader's schema is matched."""
    simple = {"type": "record", "name": "simple", "fields": [{"name": "a", "type": "long"}]}
    first = {"type": "record", "name": "P", "fields": [{"name": "foo", "type": simple}]}
    second = {
        "type": "record",
        "name": "P",
        "fields": [{"name": "bar", "type": ["null", simple]}, {"name": "foo", "type": "simple"}],
    }
    assert parse([framed(1, body(first, {"foo": {"a": 1}}))], document(first)).records == [{"foo": {"a": 1}}]
    row = {"bar": {"a": 2}, "foo": {"a": 1}}
    assert parse([framed(2, body(second, row))], document(second)).records == [row]


def test_a_logical_type_on_the_definition_of_a_field_is_what_the_type_says() -> None:
    """fastavro/fastavro#178: logical types that nobody knows are ignored."""
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "n", "type": {"type": "string", "logicalType": "varchar", "maxLength": 2}}],
    }
    assert parse([framed(1, body(json.loads(json.dumps(ORDER)), {"id": "abc"}))], document(schema)).records == [{"n": "abc"}]
