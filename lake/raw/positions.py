"""What was landed, as positions: raw files, and logs that have gaps and may be far too long to be written out.

Positions are kept as runs. An *extent* is a piece of one file or log that can be worked on at once; a *batch* is some extents that
are looked up together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lake.location import Lake
from lake.raw.files import RawFile
from lake.raw.log_ids import LogId, position_of
from lake.raw.segments import log_segments

BATCH_POSITIONS = 1 << 22  # bounds memory: some bytes per position
BATCH_NAMES = 2_000  # bounds the size of a filter
Ints = npt.NDArray[np.int64]


def merged_runs(runs: Ints) -> Ints:
    """Runs (first, length; flat; any order, overlaps and repeats allowed) as the fewest sorted, disjoint ones."""
    pairs = runs.reshape(-1, 2)
    pairs = pairs[pairs[:, 1] > 0]
    if len(pairs) < 2:
        return pairs.ravel()
    firsts, order = np.sort(pairs[:, 0]), np.argsort(pairs[:, 0], kind="stable")
    reached = np.maximum.accumulate((pairs[:, 0] + pairs[:, 1])[order])
    begins = np.concatenate(([True], firsts[1:] > reached[:-1]))
    ends = reached[np.concatenate((begins[1:], [True]))]
    return np.column_stack((firsts[begins], ends - firsts[begins])).ravel()


@dataclass(frozen=True, eq=False)
class Positions:
    """Positions in order, as sorted disjoint runs (first, length; flat). The *place* of one is how many smaller ones there are."""

    runs: Ints

    @classmethod
    def of(cls, runs: Ints | Sequence[int]) -> Positions:
        """From runs of any order and overlap."""
        return cls(merged_runs(np.asarray(runs, dtype=np.int64)))

    def __len__(self) -> int:
        return int(self._before[-1])

    @property
    def bounds(self) -> tuple[int, int]:
        """[smallest, largest + 1); (0, 0) of none."""
        return (int(self._firsts[0]), int(self._firsts[-1] + self._lengths[-1])) if len(self.runs) else (0, 0)

    def ranks(self, positions: Ints) -> Ints:
        """How many of these are smaller, for each position, be it one of these or not."""
        if len(self.runs) == 0:
            return np.zeros(len(positions), dtype=np.int64)
        run = np.maximum(np.searchsorted(self._firsts, positions, side="right") - 1, 0)
        ranks: Ints = self._before[run] + np.clip(positions - self._firsts[run], 0, self._lengths[run])
        return ranks

    def places(self, positions: Ints) -> Ints:
        """The places of those positions that are among these."""
        at = self.ranks(positions)
        return at[self.ranks(positions + 1) > at]

    def covered(self, runs: Ints) -> npt.NDArray[np.bool_]:
        """By place, whether a position lies in one of the runs, which may have any order and overlap."""
        starts, ends = self.ranks(runs[::2]), self.ranks(runs[::2] + runs[1::2])
        size = len(self) + 1
        return np.cumsum(np.bincount(starts, minlength=size) - np.bincount(ends, minlength=size))[:-1] > 0

    def first_outside(self, runs: Ints) -> int | None:
        """The smallest position that lies in none of the runs; None where there is none."""
        merged = merged_runs(runs)
        starts, ends = self.ranks(merged[::2]), self.ranks(merged[::2] + merged[1::2])
        reached = np.concatenate(([0], ends))
        gaps = reached[np.concatenate((starts, [len(self)])) > reached]
        return self.at(int(gaps[0])) if len(gaps) else None

    def at(self, place: int) -> int:
        """The position at a place."""
        run = int(np.searchsorted(self._before, place, side="right")) - 1
        return int(self._firsts[run]) + place - int(self._before[run])

    def within(self, low: int, high: int) -> Positions:
        """Those in [low, high)."""
        firsts, ends = np.maximum(self._firsts, low), np.minimum(self._firsts + self._lengths, high)
        return Positions(np.column_stack((firsts, ends - firsts))[ends > firsts].ravel())

    def cut(self, most: int) -> Iterator[Positions]:
        """These in pieces of at most so many."""
        for place in range(0, len(self), most):
            end = self.at(place + most) if place + most < len(self) else self.bounds[1]
            yield self.within(self.at(place), end)

    @property
    def _firsts(self) -> Ints:
        return self.runs[::2]

    @property
    def _lengths(self) -> Ints:
        return self.runs[1::2]

    @cached_property
    def _before(self) -> Ints:
        return np.concatenate(([0], np.cumsum(self._lengths)))


@dataclass(frozen=True)
class Extent:
    """Some positions of one raw file or log."""

    raw_file: str
    positions: Positions


@dataclass(frozen=True)
class Landed:
    """What was landed under one ``_raw_file`` of a source: a raw file, or a log or a part of it.

    pieces: runs of its positions, in order, each piece small enough to hold. end: the offset (file: ordinal) after the last.
    """

    source: str
    raw_file: str
    pieces: tuple[Ints, ...]
    end: int

    def extents(self) -> Iterator[Extent]:
        """All its positions, in order, in extents of at most BATCH_POSITIONS."""
        held: list[Ints] = []
        size = 0
        for piece in self.pieces:
            length = int(piece[1::2].sum())
            if held and size + length > BATCH_POSITIONS:
                yield from self._extents(held)
                held, size = [], 0
            held.append(piece)
            size += length
        yield from self._extents(held)

    def _extents(self, pieces: Sequence[Ints]) -> Iterator[Extent]:
        if pieces:
            yield from (Extent(self.raw_file, part) for part in Positions.of(np.concatenate(pieces)).cut(BATCH_POSITIONS))


def landed_file(file: RawFile) -> Landed:
    """A raw file."""
    return Landed(file.source, file.raw_file, (np.array([0, file.records], dtype=np.int64),), file.records)


def landed_log(lake: Lake, source: str, log: LogId, *, batched: bool, start: int = 0, end: int | None = None) -> Landed:
    """What lies in ``raw/`` of a log.

    Args:
        lake: where.
        source: whose.
        log: which.
        batched: whether messages hold several records (``records:``).
        start: first offset of interest.
        end: the offset after the last; None for all.
    """
    pieces: list[Ints] = []
    reached = 0
    for segment in log_segments(lake, source, log):
        low, high = max(segment.start, start), segment.end if end is None else min(segment.end, end)
        if low < high:
            held = Positions(np.array(segment.runs, dtype=np.int64))
            pieces.append(held.within(position_of(low, 0, batched), position_of(high, 0, batched)).runs)
            reached = high
    return Landed(source, str(log), tuple(pieces), reached)


def extent_batches(landed: Iterable[Landed]) -> Iterator[list[Extent]]:
    """Every extent, in batches of at most BATCH_POSITIONS and BATCH_NAMES."""
    extents: list[Extent] = []
    size = 0
    for unit in landed:
        for extent in unit.extents():
            if extents and (size + len(extent.positions) > BATCH_POSITIONS or len(extents) >= BATCH_NAMES):
                yield extents
                extents, size = [], 0
            extents.append(extent)
            size += len(extent.positions)
    if extents:
        yield extents
