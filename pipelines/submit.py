"""From options to a job on a cluster."""

from __future__ import annotations

from pathlib import Path

from contracts.project import Project
from pipelines.ingest_options import IngestOptions
from pipelines.replay_options import ReplayOptions
from runners.flink import FlinkJob
from runners.flink_rest import FlinkRest
from runners.stack.layout import Layout
from runners.stack.stack import Stack

_CHECKPOINT_S = 10


def flink_job(options: IngestOptions | ReplayOptions, project: Project) -> FlinkJob:
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


def prism_binary() -> str | None:
    """The local stack's Prism; None where it was never fetched, and Beam takes its own."""
    own = Path(Stack(Layout.default()).prism)
    return str(own) if own.is_file() else None
