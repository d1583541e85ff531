"""Which ranges of time rows are folded into: of one length, or by how many rows there are. Pure.

Any cut of time on the grid gives the same rows, as long as ranges of a shard are disjoint and a fold takes in all that is published
in its range: a key is of one cell of the grid, so what must meet lies in one range. So ranges may be chosen anew by every run.

By density time is cut where rows are many: into LENGTHS_S, each of which divides the next, until a piece holds few enough rows.
Then neighbours that together hold few enough are one range. Of a piece of a day or more only the days from its first to its last
row are taken: time that has no rows yet, such as tomorrow, stays free for what comes.

What is published keeps its range. New rows in the middle of a longer range join it, and a range never grows over the end of
another: else runs with lengths that do not divide each other would end with one range of everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from contracts.units import DAY_S, HOUR_S, SECOND_US
from lake.tables.iceberg import PublishedFile

Ints = npt.NDArray[np.int64]
Span = tuple[int, int]
RANGE_ROWS = 100_000  # of one shard: 0.6 s of CPU for whoever brings one row more, with the 38 columns of customer_event
JOINED_ROWS = 2_000_000  # published files of a range are joined up to here; above, each keeps its range
LENGTHS_S: tuple[int, ...] = (
    60,
    300,
    900,
    HOUR_S,
    4 * HOUR_S,
    *(DAY_S * (1 << 2 * power) for power in range(9)),
)  # the last are 179 years


@dataclass(frozen=True)
class Ranging:
    """How ranges are chosen.

    window_s: their length; by_density: within windows of this length, by density, at most RANGE_ROWS rows where a minute does not
    have more. within: no range by density reaches over a bound of these [from, to), sorted and disjoint, microseconds; None for
    no bounds.
    """

    window_s: int
    by_density: bool = False
    within: tuple[Span, ...] | None = None

    @property
    def most_rows(self) -> int | None:
        """Of one data file; None for any number."""
        return RANGE_ROWS if self.by_density else None

    def spans(self, times: Ints) -> Iterator[Span]:
        """Ranges of these sorted times, in order, disjoint, none without a row."""
        if not self.by_density:
            yield from self._windows(times)
        elif self.within is None:
            yield from self._dense(times)
        else:
            for low, high in self.within:
                first, last = np.searchsorted(times, [low, high])
                yield from ((max(a, low), min(b, high)) for a, b in self._dense(times[first:last]))

    def _windows(self, times: Ints) -> Iterator[Span]:
        window_us = self.window_s * SECOND_US
        yield from ((number * window_us, (number + 1) * window_us) for number in np.unique(times // window_us).tolist())

    def _dense(self, times: Ints) -> Iterator[Span]:
        """Clipped to windows: what fires apart must not meet."""
        for low, high in self._windows(times):
            first, last = np.searchsorted(times, [low, high])
            yield from ((max(a, low), min(b, high)) for a, b in dense_spans(times[first:last], RANGE_ROWS))


@dataclass(frozen=True)
class Cutting:
    """Rows that are folded together: places [first, last) of sorted times, and the range that they take."""

    from_us: int
    to_us: int
    first: int
    last: int


def dense_spans(times: Ints, most_rows: int) -> Iterator[Span]:
    """Of sorted times ranges with at most so many, or of a minute with more; see the module."""
    span: Span | None = None
    count = 0
    for (low, high), own in _within(times, len(LENGTHS_S) - 1, most_rows):
        if span and count + own > most_rows:
            yield span
            span = None
        span, count = (span[0] if span else low, high), own + (count if span else 0)
    if span:
        yield span


def _within(times: Ints, level: int, most_rows: int) -> Iterator[tuple[Span, int]]:
    """Pieces, and how many rows each holds."""
    length_us = LENGTHS_S[level] * SECOND_US
    numbers = times // length_us
    edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(times)] if len(times) else []
    unit_us = min(length_us, DAY_S * SECOND_US)
    for first, last in pairwise(edges):
        if last - first > most_rows and level:
            yield from _within(times[first:last], level - 1, most_rows)
        else:
            low, high = int(times[first]) // unit_us, int(times[last - 1]) // unit_us
            yield (low * unit_us, (high + 1) * unit_us), last - first


def tiles(times: Ints, span: Span, most_rows: int | None) -> list[Cutting]:
    """A range cut into adjoining ones of at most so many of its sorted times; itself where these are not more."""
    if most_rows is None or len(times) <= most_rows:
        return [Cutting(*span, 0, len(times))]
    starts = [max(low, span[0]) for low, _ in dense_spans(times, most_rows)]
    bounds, places = [span[0], *starts[1:], span[1]], np.searchsorted(times, starts).tolist()
    edges = [0, *places[1:], len(times)]
    return [Cutting(a, b, i, j) for (a, b), (i, j) in zip(pairwise(bounds), pairwise(edges), strict=True)]


def cuttings(times: Ints, spans: Sequence[Span], files: Sequence[PublishedFile], most_rows: int | None) -> list[Cutting]:
    """Sorted times by the ranges that they are folded into: none overlaps another, nor the end of a published one.

    Args:
        times: sorted; each lies in a span.
        spans: what ranges they would have if nothing were published; in order, disjoint.
        files: what is published of their shard.
        most_rows: published files within a span are joined with what is new up to so many rows; None for JOINED_ROWS.
    """
    files = sorted(files)
    lows, highs = (np.array([getattr(f, name) for f in files], dtype=np.int64) for name in ("from_us", "to_us"))
    found: list[Cutting] = []
    for low, high in spans:
        first, last = np.searchsorted(times, [low, high]).tolist()
        met = files[np.searchsorted(highs, low, side="right") : np.searchsorted(lows, high)]
        joined = [file for file in met if file.from_us >= low and file.to_us <= high]
        if sum(file.rows for file in joined) + last - first <= (most_rows or JOINED_ROWS):
            met = [file for file in met if file not in joined]
        for piece in _along(met, (low, high), times):
            if found and found[-1].to_us == piece.to_us:  # the rest of a range that reaches over the end of the span before
                found[-1] = Cutting(piece.from_us, piece.to_us, found[-1].first, piece.last)
            else:
                found.append(piece)
    if sum(cut.last - cut.first for cut in found) != len(times):
        raise ValueError("a time lies in no span")  # its row would be in no file
    return found


def joint_ranges(files: Sequence[PublishedFile]) -> list[PublishedFile]:
    """Files of a shard, with those that overlap as one: dropped rows may lie in other ranges than published ones."""
    found: list[PublishedFile] = []
    for file in sorted(files):
        if found and file.from_us < found[-1].to_us:
            last = found[-1]
            found[-1] = replace(last, to_us=max(last.to_us, file.to_us), rows=last.rows + file.rows)
        else:
            found.append(file)
    return found


def _along(walls: Sequence[PublishedFile], span: Span, times: Ints) -> Iterator[Cutting]:
    """A span cut along published ranges: each whole, and what is between them; only where there are rows."""
    bounds = [(max(wall.from_us, span[0]), min(wall.to_us, span[1]), (wall.from_us, wall.to_us)) for wall in walls]
    cursor = span[0]
    for low, high, whole in [*bounds, (span[1], span[1], (span[1], span[1]))]:
        for (a, b), taken in (((cursor, low), (cursor, low)), ((low, high), whole)):
            first, last = np.searchsorted(times, [a, b]).tolist()
            if first < last:
                yield Cutting(*taken, first, last)
        cursor = high
