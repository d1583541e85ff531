"""Which windows a replay rebuilds, and which raw reaches them.

The ledger is the index: each sidecar says which positions of a raw file or log it is of, and which windows they reached. What was
rejected or filtered has no window, and a mended contract or mapping may give it any: such raw is always read. So is raw without an
outcome. What a new contract would *move* into the range from far away, the index cannot know; ``everything`` reads it too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import And, BooleanExpression, EqualTo, GreaterThanOrEqual, LessThan

from contracts.spec.source import SourceSpec
from contracts.units import SECOND_US
from lake.ledger.outcomes import Outcome
from lake.location import Lake
from lake.raw.files import raw_files
from lake.raw.log_ids import LogId, position_of
from lake.raw.positions import Ints, Positions
from lake.raw.segments import log_segments, logs_of
from lake.tables.iceberg import LEDGER
from transforms.read.raw import LogStretch, RawPiece

Range = tuple[int, int]
_STRETCH_BYTES = 32 << 20


def whole_windows(start_us: int, end_us: int, window_s: int) -> Range:
    """The range widened to whole windows."""
    window_us = window_s * SECOND_US
    return start_us // window_us * window_us, -(-end_us // window_us) * window_us


def merged_ranges(ranges: Sequence[Range]) -> tuple[Range, ...]:
    """Ranges as the fewest sorted, disjoint ones that do not touch."""
    merged: list[Range] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return tuple(merged)


def windows_of_rows(lake: Lake, tables: Sequence[str], condition: BooleanExpression, window_s: int) -> tuple[Range, ...]:
    """The windows of the rows that fit, as ranges."""
    window_us = window_s * SECOND_US
    starts: set[int] = set()
    for name in tables:
        try:
            table = lake.load(name)
        except NoSuchTableError:
            continue
        for batch in table.scan(row_filter=condition, selected_fields=("_window_time",)).to_arrow_batch_reader():
            times = batch.column(0).cast(pa.int64()).to_numpy()
            starts.update((np.unique(times // window_us) * window_us).tolist())
    return merged_ranges([(start, start + window_us) for start in starts])


def received_within(start_us: int, end_us: int) -> BooleanExpression:
    """Rows that were received in [start, end)."""
    moments = [pc.cast(pa.scalar(us, pa.int64()), pa.timestamp("us", "UTC")).as_py().isoformat() for us in (start_us, end_us)]
    return And(GreaterThanOrEqual("_received_at", moments[0]), LessThan("_received_at", moments[1]))


def at_offsets(log: LogId, start: int, end: int, *, batched: bool) -> BooleanExpression:
    """Rows of the offsets [start, end) of a log."""
    low, high = position_of(start, 0, batched), position_of(end, 0, batched)
    return And(EqualTo("_raw_file", str(log)), And(GreaterThanOrEqual("_position", low), LessThan("_position", high)))


@dataclass
class Selection:
    """Raw of one source that is read. why: pieces by reason: reaches the windows, was rejected, has no outcome, was asked for."""

    source: str
    pieces: list[RawPiece] = field(default_factory=list)
    why: dict[str, int] = field(default_factory=dict)
    skipped: int = 0

    @property
    def size_bytes(self) -> int:
        """Decompressed bytes of files; of logs as landed."""
        return sum(piece.size_bytes for piece in self.pieces)

    @property
    def records(self) -> int:
        """How many records they hold."""
        return sum(len(positions_in(piece)) for piece in self.pieces)

    def add(self, piece: RawPiece, why: str | None) -> None:
        """Read it, for a reason; or not, for none."""
        if why is None:
            self.skipped += 1
            return
        self.pieces.append(piece)
        self.why[why] = self.why.get(why, 0) + 1


def positions_in(piece: RawPiece) -> Positions:
    """The positions of a piece."""
    if isinstance(piece, LogStretch):
        return Positions.of(piece.positions)
    return Positions.of((piece.ordinal, piece.records))


def select_raw(lake: Lake, spec: SourceSpec, ranges: Sequence[Range], *, everything: bool = False) -> Selection:
    """The raw of a source that can reach these ranges.

    Args:
        lake: where; its main branch is the index.
        spec: the source.
        ranges: [from, to), microseconds.
        everything: read all there is.
    """
    index = _Index(lake, spec.name, ranges)
    selection = Selection(spec.name)
    for piece in raw_pieces(lake, spec):
        selection.add(piece, "asked for" if everything else index.why(piece))
    return selection


def raw_pieces(lake: Lake, spec: SourceSpec) -> Iterator[RawPiece]:
    """All raw of a source, files in the order of their index, then logs."""
    for file in raw_files(lake, spec.raw_source):
        yield from file.as_chunks(lake)
    for log in logs_of(lake, spec.raw_source):
        yield from _stretches(lake, spec, log)


def _stretches(lake: Lake, spec: SourceSpec, log: LogId) -> Iterator[LogStretch]:
    batched = spec.records is not None
    runs: list[Ints] = []
    start = reached = size = 0
    for segment in log_segments(lake, spec.raw_source, log):
        if not runs:
            start = segment.start
        low, high = position_of(segment.start, 0, batched), position_of(segment.end, 0, batched)
        runs.append(Positions.of(segment.runs).within(low, high).runs)
        reached, size = segment.end, size + segment.size_bytes
        if size >= _STRETCH_BYTES:
            yield LogStretch(spec.raw_source, log, start, reached, tuple(np.concatenate(runs).tolist()), size)
            runs, size = [], 0
    if runs:
        yield LogStretch(spec.raw_source, log, start, reached, tuple(np.concatenate(runs).tolist()), size)


class _Index:
    """What the ledger says of a source's raw."""

    def __init__(self, lake: Lake, source: str, ranges: Sequence[Range]) -> None:
        self._reaching: dict[str, list[Ints]] = {}
        self._rejected: dict[str, list[Ints]] = {}
        self._known: dict[str, list[Ints]] = {}
        names = ("raw_file", "outcome", "runs", "window_from", "window_to")
        for batch in lake.load(LEDGER).scan(row_filter=EqualTo("source", source), selected_fields=names).to_arrow_batch_reader():
            runs, files, outcomes, lows, highs = (
                batch.column(n) for n in ("runs", "raw_file", "outcome", "window_from", "window_to")
            )
            for own, file, outcome, low, high in zip(
                runs, files.to_pylist(), outcomes.to_pylist(), lows.to_pylist(), highs.to_pylist(), strict=True
            ):
                if outcome == Outcome.DUPLICATE:  # of no position the only word
                    continue
                flat = own.values.to_numpy()
                self._known.setdefault(file, []).append(flat)
                if outcome in (Outcome.ACCEPTED, Outcome.LATE):
                    if low is None or any(low < end and high > start for start, end in ranges):
                        self._reaching.setdefault(file, []).append(flat)
                else:
                    self._rejected.setdefault(file, []).append(flat)

    def why(self, piece: RawPiece) -> str | None:
        """Why a piece is to be read; None where it need not be."""
        positions = positions_in(piece)
        for why, known in (("reaches the windows", self._reaching), ("was rejected", self._rejected)):
            if (runs := known.get(piece.raw_file)) and positions.covered(np.concatenate(runs)).any():
                return why
        known_runs = self._known.get(piece.raw_file)
        if known_runs is None or positions.first_outside(np.concatenate(known_runs)) is not None:
            return "has no outcome"
        return None


def offset_range(text: str, lake: Lake, specs: Sequence[SourceSpec]) -> list[tuple[SourceSpec, LogId, int, int]]:
    """``TOPIC/PARTITION:FROM-TO`` as the landed logs that it names."""
    place, span = text.rsplit(":", 1)
    topic, partition = place.rsplit("/", 1)
    start, end = map(int, span.split("-"))
    return [
        (spec, log, start, end)
        for spec in specs
        for log in logs_of(lake, spec.raw_source)
        if (log.topic, log.partition) == (topic, int(partition))
    ]
