"""Where the records of letters lie in ``raw/``, in pieces that are read at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from contracts.errors import ConfigurationError
from contracts.spec.source import SourceSpec
from lake.location import Lake
from lake.raw.files import CHUNK_BYTES, RawFile, find_raw_file, open_raw, reader_id, scan_chunks
from lake.raw.log_ids import LogId, is_log, position_of
from lake.raw.positions import Ints, Positions
from lake.raw.segments import log_segments
from lake.storage import storage_of
from transforms.read.raw import ChosenPiece, LogStretch, RawPiece

STEP_RECORDS = 100_000  # that are read, judged and committed at once; bounds memory, and what a killed run does again
STEP_BYTES = 256 << 20
_STRETCH_BYTES = 32 << 20


def pieces_of(lake: Lake, spec: SourceSpec, raw_file: str, positions: Positions) -> Iterator[ChosenPiece]:
    """The pieces of one raw file or log that hold these positions, each of at most STEP_RECORDS of them.

    Raises:
        ConfigurationError: the raw file is gone, or holds fewer records.
    """
    found = _stretches(lake, spec, LogId.parse(raw_file), positions) if is_log(raw_file) else _chunks(lake, spec, raw_file)
    left = len(positions)
    for piece, low, high in found:
        for part in positions.within(low, high).cut(STEP_RECORDS):
            left -= len(part)
            yield ChosenPiece(piece, tuple(part.runs.tolist()))
    if left:
        raise ConfigurationError(f"source {spec.name}: {left:,} records of {raw_file} are not in raw/; was the raw file removed?")


def positions_there(lake: Lake, spec: SourceSpec, raw_file: str, positions: Positions) -> Positions:
    """Those of some positions that ``pieces_of`` finds.

    Raises:
        ConfigurationError: the spec of today tells another number of records in the file.
    """
    if is_log(raw_file):
        found = [(low, high) for _, low, high in _stretches(lake, spec, LogId.parse(raw_file), positions)]
    else:
        file = find_raw_file(lake, spec.raw_source, raw_file)
        if file is None or not _is_there(lake.at_key(file.path)):
            return Positions.of(())
        found = [(low, high) for _, low, high in _chunks(lake, spec, raw_file)]
    runs = [positions.within(low, high).runs for low, high in found]
    return Positions.of(np.concatenate(runs)) if runs else Positions.of(())


def _is_there(location: str) -> bool:
    try:
        storage_of(location).stat(location)
    except FileNotFoundError:
        return False
    return True


def _chunks(lake: Lake, spec: SourceSpec, raw_file: str) -> Iterator[tuple[RawPiece, int, int]]:
    file = find_raw_file(lake, spec.raw_source, raw_file)
    if file is None:
        return
    _check_numbers(lake, spec, file)
    for chunk in file.as_chunks(lake):
        yield chunk, chunk.ordinal, chunk.ordinal + chunk.records


def _check_numbers(lake: Lake, spec: SourceSpec, file: RawFile) -> None:
    """Whether a spec that changed since a file was landed still tells as many records in it, so that positions mean the same."""
    if file.reader == reader_id(spec):
        return
    with open_raw(next(file.as_chunks(lake))) as opened:
        chunks, _, _ = scan_chunks(spec, opened, CHUNK_BYTES)
    if sum(records for _, records, _, _ in chunks) != file.records:
        raise ConfigurationError(
            f"source {spec.name}: {file.name} was landed with {file.records:,} records, and its spec of today (format, records, "
            "record_bytes, max_depth, csv) tells another number: positions would change their meaning. Take that back, or ingest "
            "the file under a new source name"
        )


def _stretches(lake: Lake, spec: SourceSpec, log: LogId, wanted: Positions) -> Iterator[tuple[RawPiece, int, int]]:
    """Stretches of a log around wanted positions, of neighbouring segments that hold some."""
    batched = spec.records is not None
    runs: list[Ints] = []
    start = end = size = 0
    for segment in log_segments(lake, spec.raw_source, log):
        low, high = position_of(segment.start, 0, batched), position_of(segment.end, 0, batched)
        holds = len(wanted.within(low, high)) > 0
        if runs and (not holds or size + segment.size_bytes > _STRETCH_BYTES):
            yield _stretch(spec, log, start, end, runs, size, batched)
            runs, size = [], 0
        if holds:
            start = segment.start if not runs else start
            runs.append(Positions.of(segment.runs).within(low, high).runs)
            end, size = segment.end, size + segment.size_bytes
    if runs:
        yield _stretch(spec, log, start, end, runs, size, batched)


def _stretch(
    spec: SourceSpec, log: LogId, start: int, end: int, runs: list[Ints], size: int, batched: bool
) -> tuple[RawPiece, int, int]:
    stretch = LogStretch(spec.raw_source, log, start, end, tuple(np.concatenate(runs).tolist()), size)
    return stretch, position_of(start, 0, batched), position_of(end, 0, batched)


def steps_of(pieces: Iterable[ChosenPiece]) -> Iterator[list[ChosenPiece]]:
    """Pieces as steps of at most STEP_RECORDS and STEP_BYTES, or one piece."""
    step: list[ChosenPiece] = []
    records = size = 0
    for piece in pieces:
        if step and (records + piece.records > STEP_RECORDS or size + piece.size_bytes > STEP_BYTES):
            yield step
            step, records, size = [], 0, 0
        step.append(piece)
        records, size = records + piece.records, size + piece.size_bytes
    if step:
        yield step
