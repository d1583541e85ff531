"""Running a replay: the ingest graph over raw that was landed, onto a branch that nobody reads until it is promoted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pyiceberg.table.update.snapshot import ManageSnapshots

from contracts.errors import ConfigurationError
from contracts.spec.model import Contract
from contracts.spec.project import Project
from contracts.spec.source import SourceSpec
from lake.ledger.ledger import LedgerEntry, ledger_of
from lake.location import Lake
from lake.raw.positions import Landed
from lake.raw.segments import logs_of
from lake.runs.clock import RunClock, new_run_id
from lake.runs.cost import RunCost, written_bytes
from lake.runs.manifest import BranchTable, ReplayDetails, RunManifest, Verdict, started, write_manifest
from lake.runs.progress import Progress, Report
from lake.runs.replays import Replay, Step, add_event, replay_of, replays
from lake.runs.usage import Meter
from lake.tables.audit import audited, begin_audit
from lake.tables.iceberg import DEAD_LETTERS, committed, dropped_branch, known_files, num_shards
from lake.tables.publish import table_totals
from lake.tables.swap import CommitLabels, Swap, swap_ranges
from lake.tables.transactions import RefTransaction
from lake.upkeep import key_of
from pipelines.ingest.density import FOLDED_BYTES, WHOLE_S
from pipelines.ingest.graph import IngestGraph
from pipelines.ingest.run import basis_of
from pipelines.ingest.slices import SLICE_BYTES
from pipelines.replay.costs import ceiling_of, taken_by
from pipelines.replay.options import ReplayOptions
from pipelines.replay.plan import dataset_of, make_plan
from pipelines.replay.rebuild import ReadRaw, rebuild
from pipelines.replay.recording import SPEED, begin, finish, resume
from pipelines.replay.select import Selection, positions_in, select_raw
from transforms.converge.settle import settle
from transforms.cut import BATCH_BYTES, Cut
from transforms.immediate import RowsTopic
from transforms.kafka.connection import KafkaAddress, KafkaCluster, KafkaConnection


@dataclass(frozen=True)
class ReplayReport:
    """What a run of a replay came to. ledger: by source, of the raw that was read. paused: it stopped because it was asked to.

    cost: of all its runs that are on record; estimate: of before it began; cost_to_estimate: the one divided by the other.
    """

    name: str
    run_id: str
    dataset: str
    branch: str
    ranges: tuple[tuple[int, int], ...]
    ledger: dict[str, LedgerEntry]
    rows: int
    paused: bool
    reasons: tuple[str, ...]
    cost: dict[str, Any] | None = None
    estimate: dict[str, Any] | None = None
    cost_to_estimate: dict[str, float] | None = None

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
        CeilingError: it would take, or took, more than its ceiling.
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
    """Run what is left of a replay that was begun.

    Raises:
        CeilingError: it took more than its ceiling. It is paused, and goes on by its name with another one.
    """
    replay = replay_of(lake, name)
    specs, contract = dataset_of(project, replay.dataset, replay.spec["sources"])
    ceiling = ceiling_of(replay, options)
    clock = RunClock()
    run_id = new_run_id(f"replay-{name}", clock)
    basis = basis_of(lake, contract, specs, options)
    with started(lake, run_id, clock.started, f"replay {name}", pipeline="replay", basis=basis):
        run = _Run(options, project, lake, replay, specs, contract, clock, run_id, Meter(ceiling, f"replay {name}"))
        run.meter.stopped = run.stopped
        with run.meter:
            return run.carry_on(report)


@dataclass
class _Run:
    """A run of a replay."""

    options: ReplayOptions
    project: Project
    lake: Lake
    replay: Replay
    specs: Sequence[SourceSpec]
    contract: Contract
    clock: RunClock
    run_id: str
    meter: Meter
    read: ReadRaw = field(default_factory=ReadRaw)

    def cost(self) -> RunCost:
        """What it has taken until now."""
        tables = (self.replay.table, f"late.{self.replay.dataset}", DEAD_LETTERS)
        return RunCost.of(
            self.meter,
            is_here=self.options.runner == "direct",
            workers=self.options.workers,
            read_records=self.read.records,
            read_bytes=self.read.size_bytes,
            written_bytes=written_bytes(self.lake, tables, self.run_id),
        )

    def stopped(self, why: str) -> str:
        """Put on record that it came above its ceiling; gives what to tell."""
        name = self.replay.name
        add_event(self.lake, name, Step.PAUSED, {"run_id": self.run_id, "why": why, "cost": self.cost().document()})
        return (
            f"{why}. Nothing was promoted; headrace replay run {name} goes on where it stopped, with another ceiling, or "
            f"headrace replay discard {name} gives it up"
        )

    def carry_on(self, report: Report) -> ReplayReport:
        """Rebuild what is left, and account for it."""
        replay, name, options, contract, clock = self.replay, self.replay.name, self.options, self.contract, self.clock
        start_branch(self.lake, replay, contract, self.run_id)
        onto = replace(self.lake, branch=replay.branch)
        everything = replay.spec["options"].get("raw") == "all"
        selections = [select_raw(self.lake, spec, replay.ranges, everything=everything) for spec in self.specs]
        graphs = self._graphs(onto, selections)
        clock.done("plan")
        parts = zip(graphs, selections, strict=True)
        paused = not all(rebuild(graph, selection, options, self.project, report, self.read) for graph, selection in parts)
        clock.done("ingest")
        if not paused:
            graphs[0].settle()
            clock.done("settle")
        report(Progress("account", 0, 1))
        cost = self.cost()
        if paused:
            add_event(self.lake, name, Step.PAUSED, {"run_id": self.run_id, "cost": cost.document()})
        ledger = {s.source: selection_ledger(onto, s, replay.table) for s in selections}
        reasons = [] if paused else _reasons(ledger)
        rows, digest = table_totals(onto.load(replay.table))
        if not paused and not reasons:
            finish(self.lake, name, self.run_id, ledger, rows, digest, cost)
        manifest = RunManifest(
            run_id=self.run_id,
            pipeline="replay",
            source=f"replay {name}",
            clock=clock,
            details=ReplayDetails(name, replay.branch, replay.ranges),
            options=options,
            contracts={contract.dataset: contract.version},
            ledger=ledger,
            datasets={contract.dataset: BranchTable(replay.table, replay.branch, rows, f"{digest:032x}")},
            cost=cost,
            verdict=Verdict(reasons, paused),
        )
        write_manifest(self.lake, manifest)
        taken = taken_by(replay_of(self.lake, name))
        return ReplayReport(
            name, self.run_id, replay.dataset, replay.branch, replay.ranges, ledger, rows, paused, tuple(reasons), **taken
        )

    def _graphs(self, onto: Lake, selections: Sequence[Selection]) -> list[IngestGraph]:
        """One a source."""
        replay, options = self.replay, self.options
        cut = Cut(
            window_s=_fold_window_s(selections, replay.spec["window_s"], options),
            num_shards=num_shards(self.lake.load(replay.table)),
            ranges=replay.ranges,
            by_density=True,
            batch_bytes=None if options.runner == "direct" else BATCH_BYTES,
        )
        topic, suppressions = _topic(options, self.lake, self.specs), self.project.suppressions(self.contract)
        return [
            IngestGraph(
                lake=onto,
                contract=self.contract,
                spec=spec,
                run_id=self.run_id,
                cut=cut,
                immediate=topic,
                suppressions=suppressions,
            )
            for spec in self.specs
        ]


def _fold_window_s(selections: Sequence[Selection], window_s: int, options: ReplayOptions) -> int:
    """As long as memory allows; the replay's own windows where one graph run takes more than that."""
    at_once = options.slice_bytes or SLICE_BYTES if options.runner == "direct" else sum(s.size_bytes for s in selections)
    return WHOLE_S if at_once <= FOLDED_BYTES else window_s


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
            with RefTransaction(table) as transaction, ManageSnapshots(transaction) as manage:
                manage.create_tag(head.snapshot_id, base).create_branch(head.snapshot_id, replay.branch)
                if dropped:
                    beside = dropped_branch(base), dropped_branch(replay.branch)
                    manage.create_tag(dropped.snapshot_id, beside[0]).create_branch(dropped.snapshot_id, beside[1])

    committed(replay.table, start)
    if base in lake.load(replay.table).metadata.refs:
        onto = replace(lake, branch=replay.branch)
        swap = Swap(replay.ranges, base=known_files(onto.load(replay.table), replay.branch))
        swap_ranges(onto, replay.table, swap, CommitLabels(run_id, after=replay.tag("emptied")), key=key_of(replay.table))


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


def _topic(options: ReplayOptions, lake: Lake, specs: Sequence[SourceSpec]) -> RowsTopic | None:
    if not options.to_topic:
        return None
    address = KafkaAddress.parse(options.to_topic)
    if not address.topic:
        raise ConfigurationError("--to-topic: kafka://HOST:PORT/TOPIC")
    if address.topic in {log.topic for spec in specs for log in logs_of(lake, spec.raw_source)}:
        raise ConfigurationError(f"--to-topic: {address.topic} is what is read; rows would go round in a circle. Name a new topic")
    connection = KafkaConnection(address.bootstrap, None)
    KafkaCluster(connection).ensure_topic(address.topic, 1)
    return RowsTopic(connection, address.topic)
