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

from collections.abc import Mapping
from typing import Any

from contracts.codes import Code
from contracts.spec.project import Project
from lake.acts import note_act
from lake.location import Lake
from lake.runs.clock import RunClock, new_run_id
from lake.runs.manifest import ReprocessDetails, RunManifest, Verdict, published_table, started, write_manifest
from lake.runs.progress import Report
from operations.deadletters.known import refuse_unknown
from operations.deadletters.states import OPEN_STATES
from operations.reprocess.broken_off import finish_broken_off
from operations.reprocess.letters import chosen_letters
from operations.reprocess.options import ReprocessOptions, ReprocessReport
from operations.reprocess.source_run import LettersDone, Reached, source_run

COMMAND = "deadletter reprocess"


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
    conflicts = options.recipe is not None and options.recipe.is_about(Code.CONFLICTING_DUPLICATE)
    letters = chosen_letters(lake, selection, late=options.late, conflicts=conflicts, max_attempts=options.max_attempts)
    result.aside.update(letters.aside)
    found = [source_run(options, project, lake, run_id, source, files, result) for source, files in letters.sources().items()]
    runs = [run for run in found if run and len(run)]
    result.selected = sum(map(len, runs))
    progress = LettersDone(report, result.selected)
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
