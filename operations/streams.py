"""Where runs stand that read logs and go on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from contracts.units import SECOND_US
from lake.ledger.logs import LogState, log_states, newest_window_time
from lake.location import Lake
from lake.raw.segments import logs_of
from lake.runs.manifest import RunSummary
from lake.runs.submission import read_submission, submissions
from lake.tables.audit import audited
from lake.tables.iceberg import settled_age_s
from pipelines.deliver.options import PIPELINE

SETTLED_LIMIT_S = 300  # a sweep begins every minute
SUBMITTED = "submitted"  # to a cluster, which knows more: headrace job status


@dataclass(frozen=True)
class StreamState:
    """Where a run stands that reads logs and goes on.

    newest_row_age_s: now less the latest ``_window_time`` of its source that is not to come. settled_age_s: for how long the newest
    settled snapshot of the table has not been the current one; 0 where it is, None of a table without a horizon. problems: what is
    wrong, a sentence each.
    """

    run_id: str
    source: str
    table: str
    logs: list[LogState]
    newest_row_age_s: float | None
    settled_age_s: float | None = None
    problems: tuple[str, ...] = ()


def as_submitted(lake: Lake, run: RunSummary) -> RunSummary:
    """With the state of a run that goes on on a cluster: the process that submitted it has long ended."""
    submission = read_submission(lake, run.run_id) if run.state != "finished" else None
    if submission is None:
        return run
    return replace(run, state=submission.ended.how if submission.ended else SUBMITTED)


def submitted_last(lake: Lake) -> set[str]:
    """Of each source the run without an end that was submitted to a cluster last: it goes on while others begin and end."""
    found: dict[str, str] = {}
    with contextlib.suppress(ConfigurationError):  # a damaged record, which the verbs of jobs tell
        for run in submissions(lake):
            if run.ended is None or run.ended.how != "finished":
                found.setdefault(run.source, run.run_id)
    return set(found.values())


def streaming(lake: Lake, project: Project, runs: Sequence[RunSummary]) -> list[RunSummary]:
    """Runs without an end whose source has logs; of each source the newest, since logs are a source's, not a run's."""
    found: dict[str, RunSummary] = {}
    for run in runs:
        if run.ledger is None and run.pipeline != PIPELINE and run.source not in found and _has_logs(lake, project, run.source):
            found[run.source] = run
    return list(found.values())


def _has_logs(lake: Lake, project: Project, source: str) -> bool:
    with contextlib.suppress(ConfigurationError):
        source = project.source(source)[0].raw_source
    return bool(logs_of(lake, source))


def stream_state(lake: Lake, project: Project, run: RunSummary) -> StreamState | str:
    """Where it stands, or why that cannot be told."""
    try:
        spec, contract = project.source(run.source)
    except ConfigurationError as error:
        return str(error)
    name = contract.table
    now_s = time.time()
    newest = newest_window_time(lake, run.source, name, int(now_s * SECOND_US))
    age = None if newest is None else round(now_s - newest / SECOND_US, 3)
    written = audited(lake, name)
    settled = settled_age_s(written.load(name), now_s, written.branch_of(name))
    settled = None if settled is None else round(settled, 3)
    return StreamState(run.run_id, run.source, name, log_states(lake, spec, name), age, settled, _problems(run, name, settled))


def _problems(run: RunSummary, table: str, settled: float | None) -> tuple[str, ...]:
    """A run that has ended settles nothing, so only of one that works."""
    if run.state not in ("running", SUBMITTED) or settled is None or settled <= SETTLED_LIMIT_S:
        return ()
    return (
        f"{run.source}: run {run.run_id}: rows of {table} have waited {settled:,.0f} s to be settled, longer than "
        f"{SETTLED_LIMIT_S} s: deliveries, reconcile and replays do not see them; the job's log says why its sweeps fail",
    )
