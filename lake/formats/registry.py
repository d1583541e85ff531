"""Which format a source spec means, and what holds for all of them: another kind of file is told, and so is one without measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import BinaryIO

import pyarrow as pa

from contracts.codes import Violation
from contracts.spec.source import FormatName, SourceSpec
from lake.formats.avro_blocks import AvroBlocks
from lake.formats.base import DAMAGE, Bookmark, Format, ParsedRecords, RecordBlock, damaged_block
from lake.formats.containers import foreign_content
from lake.formats.csv_rows import CsvRows
from lake.formats.json_array import JsonArray
from lake.formats.jsonl import JsonLines
from lake.formats.limits import record_limit, too_many_records
from lake.formats.parquet_groups import ParquetGroups

# Readers expect errors of their libraries where these happen. What a library raises beyond that at odd bytes, or because it ran
# out of memory at them, costs the block and not the run. Input/output errors are not of the bytes: they end it.
_LIBRARY_ERRORS = (ArithmeticError, LookupError, MemoryError, RecursionError, TypeError, ValueError, pa.ArrowException)


_FORMATS: dict[FormatName, Callable[[SourceSpec], Format]] = {
    "jsonl": JsonLines,
    "json_array": JsonArray,
    "csv": CsvRows,
    "avro": AvroBlocks,
    "parquet": ParquetGroups,
}


def format_for(spec: SourceSpec) -> Format:
    """The format of a source."""
    return _Guarded(spec, _FORMATS[spec.format](spec))


class _Guarded:
    """A format that is not asked for files of another kind, and not beyond what a file of this size may hold."""

    def __init__(self, spec: SourceSpec, format: Format) -> None:
        self._spec, self._format = spec, format

    def blocks(self, file: BinaryIO, start: Bookmark) -> Iterator[RecordBlock]:
        """See Format."""
        if start == Bookmark() and (what := foreign_content(file, self._spec.format)):
            yield damaged_block(start, b"", Violation("$", "damage", f"{self._spec.format}; this is {what}"))
            return
        limit = record_limit(file)
        at = start
        try:
            for block in self._format.blocks(file, start):
                if block.start.ordinal >= limit:
                    yield damaged_block(block.start, b"", too_many_records(limit))
                    return
                count = min(block.count, limit - block.start.ordinal)
                at = Bookmark(block.start.ordinal + count, block.start.offset)
                yield replace(block, count=count, parse=partial(_parse, block, count))
                if count < block.count:
                    yield damaged_block(at, b"", too_many_records(limit))
                    return
        except _LIBRARY_ERRORS:
            yield damaged_block(at, b"")


def _parse(block: RecordBlock, count: int) -> ParsedRecords:
    try:
        return block.parse().first(count)
    except _LIBRARY_ERRORS:
        return ParsedRecords([None] * count, lambda _i: b"", {i: [DAMAGE] for i in range(count)})
