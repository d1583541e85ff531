"""Streaming jobs that the schedules and the lake declare, against those that a Flink cluster runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from operations.drift.differences import Difference, Kind, listed
from operations.drift.runs import DELIVER, INGEST, OF_DELIVERY, ClusterJob, Declared, Recorded, Repository

_LEAVING = frozenset({"CANCELLING", "FAILING"})  # a moment later they have ended; nothing is wrong with them now
_RUN_ID = re.compile(r"\d{8}T\d{12}Z-(?P<source>.+)-[0-9a-f]{6}(?:-\d{6})?")
# Of one command, not of what a job does; input and workers are compared by themselves.
_OF_A_START = {"source", "input", "lake", "flink", "start", "until", "from_savepoint", "runner", "workers", "beam_options"}


@dataclass(frozen=True)
class _Alive:
    """A job that runs, and its run; None where the lake knows none."""

    job: ClusterJob
    run: Recorded | None


def compare_jobs(repository: Repository, recorded: Sequence[Recorded], jobs: Sequence[ClusterJob]) -> Iterator[Difference]:
    """Jobs that should run and do not, that run twice or otherwise than the repository says, and that nothing declares.

    Jobs of other programs, and of sources of other projects, are not ours to judge.

    Args:
        repository: what should run.
        recorded: runs of the lake, the newest first.
        jobs: of all clusters that were asked.
    """
    alive: dict[str, list[_Alive]] = {}
    ends: dict[str, str] = {}  # by run, how its job ended
    for job in jobs:
        run = _run_of(job, recorded)
        if job.ended:
            if run:
                ends.setdefault(run.submission.run_id, job.state)
            continue
        named = _RUN_ID.fullmatch(job.name)
        source = run.source if run else named["source"] if named else ""
        known = run is not None or repository.has(source) or source in repository.declared
        if source and known and job.state not in _LEAVING:
            alive.setdefault(source, []).append(_Alive(job, run))
    for source in sorted({*alive, *repository.declared, *(run.source for run in recorded if run.goes_on)}):
        mine = [run for run in recorded if run.source == source]
        yield from _not_running(repository, source, mine, alive.get(source, []), ends)
        yield from _twice(source, alive.get(source, []))
        for one in alive.get(source, []):
            yield from _otherwise(repository, source, one)


def _run_of(job: ClusterJob, recorded: Sequence[Recorded]) -> Recorded | None:
    by_id = next((run for run in recorded if job.job_id in run.submission.job_ids), None)
    return by_id or next((run for run in recorded if run.submission.is_named(job.name)), None)


def _not_running(
    repository: Repository, source: str, mine: Sequence[Recorded], alive: Sequence[_Alive], ends: Mapping[str, str]
) -> Iterator[Difference]:
    def gone(run_id: str) -> str:
        return f"run {run_id}: its job is {ends[run_id]}" if run_id in ends else f"run {run_id}: its cluster lost it"

    running = {one.run.submission.run_id for one in alive if one.run}
    lost = [run for run in mine if run.goes_on and run.submission.run_id not in running]
    lost = [run for run in lost if run.submission.flink not in repository.silent]
    if source in repository.declared:
        if alive or any(run.goes_on and run.submission.flink in repository.silent for run in mine):
            return
        stream = repository.declared[source].stream
        newest = mine[0].submission if mine else None
        told, remedy = "never started", repository.start(source)
        if newest:
            told = f"run {newest.run_id} was {newest.ended.how}" if newest.ended else gone(newest.run_id)
            remedy = f"headrace job status {newest.run_id} says from where; {remedy}"
        yield _difference(
            repository, f"job of {source}", newest.flink if newest else "Flink", told, f"reads {stream.input}", remedy
        )
        return
    for run in lost:
        if any(other.input == run.input for other in (one.run for one in alive) if other):
            continue  # another run has taken its place
        submission = run.submission
        remedy = f"headrace job status {submission.run_id} says how to start it; headrace job cancel {submission.run_id} ends it"
        told = gone(submission.run_id)
        yield _difference(repository, f"job of {source}", submission.flink, told, "recorded in the lake, and not ended", remedy)


def _twice(source: str, alive: Sequence[_Alive]) -> Iterator[Difference]:
    by_input: dict[str, list[_Alive]] = {}
    for one in alive:
        if one.run and one.run.is_bounded:
            continue
        by_input.setdefault(_address(one.run.input) if one.run else "", []).append(one)
    for found in by_input.values():
        if len(found) < 2:
            continue
        jobs = sorted(f"{one.job.job_id} ({one.job.state}) on {one.job.where}" for one in found)
        runs = sorted({one.run.submission.run_id for one in found if one.run})
        stop = f"headrace job stop {runs[0]}" if runs else f"headrace job cancel {found[0].job.job_id}"
        yield Difference(
            kind=Kind.JOBS, what=f"job of {source}", where=found[0].job.where, deployed=f"{len(found)} times: {listed(jobs)}",
            repository="once", remedy=f"headrace job list shows them; {stop}, until one is left",
        )  # fmt: skip


def _otherwise(repository: Repository, source: str, one: _Alive) -> Iterator[Difference]:
    run, job = one.run, one.job
    declared = repository.declared.get(source)
    what = f"job of {source}"
    if run is None:
        yield _difference(
            repository, what, job.where, f"job {job.job_id} ({job.name})", "a run that the lake knows",
            f"is it of another lake? headrace job cancel {job.job_id}",
        )  # fmt: skip
        return
    run_id = run.submission.run_id
    if run.verb in (INGEST, DELIVER) and not repository.has(source):
        gone = f"no source {source}" if run.is_ingest else f"no destination {source.removeprefix(OF_DELIVERY)}"
        yield _difference(repository, what, job.where, f"run {run_id}", gone, f"headrace job stop {run_id}")
        return
    if repository.declared and run.is_ingest and run.goes_on and declared is None:
        remedy = f"headrace job stop {run_id}; or declare it under schedules.streams"
        yield _difference(repository, what, job.where, f"run {run_id}", "in no streams of the schedules", remedy)
    remedy = repository.upgrade(run)
    if declared and run.goes_on:
        yield from _as_declared(repository, declared, one, remedy)
    if run.basis is None or not run.basis.headrace:
        return
    if run.basis.headrace != repository.version:
        told = f"headrace {run.basis.headrace}"
        yield _difference(repository, what, job.where, told, f"headrace {repository.version}", remedy)
    if run.changes:
        yield _difference(repository, what, job.where, "works by an earlier state", listed(run.changes), remedy)


def _as_declared(repository: Repository, declared: Declared, one: _Alive, remedy: str) -> Iterator[Difference]:
    run, job, stream = one.run, one.job, declared.stream
    what = f"job of {declared.source}"
    assert run is not None
    if run.input and _address(run.input) != _address(stream.input):
        yield _difference(repository, what, job.where, f"reads {run.input}", f"reads {stream.input}", remedy)
    if job.slots != stream.workers and job.state == "RUNNING":
        yield _difference(
            repository,
            what,
            job.where,
            f"takes {job.slots} slot{'' if job.slots == 1 else 's'}",
            f"workers: {stream.workers}",
            remedy,
        )
    if run.basis is None:
        return
    given, wanted = (_compared(options) for options in (run.basis.options, declared.options))
    for name in sorted(given.keys() | wanted.keys()):
        if given.get(name) != wanted.get(name):
            option = f"--{name.replace('_', '-')}"
            is_, should = (f"{option} {side[name]}" if name in side else f"no {option}" for side in (given, wanted))
            yield _difference(repository, what, job.where, is_, should, remedy)


def _compared(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a record has them, in which a tuple is a list."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in options.items()
        if name not in _OF_A_START and value is not None
    }


def _address(uri: str) -> str:
    """An address in which brokers stand in any order."""
    brokers, slash, topic = uri.removeprefix("kafka://").partition("/")
    return ",".join(sorted(brokers.split(","))) + slash + topic if uri.startswith("kafka://") else uri


def _difference(repository: Repository, what: str, where: str, deployed: str, should: str, remedy: str) -> Difference:
    return Difference(
        kind=Kind.JOBS, what=what, where=where, deployed=deployed, repository=should, remedy=remedy, file=repository.file
    )
