"""Segments of a log as Avro files: one message a row, and a header that says what they hold."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import fastavro
import msgspec
import xxhash

from lake.raw.log_ids import LogId, position_of

_PREFIX = "headrace."

_SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "RawMessage",
        "namespace": "headrace",
        "fields": [
            {"name": "offset", "type": "long"},
            {"name": "timestamp_ms", "type": "long", "doc": "the record time, milliseconds since 1970"},
            {"name": "timestamp_type", "type": "int", "doc": "0 none, 1 set by the producer, 2 set by the broker"},
            {"name": "key", "type": ["null", "bytes"]},
            {"name": "value", "type": ["null", "bytes"]},
            {
                "name": "headers",
                "type": {
                    "type": "array",
                    "items": {
                        "type": "record",
                        "name": "Header",
                        "fields": [{"name": "key", "type": "string"}, {"name": "value", "type": ["null", "bytes"]}],
                    },
                },
            },
        ],
    }
)


class RawMessage(msgspec.Struct, frozen=True, gc=False):  # 50,000 of them live at once: no pass of the collector visits them
    """A message as received. timestamp_ms: record time. records: how many records it holds."""

    offset: int
    timestamp_ms: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    records: int = 1


class SegmentHeader(msgspec.Struct):
    """What a segment says of itself. covers: offsets [from, to). runs: positions, flat: first, length, and so on."""

    source: str
    log: str
    covers: tuple[int, int]
    runs: list[int]
    messages: int
    first_ms: int | None
    last_ms: int | None


def encode_segment(source: str, log: LogId, covers: tuple[int, int], messages: Sequence[RawMessage], *, batched: bool) -> bytes:
    """The segment of a log that covers these offsets."""
    times = [m.timestamp_ms for m in messages]
    header = SegmentHeader(
        source=source,
        log=str(log),
        covers=covers,
        runs=_runs(messages, batched),
        messages=len(messages),
        first_ms=min(times, default=None),
        last_ms=max(times, default=None),
    )
    rows = (
        {
            "offset": m.offset,
            "timestamp_ms": m.timestamp_ms,
            "timestamp_type": m.timestamp_type,
            "key": None if m.key is None else ("bytes", m.key),
            "value": None if m.value is None else ("bytes", m.value),
            "headers": [{"key": key, "value": value} for key, value in m.headers],
        }
        for m in messages
    )
    out = io.BytesIO()
    fastavro.writer(
        out,
        _SCHEMA,
        rows,
        codec="zstandard",
        codec_compression_level=1,
        sync_interval=1 << 18,
        sync_marker=_sync_marker(header.log),
        metadata=_metadata(header),
    )
    return out.getvalue()


def join_segments(parts: Sequence[bytes]) -> tuple[tuple[int, int], bytes]:
    """Neighbouring segments of one log as one, by copying their blocks: what it covers, and its bytes."""
    headers = [parse_header(part) for part in parts]
    runs: list[int] = []
    for header, _ in headers:
        if runs and header.runs and runs[-2] + runs[-1] == header.runs[0]:
            runs[-1] += header.runs[1]
            runs += header.runs[2:]
        else:
            runs += header.runs
    firsts = [h.first_ms for h, _ in headers if h.first_ms is not None]
    lasts = [h.last_ms for h, _ in headers if h.last_ms is not None]
    joined = SegmentHeader(
        source=headers[0][0].source,
        log=headers[0][0].log,
        covers=(headers[0][0].covers[0], headers[-1][0].covers[1]),
        runs=runs,
        messages=sum(h.messages for h, _ in headers),
        first_ms=min(firsts, default=None),
        last_ms=max(lasts, default=None),
    )
    out = io.BytesIO()
    fastavro.writer(out, _SCHEMA, [], codec="zstandard", sync_marker=_sync_marker(joined.log), metadata=_metadata(joined))
    for part, (_, begin) in zip(parts, headers, strict=True):
        out.write(part[begin:])
    return joined.covers, out.getvalue()


def messages_in(file: BinaryIO) -> Iterator[RawMessage]:
    """The messages of a segment, by offset."""
    for row in fastavro.reader(file):
        found: Any = row
        headers = tuple((h["key"], h["value"]) for h in found["headers"])
        yield RawMessage(found["offset"], found["timestamp_ms"], found["timestamp_type"], found["key"], found["value"], headers)


def parse_header(data: bytes) -> tuple[SegmentHeader, int]:
    """The header, and where the first block begins."""
    source = io.BytesIO(data)
    reader: Any = fastavro.block_reader(source)
    return msgspec.json.decode(reader.metadata[_PREFIX + "segment"], type=SegmentHeader), source.tell()


def _runs(messages: Sequence[RawMessage], batched: bool) -> list[int]:
    runs: list[int] = []
    for message in messages:
        first = position_of(message.offset, 0, batched)
        if runs and runs[-2] + runs[-1] == first:
            runs[-1] += message.records
        elif message.records:
            runs += [first, message.records]
    return runs


def _sync_marker(log: str) -> bytes:
    """The same for all segments of a log, so that their blocks can be put together by copying."""
    return xxhash.xxh3_128_digest(log.encode())


def _metadata(header: SegmentHeader) -> dict[str, str]:
    return {_PREFIX + "segment": msgspec.json.encode(header).decode()}
