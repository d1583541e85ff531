"""What runs that were killed left behind: rows that are published, and never met the horizon and the gate."""

from __future__ import annotations

from collections.abc import Collection

from contracts.errors import ConfigurationError
from contracts.spec.model import name_and_major
from contracts.spec.project import Project
from lake.location import Lake
from lake.runs.manifest import MANIFEST, run_file
from lake.runs.replays import Step, events
from operations.reprocess.options import ReprocessReport
from quality.gate_report import GateOptions
from transforms.converge.gate import settle_and_gate


def finish_broken_off(lake: Lake, project: Project, result: ReprocessReport, own: Collection[str]) -> None:
    """Apply the horizon to datasets that a run published rows of without coming to its end, and take them through the gate.

    Done again it changes nothing, and neither does it if such a run is still at work.

    Args:
        lake: where.
        project: with the contracts.
        result: is told reasons: what a gate holds, and datasets whose contract cannot be loaded.
        own: datasets that this run itself will do this for.

    Raises:
        ComponentDownError: no commit succeeded before the deadline; may be done again.
    """
    for dataset in sorted(_datasets(lake) - set(own)):
        try:
            contract = project.contract(*name_and_major(dataset))
        except ConfigurationError as error:
            result.reasons.append(f"{dataset}: an earlier run was killed, and what it left cannot be finished: {error}")
            continue
        _, gate = settle_and_gate(lake, contract, GateOptions(run_id=result.run_id))
        result.reasons += gate.reasons if gate else []


def _datasets(lake: Lake) -> set[str]:
    """Of runs that have published rows, and have no manifest."""
    runs: dict[str, set[str]] = {}
    for event in events(lake):
        if event.step is Step.REPROCESSING:
            runs.setdefault(event.name, set()).add(event.details["dataset"])
    done = lake.storage.map(lambda run_id: _is_done(lake, run_id), runs)
    left = [run_id for run_id, is_done in zip(runs, done, strict=True) if not is_done]
    return {dataset for run_id in left for dataset in runs[run_id]}


def _is_done(lake: Lake, run_id: str) -> bool:
    try:
        lake.storage.stat(run_file(lake, run_id, MANIFEST))
    except FileNotFoundError:
        return False
    return True
