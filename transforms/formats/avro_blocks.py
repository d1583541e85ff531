"""Avro object container files, block by block. A broken block is told, and reading goes on at the next sync marker."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import fastavro

from contracts.codes import Violation
from contracts.source import SourceSpec
from transforms.formats.base import DAMAGE, PIECE_BYTES, Bookmark, ParsedRecords, RecordBlock, damaged_block
from transforms.formats.compression import DamagedInputError, compression_of, read_pieces

MAGIC = b"Obj\x01"
_SYNC_BYTES = 16
_VARINT_BYTES = 10


class AvroBlocks:
    """See the module. Source: Apache Avro 1.11 specification, "Object Container Files"."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec

    def blocks(self, file: BinaryIO, start: Bookmark) -> Iterator[RecordBlock]:
        """See Format. A bookmark's offset is where a block begins."""
        stream = _Stream(file)
        header = _read_header(stream)
        if header is None:
            if stream.peek(1):
                yield damaged_block(Bookmark(), stream.peek(self._spec.record_bytes))
            return
        stream.skip_to(max(start.offset, stream.position))
        sync = header[-_SYNC_BYTES:]
        ordinal, begin = start.ordinal, stream.position
        pending: list[bytes] = []
        counts: list[int] = []
        while stream.peek(1):
            block = _take_block(stream, sync)
            if block is not None:
                pending.append(block[1])
                counts.append(block[0])
                if sum(map(len, pending)) < PIECE_BYTES:
                    continue
            if pending:
                yield self._group(Bookmark(ordinal, begin), header, pending, counts)
                ordinal, pending, counts = ordinal + sum(counts), [], []
            if block is None:
                at = stream.position
                raw = stream.skip_past(sync, self._spec.record_bytes)
                yield damaged_block(Bookmark(ordinal, at), raw)
                ordinal += 1
            begin = stream.position
        if pending:
            yield self._group(Bookmark(ordinal, begin), header, pending, counts)
            ordinal += sum(counts)
        if stream.damaged:
            yield damaged_block(Bookmark(ordinal, stream.position), b"")

    def _group(self, start: Bookmark, header: bytes, blocks: list[bytes], counts: list[int]) -> RecordBlock:
        def parse() -> ParsedRecords:
            try:
                reader = fastavro.reader(io.BytesIO(b"".join((header, *blocks))))
                records: list[Any] = list(reader)
                schema = reader.writer_schema
                failed: dict[int, list[Violation]] = {}
            except Exception:  # whatever a decoder trips over in bytes that are not what they say
                return _parse_one_by_one(header, blocks, counts)
            return ParsedRecords(records, lambda i: _encode(schema, records[i]), failed)

        return RecordBlock(start, sum(counts), sum(map(len, blocks)), parse)


def _parse_one_by_one(header: bytes, blocks: list[bytes], counts: list[int]) -> ParsedRecords:
    """Where one of the blocks cannot be decoded: what it holds before the broken place is good, the rest is damage."""
    records: list[Any] = []
    failed: dict[int, list[Violation]] = {}
    schema: Any = None
    for block, count in zip(blocks, counts, strict=True):
        first = len(records)
        try:
            reader = fastavro.reader(io.BytesIO(header + block))
            schema = reader.writer_schema
            for record in reader:
                records.append(record)
        except Exception:  # as above
            while len(records) < first + count:
                failed[len(records)] = [DAMAGE]
                records.append(None)
        del records[first + count :]
    return ParsedRecords(records, lambda i: b"" if i in failed else _encode(schema, records[i]), failed)


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
            if len(head) < size:
                return None
            size *= 4
            continue
        stream.take(source.tell())
        return head[: source.tell()]


def _take_block(stream: _Stream, sync: bytes) -> tuple[int, bytes] | None:
    """One block as (record count, its bytes), or None and no step forward where there is none."""
    head = stream.peek(2 * _VARINT_BYTES)
    count, after_count = _read_long(head, 0)
    size, after_size = _read_long(head, after_count)
    if after_size == 0 or count < 0 or size < 0 or count > max(size, 1) * 8:
        return None
    total = after_size + size + _SYNC_BYTES
    if total > stream.limit_bytes:
        return None
    block = stream.peek(total)
    if len(block) < total or block[-_SYNC_BYTES:] != sync:
        return None
    stream.take(total)
    return count, block


def _read_long(data: bytes, at: int) -> tuple[int, int]:
    """A zig-zag varint at this place: (value, place after it); (0, 0) where there is none."""
    value = 0
    for shift, byte in enumerate(data[at : at + _VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
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
        return bytes(self._buffer[self._at : self._at + size])

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
