"""Which format a source spec means."""

from __future__ import annotations

from collections.abc import Callable

from contracts.source import FormatName, SourceSpec
from transforms.formats.avro_blocks import AvroBlocks
from transforms.formats.base import Format
from transforms.formats.csv_rows import CsvRows
from transforms.formats.json_array import JsonArray
from transforms.formats.jsonl import JsonLines
from transforms.formats.parquet_groups import ParquetGroups

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
