"""What a person means by JOB: a run of a lake, a job of a cluster, or both."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts.errors import ConfigurationError, UnknownJobError
from contracts.spec.project import Project
from lake.location import Lake
from lake.runs.submission import Submission, submissions
from runners.flink.rest import FlinkRest, Job

_SHOWN = 3


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


@dataclass(frozen=True)
class Target:
    """What a person means by JOB.

    lake: whose runs are known. run: None for a job of no run of the lake. job: None where the cluster does not know it.
    """

    rest: FlinkRest
    lake: Lake | None
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
        return Target(rest, lake, run, job_of(run, jobs))
    newest = {job.name: job.job_id for job in reversed(jobs)}  # of several submissions of one name the last is meant
    found = _matching(word, {job.job_id: job.job_id for job in jobs} | newest)
    if found is None:
        known = [*(_names(lake) if lake else ()), *newest, *(job.job_id for job in jobs)]
        raise _unknown(word, known, f"on {rest.address}" + (f" or in {lake.root}" if lake else ""))
    return Target(rest, lake, None, next(job for job in jobs if job.job_id == found))


def find_own_run(word: str, lake: Lake) -> Submission:
    """The run of a lake that is meant, whether its cluster answers or not.

    Raises:
        ConfigurationError: none or several; names the nearest.
    """
    run = find_run(word, lake)
    if run is None:
        raise _unknown(word, _names(lake), f"in {lake.root}")
    return run


def job_of(submission: Submission, jobs: Sequence[Job]) -> Job | None:
    """The run's job among those of a cluster: one that runs, else the last that was submitted; None if the cluster knows neither.

    A job with the run's name counts also if the record does not name it.
    """
    mine = [job for job in jobs if job.job_id in submission.job_ids or submission.is_named(job.name)]
    alive = [job for job in mine if not job.ended]
    last = [job for job in mine if job.job_id == submission.job_ids[-1] or job.job_id not in submission.job_ids]
    return max(alive or last, key=lambda job: job.started_at, default=None)


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
