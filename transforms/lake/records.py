"""One raw record by its position: for people who look at a dead letter, and for whoever drives it again."""

from __future__ import annotations

from contracts.errors import ConfigurationError
from contracts.source import SourceSpec
from transforms.formats import Bookmark, format_for
from transforms.lake.location import Lake
from transforms.lake.raw import find_raw_file


def read_record(lake: Lake, spec: SourceSpec, raw_file: str, position: int) -> bytes:
    """The bytes of the record at a position of a raw file.

    Raises:
        ConfigurationError: there is no such record.
    """
    found = find_raw_file(lake, spec.name, raw_file)
    if found is None or not 0 <= position < found.records:
        raise ConfigurationError(f"source {spec.name}: no record at {raw_file}:{position}; was the raw file removed?")
    chunk = next(c for c in found.as_chunks(lake) if c.ordinal <= position < c.ordinal + c.records)
    with open(chunk.path, "rb") as file:
        for block in format_for(spec).blocks(file, Bookmark(chunk.ordinal, chunk.offset)):
            if position < block.start.ordinal + block.count:
                return block.parse().raw(position - block.start.ordinal)
    raise ConfigurationError(f"raw file {found.path}: ends before record {position}; was it changed?")
