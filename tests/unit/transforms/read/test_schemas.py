"""How readers find the schemas of messages: what is asked, what is kept, and what a registry that is down or lies may do."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.codes import Code
from contracts.errors import ConfigurationError, RegistryDownError
from contracts.spec.paths import PayloadPath
from contracts.spec.project import Project
from contracts.spec.registry import Registry
from contracts.spec.source import SourceSpec
from contracts.spec.versions import SchemaVersionRule, Step, Upcast
from lake.formats.framed import WriterSchema
from lake.location import Lake
from lake.raw.log_ids import LogId
from lake.raw.schemas import find_pointer, named_fingerprints, put_schema, schema_faults
from lake.raw.segment_files import RawMessage
from lake.raw.segments import PartitionLog, log_segments, read_messages
from operations.check.findings import Notes
from operations.check.raw import check_schemas
from tests.support import wire
from tests.support.schema_registry import SchemaRegistry, schema_registry
from tests.unit.lake.formats.test_framed import ORDER, body, framed
from transforms.decode.kernel import RecordDecoder
from transforms.read.messages import MessageBatch, MessageBatchCoder
from transforms.read.raw import LogStretch, _ReadFn
from transforms.read.schemas import WriterSchemas, subject_of

SPEC = SourceSpec(name="orders", dataset="order", version=1, format="avro", columns={}, wire_format="confluent")
WIDER = {**ORDER, "fields": [*ORDER["fields"], {"name": "total", "type": ["null", "int"], "default": None}]}
LOG = LogId("orders", "id", 0)


@pytest.fixture
def server() -> Iterator[SchemaRegistry]:
    with schema_registry() as found:
        yield found


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake.at(str(tmp_path / "lake"))
    made.create()
    return made


class Clock:
    """Seconds that pass when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def finder(lake: Lake, server: SchemaRegistry | None, clock: Clock | None = None, name: str = "default") -> WriterSchemas:
    clock = clock or Clock()
    registry = None if server is None else Registry(url=server.url, timeout_s=1.0, name=name)
    return WriterSchemas(lake, registry, patience_s=0.0, clock=clock, sleep=clock.sleep)


def batch(*values: bytes, headers: list[Any] | None = None) -> MessageBatch:
    numbers = np.arange(len(values), dtype=np.int64)
    return MessageBatch([str(LOG)] * len(values), numbers, numbers, numbers, list(values), headers)


def order(number: int, schema: Any = ORDER, **record: Any) -> bytes:
    return framed(number, body(schema, {"id": "a", **record}))


def codes(parsed: Any) -> list[Code | None]:
    return [parsed.failed[i][0].code if i in parsed.failed else None for i in range(len(parsed.records))]


# Asked once, kept for good


def test_a_schema_is_asked_for_once_and_is_in_the_lake_before_anything_is_landed(server: SchemaRegistry, lake: Lake) -> None:
    number = server.put("orders-value", ORDER)
    found, one = finder(lake, server), batch(order(number), order(number))
    found.land(one, "orders")
    found.land(batch(order(number)), "orders")
    assert server.asked == [f"/schemas/ids/{number}", f"/schemas/ids/{number}/versions"]
    assert one.parse(SPEC).records == [{"id": "a"}] * 2 and one.parse(SPEC).versions == ["1", "1"]
    pointer = find_pointer(lake, "default", f"id-{number}")
    assert pointer is not None and list(one.schemas or ()) == [pointer.fingerprint]


def test_what_the_lake_has_needs_no_registry(server: SchemaRegistry, lake: Lake) -> None:
    number = server.put("orders-value", ORDER)
    finder(lake, server).land(batch(order(number)), "orders")
    server.down, again = True, batch(order(number))
    finder(lake, server).land(again, "orders")
    assert again.parse(SPEC).records == [{"id": "a"}] and again.parse(SPEC).versions == ["1"]


def test_header_ids_guids_and_ids_in_front_name_the_same_schema(server: SchemaRegistry, lake: Lake) -> None:
    number = server.put("orders-value", ORDER)
    guid = b"\1" + server.guid(number).bytes
    content = body(ORDER, {"id": "a"})
    one = batch(
        order(number), content, content, headers=[(), (("__value_schema_id", guid),), (("__value_schema_id", framed(number, b"")),)]
    )
    finder(lake, server).land(one, "orders")
    assert one.parse(SPEC).records == [{"id": "a"}] * 3 and len(one.schemas or ()) == 1


def test_a_batch_with_schemas_survives_its_coder(server: SchemaRegistry, lake: Lake) -> None:
    number = server.put("orders-value", ORDER)
    one = batch(order(number), b"none")
    finder(lake, server).land(one, "orders")
    again = MessageBatchCoder().decode(MessageBatchCoder().encode(MessageBatch.joined([one, one])))
    assert [r for r in again.parse(SPEC).records if r] == [{"id": "a"}] * 2


def test_a_header_of_a_producer_that_looks_like_ours_names_nothing(server: SchemaRegistry, lake: Lake) -> None:
    first, second = server.put("orders-value", ORDER), server.put("orders-value", WIDER)
    found = finder(lake, server)
    found.land(batch(order(first)), "orders")
    pointer = find_pointer(lake, "default", f"id-{first}")
    assert pointer is not None
    lie = (("headrace.schema", pointer.fingerprint.encode()),)
    one = batch(order(second, WIDER, total=5), order(99), headers=[lie, lie])
    found.land(one, "orders")
    assert one.parse(SPEC).records[0] == {"id": "a", "total": 5}
    assert codes(one.parse(SPEC)) == [None, Code.UNKNOWN_SCHEMA_VERSION]


# Unknown, down, lying


def test_an_id_that_a_producer_has_just_registered_is_waited_for_a_moment(server: SchemaRegistry, lake: Lake) -> None:
    """Registries of several machines are not the same everywhere at once."""
    server.put("orders-value", ORDER)
    known = server.answer
    missing = {"error_code": 40403, "message": "Schema not found"}
    tried = iter([(404, missing)])
    server.answer = lambda m, p, q, b: next(tried, None) or known(m, p, q, b)  # type: ignore[method-assign]
    clock, one = Clock(), batch(order(1))
    finder(lake, server, clock).land(one, "orders")
    assert codes(one.parse(SPEC)) == [None] and clock.slept == [0.3]


def test_an_id_that_stays_unknown_rejects_its_messages_only_and_is_seldom_asked_for(server: SchemaRegistry, lake: Lake) -> None:
    number = server.put("orders-value", ORDER)
    clock = Clock()
    found, one = finder(lake, server, clock), batch(order(99), order(number))
    found.land(one, "orders")
    assert codes(one.parse(SPEC)) == [Code.UNKNOWN_SCHEMA_VERSION, None]
    asked = len(server.asked)
    found.land(batch(order(99)), "orders")
    assert len(server.asked) == asked
    clock.now_s += 61
    server.schemas[99] = server.schemas[number]
    later = batch(order(99))
    found.land(later, "orders")
    assert codes(later.parse(SPEC)) == [None]


def test_a_topic_full_of_unknown_ids_is_not_waited_for(server: SchemaRegistry, lake: Lake) -> None:
    clock = Clock()
    finder(lake, server, clock).land(batch(*(order(n) for n in range(100, 130))), "orders")
    assert clock.slept == []


@pytest.mark.parametrize("fault", [500, 503, 429, 401, "html"])
def test_a_registry_that_is_down_rejects_nothing_and_is_told_once_in_a_while(
    server: SchemaRegistry, lake: Lake, fault: int | str, caplog: pytest.LogCaptureFixture
) -> None:
    number = server.put("orders-value", ORDER)
    server.script = [fault] * 100
    clock = Clock()
    found = finder(lake, server, clock)
    for _ in range(3):
        with pytest.raises((RegistryDownError, ConfigurationError)):
            found.land(batch(order(number)), "orders")
        clock.now_s += 10
    assert found.down_s == 30
    assert [text for text in map(logging.LogRecord.getMessage, caplog.records) if "waiting" in text] == [
        caplog.records[0].getMessage()
    ]
    assert find_pointer(lake, "default", f"id-{number}") is None
    server.script, one = [], batch(order(number))
    found.land(one, "orders")
    assert codes(one.parse(SPEC)) == [None] and found.down_s == 0
    assert "answers again after 30 s" in caplog.text


def test_a_registry_that_gives_another_schema_for_an_id_is_told_and_the_first_stays(
    server: SchemaRegistry, lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    number = server.put("orders-value", ORDER)
    finder(lake, server).land(batch(order(number)), "orders")
    server.schemas[number] = {**server.schemas[number], "schema": json.dumps(WIDER)}
    one = batch(order(number))
    finder(lake, server).land(one, "orders")
    assert one.parse(SPEC).records == [{"id": "a"}]
    (told,) = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert f"id-{number} was another schema" in told and "give it another name" in told
    fresh = batch(order(number, WIDER, total=1))
    finder(lake, server, name="rebuilt").land(fresh, "orders")
    assert fresh.parse(SPEC).records == [{"id": "a", "total": 1}]


def test_a_subject_that_was_deleted_leaves_what_the_lake_has(
    server: SchemaRegistry, lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    number = server.put("orders-value", ORDER)
    finder(lake, server).land(batch(order(number)), "orders")
    server.schemas.clear()
    server.subjects.clear()
    one = batch(order(number))
    finder(lake, server).land(one, "orders")
    assert codes(one.parse(SPEC)) == [None] and caplog.records == []


def test_two_readers_that_find_a_schema_at_once_keep_one(lake: Lake) -> None:
    first = put_schema(lake, "default", "id-1", WriterSchema("AVRO", json.dumps(ORDER)), {"a": 1})
    second = put_schema(lake, "default", "id-1", WriterSchema("AVRO", json.dumps(WIDER)), {"a": 2})
    assert second == first and list(schema_faults(lake)) == []


# Versions


@pytest.mark.parametrize(
    ("subjects", "chosen"),
    [
        ({"orders-value": 3, "other-value": 9}, "orders-value"),
        ({"orders-shop.Order": 3, "other-value": 9}, "orders-shop.Order"),
        ({"shop.Order": 3, "other-value": 9}, "shop.Order"),
        ({"Orders-value": 3, "ORDERS-VALUE": 4}, None),
        ({"anything": 3}, "anything"),
        ({}, None),
    ],
)
def test_a_version_is_that_of_the_subject_by_which_the_topic_goes(subjects: dict[str, int], chosen: str | None) -> None:
    schema = {"schema": json.dumps({**ORDER, "namespace": "shop"}), "type": "AVRO"}
    assert subject_of(subjects, "orders", json.dumps(schema).encode()) == chosen


def test_a_schema_that_is_registered_for_the_topic_later_is_looked_up_again(server: SchemaRegistry, lake: Lake) -> None:
    number = server.put("a-value", ORDER)
    server.put("b-value", ORDER)
    finder(lake, server).land(batch(order(number)), "a")
    server.put("orders-value", WIDER)
    assert server.put("orders-value", ORDER) == number
    one = batch(order(number))
    finder(lake, server).land(one, "orders")
    assert one.parse(SPEC).versions == ["2"]


def test_older_versions_by_the_registry_are_read_through_upcasts_and_unknown_ones_rejected(
    server: SchemaRegistry, lake: Lake, tmp_path: Path
) -> None:
    spec, contract = Project.load(wire.project(tmp_path / "shop", server.url)).source("shop")
    step = Step(kind="default", paths=(PayloadPath.parse("locale"),), value="en-GB")
    versions = frozenset({"1", "2", "3"})
    rule = SchemaVersionRule(registry=True, accepted=versions, upcasts=(Upcast("1", "2", (step,)),))
    ids = [server.put("orders-value", schema) for schema in wire.VERSIONS]
    fourth = server.put("orders-value", {**wire.VERSIONS[0], "doc": "the fourth"})
    protobuf = server.put("other", 'syntax = "proto3";', "PROTOBUF")
    named = [[field["name"] for field in schema["fields"]] for schema in wire.VERSIONS]
    found = [{name: event[name] for name in names} for names, event in zip(named, wire.events(3), strict=True)]
    values = [wire.framed(ids[n], wire.avro(wire.VERSIONS[n], event)) for n, event in enumerate(found)]
    one = batch(*values, wire.framed(fourth, wire.avro(wire.VERSIONS[0], found[0])), wire.framed(protobuf, b"x"), b"none")
    finder(lake, server).land(one, "orders")
    decoded = RecordDecoder(contract, replace(spec, schema_version=rule), "run").decode(one)
    assert decoded.rows.column("locale").to_pylist() == ["en-GB", "de-DE", "de-DE"]
    assert decoded.dead_letters.column("code").to_pylist() == ["unknown_schema_version", "malformed", "malformed"]


# Landed and read again


def landed(lake: Lake, one: MessageBatch) -> LogStretch:
    headers = one.headers or [()] * len(one.values)
    messages = [RawMessage(n, 1_000 + n, 1, None, v, tuple(h)) for n, (v, h) in enumerate(zip(one.values, headers, strict=True))]
    PartitionLog(lake, SPEC.name, LOG, batched=False).land(0, len(messages), messages)
    return LogStretch(SPEC.name, LOG, 0, len(messages), (0, len(messages)), 1)


def read_again(lake: Lake, stretch: LogStretch, registry: Registry | None = None, spec: SourceSpec = SPEC) -> MessageBatch:
    function = _ReadFn(lake, spec, registry)
    function.setup()
    (found,) = function.process(stretch)
    function.teardown()
    return found  # type: ignore[no-any-return]


def test_a_replay_needs_no_registry_and_reads_what_was_read(server: SchemaRegistry, lake: Lake) -> None:
    first, second = server.put("orders-value", ORDER), server.put("orders-value", WIDER)
    one = batch(order(first), order(second, WIDER, total=5), order(99), b"none", b"")
    finder(lake, server).land(one, "orders")
    stretch = landed(lake, one)
    for registry in (None, Registry(url="http://127.0.0.1:1", patience_s=0.0)):
        again = read_again(lake, stretch, registry)
        assert (again.parse(SPEC).records, again.parse(SPEC).versions) == (one.parse(SPEC).records, one.parse(SPEC).versions)
        assert codes(again.parse(SPEC)) == codes(one.parse(SPEC))


def test_a_replay_finds_ids_that_were_unknown_when_they_were_landed(server: SchemaRegistry, lake: Lake) -> None:
    one = batch(order(1))
    finder(lake, server).land(one, "orders")
    assert codes(one.parse(SPEC)) == [Code.UNKNOWN_SCHEMA_VERSION]
    stretch = landed(lake, one)
    server.put("orders-value", ORDER)
    assert codes(read_again(lake, stretch, Registry(url=server.url)).parse(SPEC)) == [None]


def test_a_replay_of_what_was_landed_without_a_wire_format_asks_the_registry(server: SchemaRegistry, lake: Lake) -> None:
    number = server.put("orders-value", ORDER)
    stretch = landed(lake, batch(order(number)))
    down = Registry(url="http://127.0.0.1:1", patience_s=0.0)
    with pytest.raises(RegistryDownError):
        read_again(lake, stretch, down)
    with pytest.raises(ConfigurationError, match=r"registry: \{url"):
        read_again(lake, stretch)
    assert codes(read_again(lake, stretch, Registry(url=server.url)).parse(SPEC)) == [None]
    assert codes(read_again(lake, stretch, down).parse(SPEC)) == [None]  # the lake has it now


def test_segments_keep_the_name_of_the_schema_when_they_are_merged(server: SchemaRegistry, lake: Lake) -> None:
    number = server.put("orders-value", ORDER)
    one = batch(order(number))
    finder(lake, server).land(one, "orders")
    assert one.headers is not None
    log = PartitionLog(lake, SPEC.name, LOG, batched=False)
    for n in range(70):
        log.land(n, n + 1, [RawMessage(n, n, 1, None, one.values[0], tuple(one.headers[0]))])
    segments = log_segments(lake, SPEC.name, LOG)
    assert len(segments) < 70
    again = [message for segment in segments for message in read_messages(segment)]
    assert len(again) == 70 and {m.headers[-1][0] for m in again} == {"headrace.schema"}


def test_a_schema_file_that_was_changed_or_lost_is_told(server: SchemaRegistry, lake: Lake) -> None:
    number = server.put("orders-value", ORDER)
    one = batch(order(number))
    finder(lake, server).land(one, "orders")
    stretch = landed(lake, one)
    pointer = find_pointer(lake, "default", f"id-{number}")
    assert pointer is not None
    path = lake.at_key(f"raw/schemas/{pointer.fingerprint}.json")
    content = lake.storage.read(path)
    lake.storage.write(path, content.replace(b"string", b"bytes"))
    assert list(schema_faults(lake)) == [("changed", path)]
    with pytest.raises(OSError, match="another than was landed"):
        read_again(lake, stretch)
    lake.storage.delete(path)
    assert list(schema_faults(lake)) == [("missing", path)]
    assert named_fingerprints(lake, SPEC.name, LOG) == {pointer.fingerprint}
    lake.storage.delete(lake.at_key(f"raw/schemas/ids/default/id-{number}.json"))
    assert list(schema_faults(lake)) == []  # nothing but the messages tells that it is gone
    notes = Notes(lake.root)
    check_schemas(lake, notes, verify=True)
    assert [(found.what, found.names) for found in notes.found.values()] == [
        ("schemas that landed messages name", [pointer.fingerprint])
    ]
