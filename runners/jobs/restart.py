"""From where a job can go on that has ended, or that its cluster no longer knows."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from lake.runs.submission import restart_point
from runners.flink.checkpoints import newest_checkpoint
from runners.flink.rest import FlinkRest
from runners.jobs.target import Target

RETAINED = re.compile(r"(.+)/[0-9a-f]{32}/chk-\d+/?")


def restart_of(target: Target) -> str | None:
    """The savepoint that a job was stopped with, else its newest retained checkpoint, else what it started from."""
    run, seen = target.run, None
    if run and run.ended and run.ended.savepoint:
        return run.ended.savepoint
    if target.job:
        checkpoints = target.rest.checkpoints(target.job.job_id)
        seen = checkpoints.last.external_path if checkpoints and checkpoints.last else None
    if run is None:
        return seen
    return restart_point(run, lambda job_id: kept_checkpoint(target.rest, job_id, seen))


def kept_checkpoint(rest: FlinkRest, job_id: str, seen: str | None = None) -> str | None:
    """The newest retained checkpoint of a job that may be gone: from disk, or as it was last seen where that is no local disk.

    Args:
        rest: the cluster; its settings tell the folder, if nothing was seen.
        job_id: the job.
        seen: a retained checkpoint of it, if one is known.

    Raises:
        ComponentDownError: the cluster does not answer, or the folder is not there.
    """
    match = RETAINED.fullmatch(seen or "")
    root = match[1] if match else rest.directories().checkpoints
    if root is None or urlsplit(root).scheme not in {"", "file"}:
        return seen
    return newest_checkpoint(root, [job_id]) or seen
