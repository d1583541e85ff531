"""Avro object container files, block by block. A broken block is told, and reading goes on at the next sync marker."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import fastavro
import msgspec

from contracts.codes import Violation
from contracts.spec.source import SourceSpec
from lake.formats.avro_codecs import CODECS, PayloadError, TooLargeError, decompress
from lake.formats.avro_records import Payload, one_by_one, record_sizes
from lake.formats.avro_schema import AvroSchema, SchemaError, read_long, read_schema
from lake.formats.base import DAMAGE, PIECE_BYTES, Bookmark, ParsedRecords, RecordBlock, damaged_block
from lake.formats.compression import DamagedInputError, compression_of, read_pieces
from lake.formats.limits import avro_limit, record_limit

MAGIC = b"Obj\x01"
_SYNC_BYTES = 16
_VARINT_BYTES = 10
_HEADER_BYTES = 16 << 20
_SEARCHED_BYTES = 1 << 20
_SEARCHED_RECORDS = 1 << 24
_TOO_MUCH = Violation("$", "damage", "no more than a file of this size may hold")
_WHOLE_BYTES = 1 << 20  # a payload of more is decoded in parts: a byte may become 200 of Python objects


class AvroBlocks:
    """See the module. Source: Apache Avro 1.12 specification, "Object Container Files"."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec

    def blocks(self, file: BinaryIO, start: Bookmark) -> Iterator[RecordBlock]:
        """See Format. A bookmark's offset is where a block begins."""
        stream = _Stream(file)
        try:
            header = _read_header(stream)
        except SchemaError as error:
            yield damaged_block(Bookmark(), b"", Violation("$", "damage", str(error)))
            return
        if header is None:
            if stream.peek(1) or stream.damaged:
                yield damaged_block(Bookmark(), stream.peek(self._spec.record_bytes), stream.damaged or DAMAGE)
            return
        if header.codec not in CODECS:
            yield damaged_block(Bookmark(), b"", Violation("$", "damage", f"a codec that is known; {header.codec} is not"))
            return
        limits = _Limits(record_limit(file), avro_limit(file))
        reading = _Reading(self._spec, header, self._misfit(header.schema))
        stream.skip_to(max(start.offset, stream.position))
        ordinal, begin = start.ordinal, stream.position
        pending: list[Payload] = []
        told = False  # whether the last thing told was damage: a stream that ends broken is not told twice
        while stream.peek(1):
            payload = _take_block(stream, header, limits)
            if payload is not None:
                pending.append(payload)
                told = False
                if stream.position - begin < PIECE_BYTES:
                    continue
            for block in reading.parts(Bookmark(ordinal, begin), pending, stream.position - begin):
                yield block
                ordinal += block.count
            pending = []
            if limits.records < 0 or limits.decoded_bytes < 0:
                yield damaged_block(Bookmark(ordinal, stream.position), b"", _TOO_MUCH)
                return
            if payload is None:
                at = stream.position
                yield damaged_block(Bookmark(ordinal, at), _skip_damage(stream, header, self._spec.record_bytes))
                ordinal, told = ordinal + 1, True
            begin = stream.position
        for block in reading.parts(Bookmark(ordinal, begin), pending, stream.position - begin):
            yield block
            ordinal += block.count
        if stream.damaged and not told:
            yield damaged_block(Bookmark(ordinal, stream.position), b"", stream.damaged)

    def _misfit(self, schema: AvroSchema) -> Violation | None:
        """Why no record can be what the source means: fields that are mapped, and that the schema has not."""
        lacking = self._spec.lacking(schema.has)
        return Violation("$", "header", "fields " + ", ".join(lacking)) if lacking else None


@dataclass(frozen=True)
class _Header:
    """codec: of the payloads. sync: the marker. schema: of the records."""

    codec: str
    sync: bytes
    schema: AvroSchema


@dataclass
class _Limits:
    """What is left of what a file of this size may hold."""

    records: int
    decoded_bytes: int


@dataclass(frozen=True)
class _Reading:
    """Decodes payloads. misfit: why all records are rejected."""

    spec: SourceSpec
    header: _Header
    misfit: Violation | None

    def parts(self, start: Bookmark, payloads: list[Payload], size_bytes: int) -> Iterator[RecordBlock]:
        """The records of payloads in one block; of a large payload, in several that begin at one place: no chunk is cut there."""
        (large,) = payloads if len(payloads) == 1 else (None,)
        sizes = None
        if large and large.data and len(large.data) > _WHOLE_BYTES:
            sizes = record_sizes(self.header.schema, large.data, large.count)
        if not payloads or not sum(payload.count for payload in payloads):
            return
        if large is None or large.data is None or sizes is None:
            yield self._block(start, payloads, size_bytes)
            return
        ordinal = at = first = held = 0
        for number, size in enumerate(sizes, 1):
            held += size
            if held >= PIECE_BYTES or number == len(sizes):
                last = number == len(sizes)
                part = Payload(number - first, large.data[at : at + held])
                yield self._block(Bookmark(start.ordinal + ordinal, start.offset), [part], size_bytes if last else 0)
                ordinal, at, first, held = number, at + held, number, 0

    def _block(self, start: Bookmark, payloads: list[Payload], size_bytes: int) -> RecordBlock:
        def parse() -> ParsedRecords:
            parsed = self._parse(payloads)
            if self.misfit:
                parsed.failed = {i: parsed.failed.get(i, [self.misfit]) for i in range(len(parsed.records))}
            return parsed

        return RecordBlock(start, sum(payload.count for payload in payloads), size_bytes, parse)

    def _parse(self, payloads: list[Payload]) -> ParsedRecords:
        limit = self.spec.record_bytes
        if self.header.schema.recursive or any(p.data is None or len(p.data) > limit for p in payloads):
            return one_by_one(self.header.schema, payloads, self.spec.record_bytes)
        records: list[Any] = []
        decode: Any = fastavro.schemaless_reader
        fast = self.header.schema.fast
        try:
            for payload in payloads:
                source = io.BytesIO(payload.data or b"")
                records += [decode(source, fast) for _ in range(payload.count)]
                if source.read(1):
                    return one_by_one(self.header.schema, payloads, self.spec.record_bytes)
        except Exception:  # as above
            return one_by_one(self.header.schema, payloads, self.spec.record_bytes)
        return ParsedRecords(records, self._raw(payloads))

    def _raw(self, payloads: list[Payload]) -> Callable[[int], bytes]:
        """The bytes of a record by its index, as they stand in the file; found when first asked for."""
        found: list[bytes] = []

        def raw(index: int) -> bytes:
            if not found:
                for payload in payloads:
                    at = 0
                    for size in record_sizes(self.header.schema, payload.data or b"", payload.count) or ():
                        found.append((payload.data or b"")[at : at + size])
                        at += size
            return found[index] if index < len(found) else b""

        return raw


def _read_header(stream: _Stream) -> _Header | None:
    """The header; the stream is then at the first block. None where there is none.

    Raises:
        SchemaError: it has a schema that cannot be read.
    """
    size = 1 << 16
    while True:
        head = stream.peek(size)
        if not head.startswith(MAGIC):
            return None
        found = _parse_header(head)
        if found is None:  # too short a piece, or a broken header
            if len(head) < size or size > _HEADER_BYTES:
                return None
            size *= 4
            continue
        meta, end = found
        stream.take(end)
        try:
            schema = read_schema(msgspec.json.decode(meta[b"avro.schema"]))
            codec = meta.get(b"avro.codec", b"null").decode()
        except (KeyError, UnicodeDecodeError, msgspec.MsgspecError, RecursionError):
            return None
        return _Header(codec, head[end - _SYNC_BYTES : end], schema)


def _parse_header(head: bytes) -> tuple[dict[bytes, bytes], int] | None:
    """The metadata, and where the header ends."""
    meta: dict[bytes, bytes] = {}
    at = len(MAGIC)
    while True:
        count, at = read_long(head, at)
        if count < 0:  # a block of the map that tells its size
            count, at = -count, read_long(head, at)[1]
        if not at or at + count > len(head):
            return None
        if not count:
            break
        for _ in range(count):
            key, at = _read_bytes(head, at)
            value, at = _read_bytes(head, at)
            if not at:
                return None
            meta[key] = value
    end = at + _SYNC_BYTES
    return (meta, end) if end <= len(head) else None


def _read_bytes(head: bytes, at: int) -> tuple[bytes, int]:
    size, begin = read_long(head, at) if at else (0, 0)
    end = begin + size
    return (head[begin:end], end) if begin and size >= 0 and end <= len(head) else (b"", 0)


def _take_block(stream: _Stream, header: _Header, limits: _Limits) -> Payload | None:
    """One block, or None and no step forward where there is none, or none that a file of this size may hold."""
    found = _block_at(stream.peek(2 * _VARINT_BYTES), 0)
    if found is None or found[1] > stream.limit_bytes:
        return None
    count, total = found
    block = stream.peek(total)
    if len(block) < total or not block.endswith(header.sync):
        return None
    try:
        payload = _payload(header, block, count, min(limits.decoded_bytes, stream.limit_bytes))
    except TooLargeError:
        limits.decoded_bytes = -1
        return None
    if payload.data is not None and count > len(payload.data) and not header.schema.empty:
        return None  # more records than bytes
    limits.decoded_bytes -= len(payload.data or b"")
    limits.records -= count
    if limits.records < 0:
        return None
    stream.take(total)
    return payload


def _payload(header: _Header, block: bytes, count: int, limit: int) -> Payload:
    """The payload of a whole block, with its ends."""
    _, after_count = read_long(block, 0)
    _, begin = read_long(block, after_count)
    try:
        return Payload(count, decompress(header.codec, block[begin:-_SYNC_BYTES], limit))
    except TooLargeError:
        raise
    except PayloadError:
        return Payload(count, None)


def _block_at(data: bytes, at: int) -> tuple[int, int] | None:
    """What the beginning of a block says: (record count, size with its ends)."""
    count, after_count = read_long(data, at)
    size, after_size = read_long(data, after_count) if after_count else (0, 0)
    if not after_size or count < 0 or size < 0:
        return None
    return count, after_size - at + size + _SYNC_BYTES


def _is_block(header: _Header, data: bytes, at: int, end: int) -> bool:
    """Whether exactly these bytes are a block with records."""
    found = _block_at(data, at)
    if found is None or not 0 < found[0] <= _SEARCHED_RECORDS or at + found[1] != end:
        return False
    try:
        payload = _payload(header, data[at:end], found[0], _SEARCHED_BYTES * 16)
    except TooLargeError:
        return False
    return payload.data is not None and record_sizes(header.schema, payload.data, payload.count) is not None


def _skip_damage(stream: _Stream, header: _Header, keep: int) -> bytes:
    """Go forward over damage: to the next whole block, which the next sync marker ends, else past that marker, or to the end.

    Gives the first bytes that were skipped.
    """
    window = stream.peek(_SEARCHED_BYTES)
    end = window.find(header.sync) + _SYNC_BYTES
    if end < _SYNC_BYTES:
        return stream.skip_past(header.sync, keep)
    step = next((at for at in range(1, end) if _is_block(header, window, at, end)), end)
    stream.take(step)
    return window[: min(step, keep)]


class _Stream:
    """A decompressed stream that can be looked into."""

    limit_bytes = 256 << 20

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        self._file = None if compression_of(file.read(4)) else file
        file.seek(0)
        self._pieces = read_pieces(file)
        self._buffer = bytearray()
        self._at = 0
        self.position = 0
        self.damaged: Violation | None = None

    def peek(self, size: int) -> bytes:
        """The next bytes, fewer at the end."""
        while len(self._buffer) - self._at < size:
            try:
                piece = next(self._pieces, None)
            except DamagedInputError as error:
                self.damaged, piece = error.violation, None
            if piece is None:
                break
            if self._at:
                del self._buffer[: self._at]
                self._at = 0
            self._buffer += piece
        with memoryview(self._buffer) as view:
            return bytes(view[self._at : self._at + size])

    def take(self, size: int) -> None:
        """Step forward over bytes that were looked at."""
        self._at += size
        self.position += size

    def skip_to(self, offset: int) -> None:
        """Go forward to an offset of the decompressed stream."""
        if self._file is not None and offset > self.position + len(self._buffer):
            self._pieces = read_pieces(self._file, offset)
            self._buffer, self._at, self.position = bytearray(), 0, offset
        while self.position < offset and (step := len(self.peek(min(PIECE_BYTES, offset - self.position)))):
            self.take(step)

    def skip_past(self, marker: bytes, keep: int) -> bytes:
        """Go forward past the next marker, or to the end; gives the first bytes that were skipped."""
        kept = bytearray()
        while window := self.peek(PIECE_BYTES):
            found = window.find(marker)
            step = found + len(marker) if found >= 0 else max(len(window) - len(marker) + 1, 1)
            if found < 0 and len(window) < PIECE_BYTES:
                step = len(window)
            kept += window[: max(0, min(step, keep - len(kept)))]
            self.take(step)
            if found >= 0:
                break
        return bytes(kept)
