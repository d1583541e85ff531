"""From options and a graph to a job: on this machine, or on a cluster and on record there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from devstack.layout import Layout
from devstack.stack import Stack
from lake.location import Lake
from lake.runs.submission import Attempt, record_ending, record_submission, resumed_run_id
from pipelines.deliver.options import DeliverOptions
from pipelines.ingest.options import IngestOptions
from pipelines.replay.options import ReplayOptions
from runners.direct import Build, run_unbounded
from runners.flink.rest import FlinkRest
from runners.flink.submit import FlinkJob, submit, wait

_CHECKPOINT_S = 10


def flink_job(options: IngestOptions | ReplayOptions | DeliverOptions, project: Project) -> FlinkJob:
    """How the job runs.

    Raises:
        ComponentDownError: the cluster does not answer.
    """
    rest = project.flink_address(options.flink)
    return FlinkJob(
        rest=rest,
        parallelism=options.workers or max(FlinkRest(rest).free_slots(), 1),
        workers=options.python_workers,
        checkpoint_s=getattr(options, "checkpoint_every", None) or _CHECKPOINT_S,
        from_savepoint=getattr(options, "from_savepoint", None),
    )


def prism_binary() -> str:
    """Prism: ``$HEADRACE_PRISM``, else the local stack's.

    Raises:
        ConfigurationError: there is none. Beam would download one, which nobody has checked and which listens on all interfaces.
    """
    binary = Path(Stack(Layout.default()).prism)
    if not binary.is_file():
        raise ConfigurationError(
            f"no Prism, which runs topics on this machine, at {binary}: run headrace stack up --only prism (needs Go), "
            "or name a binary of yours in HEADRACE_PRISM"
        )
    return str(binary)


def submit_endless(build: Build, job: FlinkJob, lake: Lake, run_id: str, extra: Sequence[str]) -> str:
    """Submit a job that goes on, and note it in the lake, so that others can look after it; Flink's id of it.

    Raises:
        ComponentDownError: the cluster does not answer, or did not take the job.
    """
    name = f"{run_id}-{datetime.now(UTC):%H%M%S}" if resumed_run_id() else run_id
    job_id = submit(build, job, name, extra)
    record_submission(lake, run_id, sys.argv[1:], name, job.rest, Attempt(job_id, datetime.now(UTC), job.from_savepoint))
    return job_id


def run_to_end(build: Build, job: FlinkJob | None, lake: Lake, run_id: str, extra: Sequence[str]) -> None:
    """Run a graph until its input ends: on a cluster, or here where no job is given.

    Raises:
        ConfigurationError: something that is needed here is missing.
        ComponentDownError: the cluster does not answer, or did not take the job.
        HeadraceError: the job failed.
    """
    if job is None:
        run_unbounded(build, prism=prism_binary(), extra=extra)
        return
    job_id = submit(build, job, run_id, extra)
    record_submission(lake, run_id, sys.argv[1:], run_id, job.rest, Attempt(job_id, datetime.now(UTC)))
    wait(job_id, FlinkRest(job.rest))
    record_ending(lake, run_id, "finished")
