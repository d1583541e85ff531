"""Bounded input on the direct runner: slice by slice, each a run of the graph of its own.

FnApiRunner holds every shuffle in memory, so a slice bounds it; the fold makes many runs equal to one, also those of several
processes at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar

from lake.runs.progress import Progress, Report, repeated
from lake.runs.tally import Tally
from pipelines.ingest.graph import IngestGraph
from pipelines.ingest.sources import RawSource
from runners.direct import run_bounded
from runners.direct_workers import DirectWorkers, Task
from runners.temporary import removed_folder

SLICE_BYTES = 512 << 20  # at most, of each worker
WORTH_BYTES = 4 << 20  # of less it is done sooner than another process has begun
_LOOK_EVERY_S = 0.5


class Sized(Protocol):
    """A piece of input."""

    @property
    def size_bytes(self) -> int:
        """Decompressed bytes."""

    @property
    def records(self) -> int:
        """How many it holds."""


class SliceOptions(Protocol):
    """What a run says of its slices."""

    @property
    def slice_bytes(self) -> int | None:
        """Decompressed bytes of a slice; None for so many as suit."""

    @property
    def beam_options(self) -> tuple[str, ...]:
        """Further options of Beam."""


Piece = TypeVar("Piece", bound=Sized)


def run_slices(
    graph: IngestGraph,
    pieces: Sequence[Piece],
    read: Callable[[Sequence[Piece]], RawSource],
    options: SliceOptions,
    workers: DirectWorkers,
    report: Report,
    *,
    may_go_on: Callable[[int], bool] = lambda _: True,
    done: Callable[[Sequence[Piece]], None] = lambda _: None,
    of: str = "",
) -> bool:
    """Run a graph over pieces of input, each worker over a slice of its own at a time.

    Args:
        graph: what is run.
        pieces: in order.
        read: makes the source of a slice.
        options: of the run.
        workers: who runs the slices.
        report: is told of progress, within slices too: records done, of all.
        may_go_on: is asked before each slice, with the bytes of those that were begun.
        done: is told of each slice, when it is over.
        of: what the notes begin with.

    Returns:
        Whether it came to the end.
    """
    slices = slices_of(pieces, workers.count, options.slice_bytes)
    with removed_folder() as folder:
        run = _Slices(len(slices), sum(piece.records for piece in pieces), report, Tally(str(folder)), of)

        def tasks() -> Iterator[tuple[Task, Task]]:
            begun_bytes = 0
            for part in slices:
                if not may_go_on(begun_bytes):
                    return
                begun_bytes += sum(piece.size_bytes for piece in part)
                records = sum(piece.records for piece in part)
                run.began(records)
                build = partial(replace(graph, tally=run.tally).build, read(part))
                yield partial(run_bounded, build, options.beam_options), partial(over, part)

        def over(part: Sequence[Piece]) -> None:
            run.ended()
            done(part)

        with repeated(run.tell, _LOOK_EVERY_S):
            workers.run(tasks())
    if run.over < len(slices):
        return False
    report(Progress("ingest", run.total, run.total))
    return True


@dataclass
class _Slices:
    """Where the slices of a run are. total: records of all; begun: of those that run or are over."""

    count: int
    total: int
    report: Report
    tally: Tally
    of: str
    begun: int = 0
    taken: int = 0
    over: int = 0
    since: float = field(default_factory=time.monotonic)

    def began(self, records: int) -> None:
        """Another one, with so many records."""
        self.taken += 1
        self.begun += records
        self.tell()

    def ended(self) -> None:
        """One of them."""
        self.over += 1

    def tell(self) -> None:
        """Say how far they are."""
        counts = self.tally.total()
        now = min(counts.records, self.begun)  # a bundle that is tried again counts twice
        if self.taken == self.over:
            return
        where = f"{self.of}{self._which} of {self.count}" if self.count > 1 else self.of.rstrip(": ")
        if now == self.begun and now:
            self.report(Progress("fold", 0, 0, where))
            return
        rate = now / max(time.monotonic() - self.since, 0.1)
        told = [where, f"{rate:,.0f} records/s" if now else "starting", f"{counts.rejected:,} rejected" if counts.rejected else ""]
        self.report(Progress("ingest", now, self.total, ", ".join(filter(None, told))))

    @property
    def _which(self) -> str:
        first, last = self.over + 1, max(self.taken, self.over + 1)
        return f"slice {first}" if first == last else f"slices {first} to {last}"


def graph_workers(count: int | None) -> DirectWorkers:
    """Processes for the ingest graph, which begin to start now. count: with this one; None for this one alone."""
    return DirectWorkers(count or 1, imports=IngestGraph.__module__)


def slices_of(pieces: Sequence[Piece], workers: int, slice_bytes: int | None = None) -> list[list[Piece]]:
    """Pieces in order, in slices of ``slice_bytes``; None for equal ones, as many for each worker, of what suits at most."""
    if slice_bytes is not None:
        return list(plan_slices(pieces, slice_bytes))
    total = sum(piece.size_bytes for piece in pieces)
    busy = max(min(workers, total // WORTH_BYTES), 1)
    return list(equal_slices(pieces, busy * max(-(-total // (busy * SLICE_BYTES)), 1)))


def bytes_at_once(size_bytes: int, workers: int, slice_bytes: int | None = None) -> int:
    """How much of so many bytes is in slices at the same time, as ``slices_of`` cuts them, but for where pieces begin."""
    if slice_bytes is not None:
        return min(size_bytes, workers * slice_bytes)
    return -(-size_bytes // max(-(-size_bytes // (workers * SLICE_BYTES)), 1))


def equal_slices(pieces: Sequence[Piece], count: int) -> Iterator[list[Piece]]:
    """Pieces in order, cut into so many slices of about as many decompressed bytes; fewer where there are fewer pieces."""
    total, before = max(sum(piece.size_bytes for piece in pieces), 1), 0
    parts: list[list[Piece]] = [[] for _ in range(count)]
    for piece in pieces:
        middle = 2 * before + piece.size_bytes
        parts[min(count * middle // (2 * total), count - 1)].append(piece)
        before += piece.size_bytes
    yield from filter(None, parts)


def plan_slices(pieces: Sequence[Piece], slice_bytes: int) -> Iterator[list[Piece]]:
    """Pieces in order, cut into slices of at most this many decompressed bytes (or one piece)."""
    part: list[Piece] = []
    size = 0
    for piece in pieces:
        if part and size + piece.size_bytes > slice_bytes:
            yield part
            part, size = [], 0
        part.append(piece)
        size += piece.size_bytes
    if part:
        yield part
