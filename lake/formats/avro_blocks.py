"""Avro object container files, block by block. A broken block is told, and reading goes on at the next sync marker."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import fastavro

from contracts.codes import Violation
from contracts.spec.source import SourceSpec
from lake.formats.base import DAMAGE, PIECE_BYTES, Bookmark, ParsedRecords, RecordBlock, damaged_block
from lake.formats.compression import DamagedInputError, compression_of, read_pieces

MAGIC = b"Obj\x01"
_SYNC_BYTES = 16
_VARINT_BYTES = 10
_HEADER_BYTES = 16 << 20
_BLOCK_RECORDS = 1 << 24
_SEARCHED_BYTES = 1 << 20
# What fastavro needs beyond the standard library.
_CODEC_LIBRARIES = {"snappy": "cramjam", "zstandard": "backports.zstd", "lz4": "lz4.block"}
_BAD_TIME = Violation("$", "timestamp", "dates and times from year 1 to 9999")
_BAD_TEXT = Violation("$", "encoding", "UTF-8")


class AvroBlocks:
    """See the module. Source: Apache Avro 1.11 specification, "Object Container Files"."""

    def __init__(self, spec: SourceSpec, *, whole: bool = True) -> None:
        self._spec, self._whole = spec, whole

    def blocks(self, file: BinaryIO, start: Bookmark) -> Iterator[RecordBlock]:
        """See Format. A bookmark's offset is where a block begins."""
        stream = _Stream(file)
        header = _read_header(stream)
        if header is None:
            if stream.peek(1) or stream.damaged:
                yield damaged_block(Bookmark(), stream.peek(self._spec.record_bytes))
            return
        if (codec := _missing_codec(header)) is not None:
            yield damaged_block(Bookmark(), b"", Violation("$", "damage", f"a codec that is installed; {codec} is not"))
            return
        stream.skip_to(max(start.offset, stream.position))
        ordinal, begin = start.ordinal, stream.position
        pending: list[bytes] = []
        counts: list[int] = []
        told = False  # whether the last thing told was damage: a stream that ends broken is not told twice
        while stream.peek(1):
            block = _take_block(stream, header)
            if block is not None:
                pending.append(block[1])
                counts.append(block[0])
                told = False
                if stream.position - begin < PIECE_BYTES:
                    continue
            if pending:
                yield self._group(Bookmark(ordinal, begin), header, pending, counts)
                ordinal, pending, counts = ordinal + sum(counts), [], []
            if block is None:
                at = stream.position
                yield damaged_block(Bookmark(ordinal, at), _skip_damage(stream, header, self._spec.record_bytes))
                ordinal, told = ordinal + 1, True
            begin = stream.position
        if pending:
            yield self._group(Bookmark(ordinal, begin), header, pending, counts)
            ordinal += sum(counts)
        if stream.damaged and not told:
            yield damaged_block(Bookmark(ordinal, stream.position), b"")

    def _group(self, start: Bookmark, header: bytes, blocks: list[bytes], counts: list[int]) -> RecordBlock:
        def parse() -> ParsedRecords:
            records: list[Any] = []
            try:
                reader: Any = fastavro.block_reader(io.BytesIO(b"".join((header, *blocks))))
                schema = reader.writer_schema
                for block in reader:
                    records += block
                    if block.bytes_.read(1):
                        return _parse_one_by_one(header, blocks, counts)
            except Exception:  # whatever a decoder trips over in bytes that are not what they say
                return _parse_one_by_one(header, blocks, counts)
            return ParsedRecords(records, lambda i: _encode(schema, records[i]))

        return RecordBlock(start, sum(counts), sum(map(len, blocks)), parse)


def _parse_one_by_one(header: bytes, blocks: list[bytes], counts: list[int]) -> ParsedRecords:
    """Where something in these blocks cannot be decoded: a record at a time.

    A value that no Python type holds fails its record; where the bytes make no sense the rest of the block is damage.
    """
    records: list[Any] = []
    failed: dict[int, list[Violation]] = {}
    raw: dict[int, bytes] = {}
    schema = fastavro.block_reader(io.BytesIO(header)).writer_schema
    undressed = fastavro.parse_schema(_undressed(schema))
    for block, count in zip(blocks, counts, strict=True):
        end = len(records) + count
        try:
            opened: Any = next(fastavro.block_reader(io.BytesIO(header + block)))
            source = opened.bytes_
            while len(records) < end:
                at = source.tell()
                try:
                    records.append(fastavro.schemaless_reader(source, schema))
                except (OverflowError, UnicodeDecodeError, ValueError) as error:
                    source.seek(at)
                    fastavro.schemaless_reader(source, undressed)
                    failed[len(records)] = [_BAD_TEXT if isinstance(error, UnicodeDecodeError) else _BAD_TIME]
                    raw[len(records)] = source.getvalue()[at : source.tell()]
                    records.append(None)
            if source.read(1) and count:
                failed[end - 1] = [DAMAGE]  # the block holds more than it says
        except Exception:  # as above
            failed.update((i, [DAMAGE]) for i in range(len(records), end))
            records += [None] * (end - len(records))
    return ParsedRecords(records, lambda i: raw.get(i, b"") if records[i] is None else _encode(schema, records[i]), failed)


def _undressed(schema: Any) -> Any:
    """The schema with plain types of the same bytes, which every value can be read as."""
    if isinstance(schema, list):
        return [_undressed(branch) for branch in schema]
    if not isinstance(schema, dict):
        return "bytes" if schema == "string" else schema
    plain = {key: value for key, value in schema.items() if key != "logicalType" and not key.startswith("__")}
    if "fields" in plain:
        plain["fields"] = [{"name": field["name"], "type": _undressed(field["type"])} for field in plain["fields"]]
    return plain | {key: _undressed(plain[key]) for key in ("type", "items", "values") if key in plain}


def _encode(schema: Any, record: Any) -> bytes:
    """One record as an Avro datum of the file's schema: its bytes in the block."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record)
    return out.getvalue()


def _read_header(stream: _Stream) -> bytes | None:
    """The bytes of the header up to and with the sync marker; the stream is then at the first block."""
    size = 1 << 16
    while True:
        head = stream.peek(size)
        if not head.startswith(MAGIC):
            return None
        source = io.BytesIO(head)
        try:
            fastavro.block_reader(source)
        except Exception:  # too short a piece, or a broken header
            if len(head) < size or size > _HEADER_BYTES:
                return None
            size *= 4
            continue
        stream.take(source.tell())
        return head[: source.tell()]


def _missing_codec(header: bytes) -> str | None:
    """The codec of the file, where this installation cannot read it; told as such, not block by block."""
    codec = fastavro.block_reader(io.BytesIO(header)).codec
    library = _CODEC_LIBRARIES.get(codec)
    if library is None:
        return None
    try:
        importlib.import_module(library)
    except ImportError:
        return codec
    return None


def _take_block(stream: _Stream, header: bytes) -> tuple[int, bytes] | None:
    """One block as (record count, its bytes), or None and no step forward where there is none."""
    found = _block_at(stream.peek(2 * _VARINT_BYTES), 0)
    if found is None or found[1] > stream.limit_bytes:
        return None
    count, total = found
    block = stream.peek(total)
    if len(block) < total or not block.endswith(header[-_SYNC_BYTES:]):
        return None
    if count > total and not _holds(header, block, count):  # many records in few bytes: only where they compress very well
        return None
    stream.take(total)
    return count, block


def _block_at(data: bytes, at: int) -> tuple[int, int] | None:
    """What the beginning of a block says: (record count, size with its ends)."""
    count, after_count = _read_long(data, at)
    size, after_size = _read_long(data, after_count) if after_count else (0, 0)
    if not after_size or not 0 <= count <= _BLOCK_RECORDS or size < 0:
        return None
    return count, after_size - at + size + _SYNC_BYTES


def _holds(header: bytes, block: bytes, count: int) -> bool:
    """Whether a block decodes to this many records, and nothing after them."""
    try:
        opened: Any = next(fastavro.block_reader(io.BytesIO(header + block)))
        return sum(1 for _ in opened) == count and not opened.bytes_.read(1)
    except Exception:  # as in _group
        return False


def _is_block(header: bytes, data: bytes, at: int, end: int) -> bool:
    """Whether exactly these bytes are a block with records."""
    found = _block_at(data, at)
    return found is not None and found[0] > 0 and at + found[1] == end and _holds(header, data[at:end], found[0])


def _skip_damage(stream: _Stream, header: bytes, keep: int) -> bytes:
    """Go forward over damage: to the next whole block, which the next sync marker ends, else past that marker, or to the end.

    Gives the first bytes that were skipped.
    """
    marker = header[-_SYNC_BYTES:]
    window = stream.peek(_SEARCHED_BYTES)
    end = window.find(marker) + _SYNC_BYTES
    if end < _SYNC_BYTES:
        return stream.skip_past(marker, keep)
    step = next((at for at in range(1, end) if _is_block(header, window, at, end)), end)
    stream.take(step)
    return window[: min(step, keep)]


def _read_long(data: bytes, at: int) -> tuple[int, int]:
    """A zig-zag varint at this place: (value, place after it); (0, 0) where there is none."""
    value = 0
    for shift, byte in enumerate(data[at : at + _VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:  # no continuation bit
            return (value >> 1) ^ -(value & 1), at + shift + 1
    return 0, 0


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
        self.damaged = False

    def peek(self, size: int) -> bytes:
        """The next bytes, fewer at the end."""
        while len(self._buffer) - self._at < size:
            try:
                piece = next(self._pieces, None)
            except DamagedInputError:
                self.damaged, piece = True, None
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
