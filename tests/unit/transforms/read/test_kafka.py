"""What the reading DoFn does with a bundle whose topic turns out to be another one."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.runners.sdf_utils import RestrictionTrackerView, ThreadsafeRestrictionTracker
from apache_beam.utils.timestamp import MIN_TIMESTAMP

from contracts.errors import ConfigurationError, OffsetGapError, RegistryDownError
from contracts.spec.registry import Registry
from contracts.spec.source import SourceSpec
from lake.formats.framed import WriterSchema
from lake.formats.framing import landed_schema
from lake.location import Lake
from lake.raw.log_ids import LogId
from lake.raw.schemas import encode_schema, fingerprint_of
from lake.raw.segments import log_segments, read_messages
from tests.support.schema_registry import SchemaRegistry, schema_registry
from transforms.kafka.connection import KafkaConnection
from transforms.read import kafka
from transforms.read.kafka import _ReadFn
from transforms.read.partitions import PartitionProgress, PartitionsProgress
from transforms.read.poll import Polled
from transforms.read.topics import KafkaSource
from transforms.readers.pool import POOL
from transforms.readers.progress import ReaderProgress
from transforms.readers.restriction import ReaderProgressTracker, reader_name

BEGAN = ReaderProgress((PartitionProgress("t", "before", 0, next=3),))


class Message:
    """What is read of one."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 1, int(time.time() * 1000)

    def key(self) -> None:
        return None

    def value(self) -> bytes:
        return b"{}"

    def headers(self) -> None:
        return None


class Reader:
    """In place of a consumer: one message a poll. again: topics that turn out to be made again."""

    def __init__(self, again: list[str]) -> None:
        self.again, self.looked_s, self.topics_changed = again, time.monotonic(), False
        self.seen_s: dict[LogId, float] = {}
        self.places: list[int] = []

    def resume(self, partitions: Sequence[PartitionProgress]) -> None:
        self.places.append(partitions[0].next)

    def pause(self, ahead: set[LogId]) -> None:
        assert not ahead

    def poll(self, most: int, timeout_s: float) -> dict[LogId, Polled]:
        offset = self.places[-1]
        return {BEGAN.lanes[0].log: Polled([Message(offset)], offset + 1)}  # type: ignore[list-item]

    def moved(self, log: LogId, at_s: float) -> None:
        self.seen_s[log] = at_s

    def made_again(self, partitions: Sequence[PartitionProgress]) -> list[str]:
        return self.again

    def lag(self) -> int:
        return 0

    def close(self) -> None:
        return None


def bundle(tmp_path: Path, again: list[str], *, split_after: int | None = None) -> tuple[int, PartitionsProgress, list[str]]:
    """Messages that a bundle of some 50 ms gave on, its progress, and the files it landed."""
    connection = KafkaConnection("localhost:1", None)
    source = KafkaSource(
        connection=connection, group="g", topic="t", topic_pattern=None, readers=(BEGAN,), salts=(0,), slice_s=0.05
    )
    spec = SourceSpec(name=tmp_path.name, dataset="thing", version=1, format="jsonl", columns={})
    reader, tracker = Reader(again), ReaderProgressTracker(BEGAN)
    if split_after is not None:
        resume = reader.resume

        def resumed(partitions: Sequence[PartitionProgress]) -> None:
            resume(partitions)
            if len(reader.places) == split_after:
                assert tracker.try_split(0)

        reader.resume = resumed  # type: ignore[method-assign]
    key = (spec.name, 0, source.connection, source.group, source.on_gap)
    with POOL.borrow(key, lambda: reader):  # type: ignore[arg-type, return-value]
        pass
    lake = Lake.at(str(tmp_path))
    lake.temporary.mkdir()
    function = _ReadFn(source, spec, lake)
    function.setup()
    function.start_bundle()
    watermark = ManualWatermarkEstimator(MIN_TIMESTAMP)
    view: Any = RestrictionTrackerView(ThreadsafeRestrictionTracker(tracker))

    class Finalizer:
        def register(self, callback: object) -> None:
            return None

    given = sum(len(b.value.values) for b in function.process(reader_name(0, 1, 0), Finalizer(), view, watermark))
    function.finish_bundle()
    return given, tracker.current_restriction(), [p.name for p in (tmp_path / "raw").rglob("*") if p.is_file()]


def test_what_is_read_goes_on_and_is_landed(tmp_path: Path) -> None:
    given, progress, landed = bundle(tmp_path, [])
    assert given > 1
    assert progress.lanes[0].next == 3 + given
    assert landed


def test_a_topic_that_was_made_again_while_a_bundle_read_it_leaves_nothing_and_is_begun_again(tmp_path: Path) -> None:
    given, progress, landed = bundle(tmp_path, ["t"])
    assert (given, progress.lanes, progress.watermark_us, landed) == (0, BEGAN.lanes, BEGAN.watermark_us, [])


def test_what_was_given_on_before_it_was_made_again_stays_and_is_landed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows go on as soon as it is sure that they are of the topic; only what came since is forgotten."""
    monkeypatch.setattr(kafka, "_SURE_EVERY_S", 0.0)
    looks = iter([[], [], ["t"]])
    monkeypatch.setattr(Reader, "made_again", lambda _reader, _partitions: next(looks, ["t"]))
    given, progress, landed = bundle(tmp_path, [])
    assert given > 0 and progress.lanes[0].next == 3 + given and progress.watermark_us >= BEGAN.watermark_us
    (name,) = landed
    assert name.startswith(f"{3:020d}-{3 + given:020d}")


def test_where_the_rest_was_given_away_meanwhile_the_bundle_fails(tmp_path: Path) -> None:
    with pytest.raises(OffsetGapError, match="topic t: was deleted and made again"):
        bundle(tmp_path, ["t"], split_after=3)


def test_what_was_claimed_before_a_split_goes_on(tmp_path: Path) -> None:
    given, progress, landed = bundle(tmp_path, [], split_after=3)
    assert given == 2 and landed
    assert (progress.lanes[0].next, progress.stopped) == (5, True)


SCHEMA: dict[str, Any] = {"type": "record", "name": "T", "fields": [{"name": "id", "type": "string"}]}
SCHEMA_OF_T = fingerprint_of(encode_schema(WriterSchema("AVRO", json.dumps(SCHEMA))))


class Framed(Message):
    """A message that names schema 1."""

    def value(self) -> bytes:
        return b"\0\0\0\0\1\x02a"


def read_framed(tmp_path: Path, server: SchemaRegistry, *, end: int | None, patience_s: float = 60.0) -> tuple[int, Any, list[str]]:
    """What a bundle gave on, its progress, and what lies in the lake, with a registry."""
    began = ReaderProgress((PartitionProgress("t", "before", 0, next=3, end=end),))
    connection = KafkaConnection("localhost:1", None)
    source = KafkaSource(
        connection=connection, group="g", topic="t", topic_pattern=None, readers=(began,), salts=(0,), slice_s=0.05
    )
    spec = SourceSpec(name=tmp_path.name, dataset="thing", version=1, format="avro", columns={}, wire_format="confluent")
    reader, tracker = Reader([]), ReaderProgressTracker(began)
    reader.poll = lambda most, timeout_s: {  # type: ignore[method-assign]
        began.lanes[0].log: Polled([Framed(reader.places[-1])], reader.places[-1] + 1)  # type: ignore[list-item]
    }
    with POOL.borrow((spec.name, 0, connection, "g", "fail"), lambda: reader):  # type: ignore[arg-type, return-value]
        pass
    lake = Lake.at(str(tmp_path))
    lake.temporary.mkdir(exist_ok=True)
    function = _ReadFn(source, spec, lake, registry=Registry(url=server.url, patience_s=patience_s))
    function.setup()
    assert function._schemas is not None
    function._schemas._patience_s = 0.0
    function.start_bundle()
    view: Any = RestrictionTrackerView(ThreadsafeRestrictionTracker(tracker))
    finalizer: Any = type("Finalizer", (), {"register": lambda self, callback: None})()
    try:
        process = function.process(reader_name(0, 1, 0), finalizer, view, ManualWatermarkEstimator(MIN_TIMESTAMP))
        given = sum(len(b.value.values) for b in process)
        function.finish_bundle()
    finally:
        function.teardown()
    return given, tracker.current_restriction(), [p.name for p in (tmp_path / "raw").rglob("*") if p.is_file()]


def test_a_stream_waits_for_a_registry_that_is_down_and_rejects_nothing(tmp_path: Path) -> None:
    with schema_registry() as server:
        server.put("t-value", SCHEMA)
        server.down = True
        given, progress, landed = read_framed(tmp_path, server, end=None)
        assert (given, progress.lanes[0].next, landed) == (0, 3, [])
        server.down = False
        given, progress, landed = read_framed(tmp_path, server, end=None)
        assert given and progress.lanes[0].next == 3 + given
        assert len(landed) == 3  # the segment, the schema, and which id it is of
        (segment,) = log_segments(Lake.at(str(tmp_path)), tmp_path.name, BEGAN.lanes[0].log)
        assert {landed_schema(message.headers) for message in read_messages(segment)} == {(SCHEMA_OF_T, "1")}


def test_a_run_with_an_end_gives_up_when_its_patience_ends(tmp_path: Path) -> None:
    with schema_registry() as server:
        server.down = True
        assert read_framed(tmp_path, server, end=5)[0] == 0
        with pytest.raises(RegistryDownError, match="503"):
            read_framed(tmp_path, server, end=5, patience_s=-1.0)
        server.down, server.login = False, "Basic nobody"
        with pytest.raises(ConfigurationError, match="refuses"):
            read_framed(tmp_path, server, end=5)
