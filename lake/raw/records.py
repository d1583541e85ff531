"""One raw record by its position: for people who look at a dead letter, and for whoever drives it again."""

from __future__ import annotations

from contracts.errors import ConfigurationError
from contracts.spec.source import SourceSpec
from lake.formats import Bookmark, format_for
from lake.formats.jsonl import parse_messages
from lake.location import Lake
from lake.raw.files import find_raw_file, open_raw
from lake.raw.log_ids import BATCH_BITS, LogId, is_log, offset_of
from lake.raw.segments import read_message


def read_record(lake: Lake, spec: SourceSpec, raw_file: str, position: int) -> bytes:
    """The bytes of the record at a position of a raw file or log.

    Raises:
        ConfigurationError: there is no such record.
    """
    if is_log(raw_file):
        return _read_from_log(lake, spec, LogId.parse(raw_file), position)
    found = find_raw_file(lake, spec.raw_source, raw_file)
    if found is None or not 0 <= position < found.records:
        raise ConfigurationError(f"source {spec.name}: no record at {raw_file}:{position}; was the raw file removed?")
    chunk = next(c for c in found.as_chunks(lake) if c.ordinal <= position < c.ordinal + c.records)
    with open_raw(chunk) as file:
        for block in format_for(spec).blocks(file, Bookmark(chunk.ordinal, chunk.offset)):
            if position < block.start.ordinal + block.count:
                return block.parse().raw(position - block.start.ordinal)
    raise ConfigurationError(f"raw file {found.path}: ends before record {position}; was it changed?")


def _read_from_log(lake: Lake, spec: SourceSpec, log: LogId, position: int) -> bytes:
    batched = spec.records is not None
    message = read_message(lake, spec.raw_source, log, offset_of(position, batched))
    if spec.wire_format:
        return (message.value or b"")[: spec.record_bytes]
    records = parse_messages(spec, [message.value or b""])
    index = position & ((1 << BATCH_BITS) - 1) if batched else 0
    if index >= len(records.records):
        raise ConfigurationError(f"source {spec.name}: message {message.offset} of {log} holds no record {index}; was it changed?")
    return records.raw(index)
