"""A JSON array of objects in one document, read element by element; also one lone object, or several in a row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from contracts.codes import Violation
from contracts.spec.source import SourceSpec
from lake.formats.base import DAMAGE, PIECE_BYTES, Bookmark, RecordBlock, damaged_block
from lake.formats.compression import DamagedInputError
from lake.formats.jsonl import json_block
from lake.formats.lines import UTF8_BOM, read_text

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{},]', re.DOTALL)
# An element that is still open after this much (and twice record_bytes) is no element: the array is broken there.
_ELEMENT_BYTES = 16 << 20
_DEEPEST = 100_000


def _starts_with_bracket(file: BinaryIO) -> bool:
    try:
        for number, piece in enumerate(read_text(file, 0)):
            body = (piece if number else piece.removeprefix(UTF8_BOM)).lstrip()
            if body:
                return body[:1] == b"["
    except DamagedInputError:
        pass  # told when the elements are read
    return False


class JsonArray:
    """See the module. Where the brackets no longer match, the rest of the file is one damaged record."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec

    def blocks(self, file: BinaryIO, start: Bookmark) -> Iterator[RecordBlock]:
        """See Format. A bookmark's offset is where an element begins, or the start of the file."""
        ordinal, offset = start.ordinal, start.offset
        elements: list[bytes] = []
        size = 0
        splitter = _ElementSplitter(offset, 2 * self._spec.payload_bytes, in_array=offset > 0 and _starts_with_bracket(file))
        damaged: Violation | None = None
        try:
            for piece in read_text(file, offset):
                for element in splitter.feed(piece):
                    elements.append(element)
                    size += len(element)
                    if size >= PIECE_BYTES:
                        block = json_block(self._spec, Bookmark(ordinal, offset), elements, size)
                        yield block
                        ordinal, offset, elements, size = ordinal + block.count, splitter.next_offset, [], 0
                if splitter.broken:
                    break
        except DamagedInputError as error:
            damaged = error.violation
        block = json_block(self._spec, Bookmark(ordinal, offset), elements, max(size, 1))
        if block.count:
            yield block
        if damaged or splitter.unfinished:
            rest = splitter.unfinished[: self._spec.record_bytes]
            yield damaged_block(Bookmark(ordinal + block.count, splitter.next_offset), rest, damaged or DAMAGE)


class _ElementSplitter:
    """Cuts a stream into top-level elements by matching brackets outside strings."""

    def __init__(self, offset: int, element_bytes: int, *, in_array: bool) -> None:
        self._limit = max(element_bytes, _ELEMENT_BYTES)
        self._buffer = b""
        self._begin = 0  # where the current element begins in the buffer
        self._scanned = 0  # where looking goes on
        self._depth = 0  # of brackets inside the element
        self._offset = offset  # of the buffer in the stream
        self._in_array = in_array
        self._at_start = offset == 0
        self._closed = False
        self.broken = False

    @property
    def next_offset(self) -> int:
        """Where the next element begins in the stream."""
        return self._offset + self._begin

    @property
    def unfinished(self) -> bytes:
        """What was begun and not ended; for an array that just stops, its bracket."""
        rest = self._buffer[self._begin :].strip()
        if self.broken or rest:
            return rest or b"\n"
        return b"[" if self._in_array and not self._closed else b""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """More bytes; gives the elements that they complete."""
        self._buffer = self._buffer[self._begin :] + piece
        self._offset += self._begin
        self._scanned -= self._begin
        self._begin = 0
        if self._at_start and not self._open():
            return
        while match := _TOKEN.search(self._buffer, self._scanned):
            token = match[0]
            if token == b'"':  # a string whose end has not come yet
                self._scanned = match.start()
                break
            self._scanned = match.end()
            if len(token) > 1:  # a whole string
                continue
            if token in b"{[":
                self._depth += 1
            elif token == b",":
                if self._depth == 0:
                    yield from self._cut(match.start(), match.end())
            elif self._depth == 0:
                yield from self._cut(match.start(), match.end())
                self._closed = True
            else:
                self._depth -= 1
                if self._depth == 0 and not self._in_array:
                    yield from self._cut(match.end(), match.end())
        else:
            self._scanned = len(self._buffer)
        self.broken = len(self._buffer) - self._begin > self._limit or self._depth > _DEEPEST

    def _open(self) -> bool:
        """Look at the first byte that is no blank: an array, or objects in a row."""
        body = self._buffer.removeprefix(UTF8_BOM).lstrip()
        if not body:
            self._begin = self._scanned = len(self._buffer)
            return False
        self._at_start, self._in_array = False, body[:1] == b"["
        self._begin = self._scanned = len(self._buffer) - len(body) + self._in_array
        return True

    def _cut(self, end: int, following: int) -> Iterator[bytes]:
        element = self._buffer[self._begin : end].strip()
        self._begin = following
        if element:
            yield element
