"""What a replay reads is put through the ingest graph: slice by slice on this machine, or as a job on a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from contracts.spec.project import Project
from contracts.spec.registry import Registry
from lake.ledger.sidecars import outcomes_of
from lake.location import Lake
from lake.raw.positions import Landed, Positions, extent_batches
from lake.runs.progress import Report
from lake.runs.replays import Step, replay_of
from pipelines.ingest.graph import IngestGraph
from pipelines.ingest.slices import graph_workers, run_slices
from pipelines.ingest.sources import LandedRaw
from pipelines.replay.options import ReplayOptions
from pipelines.replay.select import Selection, positions_in
from runners.flink.rest import FlinkRest
from runners.flink.submit import submit, wait
from runners.jobs.submit import flink_job
from transforms.read.raw import RawPiece

_LOOK_EVERY_S = 1.0


@dataclass
class ReadRaw:
    """What a run has read until now. size_bytes: decompressed, of logs as landed."""

    records: int = 0
    size_bytes: int = 0

    def add(self, pieces: Sequence[RawPiece]) -> None:
        """These too."""
        self.records += sum(len(positions_in(piece)) for piece in pieces)
        self.size_bytes += sum(piece.size_bytes for piece in pieces)


def rebuild(
    graph: IngestGraph, selection: Selection, options: ReplayOptions, project: Project, report: Report, read: ReadRaw
) -> bool:
    """Rebuild what one source has to say; whether it came to the end. read: is told what was read."""
    graph.prepare()
    left = list(_unfinished(graph.lake, selection))
    if options.runner == "flink":
        _on_flink(graph, left, options, project)
        read.add(left)
        return True
    return _in_slices(graph, left, options, project.registry, report, read)


def _unfinished(onto: Lake, selection: Selection) -> Iterator[RawPiece]:
    """Pieces with positions that have no outcome on the branch."""
    units = [Landed(selection.source, piece.raw_file, (positions_in(piece).runs,), 0) for piece in selection.pieces]
    for unit, piece in zip(units, selection.pieces, strict=True):
        outcomes = (outcomes_of(onto, selection.source, extents) for extents in extent_batches([unit]))
        runs = [found[unit.raw_file].all_runs() for found in outcomes if unit.raw_file in found]
        if not runs or Positions.of(unit.pieces[0]).first_outside(np.concatenate(runs)) is not None:
            yield piece


def _in_slices(
    graph: IngestGraph,
    pieces: Sequence[RawPiece],
    options: ReplayOptions,
    registry: Registry | None,
    report: Report,
    read: ReadRaw,
) -> bool:
    """Run the graph slice by slice; whether it came to the end."""
    began = time.monotonic()

    def may_go_on(begun_bytes: int) -> bool:
        not_before = began + begun_bytes / options.max_rate if options.max_rate else 0
        return _may_go_on(graph.lake, options.name, not_before, lambda: workers.failed)

    def source(part: Sequence[RawPiece]) -> LandedRaw:
        return LandedRaw(part, graph.lake, graph.spec, registry, is_local=True)

    of = f"{graph.spec.name}: "
    with graph_workers(options.workers) as workers:
        return run_slices(graph, pieces, source, options, workers, report, may_go_on=may_go_on, done=read.add, of=of)


def _may_go_on(lake: Lake, name: str, not_before: float, failed: Callable[[], bool]) -> bool:
    """Wait for the rate's sake; False as soon as a pause is asked for, or a slice has failed."""
    while True:
        if failed() or replay_of(lake, name).step is Step.PAUSE_ASKED:
            return False
        left = not_before - time.monotonic()
        if left <= 0:
            return True
        time.sleep(min(left, _LOOK_EVERY_S))


def _on_flink(graph: IngestGraph, pieces: Sequence[RawPiece], options: ReplayOptions, project: Project) -> None:
    if not pieces:
        return
    job = replace(flink_job(options, project), streaming=False)
    source = LandedRaw(pieces, graph.lake, graph.spec, project.registry)
    name = f"{graph.run_id}-{graph.spec.name}"  # jobs are found by name: one each
    wait(submit(partial(graph.build, source), job, name, options.beam_options), FlinkRest(job.rest))
