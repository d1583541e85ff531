"""Parquet files, row group by row group."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.codes import Violation
from contracts.compiler.values import CANONICAL_JSON
from contracts.spec.source import SourceSpec
from lake.formats.base import DAMAGE, Bookmark, ParsedRecords, RecordBlock, damaged_block

_BLOCK_ROWS = 8_192  # rows become Python objects this many at a time; row groups are often a million
_BAD_TIME = Violation("$", "timestamp", "dates and times from year 1 to 9999")


class ParquetGroups:
    """See the module. A file without a readable footer is one damaged record; a broken row group damages its rows."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec

    def blocks(self, file: BinaryIO, start: Bookmark) -> Iterator[RecordBlock]:
        """See Format. A bookmark's offset is a row group's number; its ordinal may lie within the group."""
        file.seek(0)
        if not file.read(1):
            return
        file.seek(0)
        try:
            parquet = pq.ParquetFile(file)
            metadata = parquet.metadata
            if any(metadata.row_group(number).num_rows < 0 for number in range(metadata.num_row_groups)):
                raise ValueError("a row group with fewer than no rows")
        except (pa.ArrowException, OSError, ValueError):
            file.seek(0)
            yield damaged_block(Bookmark(), file.read(self._spec.record_bytes))
            return
        first = sum(metadata.row_group(number).num_rows for number in range(start.offset))
        for number in range(start.offset, metadata.num_row_groups):
            about = metadata.row_group(number)
            group = _Group(parquet, number)
            for row in range(max(start.ordinal - first, 0), about.num_rows, _BLOCK_ROWS):
                count = min(_BLOCK_ROWS, about.num_rows - row)
                size = about.total_byte_size * count // about.num_rows
                yield RecordBlock(Bookmark(first + row, number), count, size, group.parser(row, count))
            first += about.num_rows


class _Group:
    """A row group, read when its first rows are asked for."""

    def __init__(self, parquet: pq.ParquetFile, number: int) -> None:
        self._parquet, self._number = parquet, number
        self._rows: pa.Table | None = None
        self._broken = False

    def parser(self, row: int, count: int) -> Any:
        """What decodes some of the rows."""

        def parse() -> ParsedRecords:
            table = self._read()
            if table is None:
                return ParsedRecords([None] * count, lambda _i: b"", {i: [DAMAGE] for i in range(count)})
            return _parse_rows(table.slice(row, count))

        return parse

    def _read(self) -> pa.Table | None:
        if self._rows is None and not self._broken:
            try:
                rows = _in_microseconds(self._parquet.read_row_group(self._number))
                self._broken = len(rows) != self._parquet.metadata.row_group(self._number).num_rows
                self._rows = None if self._broken else rows
            except (pa.ArrowException, OSError, ValueError):
                self._broken = True
        return self._rows


def _in_microseconds(rows: pa.Table) -> pa.Table:
    """Nanoseconds are cut to microseconds, as in timestamps that are text."""
    for number, field in enumerate(rows.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            rows = rows.set_column(number, field.name, rows.column(number).cast(pa.timestamp("us", field.type.tz), safe=False))
    return rows


def _parse_rows(rows: pa.Table) -> ParsedRecords:
    failed: dict[int, list[Violation]] = {}
    try:
        records = _plain(rows)
    except (OverflowError, TypeError, ValueError):  # a date or a map key that no Python type holds: find its row
        records = []
        for i in range(len(rows)):
            try:
                records += _plain(rows.slice(i, 1))
            except (OverflowError, TypeError, ValueError):
                failed[i] = [_BAD_TIME]
                records.append(None)
    return ParsedRecords(records, lambda i: b"" if records[i] is None else CANONICAL_JSON.encode(records[i]), failed)


def _plain(rows: pa.Table) -> list[Any]:
    try:
        return rows.to_pylist(maps_as_pydicts="strict")  # type: ignore[no-any-return]
    except KeyError:  # duplicate keys: the last wins, as in JSON; the warning would tell them
        with warnings.catch_warnings(action="ignore"):
            return rows.to_pylist(maps_as_pydicts="lossy")  # type: ignore[no-any-return]
