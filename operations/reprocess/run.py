"""Reprocessing: letters are judged, published through the ingest graph, told in the history, and only then withdrawn.

Step by step, each of at most so many records. In a step everything that is written may be written again, so a run that was killed
is given again, and rivals that read the same letters come to one state:

1. Repairs are put if absent, so that a replay that begins from now on repairs too.
2. The run takes a number from the record of replays. What it says of positions holds against promotions of lower numbers.
3. The graph publishes rows, conflicts and outcomes. Where a promotion or rollback came meanwhile, the step begins again at 2.
4. Letters whose positions have their outcome get a line in the history each, then they are withdrawn. The others are counted.

At the end the horizon is applied. A run that was killed before finds no letter when it is given again, and does this alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from contracts.errors import ConfigurationError
from contracts.logs import LogContext
from contracts.spec.project import Project
from contracts.spec.source import SourceSpec
from lake.acts import note_act
from lake.ledger.ledger import LedgerEntry, ledger_of
from lake.location import Lake
from lake.raw.positions import Ints, Landed, Positions
from lake.repairs import keep_repairs
from lake.runs.clock import RunClock, new_run_id
from lake.runs.manifest import ReprocessDetails, RunManifest, Verdict, published_table, started, write_manifest
from lake.runs.progress import Progress, Report
from lake.runs.replays import Step, add_event
from lake.tables.iceberg import DEAD_LETTERS, num_shards
from operations.deadletters.hiding import Hiding
from operations.deadletters.known import refuse_unknown
from operations.deadletters.states import OPEN_STATES
from operations.reprocess.acts import Done, record
from operations.reprocess.broken_off import finish_broken_off
from operations.reprocess.judge import Judge, Shown, Verdicts
from operations.reprocess.letters import FileLetters, chosen_letters
from operations.reprocess.options import ReprocessOptions, ReprocessReport
from operations.reprocess.pieces import pieces_of, positions_there, steps_of
from operations.reprocess.preview import Preview
from operations.reprocess.proven import keep_proven
from operations.reprocess.swaps import refuse_while_swapping, swapped_since, wait_for_swaps
from pipelines.ingest.density import WHOLE_S
from pipelines.ingest.graph import IngestGraph
from pipelines.ingest.sources import LandedRaw
from runners.direct import run_bounded
from transforms.cut import Cut
from transforms.read.raw import ChosenPiece

COMMAND = "deadletter reprocess"
Reached = Callable[[str], None]


def _nothing(step: str) -> None:
    pass


def reprocess(
    options: ReprocessOptions, project: Project, lake: Lake, report: Report, reached: Reached = _nothing
) -> ReprocessReport:
    """Read letters again.

    Args:
        options: which, and how.
        project: contracts, sources and policies as they are now.
        lake: where.
        report: is told of progress.
        reached: is told of every step that was taken.

    Raises:
        ConfigurationError: a replay of the dataset is being promoted; the selection names a source or dataset that nobody knows.
        ComponentDownError: no commit succeeded before the deadline; may be done again.
    """
    refuse_unknown(lake, project, options.selection)
    clock = RunClock()
    run_id = new_run_id("reprocess", clock)
    result = ReprocessReport(run_id, options.dry_run)
    selection = options.selection.in_states(OPEN_STATES, "reprocess")  # closed ones somebody has to open again
    letters = chosen_letters(
        lake, selection, late=options.late, conflicts=options.recipe is not None, max_attempts=options.max_attempts
    )
    result.aside.update(letters.aside)
    found = [_source_run(options, project, lake, run_id, source, files, result) for source, files in letters.sources().items()]
    runs = [run for run in found if run and len(run)]
    result.selected = sum(map(len, runs))
    progress = _Progress(report, result.selected)
    if options.dry_run:
        for run in runs:
            run.preview(progress)
        return _judged(result)
    finish_broken_off(lake, project, result, {run.graph.contract.dataset for run in runs})
    if not result.selected:
        return result
    act = note_act(lake, COMMAND, _told(options, result.selected), by=options.by, reason=options.reason)
    reached("noted")
    with started(lake, run_id, clock.started, ", ".join(run.source for run in runs), "reprocess"):
        for run in runs:
            run.go(progress, act.by or act.user, reached)
            result.ledger[run.source] = run.ledger()
        clock.done("reprocess")
        _judged(result)
        outcomes = {outcome: result.count(outcome) for _, _, outcome in result.outcomes}
        manifest = RunManifest(
            run_id=run_id,
            pipeline="reprocess",
            source=", ".join(run.source for run in runs),
            clock=clock,
            details=ReprocessDetails(options.selection.described(), options.recipe.name if options.recipe else None, outcomes),
            contracts={run.graph.contract.dataset: run.graph.contract.version for run in runs},
            ledger=result.ledger,
            datasets={run.graph.contract.dataset: published_table(lake, run.graph.table) for run in runs},
            verdict=Verdict(result.reasons),
            gates={dataset: gate.document() for dataset, gate in result.gates.items()} or None,
        )
        write_manifest(lake, manifest)
    reached("manifest")
    return result


def _told(options: ReprocessOptions, selected: int) -> Mapping[str, Any]:
    recipe = options.recipe
    return {
        "selection": options.selection.described(), "letters": selected, "late": options.late or None,
        "recipe": recipe and {"name": recipe.name, "digest": recipe.digest},
    }  # fmt: skip


def _judged(result: ReprocessReport) -> ReprocessReport:
    failing = result.count("still_failing") + result.count("given_up")
    if failing:
        codes = ", ".join(f"{code} {count:,}" for code, count in result.codes_now.most_common())
        result.reasons.append(f"{failing:,} of {result.selected:,} letters still fail: {codes}")
    for gate in result.gates.values():
        result.reasons += gate.reasons
        result.warnings += gate.warnings
    result.reasons += [f"source {source}: {fault}" for source, entry in result.ledger.items() for fault in entry.faults]
    return result


def _source_run(
    options: ReprocessOptions,
    project: Project,
    lake: Lake,
    run_id: str,
    source: str,
    files: Sequence[FileLetters],
    result: ReprocessReport,
) -> _SourceRun | None:
    try:
        spec, contract = project.source(source)
    except ConfigurationError as error:  # others of the selection are not to wait for it
        result.aside[f"are of {source}: {error}"] = count = sum(map(len, files))
        result.reasons.append(f"source {source}: {count:,} letters were not read again, since it cannot be loaded")
        return None
    own = [part for file in files if len(part := file.of_dataset(contract.dataset))]
    if odd := sum(map(len, files)) - sum(map(len, own)):
        result.aside[f"of {source} are of another dataset than {contract.dataset}, which it feeds now"] = odd
    own = list(_readable(lake, spec, own, result))
    suppressions = project.suppressions(contract)
    shards = num_shards(lake.load(DEAD_LETTERS)) if not options.late else num_shards(lake.load(contract.late_table))
    cut = Cut(window_s=WHOLE_S, num_shards=shards, by_density=True)
    graph = IngestGraph(lake=lake, contract=contract, spec=spec, run_id=run_id, cut=cut, suppressions=suppressions)
    return _SourceRun(options, project, graph, tuple(own), result)


def _readable(lake: Lake, spec: SourceSpec, files: Sequence[FileLetters], result: ReprocessReport) -> Iterator[FileLetters]:
    """Letters whose records are in ``raw/``. The others are set aside, and are a reason against the run; nobody waits for them."""
    gone: dict[str, int] = {}
    for file in files:
        try:
            there = file.within(positions_there(lake, spec, file.raw_file, file.runs))
        except ConfigurationError as error:
            result.aside[f"are of {file.raw_file}: {error}"] = len(file)
            result.reasons.append(str(error))
            continue
        if len(there) < len(file):
            gone[file.raw_file] = len(file) - len(there)
        if len(there):
            yield there
    if gone:
        result.aside[f"are of {spec.name}, and their records are not in raw/"] = sum(gone.values())
        more = f", and {len(gone) - 1} more" if len(gone) > 1 else ""
        result.reasons.append(
            f"source {spec.name}: {sum(gone.values()):,} letters cannot be read again, since their records are not in raw/ "
            f"({next(iter(gone))}{more}); was the raw file removed? Put it back, or close them: headrace deadletter close"
        )


@dataclass
class _Progress:
    """Tells how many letters are done."""

    report: Report
    total: int
    done: int = 0

    def add(self, count: int) -> None:
        self.done += count
        self.report(Progress("ingest", self.done, self.total, "letters"))


@dataclass
class _SourceRun:
    """The letters of one source."""

    options: ReprocessOptions
    project: Project
    graph: IngestGraph
    files: tuple[FileLetters, ...]
    result: ReprocessReport
    numbers: list[int] = field(default_factory=list)

    @property
    def source(self) -> str:
        """Its name."""
        return self.graph.spec.name

    def __len__(self) -> int:
        return sum(map(len, self.files))

    def preview(self, progress: _Progress) -> None:
        """Judge, and write nothing."""
        hiding = Hiding(self.graph.lake, self.project)
        preview = Preview(self.graph.contract, self.graph.spec, self.options.samples, hiding)
        for _, letters, verdicts in self._steps(preview.see):
            done = Done.of(letters, verdicts, {}, self.options.max_attempts)
            self._count(done, verdicts)
            progress.add(len(done))
        self.result.examples += preview.examples

    def go(self, progress: _Progress, by: str, reached: Reached) -> None:
        """Reprocess them."""
        graph, lake = self.graph, self.graph.lake
        LogContext.here(graph.run_id, self.source).apply()
        refuse_while_swapping(lake, graph.contract.dataset)
        graph.prepare()
        for pieces, letters, verdicts in self._steps(None):
            reached("judged")
            self._keep(verdicts, by)
            reached("repairs")
            passing = {name: Positions.of(_runs(found.passing)) for name, found in verdicts.items()}
            if any(map(len, passing.values())):
                self._publish(pieces, passing, reached)
                if any(len(found.conflicts) for found in verdicts.values()):
                    graph.settle()  # what lost within the horizon too has its letter then
                keep_proven(lake, self.source, letters, verdicts, self.numbers[-1])
            done = record(graph, self.options, letters, verdicts, by, reached)
            self._count(done, verdicts)
            progress.add(len(done))
        _, gate = graph.gate()
        reached("settled")
        if gate:
            self.result.gates[graph.contract.dataset] = gate

    def ledger(self) -> LedgerEntry:
        """What the ledger says of the positions that were read again."""
        landed = [Landed(self.source, file.raw_file, (file.runs.runs,), file.runs.bounds[1]) for file in self.files]
        return sum(ledger_of(self.graph.lake, self.source, self.graph.table, landed).values(), LedgerEntry())

    def _steps(self, shown: Shown | None) -> Iterator[tuple[list[ChosenPiece], list[FileLetters], dict[str, Verdicts]]]:
        graph, recipe = self.graph, self.options.recipe
        judge = Judge(
            graph.lake, graph.contract, graph.spec, graph.run_id, graph.suppressions, self.project.registry, recipe, shown
        )
        by_name = {file.raw_file: file for file in self.files}
        pieces = (piece for file in self.files for piece in pieces_of(graph.lake, graph.spec, file.raw_file, file.runs))
        for step in steps_of(pieces):
            runs: dict[str, list[int]] = {}
            for piece in step:
                runs.setdefault(piece.piece.raw_file, []).extend(piece.runs)
            letters = [by_name[name].within(Positions.of(own)) for name, own in runs.items()]
            yield step, letters, judge.judge(step, letters)

    def _keep(self, verdicts: Mapping[str, Verdicts], by: str) -> None:
        """Put on record what the recipe repairs."""
        recipe = self.options.recipe
        for always in (False, True) if recipe else ():
            assert recipe
            wanted = {
                name: found.conflicts if always else np.setdiff1d(found.repaired, found.conflicts)
                for name, found in verdicts.items()
            }
            wanted = {name: positions for name, positions in wanted.items() if len(positions)}
            if wanted:
                above = min(verdicts[name].above for name in wanted)
                kept = keep_repairs(
                    self.graph.lake, self.source, recipe, wanted,
                    by=by, reason=self.options.reason, always=always, above=above,
                )  # fmt: skip
                self.result.others.update({name: sum(map(len, own.values())) for name, own in kept.others.items()})

    def _publish(self, pieces: Sequence[ChosenPiece], passing: Mapping[str, Positions], reached: Reached) -> None:
        """Run the graph over the records that pass, until nothing came between that took their rows away."""
        graph = self.graph
        chosen = [part for piece in pieces if (part := _narrowed(piece, passing[piece.piece.raw_file]))]
        while True:
            wait_for_swaps(graph.lake, graph.contract.dataset)
            details = {"dataset": graph.contract.dataset, "records": sum(piece.records for piece in chosen)}
            number = add_event(graph.lake, graph.run_id, Step.REPROCESSING, details).number
            self.numbers.append(number)
            reached("recorded")
            source = LandedRaw(chosen, graph.lake, graph.spec, self.project.registry, reshuffle=self.options.workers > 1)
            build = partial(replace(graph, epoch=number).build, source)
            run_bounded(build, workers=self.options.workers)
            reached("published")
            if not swapped_since(graph.lake, graph.contract.dataset, number):
                return

    def _count(self, done: Done, verdicts: Mapping[str, Verdicts]) -> None:
        self.result.outcomes.update((self.source, code, outcome) for code, outcome in zip(done.codes, done.outcomes, strict=True))
        self.result.codes_now.update(code for code in done.codes_now if code)
        self.result.repaired += sum(len(found.repaired) for found in verdicts.values())


def _runs(positions: Ints) -> Ints:
    return np.column_stack((positions, np.ones(len(positions), dtype=np.int64))).ravel()


def _narrowed(piece: ChosenPiece, passing: Positions) -> ChosenPiece | None:
    """A piece with those of its records that pass."""
    runs = [passing.within(first, first + length).runs for first, length in np.array(piece.runs).reshape(-1, 2).tolist()]
    kept = tuple(np.concatenate(runs).tolist())
    return replace(piece, runs=kept) if kept else None
