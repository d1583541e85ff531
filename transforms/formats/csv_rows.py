"""CSV by dialect: quoted line ends, any encoding, a header that names the columns.

A record ends at a line end outside quotes. A quote that is never closed would swallow the rest of the file; so a record that spans
too much is broken up: its first line is malformed, and reading goes on with the next line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO

from contracts.codes import Violation
from contracts.source import SourceSpec
from transforms.formats.base import DAMAGE, Bookmark, ParsedRecords, RecordBlock
from transforms.formats.lines import read_text_pieces, transcoded_from

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
        ordinal, offset = start.ordinal, max(start.offset, body_offset)
        held: list[bytes] = []
        for piece in read_text_pieces(file, offset, self._spec.csv.encoding):
            first = piece.offset - sum(map(len, held))
            records, held = self._records(held + _split_lines(piece.text))
            if piece.damaged:
                records, held = records + [b"".join(held)] if held else records, []
            block = self._block(Bookmark(ordinal, first), header, encoding, records, damaged=piece.damaged)
            if block.count:
                yield block
            ordinal += block.count
            offset = piece.offset + len(piece.text) - sum(map(len, held))
        if held:  # a quote was never closed before the end of the file
            records = self._give_up(held)
            yield self._block(Bookmark(ordinal, offset), header, encoding, records, damaged=False)

    def _read_header(self, file: BinaryIO) -> tuple[list[str] | None, int, str]:
        """Header cells, the offset of the first record, and the encoding of the bytes that pieces hold."""
        for piece in read_text_pieces(file, 0, self._spec.csv.encoding):
            encoding = "utf-8" if transcoded_from(file, self._spec.csv.encoding) else self._spec.csv.encoding
            records, rest = self._records(_split_lines(piece.text))
            first = records[0] if records else b"".join(rest)
            skipped = piece.text.find(first)
            cells = self._parse([first.decode(encoding, "replace")])
            return (cells[0] if cells else []), piece.offset + skipped + len(first), encoding
        return None, 0, "utf-8"

    def _records(self, lines: list[bytes]) -> tuple[list[bytes], list[bytes]]:
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
                if line.count(quote) % 2 == 0:
                    if not line.isspace():
                        records.append(line)
                    continue
                open_lines, size = [line], len(line)
                continue
            open_lines.append(line)
            size += len(line)
            if line.count(quote) % 2:
                records.append(b"".join(open_lines))
                open_lines = []
            elif len(open_lines) > _RECORD_LINES or size > self._spec.record_bytes:
                records.append(open_lines[0])  # malformed by itself: its quotes do not close
                at -= len(open_lines) - 1
                open_lines = []
        return records, open_lines

    def _give_up(self, lines: list[bytes]) -> list[bytes]:
        """The records in lines whose first one opens a quote that nothing closes."""
        records: list[bytes] = []
        while lines:
            records.append(lines[0])
            more, lines = self._records(lines[1:])
            records += more
        return records

    def _block(
        self, start: Bookmark, header: list[str], encoding: str, records: list[bytes], *, damaged: bool
    ) -> RecordBlock:
        count = len(records) + damaged

        def parse() -> ParsedRecords:
            parsed = self._parse_records(header, encoding, records)
            if damaged:
                parsed.records = [*parsed.records, None]
                parsed.failed[len(records)] = [DAMAGE]
            return parsed

        return RecordBlock(start, count, sum(map(len, records)) + 1, parse, damaged=damaged)

    def _parse_records(self, header: list[str], encoding: str, records: list[bytes]) -> ParsedRecords:
        failed: dict[int, list[Violation]] = {}
        limit = self._spec.record_bytes

        def raw(index: int) -> bytes:
            return records[index][:limit] if index < len(records) else b""

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
        """Mapped header names that the file has not: the first path of each column."""
        have = set(header)
        lacking = {str(p[0].steps[0]) for p in self._spec.columns.values() if p and have.isdisjoint(x.steps[0] for x in p)}
        return sorted(lacking)

    def _parse(self, texts: list[str]) -> list[list[str]]:
        dialect = self._spec.csv
        try:
            return list(csv.reader(texts, delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True))
        except csv.Error:
            return []


def _split_lines(text: bytes) -> list[bytes]:
    """Lines with their ends; only ``\\n`` ends a line (``bytes.splitlines`` also cuts at a lone ``\\r``)."""
    lines = [line + b"\n" for line in text.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines

