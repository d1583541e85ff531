"""Jobs of a cluster joined with the runs of a lake."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from contracts.errors import UnknownJobError
from lake.location import Lake
from lake.runs.manifest import read_run
from lake.runs.submission import Submission, submissions
from runners.flink.rest import FlinkRest, Health, Job
from runners.jobs.target import job_of

_RUN_ID = re.compile(r"\d{8}T\d+Z-[\w.-]+-[0-9a-f]{6}")
LOST = "LOST"  # beside Flink's states: the run should be on the cluster, which does not know it


@dataclass(frozen=True)
class JobLine:
    """One job for a list. source, run_id: None for a job that no run of the lake submitted. job_id: of the last submission.

    resubmissions: how often the run was submitted again. restarts: of this job, by the cluster. Ages and durations in seconds.
    A process that was killed after its submission, and before it noted that, left a job of the run's name: it counts as the run's.
    """

    source: str | None
    run_id: str | None
    job_id: str
    name: str
    state: str
    uptime_s: float | None
    restarts: int | None
    resubmissions: int
    checkpoint_age_s: float | None
    checkpoint_size_bytes: int | None


def job_lines(rest: FlinkRest, lake: Lake | None, *, ended: bool) -> list[JobLine]:
    """Jobs of a cluster, the newest first; then runs of the lake that this cluster should know and does not.

    Args:
        rest: the cluster.
        lake: whose runs to join.
        ended: also jobs and runs that are over.
    """
    jobs = rest.jobs()
    runs = [run for run in submissions(lake) if FlinkRest(run.flink).url == rest.url] if lake else []
    run_of = {job_id: run for run in runs for job_id in run.job_ids}
    lines = []
    for job in jobs:
        run = run_of.get(job.job_id) or next((run for run in runs if run.is_named(job.name)), None)
        superseded = run is not None and job_of(run, jobs) != job
        if ended or not (job.ended and (run is None or run.ended or superseded or job.state != "FAILED")):
            lines.append(_line(rest, job, run) if run or lake is None else _unnoted(_line(rest, job, None), lake))
    for run in runs:
        if job_of(run, jobs) is None and (ended or not run.ended):
            state = run.ended.how.upper() if run.ended else LOST
            again = len(run.attempts) - 1
            lines.append(JobLine(run.source, run.run_id, run.job_ids[-1], run.job_name, state, None, None, again, None, None))
    return lines


def other_clusters(rest: FlinkRest, lake: Lake | None) -> list[str]:
    """Addresses of further clusters on which runs of the lake should be."""
    addresses = {run.flink for run in submissions(lake) if not run.ended} if lake else set()
    return sorted(address for address in addresses if FlinkRest(address).url != rest.url)


def _unnoted(line: JobLine, lake: Lake) -> JobLine:
    """With the run that it is named for, where its submission was not noted."""
    run = read_run(lake, line.name) if _RUN_ID.fullmatch(line.name) else None
    return replace(line, source=run.source, run_id=run.run_id) if run else line


def _line(rest: FlinkRest, job: Job, run: Submission | None) -> JobLine:
    health, checkpoints = Health(None, None), None
    with contextlib.suppress(UnknownJobError):  # forgotten since it was listed
        health, checkpoints = rest.health(job.job_id), rest.checkpoints(job.job_id)
    last = checkpoints.last if checkpoints else None
    return JobLine(
        source=run.source if run else None, run_id=run.run_id if run else None, job_id=job.job_id, name=job.name, state=job.state,
        uptime_s=health.uptime_s, restarts=health.restarts, resubmissions=len(run.attempts) - 1 if run else 0,
        checkpoint_age_s=(datetime.now(UTC) - last.completed_at).total_seconds() if last else None,
        checkpoint_size_bytes=last.size_bytes if last else None,
    )  # fmt: skip
