"""From options to a job on a cluster."""

from __future__ import annotations

from pathlib import Path

from contracts.project import Project
from pipelines.ingest_options import IngestOptions
from runners.flink import FlinkJob
from runners.flink_rest import FlinkRest
from runners.stack.layout import Layout
from runners.stack.stack import Stack

_CHECKPOINT_S = 10


def flink_job(options: IngestOptions, project: Project) -> FlinkJob:
    """How the job runs.

    Raises:
        ComponentDownError: the cluster does not answer.
    """
    rest = project.flink_address(options.flink)
    return FlinkJob(
        rest=rest,
        parallelism=options.workers or max(FlinkRest(rest).free_slots(), 1),
        workers=options.python_workers,
        checkpoint_s=options.checkpoint_every or _CHECKPOINT_S,
        from_savepoint=options.from_savepoint,
    )


def prism_binary() -> str | None:
    """The local stack's Prism; None where it was never fetched, and Beam takes its own."""
    own = Path(Stack(Layout.default()).prism)
    return str(own) if own.is_file() else None
