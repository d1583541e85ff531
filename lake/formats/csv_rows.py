"""CSV by dialect: quoted line ends, any encoding, a header that names the columns.

A record ends at a line end outside quotes. A quote that is never closed would swallow what follows; so where lines make no record
together, or too many of them, the first is a record by itself (most likely malformed), and reading goes on with the next line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO

from contracts.codes import Violation
from contracts.spec.source import SourceSpec
from lake.formats.base import DAMAGE, Bookmark, ParsedRecords, RecordBlock
from lake.formats.lines import read_text_pieces, text_encoding

csv.field_size_limit(1 << 30)  # of the process; cells are limited by record_bytes
_RECORD_LINES = 1_000
_MALFORMED = Violation("$", "syntax", "a CSV record with closed quotes")


class CsvRows:
    """See the module. Cells become text or None; the header is no record and has no position."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec

    def blocks(self, file: BinaryIO, start: Bookmark) -> Iterator[RecordBlock]:
        """See Format."""
        header, body_offset, encoding = self._read_header(file)
        if header is None:
            return
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
            block = self._block(first, header, encoding, records, torn if piece.damaged else None)
            if block.count:
                yield block
            ordinal, end = ordinal + block.count, piece.end
        if held:  # a quote was never closed before the end of the file
            records = self._give_up(held, encoding)
            yield self._block(Bookmark(ordinal, end - sum(map(len, held))), header, encoding, records, None)

    def _read_header(self, file: BinaryIO) -> tuple[list[str] | None, int, str]:
        """Header cells, the offset of the first record, and the encoding of the bytes that pieces hold."""
        encoding = text_encoding(file, self._spec.csv.encoding)
        for piece in read_text_pieces(file, 0, self._spec.record_bytes, self._spec.csv.encoding):
            records, rest = self._records(_split_lines(piece.text), encoding)
            first = records[0] if records else b"".join(rest)
            cells = self._parse([first.decode(encoding, "replace")])
            if not cells:  # nothing that could be a header: told as a record
                return [], piece.offset, encoding
            return cells[0], piece.offset + piece.text.find(first) + len(first), encoding
        return None, 0, encoding

    def _records(self, lines: list[bytes], encoding: str) -> tuple[list[bytes], list[bytes]]:
        """Join lines into records; the second part is the lines of a record that is not complete yet."""
        quote = self._spec.csv.quote.encode()
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
                    if not line.isspace():
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

    def _block(self, start: Bookmark, header: list[str], encoding: str, records: list[bytes], torn: bytes | None) -> RecordBlock:
        """torn: what is there of the record in which the file becomes unreadable; None where it does not."""
        damaged = torn is not None
        count = len(records) + damaged

        def parse() -> ParsedRecords:
            parsed = self._parse_records(header, encoding, records)
            if torn is not None:
                whole, limit = parsed.raw, self._spec.record_bytes
                parsed.records = [*parsed.records, None]
                parsed.failed[len(records)] = [DAMAGE]
                parsed.raw = lambda i: whole(i) if i < len(records) else torn[:limit]
            return parsed

        return RecordBlock(start, count, sum(map(len, records)) + 1, parse, damaged=damaged)

    def _parse_records(self, header: list[str], encoding: str, records: list[bytes]) -> ParsedRecords:
        failed: dict[int, list[Violation]] = {}
        limit = self._spec.record_bytes

        def raw(index: int) -> bytes:
            return records[index][:limit]

        missing = self._missing(header)
        if missing:
            reason = [Violation("$", "header", "a header with " + ", ".join(missing))]
            return ParsedRecords([None] * len(records), raw, dict.fromkeys(range(len(records)), reason))
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
        nulls = self._spec.csv.null_values
        out: list[dict[str, str | None] | None] = []
        for i, row in enumerate(rows):
            if i in failed:
                out.append(None)
            elif len(row) != len(header):
                failed[i] = [Violation("$", "fields", f"{len(header)} fields")]
                out.append(None)
            else:
                out.append({k: None if v in nulls else v for k, v in zip(header, row, strict=True)})
        return ParsedRecords(out, raw, failed)

    def _missing(self, header: list[str]) -> list[str]:
        """Mapped header names that the file has not, or has twice: the first path of each column."""
        have = {name for name in header if header.count(name) == 1}
        lacking = {str(p[0].steps[0]) for p in self._spec.columns.values() if p and have.isdisjoint(x.steps[0] for x in p)}
        return sorted(lacking)

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
