"""Raw records that were landed already, as input of the ingest graph: chunks of raw files, and stretches of landing logs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam import coders

from contracts.compiler.clocks import record_times_us
from contracts.spec.registry import Registry
from contracts.spec.source import SourceSpec
from lake.location import Lake
from lake.raw.batch import RawBatch
from lake.raw.chosen import ChosenRecords
from lake.raw.files import RawChunk
from lake.raw.log_ids import LogId, position_of
from lake.raw.positions import Positions
from lake.raw.segment_files import RawMessage
from lake.raw.segments import log_segments, read_messages
from transforms.late import NEVER_LATE_US
from transforms.read.messages import MessageBatch, payload_of
from transforms.read.schemas import WriterSchemas

_BATCH_BYTES = 8 << 20


@dataclass(frozen=True)
class LogStretch:
    """Offsets [start, end) of one log. positions: runs of what is landed of them, flat. size_bytes: as landed, about."""

    source: str
    log: LogId
    start: int
    end: int
    positions: tuple[int, ...]
    size_bytes: int

    @property
    def records(self) -> int:
        """How many are landed of them."""
        return sum(self.positions[1::2])

    @property
    def raw_file(self) -> str:
        """What rows call it."""
        return str(self.log)


RawPiece = RawChunk | LogStretch


@dataclass(frozen=True)
class ChosenPiece:
    """Some records of a piece. runs: their positions, flat."""

    piece: RawPiece
    runs: tuple[int, ...]

    @property
    def records(self) -> int:
        """How many are read."""
        return sum(self.runs[1::2])

    @property
    def size_bytes(self) -> int:
        """What they take, about."""
        return self.piece.size_bytes * self.records // max(self.piece.records, 1)


for _piece in (RawChunk, LogStretch, ChosenPiece, ChosenRecords):
    coders.registry.register_coder(_piece, coders.FastPrimitivesCoder)


class ReadRaw(beam.PTransform):
    """Raw records of landed pieces.

    Input: RawChunk, LogStretch, or ChosenPiece of one. Output: RawChunk as it came, MessageBatch of at most some megabytes; of a
        chosen piece ChosenRecords of these. Nothing of it can be late.
    Guarantees: every landed message of a stretch comes once, in the order of its offset, whatever merges its segments meanwhile.
    """

    def __init__(self, lake: Lake, spec: SourceSpec, registry: Registry | None = None) -> None:
        """registry: for messages that were landed before their source had a wire format."""
        super().__init__()
        self._read = _ReadFn(lake, spec, registry)

    def expand(self, pieces: beam.PCollection[RawPiece | ChosenPiece]) -> beam.PCollection[RawBatch]:
        """See the class."""
        return pieces | "Read" >> beam.ParDo(self._read)


class PieceReader:
    """Reads landed pieces. Holds what it has open until it is closed."""

    def __init__(self, lake: Lake, spec: SourceSpec, registry: Registry | None = None) -> None:
        self._lake, self._spec = lake, spec
        patience_s = registry.patience_s if registry else None
        self._schemas = WriterSchemas(lake, registry, patience_s=patience_s) if spec.wire_format else None

    def close(self) -> None:
        """Let go of what is open."""
        if self._schemas is not None:
            self._schemas.close()

    def read(self, piece: RawPiece | ChosenPiece) -> Iterator[RawBatch]:
        """The records of a piece, batch by batch; see ReadRaw."""
        if isinstance(piece, RawChunk):
            yield piece
        elif isinstance(piece, LogStretch):
            yield from self._messages(piece, None)
        else:
            positions = Positions.of(piece.runs)
            batches = [piece.piece] if isinstance(piece.piece, RawChunk) else self._messages(piece.piece, positions)
            yield from (ChosenRecords(batch, positions) for batch in batches)

    def _messages(self, stretch: LogStretch, chosen: Positions | None) -> Iterator[MessageBatch]:
        """The messages of a stretch, or those of them that hold chosen records."""
        batched = self._spec.records is not None
        held: list[RawMessage] = []
        size = 0
        for message in messages_of(self._lake, stretch):
            if chosen is not None:
                low, high = position_of(message.offset, 0, batched), position_of(message.offset + 1, 0, batched)
                if not len(chosen.within(low, high)):
                    continue
            held.append(message)
            size += len(message.value or b"")
            if size >= _BATCH_BYTES:
                yield self._batch(stretch.log, held)
                held, size = [], 0
        if held:
            yield self._batch(stretch.log, held)

    def _batch(self, log: LogId, messages: Sequence[RawMessage]) -> MessageBatch:
        batch = message_batch(log, messages, self._spec)
        if self._schemas is not None:
            self._schemas.of_landed(batch, log.topic)
        return batch


class _ReadFn(beam.DoFn):
    def __init__(self, lake: Lake, spec: SourceSpec, registry: Registry | None) -> None:
        self._lake, self._spec, self._registry = lake, spec, registry

    def setup(self) -> None:
        self._reader = PieceReader(self._lake, self._spec, self._registry)

    def teardown(self) -> None:
        self._reader.close()

    def process(self, piece: RawPiece | ChosenPiece) -> Iterator[Any]:
        yield from self._reader.read(piece)


def messages_of(lake: Lake, stretch: LogStretch) -> Iterator[RawMessage]:
    """The messages of a stretch in order. Where a merge takes a segment away while it is read, what is left is looked up again."""
    reached = stretch.start
    while reached < stretch.end:
        segment = next((s for s in log_segments(lake, stretch.source, stretch.log) if s.end > reached), None)
        if segment is None:
            return
        try:
            for message in read_messages(segment):
                if reached <= message.offset < stretch.end:
                    yield message
                    reached = message.offset + 1
        except FileNotFoundError:
            continue
        reached = max(reached, segment.end)


def message_batch(log: LogId, messages: Sequence[RawMessage], spec: SourceSpec) -> MessageBatch:
    """Messages of one log as the element that a poll would have given."""
    count = len(messages)
    return MessageBatch(
        logs=[str(log)] * count,
        offsets=np.array([m.offset for m in messages], dtype=np.int64),
        times_us=record_times_us(np.array([m.timestamp_ms for m in messages], dtype=np.int64)),
        watermarks_us=np.full(count, NEVER_LATE_US, dtype=np.int64),
        values=[payload_of(m.value, spec) for m in messages],
        headers=[m.headers for m in messages] if any(m.headers for m in messages) else None,
    )
