"""Jobs of a cluster joined with the runs of a lake, and how a person's word for one of them is understood."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from lake.location import Lake
from lake.runs.submission import Submission, submissions
from runners.flink.rest import FlinkRest, Health, Job, UnknownJobError
from runners.jobs.supervise import job_of

_SHOWN = 3
LOST = "LOST"  # beside Flink's states: the run should be on the cluster, which does not know it


@dataclass(frozen=True)
class JobLine:
    """One job for a list. source, run_id: None for a job that no run of the lake submitted. job_id: of the last submission.

    resubmissions: how often the run was submitted again. restarts: of this job, by the cluster. Ages and durations in seconds.
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


def lake_if_any(given: str | None, project: Project) -> Lake | None:
    """The lake that was asked for, else the project's if it is there.

    Raises:
        ConfigurationError: one was asked for and is not there.
    """
    location = given or project.lake
    if location is None:
        return None
    lake = Lake.at(location, project.catalog)
    if lake.exists():
        return lake
    if given:
        raise ConfigurationError(f"no lake at {lake.root}; give another --lake")
    return None


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
            lines.append(_line(rest, job, run))
    for run in runs:
        if job_of(run, jobs) is None and (ended or not run.ended):
            state = run.ended.how.upper() if run.ended else LOST
            again = len(run.attempts) - 1
            lines.append(JobLine(run.source, run.run_id, run.job_ids[-1], run.job_name, state, None, None, again, None, None))
    return lines


@dataclass(frozen=True)
class Target:
    """What a person means by JOB. run: None for a job of no run of the lake. job: None where the cluster does not know it."""

    rest: FlinkRest
    run: Submission | None
    job: Job | None

    @property
    def name(self) -> str:
        """How to call it: the run id, else the job id."""
        return self.run.run_id if self.run else self.known_job.job_id

    @property
    def known_job(self) -> Job:
        """The job on the cluster.

        Raises:
            UnknownJobError: the cluster does not know it (any more).
        """
        if self.job is None:
            assert self.run
            raise UnknownJobError(
                f"run {self.run.run_id}: Flink at {self.rest.address} knows no job of it (last: {self.run.job_ids[-1]}); "
                "a JobManager without high availability forgets its jobs when it is started again"
            )
        return self.job


def other_clusters(rest: FlinkRest, lake: Lake | None) -> list[str]:
    """Addresses of further clusters on which runs of the lake should be."""
    addresses = {run.flink for run in submissions(lake) if not run.ended} if lake else set()
    return sorted(address for address in addresses if FlinkRest(address).url != rest.url)


def find_run(word: str, lake: Lake) -> Submission | None:
    """The run that a run id, a job id or the beginning of one means; None if it is none of this lake.

    Raises:
        ConfigurationError: several begin so.
    """
    runs = {run.run_id: run for run in submissions(lake)}
    found = _matching(word, {name: run.run_id for run in runs.values() for name in (run.run_id, *run.job_ids)})
    return runs[found] if found else None


def find_target(word: str, lake: Lake | None, given: str | None, default: str) -> Target:
    """The run or job that is meant: of the lake, else of the cluster.

    Args:
        word: run id, job id, job name or the beginning of one.
        lake: whose runs are known.
        given: address of the cluster, if the user gave one; else that of the run counts.
        default: address of the cluster for a job of no run.

    Raises:
        ConfigurationError: none or several; names the nearest.
        ComponentDownError: the cluster does not answer.
    """
    run = find_run(word, lake) if lake else None
    rest = FlinkRest(given or (run.flink if run else default))
    jobs = rest.jobs()
    if run:
        return Target(rest, run, job_of(run, jobs))
    newest = {job.name: job.job_id for job in reversed(jobs)}  # of several submissions of one name the last is meant
    found = _matching(word, {job.job_id: job.job_id for job in jobs} | newest)
    if found is None:
        known = [*(_names(lake) if lake else ()), *newest, *(job.job_id for job in jobs)]
        raise _unknown(word, known, f"on {rest.address}" + (f" or in {lake.root}" if lake else ""))
    return Target(rest, None, next(job for job in jobs if job.job_id == found))


def find_own_run(word: str, lake: Lake) -> Submission:
    """The run of a lake that is meant, whether its cluster answers or not.

    Raises:
        ConfigurationError: none or several; names the nearest.
    """
    run = find_run(word, lake)
    if run is None:
        raise _unknown(word, _names(lake), f"in {lake.root}")
    return run


def _names(lake: Lake) -> list[str]:
    return [name for run in submissions(lake) for name in (run.run_id, *run.job_ids)]


def _matching(word: str, names: Mapping[str, str]) -> str | None:
    """What the name stands for that is the word, or the only thing that a name which begins with the word stands for."""
    if word in names:
        return names[word]
    meant = sorted({meaning for name, meaning in names.items() if word and name.startswith(word)})
    if len(meant) > 1:
        shown = ", ".join(meant[:_SHOWN]) + (", …" if len(meant) > _SHOWN else "")
        raise ConfigurationError(f"several jobs begin with {word!r}: {shown}; give more of it")
    return meant[0] if meant else None


def _unknown(word: str, names: Sequence[str], where: str) -> ConfigurationError:
    near = difflib.get_close_matches(word, dict.fromkeys(names), n=_SHOWN, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else "headrace job list --all shows what there is"
    return ConfigurationError(f"no job {word!r} {where}; {hint}")


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
