"""Bounded input on the direct runner: slice by slice, each a run of the graph of its own.

FnApiRunner holds every shuffle in memory, so a slice bounds it; the fold makes many runs equal to one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

from lake.runs.progress import Progress, Report, repeated
from lake.runs.tally import Tally
from pipelines.ingest.graph import IngestGraph
from pipelines.ingest.sources import RawSource
from runners.direct import run_bounded
from runners.temporary import removed_folder

SLICE_BYTES = 512 << 20  # per worker process: each starts anew with every slice
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
    def workers(self) -> int | None:
        """Processes; None for one."""

    @property
    def slice_bytes(self) -> int | None:
        """Decompressed bytes of a slice; None for so many per worker as suits."""

    @property
    def beam_options(self) -> tuple[str, ...]:
        """Further options of Beam."""


Piece = TypeVar("Piece", bound=Sized)


def run_slices(
    graph: IngestGraph,
    pieces: Sequence[Piece],
    read: Callable[[Sequence[Piece], bool], RawSource],
    options: SliceOptions,
    report: Report,
    *,
    may_go_on: Callable[[int], bool] = lambda _: True,
    of: str = "",
) -> bool:
    """Run a graph over pieces of input.

    Args:
        graph: what is run.
        pieces: in order.
        read: makes the source of a slice; is told whether its pieces are shared out to workers.
        options: of the run.
        report: is told of progress, within slices too: records done, of all.
        may_go_on: is asked before each slice, with the bytes that are done.
        of: what the notes begin with.

    Returns:
        Whether it came to the end.
    """
    workers, began = options.workers or 1, time.monotonic()
    slices = list(plan_slices(pieces, options.slice_bytes or workers * SLICE_BYTES))
    total, done, done_bytes = sum(piece.records for piece in pieces), 0, 0
    for number, part in enumerate(slices, 1):
        if not may_go_on(done_bytes):
            return False
        records = sum(piece.records for piece in part)
        with removed_folder() as folder:
            tally = Tally(str(folder))
            where = f"{of}slice {number} of {len(slices)}" if len(slices) > 1 else of.rstrip(": ")
            look = partial(_tell, report, tally, done, records, total, where, began)
            look()
            with repeated(look, _LOOK_EVERY_S):
                source = read(part, workers > 1)
                run_bounded(partial(replace(graph, tally=tally).build, source), workers=workers, extra=options.beam_options)
        done += records
        done_bytes += sum(piece.size_bytes for piece in part)
    report(Progress("ingest", done, total))
    return True


def _tell(report: Report, tally: Tally, done: int, records: int, total: int, where: str, began: float) -> None:
    counts = tally.total()
    now = min(counts.records, records)  # a bundle that is tried again counts twice
    if now == records and records:
        report(Progress("fold", 0, 0, where))
        return
    rate = (done + now) / max(time.monotonic() - began, 0.1)
    told = [where, f"{rate:,.0f} records/s" if now else "starting", f"{counts.rejected:,} rejected" if counts.rejected else ""]
    report(Progress("ingest", done + now, total, ", ".join(filter(None, told))))


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
