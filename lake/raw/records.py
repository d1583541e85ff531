"""Raw records by their positions: for people who look at dead letters, or take them out of the lake."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import numpy as np

from contracts.errors import ConfigurationError
from contracts.spec.source import SourceSpec
from lake.formats import Bookmark, format_for
from lake.formats.jsonl import parse_messages
from lake.location import Lake
from lake.raw.files import find_raw_file, open_raw
from lake.raw.log_ids import BATCH_BITS, LogId, is_log, offset_of, position_of
from lake.raw.positions import Ints
from lake.raw.segment_files import RawMessage
from lake.raw.segments import log_segments, read_message, read_messages


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
    for _, raw in read_records(lake, spec, raw_file, [position]):
        return raw
    raise ConfigurationError(f"raw file {found.path}: ends before record {position}; was it changed?")


def read_records(lake: Lake, spec: SourceSpec, raw_file: str, positions: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """The bytes of records of a raw file or log, by position, ascending; what is not there any more is left out.

    Of a file the pieces are read that hold one of them, each once, and a block is held; of a log a message.
    """
    wanted: Ints = np.unique(np.asarray(positions, dtype=np.int64))
    yield from (_of_log if is_log(raw_file) else _of_file)(lake, spec, raw_file, wanted)


def _of_file(lake: Lake, spec: SourceSpec, raw_file: str, wanted: Ints) -> Iterator[tuple[int, bytes]]:
    found = find_raw_file(lake, spec.raw_source, raw_file)
    for chunk in found.as_chunks(lake) if found else ():
        own = _within(wanted, chunk.ordinal, chunk.ordinal + chunk.records)
        if not len(own):
            continue
        with suppress(FileNotFoundError), open_raw(chunk) as file:
            for block in format_for(spec).blocks(file, Bookmark(chunk.ordinal, chunk.offset)):
                first, end = block.start.ordinal, block.start.ordinal + block.count
                if len(here := _within(own, first, end)):
                    parsed = block.parse()
                    yield from ((at, parsed.raw(at - first)) for at in here.tolist())
                if end > own[-1]:
                    break


def _of_log(lake: Lake, spec: SourceSpec, raw_file: str, wanted: Ints) -> Iterator[tuple[int, bytes]]:
    log, batched = LogId.parse(raw_file), spec.records is not None
    for segment in log_segments(lake, spec.raw_source, log):
        own = _within(wanted, position_of(segment.start, 0, batched), position_of(segment.end, 0, batched))
        for message in read_messages(segment) if len(own) else ():
            here = _within(own, position_of(message.offset, 0, batched), position_of(message.offset + 1, 0, batched))
            if len(here):
                count, raw = _parsed(spec, message)
                indices = ((at, at & ((1 << BATCH_BITS) - 1) if batched else 0) for at in here.tolist())
                yield from ((at, raw(index)) for at, index in indices if index < count)


def _within(positions: Ints, low: int, high: int) -> Ints:
    first, last = np.searchsorted(positions, (low, high))
    return positions[first:last]


def _parsed(spec: SourceSpec, message: RawMessage) -> tuple[int, Callable[[int], bytes]]:
    """How many records a message holds, and the bytes of each."""
    if spec.wire_format:
        return 1, lambda _: (message.value or b"")[: spec.record_bytes]
    parsed = parse_messages(spec, [message.value or b""])
    return len(parsed.records), parsed.raw


def _read_from_log(lake: Lake, spec: SourceSpec, log: LogId, position: int) -> bytes:
    batched = spec.records is not None
    message = read_message(lake, spec.raw_source, log, offset_of(position, batched))
    count, raw = _parsed(spec, message)
    index = position & ((1 << BATCH_BITS) - 1) if batched else 0
    if index >= count:
        raise ConfigurationError(f"source {spec.name}: message {message.offset} of {log} holds no record {index}; was it changed?")
    return raw(index)
