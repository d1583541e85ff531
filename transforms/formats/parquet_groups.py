"""Parquet files, row group by row group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.compiler.values import CANONICAL_JSON
from contracts.source import SourceSpec
from transforms.formats.base import DAMAGE, Bookmark, ParsedRecords, RecordBlock, damaged_block


class ParquetGroups:
    """See the module. A file without a readable footer is one damaged record; a broken row group damages its rows."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec

    def blocks(self, file: BinaryIO, start: Bookmark) -> Iterator[RecordBlock]:
        """See Format. A bookmark's offset is a row group's number."""
        file.seek(0)
        if not file.read(1):
            return
        file.seek(0)
        try:
            parquet = pq.ParquetFile(file)
            metadata = parquet.metadata
        except (pa.ArrowException, OSError, ValueError):
            file.seek(0)
            yield damaged_block(Bookmark(), file.read(self._spec.record_bytes))
            return
        ordinal = start.ordinal
        for group in range(start.offset, metadata.num_row_groups):
            about = metadata.row_group(group)
            yield RecordBlock(Bookmark(ordinal, group), about.num_rows, about.total_byte_size, _parser(parquet, group, about.num_rows))
            ordinal += about.num_rows


def _parser(parquet: pq.ParquetFile, group: int, count: int) -> Any:
    def parse() -> ParsedRecords:
        try:
            records: list[Any] = parquet.read_row_group(group).to_pylist(maps_as_pydicts="strict")
        except (pa.ArrowException, OSError, ValueError):
            return ParsedRecords([None] * count, lambda _i: b"", {i: [DAMAGE] for i in range(count)})
        return ParsedRecords(records, lambda i: CANONICAL_JSON.encode(records[i]))

    return parse
