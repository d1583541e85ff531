"""The letters of one source, read again step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from contracts.errors import ConfigurationError
from contracts.logs import LogContext
from contracts.spec.project import Project
from contracts.spec.source import SourceSpec
from lake.ledger.ledger import LedgerEntry, ledger_of
from lake.location import Lake
from lake.raw.positions import Ints, Landed, Positions
from lake.repairs import keep_repairs
from lake.runs.progress import Progress, Report
from lake.runs.replays import Step, add_event
from lake.tables.iceberg import DEAD_LETTERS, num_shards
from operations.deadletters.hiding import Hiding
from operations.reprocess.acts import Done, record
from operations.reprocess.judge import Judge, Shown, Verdicts
from operations.reprocess.letters import FileLetters
from operations.reprocess.options import ReprocessOptions, ReprocessReport
from operations.reprocess.pieces import pieces_of, positions_there, steps_of
from operations.reprocess.preview import Preview
from operations.reprocess.proven import keep_proven
from operations.reprocess.swaps import refuse_while_swapping, swapped_since, wait_for_swaps
from pipelines.ingest.density import WHOLE_S
from pipelines.ingest.graph import IngestGraph
from pipelines.ingest.slices import graph_workers, slices_of
from pipelines.ingest.sources import LandedRaw
from runners.direct import run_bounded
from runners.direct_workers import DirectWorkers, Task
from transforms.cut import Cut
from transforms.read.raw import ChosenPiece

Reached = Callable[[str], None]


@dataclass
class LettersDone:
    """Tells how many letters are done."""

    report: Report
    total: int
    done: int = 0

    def add(self, count: int) -> None:
        """So many more are done."""
        self.done += count
        self.report(Progress("ingest", self.done, self.total, "letters"))


@dataclass
class SourceRun:
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

    def preview(self, progress: LettersDone) -> None:
        """Judge, and write nothing."""
        hiding = Hiding(self.graph.lake, self.project)
        preview = Preview(self.graph.contract, self.graph.spec, self.options.samples, hiding)
        for _, letters, verdicts in self._steps(preview.see):
            done = Done.of(letters, verdicts, {}, self.options.max_attempts)
            self._count(done, verdicts)
            progress.add(len(done))
        self.result.examples += preview.examples

    def go(self, progress: LettersDone, by: str, reached: Reached) -> None:
        """Reprocess them."""
        graph, lake = self.graph, self.graph.lake
        LogContext.here(graph.run_id, self.source).apply()
        refuse_while_swapping(lake, graph.contract.dataset)
        graph.prepare()
        with graph_workers(self.options.workers) as workers:
            for pieces, letters, verdicts in self._steps(None):
                reached("judged")
                self._keep(verdicts, by)
                reached("repairs")
                passing = {name: Positions.of(_runs(found.passing)) for name, found in verdicts.items()}
                if any(map(len, passing.values())):
                    self._publish(pieces, passing, workers, reached)
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

    def _publish(
        self, pieces: Sequence[ChosenPiece], passing: Mapping[str, Positions], workers: DirectWorkers, reached: Reached
    ) -> None:
        """Run the graph over the records that pass, until nothing came between that took their rows away."""
        graph = self.graph
        chosen = [part for piece in pieces if (part := _narrowed(piece, passing[piece.piece.raw_file]))]
        while True:
            wait_for_swaps(graph.lake, graph.contract.dataset)
            details = {"dataset": graph.contract.dataset, "records": sum(piece.records for piece in chosen)}
            number = add_event(graph.lake, graph.run_id, Step.REPROCESSING, details).number
            self.numbers.append(number)
            reached("recorded")
            workers.run(self._graphs(chosen, replace(graph, epoch=number)))
            reached("published")
            if not swapped_since(graph.lake, graph.contract.dataset, number):
                return

    def _graphs(self, chosen: Sequence[ChosenPiece], graph: IngestGraph) -> Iterator[tuple[Task, Task]]:
        """Over slices, equal ones for each worker where there is enough."""
        for part in slices_of(chosen, self.options.workers):
            source = LandedRaw(part, graph.lake, graph.spec, self.project.registry, is_local=True)
            yield partial(run_bounded, partial(graph.build, source)), _nothing

    def _count(self, done: Done, verdicts: Mapping[str, Verdicts]) -> None:
        self.result.outcomes.update((self.source, code, outcome) for code, outcome in zip(done.codes, done.outcomes, strict=True))
        self.result.codes_now.update(code for code in done.codes_now if code)
        self.result.repaired += sum(len(found.repaired) for found in verdicts.values())


def _nothing() -> None:
    pass


def _runs(positions: Ints) -> Ints:
    return np.column_stack((positions, np.ones(len(positions), dtype=np.int64))).ravel()


def _narrowed(piece: ChosenPiece, passing: Positions) -> ChosenPiece | None:
    """A piece with those of its records that pass."""
    runs = [passing.within(first, first + length).runs for first, length in np.array(piece.runs).reshape(-1, 2).tolist()]
    kept = tuple(np.concatenate(runs).tolist())
    return replace(piece, runs=kept) if kept else None


def source_run(
    options: ReprocessOptions,
    project: Project,
    lake: Lake,
    run_id: str,
    source: str,
    files: Sequence[FileLetters],
    result: ReprocessReport,
) -> SourceRun | None:
    """The letters of a source that can be read again; None where the source cannot be loaded.

    What is set aside, and why, goes into ``result``: letters of another dataset than the source feeds now, and those whose records
    are not in ``raw/``.
    """
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
    return SourceRun(options, project, graph, tuple(own), result)


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
