"""Parquet files, row group by row group. Only the columns that the source reads are decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.codes import Violation
from contracts.compiler.exact import RAW_JSON
from contracts.spec.source import SourceSpec
from lake.formats.base import DAMAGE, Bookmark, ParsedRecords, RecordBlock, damaged_block
from lake.formats.limits import expansion_limit, too_many_bytes
from lake.formats.parquet_int96 import Int96, int96_columns, without_wrapped
from lake.formats.parquet_values import Values, plain_values

_BLOCK_ROWS = 8_192  # rows become Python objects this many at a time; row groups are often a million
_BROKEN = (pa.ArrowException, OSError, ValueError, MemoryError)  # what Arrow raises at bytes that are not what they say


class ParquetGroups:
    """See the module. A file without a readable footer is one damaged record; rows that cannot be read are one each."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec

    def blocks(self, file: BinaryIO, start: Bookmark) -> Iterator[RecordBlock]:
        """See Format. A bookmark's offset is a row group's number; its ordinal may lie within the group."""
        file.seek(0)
        if not file.read(1):
            return
        file.seek(0)
        try:
            # INT96 as nanoseconds would wrap beyond 1677 to 2262.
            parquet = pq.ParquetFile(file, coerce_int96_timestamp_unit="us")
            metadata = parquet.metadata
            if any(metadata.row_group(number).num_rows < 0 for number in range(metadata.num_row_groups)):
                raise ValueError("a row group with fewer than no rows")
            limit = expansion_limit(file)
            if sum(max(metadata.row_group(number).total_byte_size, 0) for number in range(metadata.num_row_groups)) > limit:
                yield damaged_block(Bookmark(), b"", too_many_bytes(limit))
                return
            names = self._names(parquet.schema_arrow)
            # As dictionaries: a text that stands in a million rows is held once.
            texts = [name for name in names if _is_text(parquet.schema_arrow, name)]
            parquet = pq.ParquetFile(file, coerce_int96_timestamp_unit="us", read_dictionary=texts)
            int96 = int96_columns(parquet, names)
            coarse = pq.ParquetFile(file, coerce_int96_timestamp_unit="ms") if int96 else None
            reason = self._misfit(parquet.schema_arrow)
        except _BROKEN:
            file.seek(0)
            yield damaged_block(Bookmark(), file.read(self._spec.record_bytes))
            return
        first = sum(metadata.row_group(number).num_rows for number in range(start.offset))
        for number in range(start.offset, metadata.num_row_groups):
            about = metadata.row_group(number)
            group = _Group(parquet, number, names, reason, Int96(coarse, int96) if coarse else None, limit)
            for row in range(max(start.ordinal - first, 0), about.num_rows, _BLOCK_ROWS):
                count = min(_BLOCK_ROWS, about.num_rows - row)
                size = max(about.total_byte_size, 0) * count // about.num_rows
                yield RecordBlock(Bookmark(first + row, number), count, size, group.parser(row, count))
            first += about.num_rows

    def _names(self, schema: pa.Schema) -> list[str]:
        """The columns that are decoded."""
        return [name for name in dict.fromkeys(schema.names) if self._spec.whole or name in self._spec.known_fields]

    def _misfit(self, schema: pa.Schema) -> Violation | None:
        """Why no row can be what the source means: fields that are mapped, and that the file has not, or has twice."""
        twice = sorted(name for name in self._spec.read_fields if len(schema.get_all_field_indices(name)) > 1)
        if twice:
            return Violation("$", "header", "one column each of the name " + ", ".join(twice))
        lacking = self._spec.lacking(lambda steps: _has(schema, steps))
        return Violation("$", "header", "columns " + ", ".join(lacking)) if lacking else None


def _is_text(schema: pa.Schema, name: str) -> bool:
    return len(schema.get_all_field_indices(name)) == 1 and schema.field(name).type in (pa.string(), pa.binary())


def _text_bytes(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """How many bytes of text each row has, in columns that hold texts once for many rows."""
    sizes = np.zeros(len(batch), dtype=np.int64)
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            lengths = pc.binary_length(column.dictionary.cast(pa.binary())).take(column.indices)
            sizes += lengths.fill_null(0).to_numpy(zero_copy_only=False)
    return sizes


def _has(schema: pa.Schema, steps: tuple[str, ...]) -> bool:
    found = schema.field(steps[0]).type if steps[0] in schema.names else None
    for step in steps[1:]:
        if found is None or not pa.types.is_struct(found):
            break  # of a map nobody knows the keys
        found = found.field(step).type if found.get_field_index(step) >= 0 else None
    return found is not None


class _Group:
    """A row group, read forward as its rows are asked for; where one is asked for again, from its start."""

    def __init__(
        self, parquet: pq.ParquetFile, number: int, names: list[str], reason: Violation | None, int96: Int96 | None, limit: int
    ) -> None:
        self._limit = limit
        self._parquet, self._number, self._names, self._reason, self._int96 = parquet, number, names, reason, int96
        self._rewind()

    def parser(self, row: int, count: int) -> Callable[[], ParsedRecords]:
        """What decodes some of the rows."""

        def parse() -> ParsedRecords:
            records = self._read(row, count)
            lost = range(len(records), count)
            failed = {i: [self._reason] for i in range(len(records))} if self._reason else {}
            failed |= {i: [DAMAGE] for i in lost}
            return ParsedRecords(
                [*records, *[None] * len(lost)], lambda i: b"" if i in lost else RAW_JSON.encode(records[i]), failed
            )

        return parse

    def _rewind(self) -> None:
        self._at = self._spent = 0
        self._held: list[pa.RecordBatch] = []
        self._batches = self._parquet.iter_batches(_BLOCK_ROWS, row_groups=[self._number], columns=self._names)
        if self._int96:
            coarse = self._int96.parquet.iter_batches(_BLOCK_ROWS, row_groups=[self._number], columns=self._int96.names)
            self._batches = map(without_wrapped, self._batches, coarse)

    def _read(self, row: int, count: int) -> list[dict[str, Any]]:
        """The rows of a stretch; fewer where the group cannot be read on."""
        if row < self._at:
            self._rewind()
        records: list[dict[str, Any]] = []
        while self._at < row + count and (batch := self._next()) is not None:
            begin, end = max(row - self._at, 0), min(row + count - self._at, len(batch))
            if begin < end:
                records += self._rows(batch.slice(begin, end - begin))
            if end < len(batch):
                self._held.append(batch.slice(end))
            self._at += end
        return records

    def _next(self) -> pa.RecordBatch | None:
        if self._held:
            return self._held.pop()
        try:
            batch = next(self._batches, None)
        except _BROKEN:
            return None
        if batch is None or self._spent > self._limit:
            return None
        ends = self._spent + np.cumsum(_text_bytes(batch))
        self._spent = int(ends[-1]) if len(ends) else self._spent
        return batch.slice(0, int(np.searchsorted(ends, self._limit, side="right")))

    def _rows(self, batch: pa.RecordBatch) -> list[dict[str, Any]]:
        columns: dict[str, Values] = {}
        for name in self._names:
            same = [plain_values(batch.column(i)) for i in batch.schema.get_all_field_indices(name)]
            columns[name] = same[0] if len(same) == 1 else list(map(list, zip(*same, strict=True)))
        if not columns:
            return [{} for _ in range(len(batch))]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
