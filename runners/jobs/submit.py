"""From options and a graph to a job: on this machine, or on a cluster and on record there."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from contracts.spec.project import Project
from lake.location import Lake
from lake.runs.submission import Attempt, record_ending, record_submission, resumed_run_id
from runners import binaries
from runners.direct import Build, run_unbounded
from runners.flink.rest import FlinkRest
from runners.flink.submit import FlinkJob, submit, wait
from runners.options import CheckpointOptions, FlinkOptions


def flink_job(options: FlinkOptions, project: Project) -> FlinkJob:
    """How the job runs.

    Raises:
        ComponentDownError: the cluster does not answer.
    """
    rest = project.flink_address(options.flink)
    job = FlinkJob(
        rest=rest,
        parallelism=options.workers or max(FlinkRest(rest).free_slots(), 1),
        workers=options.python_workers,
        workers_each=options.python_workers_per_taskmanager,
    )
    if not isinstance(options, CheckpointOptions):
        return job
    return replace(job, checkpoint_s=options.checkpoint_every or job.checkpoint_s, from_savepoint=options.from_savepoint)


def submit_endless(build: Build, job: FlinkJob, lake: Lake, run_id: str, options: FlinkOptions, project: Project) -> str:
    """Submit a job that goes on, and note it in the lake, so that others can look after it; Flink's id of it.

    Args:
        build: adds the graph to a pipeline.
        job: how it runs.
        lake: where the run is on record.
        run_id: of the run.
        options: what the graph was made of; from them and the project the run can be submitted again.
        project: as above.

    Raises:
        ComponentDownError: the cluster does not answer, or did not take the job.
    """
    name = f"{run_id}-{datetime.now(UTC):%H%M%S}" if resumed_run_id() else run_id
    return _submit_on_record(build, job, lake, run_id, name, options, project)


def run_to_end(build: Build, job: FlinkJob | None, lake: Lake, run_id: str, options: FlinkOptions, project: Project) -> None:
    """Run a graph until its input ends: on a cluster, or here where no job is given. Takes what ``submit_endless`` takes.

    Raises:
        ConfigurationError: something that is needed here is missing.
        ComponentDownError: the cluster does not answer, or did not take the job.
        HeadraceError: the job failed.
    """
    if job is None:
        run_unbounded(build, prism=binaries.find_prism(), extra=options.beam_options)
        return
    job_id = _submit_on_record(build, job, lake, run_id, run_id, options, project)
    wait(job_id, FlinkRest(job.rest))
    record_ending(lake, run_id, "finished")


def _submit_on_record(
    build: Build, job: FlinkJob, lake: Lake, run_id: str, name: str, options: FlinkOptions, project: Project
) -> str:
    job_id = submit(build, job, name, options.beam_options)
    arguments = options.arguments(*([f"--project={project.file}"] if project.file else []))
    record_submission(lake, run_id, arguments, name, job.rest, Attempt(job_id, datetime.now(UTC), job.from_savepoint))
    return job_id
