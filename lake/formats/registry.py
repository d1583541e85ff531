"""Which format a source spec means."""

from __future__ import annotations

from collections.abc import Callable

from contracts.spec.source import FormatName, SourceSpec
from lake.formats.avro_blocks import AvroBlocks
from lake.formats.base import Format
from lake.formats.csv_rows import CsvRows
from lake.formats.json_array import JsonArray
from lake.formats.jsonl import JsonLines
from lake.formats.parquet_groups import ParquetGroups

_FORMATS: dict[FormatName, Callable[[SourceSpec], Format]] = {
    "jsonl": JsonLines,
    "json_array": JsonArray,
    "csv": CsvRows,
    "avro": AvroBlocks,
    "parquet": ParquetGroups,
}


def format_for(spec: SourceSpec) -> Format:
    """The format of a source."""
    return _FORMATS[spec.format](spec)
