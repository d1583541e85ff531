"""The Flink runner: a graph to a session cluster, through Beam's job server, with the options that it needs to run well there.

What each option is for was measured; docs/guides/flink-on-machines.md has the table.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult

from contracts.errors import ComponentDownError, ConfigurationError, JobFailedError
from runners import binaries
from runners.direct import Build, error_line, quiet_beam
from runners.flink.key_groups import MAX_PARALLELISM
from runners.flink.rest import Failure, FlinkRest, Job
from runners.flink.worker.launcher import write_launcher
from runners.job_server import FlinkWithOwnServer
from runners.loopback import keep_grpc_on_loopback
from runners.temporary import temporary_files_removed

_log = logging.getLogger(__name__)
_START_S = 180.0
_POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class FlinkJob:
    """How a job runs on a cluster.

    rest: HOST:PORT of the JobManager. parallelism: slots it takes. workers: ``process:COMMAND`` (each TaskManager starts its Python
    workers by the command), ``external:HOST:PORT`` (a worker pool beside it), or None for our own launcher, which is right where
    TaskManagers see this installation. workers_each: Python workers of each TaskManager, None for as many as it may
    come to need. checkpoint_s: seconds between checkpoints. from_savepoint: where state comes from.
    job_server_jar: None for ``$HEADRACE_JOB_SERVER_JAR``, else the local stack's.
    """

    rest: str
    parallelism: int
    workers: str | None = None
    workers_each: int | None = None
    checkpoint_s: int = 10
    from_savepoint: str | None = None
    job_server_jar: str | None = None
    streaming: bool = True
    endless: bool = True


def submit(build: Build, job: FlinkJob, name: str, extra: Sequence[str] = ()) -> str:
    """Submit a graph and return when it runs.

    Args:
        build: adds the graph to a pipeline.
        job: how it runs.
        name: unique; the cluster shows it.
        extra: further Beam options.

    Returns:
        Flink's id of the job.

    Raises:
        ComponentDownError: the cluster does not answer, or did not take the job.
        ConfigurationError: it has no free slots for it, or something that is needed here is missing.
    """
    rest = FlinkRest(job.rest)
    free = rest.free_slots()
    if free < job.parallelism:
        raise ConfigurationError(
            f"Flink {job.rest}: {free} free slots, the job takes {job.parallelism}; give fewer --workers, or stop a job "
            "(headrace job list)"
        )
    _log.info("submitting %s to Flink %s", name, job.rest)  # before it: who ends this process knows by it what to cancel
    quiet_beam()
    keep_grpc_on_loopback()
    runner = FlinkWithOwnServer()
    arguments = _arguments(job, name, job.workers_each or _workers_each(rest, job.parallelism))
    with temporary_files_removed():
        pipeline = beam.Pipeline(runner=runner, options=PipelineOptions([*arguments, *extra]))
        build(pipeline)
        try:
            result = pipeline.run()
            return _running(rest, job, name, result)
        except RuntimeError as error:
            raise ComponentDownError(f"Flink {job.rest}: the job server did not take the job: {error_line(error)}") from None
        finally:
            runner.stop_job_server()


def _workers_each(rest: FlinkRest, parallelism: int) -> int:
    """One for each slot that a TaskManager may come to run: all that it has, where others are gone; at most those of the job."""
    return max(min(rest.slots_each(), parallelism), 1)


def _running(rest: FlinkRest, job: FlinkJob, name: str, result: PipelineResult) -> str:
    """The id of the job, once the cluster runs it."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        found = next((j for j in rest.jobs() if j.name == name), None)
        if found is not None and found.state in ("RUNNING", "FINISHED"):
            return found.job_id
        if (found is not None and found.state in ("FAILED", "CANCELED")) or result.state in ("FAILED", "CANCELLED"):
            raise ComponentDownError(
                f"Flink {job.rest}: the job did not start{_why(rest.last_failure(found.job_id) if found else None)}"
            )
        time.sleep(_POLL_S)
    raise ComponentDownError(f"Flink {job.rest}: the job did not run within {_START_S:.0f} s; see the JobManager's log")


def wait(job_id: str, rest: FlinkRest, tick: Callable[[Job], None] = lambda job: None) -> None:
    """Wait until a job has finished.

    Raises:
        JobFailedError: it failed or was cancelled. What a worker raised of ours comes as it was raised.
    """
    while True:
        job = rest.job(job_id)
        tick(job)
        if job.state == "FINISHED":
            return
        if job.ended:
            failure = rest.last_failure(job_id)
            if failure and failure.raised:
                raise failure.raised
            raise JobFailedError(f"Flink job {job_id}: {job.state.lower()}{_why(failure)}")
        time.sleep(_POLL_S)


def _why(failure: Failure | None) -> str:
    return f": {failure.cause}" if failure else ""


def _arguments(job: FlinkJob, name: str, workers_each: int) -> list[str]:
    arguments = [
        f"--flink_master={job.rest}",
        f"--job_name={name}",
        f"--parallelism={job.parallelism}",
        f"--max_parallelism={MAX_PARALLELISM}",
        f"--sdk_worker_parallelism={workers_each}",
        *_environment(job.workers),
        f"--flink_job_server_jar={binaries.find_job_server(job.job_server_jar)}",
        # Else Flink codes each element and decodes it again between two chained steps. Nothing changes one in between: the
        # TaskManager has bytes. A pane that fires is one element, and its copies were most of the heap.
        "--faster_copy",
    ]
    if job.streaming:
        arguments += [
            "--streaming",
            f"--checkpointing_interval={job.checkpoint_s * 1000}",
            "--checkpoint_timeout_millis=180000",
            # Without it the output of a bundle that is open at a checkpoint waits for the next bundle; jobs hang at start.
            "--finish_bundle_before_checkpointing",
            # A reader's slice ends with its bundle, and the next begins when Flink closes that: by default a second later.
            "--max_bundle_time_mills=100",
            "--externalized_checkpoints_enabled",
            "--retain_externalized_checkpoints_on_cancellation",
            "--max_cache_memory_usage_mb=256",
            *([] if job.endless else ["--shutdown_sources_after_idle_ms=0"]),
            # Beam names no step before the first stage, and Flink knows that one by what is chained to it: nothing, but in jobs
            # of one slot. So a savepoint of several did not fit one, nor the reverse. The switch turns chaining off.
            *(["--operator_chaining"] if job.parallelism == 1 else []),
        ]
    if job.from_savepoint:
        arguments.append(f"--savepoint_path={job.from_savepoint}")
    return arguments


def _environment(workers: str | None) -> list[str]:
    kind, _, where = (workers or f"process:{write_launcher(Path.home() / '.cache' / 'headrace')}").partition(":")
    if kind == "process" and where:
        return ["--environment_type=PROCESS", "--environment_config=" + json.dumps({"command": where})]
    if kind == "external" and where:
        return ["--environment_type=EXTERNAL", f"--environment_config={where}"]
    raise ConfigurationError(f"Python workers {workers!r}: expected process:COMMAND or external:HOST:PORT")
