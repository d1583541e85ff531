"""CSV by dialect: quoted line ends, any encoding, a header that names the columns.

A record ends at a line end outside quotes. A quote that is never closed would swallow what follows; so where lines make no record
together, or too many of them, the first is a record by itself (most likely malformed), and reading goes on with the next line.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

from contracts.codes import Violation
from contracts.spec.source import SourceSpec
from lake.formats.base import Bookmark, ParsedRecords, RecordBlock
from lake.formats.lines import read_text_pieces, text_encoding

csv.field_size_limit(1 << 30)  # of the process; cells are limited by record_bytes
_RECORD_LINES = 1_000
_MALFORMED = Violation("$", "syntax", "a CSV record with closed quotes")


_Torn = tuple[bytes, Violation]


class _Header:
    """Names of the columns. reason: why rows under it cannot be read. repeated: names that stand at several places."""

    def __init__(self, names: list[str], raw: bytes, reason: Violation | None) -> None:
        self.names, self.raw, self.reason = names, raw, reason
        self.repeated: dict[str, list[int]] = {}
        if len(set(names)) < len(names):
            for at, name in enumerate(names):
                self.repeated.setdefault(name, []).append(at)
            self.repeated = {name: places for name, places in self.repeated.items() if len(places) > 1}


class CsvRows:
    """See the module. Cells become text or None; the header is no record and has no position."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec

    def blocks(self, file: BinaryIO, start: Bookmark) -> Iterator[RecordBlock]:
        """See Format. A header that does not fit, and that no row follows, is told as a record."""
        head = self._read_header(file)
        if head is None:
            return
        header, body_offset, encoding = head
        rows = 0
        for block in self._rows(file, start, head):
            rows += block.count
            yield block
        if not rows and start.ordinal == 0 and header.names and header.reason:
            yield self._block(Bookmark(0, body_offset), header, encoding, [header.raw], None)

    def _rows(self, file: BinaryIO, start: Bookmark, head: tuple[_Header, int, str]) -> Iterator[RecordBlock]:
        header, body_offset, encoding = head
        ordinal, end = start.ordinal, max(start.offset, body_offset)
        held: list[bytes] = []
        for piece in read_text_pieces(file, end, self._spec.record_bytes, self._spec.csv.encoding):
            first = Bookmark(ordinal, piece.offset - sum(map(len, held)))
            lines = held + _split_lines(piece.text)
            torn = b""
            if piece.damaged and lines and not lines[-1].endswith(b"\n"):
                torn = lines.pop()
            records, held = self._records(lines, encoding)
            if piece.damaged:  # the record that the end of what can be read has torn is the damage
                torn, held = b"".join((*held, torn)), []
            block = self._block(first, header, encoding, records, (torn, piece.damaged) if piece.damaged else None)
            skipped = piece.end - piece.offset - len(piece.text)
            block.size_bytes += skipped
            block.lost_bytes += skipped
            if block.count:
                yield block
            ordinal, end = ordinal + block.count, piece.end
        if held:  # a quote was never closed before the end of the file
            records = self._give_up(held, encoding)
            yield self._block(Bookmark(ordinal, end - sum(map(len, held))), header, encoding, records, None)

    def _read_header(self, file: BinaryIO) -> tuple[_Header, int, str] | None:
        """The header, the offset of the first record, and the encoding of what pieces hold; None for a file of nothing."""
        encoding = text_encoding(file, self._spec.csv.encoding)
        for piece in read_text_pieces(file, 0, self._spec.record_bytes, self._spec.csv.encoding):
            records, rest = self._records(_split_lines(piece.text), encoding)
            first = records[0] if records else b"".join(rest)
            cells = self._parse([first.decode(encoding, "replace")])
            if not cells:  # nothing that could be a header: told as a record
                return _Header([], first, self._misfit([])), piece.offset, encoding
            names = cells[0]
            return _Header(names, first, self._misfit(names)), piece.offset + piece.text.find(first) + len(first), encoding
        return None

    def _records(self, lines: list[bytes], encoding: str) -> tuple[list[bytes], list[bytes]]:
        """Join lines into records; the second part is the lines of a record that is not complete yet."""
        quote, delimiter = self._spec.csv.quote.encode(), self._spec.csv.delimiter.encode()
        records: list[bytes] = []
        open_lines: list[bytes] = []
        size = 0
        queue = lines
        at = 0
        while at < len(queue):
            line = queue[at]
            at += 1
            if not open_lines:
                if line.count(quote) % 2 == 0 or len(line) > self._spec.record_bytes:
                    if not line.isspace() or delimiter in line:  # of a TSV a row may be all blanks
                        records.append(line)
                    continue
                open_lines, size = [line], len(line)
                continue
            open_lines.append(line)
            size += len(line)
            too_long = len(open_lines) > _RECORD_LINES or size > self._spec.record_bytes
            closed = line.count(quote) % 2 == 1
            if closed and not too_long and self._parse([b"".join(open_lines).decode(encoding, "replace")]):
                records.append(b"".join(open_lines))
                open_lines = []
            elif closed or too_long:
                records.append(open_lines[0])
                at -= len(open_lines) - 1
                open_lines = []
        return records, open_lines

    def _give_up(self, lines: list[bytes], encoding: str) -> list[bytes]:
        """The records in lines whose first one opens a quote that nothing closes."""
        records: list[bytes] = []
        while lines:
            records.append(lines[0])
            more, lines = self._records(lines[1:], encoding)
            records += more
        return records

    def _block(self, start: Bookmark, header: _Header, encoding: str, records: list[bytes], torn: _Torn | None) -> RecordBlock:
        """torn: where the file becomes unreadable, what is there of that record, and why."""
        damaged = torn is not None
        count = len(records) + damaged

        def parse() -> ParsedRecords:
            parsed = self._parse_records(header, encoding, records)
            if torn is not None:
                whole, limit = parsed.raw, self._spec.record_bytes
                parsed.records = [*parsed.records, None]
                rest, reason = torn
                parsed.failed[len(records)] = [reason]
                parsed.raw = lambda i: whole(i) if i < len(records) else rest[:limit]
            return parsed

        lost = sum(size for size in map(len, records) if size > self._spec.record_bytes)
        return RecordBlock(start, count, sum(map(len, records)) + 1, parse, damaged=damaged, lost_bytes=lost)

    def _parse_records(self, header: _Header, encoding: str, records: list[bytes]) -> ParsedRecords:
        failed: dict[int, list[Violation]] = {}
        limit = self._spec.record_bytes

        def raw(index: int) -> bytes:
            return records[index][:limit]

        if header.reason:
            return ParsedRecords([None] * len(records), raw, {i: [header.reason] for i in range(len(records))})
        texts: list[str] = []
        for i, record in enumerate(records):
            if len(record) > limit:
                failed[i] = [Violation("$", "record_bytes", f"at most {limit} bytes")]
                texts.append("")
                continue
            try:
                texts.append(record.decode(encoding))
            except UnicodeDecodeError:
                failed[i] = [Violation("$", "encoding", encoding)]
                texts.append("")
        rows = self._parse([text or "x" for text in texts])
        if len(rows) != len(texts):  # some record holds broken quotes: find it one by one
            rows = []
            for i, text in enumerate(texts):
                single = self._parse([text or "x"])
                if len(single) == 1:
                    rows.append(single[0])
                else:
                    failed.setdefault(i, [_MALFORMED])
                    rows.append([])
        out: list[dict[str, Any] | None] = []
        for i, row in enumerate(rows):
            if i not in failed and len(row) != len(header.names):
                failed[i] = [Violation("$", "fields", f"{len(header.names)} fields")]
            out.append(None if i in failed else self._values(header, row))
        return ParsedRecords(out, raw, failed)

    def _values(self, header: _Header, row: list[str]) -> dict[str, Any]:
        """Cells by name; of a name that stands several times, a list of them."""
        nulls = self._spec.csv.null_values
        values: dict[str, Any] = {k: None if v in nulls else v for k, v in zip(header.names, row, strict=True)}
        for name, places in header.repeated.items():
            values[name] = [None if row[at] in nulls else row[at] for at in places]
        return values

    def _misfit(self, names: list[str]) -> Violation | None:
        """Why no row can be what the source means: names that are mapped, and that the header has not, or has twice."""
        counts = Counter(names)
        twice = sorted(name for name in self._spec.read_fields if counts[name] > 1)
        if twice:
            return Violation("$", "header", "a header with one each of " + ", ".join(twice))
        lacking = self._spec.lacking(lambda steps: steps[0] in counts)
        return Violation("$", "header", "a header with " + ", ".join(lacking)) if lacking else None

    def _parse(self, texts: list[str]) -> list[list[str]]:
        dialect = self._spec.csv
        try:
            return list(csv.reader(texts, delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True))
        except csv.Error:
            return []


def _split_lines(text: bytes) -> list[bytes]:
    """Lines with their ends; only a line feed ends one (``bytes.splitlines`` also cuts at a lone carriage return)."""
    lines = [line + b"\n" for line in text.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines
