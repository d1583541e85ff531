"""Running a replay: the ingest graph over raw that was landed, onto a branch that nobody reads until it is promoted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np

from contracts.errors import ConfigurationError
from contracts.spec.model import Contract
from contracts.spec.project import Project
from contracts.spec.registry import Registry
from lake.ledger.ledger import LedgerEntry, ledger_of
from lake.ledger.sidecars import outcomes_of
from lake.location import Lake
from lake.raw.positions import Landed, Positions, extent_batches
from lake.runs.clock import RunClock, new_run_id
from lake.runs.manifest import BranchTable, ReplayDetails, RunManifest, Verdict, started, write_manifest
from lake.runs.progress import Progress, Report
from lake.runs.replays import Replay, Step, add_event, replay_of, replays
from lake.tables.audit import audited, begin_audit
from lake.tables.iceberg import committed, dropped_branch, known_files, num_shards
from lake.tables.publish import table_totals
from lake.tables.swap import CommitLabels, Swap, swap_ranges
from lake.upkeep import key_of
from pipelines.ingest.density import FOLDED_BYTES, WHOLE_S
from pipelines.ingest.graph import IngestGraph
from pipelines.ingest.run import basis_of
from pipelines.ingest.slices import SLICE_BYTES, run_slices
from pipelines.ingest.sources import LandedRaw
from pipelines.replay.options import ReplayOptions
from pipelines.replay.plan import dataset_of, make_plan
from pipelines.replay.recording import SPEED, begin, finish, resume
from pipelines.replay.select import Selection, positions_in, select_raw
from runners.flink.rest import FlinkRest
from runners.flink.submit import submit, wait
from runners.jobs.submit import flink_job
from transforms.converge.settle import settle
from transforms.cut import BATCH_BYTES, Cut
from transforms.immediate import RowsTopic
from transforms.kafka.connection import KafkaAddress, KafkaCluster, KafkaConnection
from transforms.read.raw import RawPiece

_LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class ReplayReport:
    """What a run of a replay came to. ledger: by source, of the raw that was read. paused: it stopped because it was asked to."""

    name: str
    run_id: str
    dataset: str
    branch: str
    ranges: tuple[tuple[int, int], ...]
    ledger: dict[str, LedgerEntry]
    rows: int
    paused: bool
    reasons: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0, or 1 where its ledger does not add up."""
        return 1 if self.reasons else 0


def run_replay(options: ReplayOptions, project: Project, lake: Lake, report: Report) -> ReplayReport:
    """Begin a replay, or go on with one that was begun: by the same name it goes on where it stopped.

    Args:
        options: what the user asked for. Of a replay that goes on only what says how it runs counts; the rest must be as it was.
        project: where contracts, sources and policies lie.
        lake: where.
        report: is told of progress.

    Raises:
        ConfigurationError: it may not run: not approved, finished with, or another replay has some of the same windows.
        ComponentDownError: the catalog or the cluster does not answer; may be run again.
    """
    lake = audited(lake, f"validated.{options.dataset}")
    known = replays(lake).get(options.name)
    if known is None or known.step is Step.DISCARDED:
        begin(options, make_plan(options, project, lake), lake)
    else:
        resume(options, known, lake)
    return carry_on(options.name, options, project, lake, report)


def resume_replay(name: str, given: Mapping[str, Any], project: Project, lake: Lake, report: Report) -> ReplayReport:
    """Go on with a replay by its name alone. given: options of how it runs that take the place of those it began with."""
    spec = replay_of(lake, name).spec["options"]
    known = {item.name for item in fields(ReplayOptions)}
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in spec.items() if k in known}
    options = ReplayOptions(**(values | {k: v for k, v in given.items() if k in SPEED and v is not None}))
    return run_replay(options, project, lake, report)


def carry_on(name: str, options: ReplayOptions, project: Project, lake: Lake, report: Report) -> ReplayReport:
    """Run what is left of a replay that was begun."""
    replay = replay_of(lake, name)
    specs, contract = dataset_of(project, replay.dataset, replay.spec["sources"])
    clock = RunClock()
    run_id = new_run_id(f"replay-{name}", clock)
    basis = basis_of(lake, contract, specs, options)
    with started(lake, run_id, clock.started, f"replay {name}", pipeline="replay", basis=basis):
        start_branch(lake, replay, contract, run_id)
        onto = replace(lake, branch=replay.branch)
        everything = replay.spec["options"].get("raw") == "all"
        selections = [select_raw(lake, spec, replay.ranges, everything=everything) for spec in specs]
        cut = Cut(
            window_s=_fold_window_s(selections, replay.spec["window_s"], options),
            num_shards=num_shards(lake.load(replay.table)),
            ranges=replay.ranges,
            by_density=True,
            batch_bytes=None if options.runner == "direct" else BATCH_BYTES,
        )
        clock.done("plan")
        topic, suppressions = _topic(options, contract), project.suppressions(contract)
        graphs = [
            IngestGraph(lake=onto, contract=contract, spec=spec, run_id=run_id, cut=cut, immediate=topic, suppressions=suppressions)
            for spec in specs
        ]
        parts = zip(graphs, selections, strict=True)
        paused = not all(_rebuild(graph, selection, options, project, report) for graph, selection in parts)
        clock.done("ingest")
        if not paused:
            graphs[0].settle()
            clock.done("settle")
        report(Progress("account", 0, 1))
        if paused:
            add_event(lake, name, Step.PAUSED, {"run_id": run_id})
        ledger = {s.source: selection_ledger(onto, s, replay.table) for s in selections}
        reasons = [] if paused else _reasons(ledger)
        rows, digest = table_totals(onto.load(replay.table))
        if not paused and not reasons:
            finish(lake, name, run_id, ledger, rows, digest)
        manifest = RunManifest(
            run_id=run_id,
            pipeline="replay",
            source=f"replay {name}",
            clock=clock,
            details=ReplayDetails(name, replay.branch, replay.ranges),
            options=options,
            contracts={contract.dataset: contract.version},
            ledger=ledger,
            datasets={contract.dataset: BranchTable(replay.table, replay.branch, rows, f"{digest:032x}")},
            verdict=Verdict(reasons, paused),
        )
        write_manifest(lake, manifest)
        return ReplayReport(name, run_id, replay.dataset, replay.branch, replay.ranges, ledger, rows, paused, tuple(reasons))


def _fold_window_s(selections: Sequence[Selection], window_s: int, options: ReplayOptions) -> int:
    """As long as memory allows; the replay's own windows where one graph run takes more than that."""
    at_once = options.slice_bytes or SLICE_BYTES if options.runner == "direct" else sum(s.size_bytes for s in selections)
    return WHOLE_S if at_once <= FOLDED_BYTES else window_s


def _rebuild(graph: IngestGraph, selection: Selection, options: ReplayOptions, project: Project, report: Report) -> bool:
    """Rebuild what one source has to say; whether it came to the end."""
    graph.prepare()
    left = list(_unfinished(graph.lake, selection))
    if options.runner == "flink":
        _on_flink(graph, left, options, project)
        return True
    return _in_slices(graph, left, options, project.registry, report)


def start_branch(lake: Lake, replay: Replay, contract: Contract, run_id: str) -> None:
    """The branch as it begins: the live table, settled, without the ranges that are rebuilt. Does nothing where it was started.

    Of a gated dataset the live table is what jobs commit to; what the replay makes of it is judged when it is promoted.
    """
    if contract.gated:
        begin_audit(lake, replay.table, contract.quality.partition_s, run_id)
    lake = audited(lake, replay.table)
    base, beside_live = replay.tag("base"), dropped_branch(lake.branch_of(replay.table))
    if base not in lake.load(replay.table).metadata.refs:  # so that copies which a job left to its sweep are no changes
        settle(lake, contract, run_id)

    def start() -> None:
        table = lake.load(replay.table)
        head = table.current_snapshot()
        if head and base not in table.metadata.refs:
            dropped = table.metadata.snapshot_by_name(beside_live)
            with table.manage_snapshots() as manage:
                manage.create_tag(head.snapshot_id, base).create_branch(head.snapshot_id, replay.branch)
                if dropped:
                    beside = dropped_branch(base), dropped_branch(replay.branch)
                    manage.create_tag(dropped.snapshot_id, beside[0]).create_branch(dropped.snapshot_id, beside[1])

    committed(replay.table, start)
    if base in lake.load(replay.table).metadata.refs:
        onto = replace(lake, branch=replay.branch)
        swap = Swap(replay.ranges, base=known_files(onto.load(replay.table), replay.branch))
        swap_ranges(onto, replay.table, swap, CommitLabels(run_id, after=replay.tag("emptied")), key=key_of(replay.table))


def _topic(options: ReplayOptions, contract: Contract) -> RowsTopic | None:
    if not options.to_topic:
        return None
    address = KafkaAddress.parse(options.to_topic)
    if not address.topic:
        raise ConfigurationError("--to-topic: kafka://HOST:PORT/TOPIC")
    connection = KafkaConnection(address.bootstrap, None)
    KafkaCluster(connection).ensure_topic(address.topic, 1)
    return RowsTopic(connection, address.topic)


def _unfinished(onto: Lake, selection: Selection) -> Iterator[RawPiece]:
    """Pieces with positions that have no outcome on the branch."""
    units = [Landed(selection.source, piece.raw_file, (positions_in(piece).runs,), 0) for piece in selection.pieces]
    for unit, piece in zip(units, selection.pieces, strict=True):
        outcomes = (outcomes_of(onto, selection.source, extents) for extents in extent_batches([unit]))
        runs = [found[unit.raw_file].all_runs() for found in outcomes if unit.raw_file in found]
        if not runs or Positions.of(unit.pieces[0]).first_outside(np.concatenate(runs)) is not None:
            yield piece


def _in_slices(
    graph: IngestGraph, pieces: Sequence[RawPiece], options: ReplayOptions, registry: Registry | None, report: Report
) -> bool:
    """Run the graph slice by slice; whether it came to the end."""
    began = time.monotonic()

    def may_go_on(done_bytes: int) -> bool:
        return _may_go_on(graph.lake, options.name, began + done_bytes / options.max_rate if options.max_rate else 0)

    def read(part: Sequence[RawPiece], shared: bool) -> LandedRaw:
        return LandedRaw(part, graph.lake, graph.spec, registry, reshuffle=shared)

    return run_slices(graph, pieces, read, options, report, may_go_on=may_go_on, of=f"{graph.spec.name}: ")


def _may_go_on(lake: Lake, name: str, not_before: float) -> bool:
    """Wait for the rate's sake; False as soon as a pause is asked for."""
    while True:
        if replay_of(lake, name).step is Step.PAUSE_ASKED:
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


def selection_ledger(onto: Lake, selection: Selection, table: str) -> LedgerEntry:
    """The replay's own ledger of the raw that it read."""
    return sum(ledger_of(onto, selection.source, table, landed_pieces(selection)).values(), LedgerEntry())


def landed_pieces(selection: Selection) -> list[Landed]:
    """Pieces by raw file or log."""
    runs: dict[str, list[Any]] = {}
    for piece in selection.pieces:
        runs.setdefault(piece.raw_file, []).append(positions_in(piece).runs)
    return [
        Landed(selection.source, raw_file, tuple(parts), int(parts[-1][-2] + parts[-1][-1]) if len(parts[-1]) else 0)
        for raw_file, parts in runs.items()
    ]


def _reasons(ledger: Mapping[str, LedgerEntry]) -> list[str]:
    return [f"source {source}: {fault}" for source, entry in ledger.items() for fault in entry.faults]
