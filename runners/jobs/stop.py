"""Ending a job: with a savepoint to go on from, or without; its run is then over, so that nothing starts it again by itself."""

from __future__ import annotations

from contracts.errors import ConfigurationError, SavepointError, UnknownJobError
from lake.runs.submission import record_ending
from runners.flink.rest import ENDED
from runners.jobs.list import LOST
from runners.jobs.target import Target


def stop(target: Target, savepoints: str | None, *, deadline_s: float) -> tuple[str, str]:
    """Stop a job with a savepoint. Never drains.

    Args:
        target: the job.
        savepoints: URI of the folder for the savepoint; None for the cluster's own.
        deadline_s: how long to wait for the savepoint.

    Returns:
        The job's state, and the savepoint.

    Raises:
        ConfigurationError: the job has ended, the cluster does not know it, or there is no folder.
        SavepointError: it failed, or did not complete in time; says what became of the job.
    """
    job, rest = target.known_job, target.rest
    refuse_ended(target)
    if savepoints is None and rest.directories().savepoints is None:
        raise ConfigurationError(f"Flink at {rest.address} has no state.savepoints.dir: give --savepoints URI")
    try:
        savepoint = rest.stop(job.job_id, savepoints, deadline_s=deadline_s)
    except SavepointError as error:
        raise SavepointError(f"{error}; {_after_failed_stop(target)}") from None
    state = rest.wait_ended(job.job_id)
    _end_run(target, "stopped", savepoint)
    return state, savepoint


def cancel(target: Target) -> str:
    """End a job without a savepoint; the job's state. Of one that has ended, or is lost, only the run is noted as over."""
    job, state = target.job, LOST
    if job is not None:
        state = job.state
        if not job.ended:
            target.rest.cancel(job.job_id)
            state = target.rest.wait_ended(job.job_id)
    _end_run(target, "cancelled")
    return state


def refuse_ended(target: Target) -> None:
    """Whether there is something to end.

    Raises:
        ConfigurationError: the job has ended, or the cluster does not know it.
    """
    job = target.known_job
    if job.ended:
        raise ConfigurationError(f"job {job.job_id} has ended already: {job.state}")


def _end_run(target: Target, how: str, savepoint: str | None = None) -> None:
    if target.run and target.lake:
        record_ending(target.lake, target.run.run_id, how, savepoint)


def _after_failed_stop(target: Target) -> str:
    """What became of the job, and what to do."""
    job = target.known_job
    try:
        state = target.rest.job(job.job_id).state
    except UnknownJobError:
        return f"the cluster knows the job no longer: headrace job status {target.name}"
    if state in ENDED:
        return f"the job has ended: {state}"
    return (
        f"the job goes on ({state}). See that it is RUNNING and that Flink can write the savepoints folder, and run the same "
        f"command again; or end it without a savepoint: headrace job cancel {target.name}"
    )
