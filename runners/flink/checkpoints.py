"""A job's checkpoints: as the cluster tells them, and as they lie on disk."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from contracts.errors import ComponentDownError, ConfigurationError
from runners.flink.failures import first_line

_CHECKPOINT = re.compile(r"chk-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A completed checkpoint. external_path: where a job can go on from; None if it is not kept."""

    checkpoint_id: int
    is_savepoint: bool
    completed_at: datetime
    size_bytes: int
    duration_s: float
    external_path: str | None


@dataclass(frozen=True)
class Checkpoints:
    """A job's checkpoints. last_failure: one line, None if none failed. restored_from: what this job started from."""

    completed: int
    failed: int
    in_progress: int
    last: Checkpoint | None
    last_failure: str | None
    restored_from: str | None

    @classmethod
    def read(cls, document: dict[str, Any]) -> Checkpoints:
        """Of what ``/jobs/ID/checkpoints`` answers."""
        counts, latest = document["counts"], document["latest"]
        last = max(filter(None, (latest["completed"], latest["savepoint"])), key=lambda c: int(c["id"]), default=None)
        failed, restored = latest["failed"], latest["restored"]
        message = failed and (failed.get("failure_message") or "no reason given")
        return cls(
            completed=counts["completed"], failed=counts["failed"], in_progress=counts["in_progress"],
            last=_checkpoint(last) if last else None,
            last_failure=first_line([message]) if message else None,
            restored_from=restored.get("external_path") if restored else None,
        )  # fmt: skip


def newest_checkpoint(checkpoints_dir: str, job_ids: Sequence[str]) -> str | None:
    """The checkpoint that was completed last, of all these jobs, as a URI; None if there is none.

    Looks on disk, so it finds what a cluster that is gone left behind. Complete ones only: ``_metadata`` is written last.

    Args:
        checkpoints_dir: path or ``file:`` URI of the folder that holds one folder per job.
        job_ids: Flink's ids.

    Raises:
        ConfigurationError: the folder is not local.
        ComponentDownError: the folder is not there, such as a disk that is not mounted.
    """
    parts = urlsplit(checkpoints_dir)
    if parts.scheme not in {"", "file"}:
        raise ConfigurationError(f"checkpoints in {checkpoints_dir}: only local folders can be searched")
    folder = Path(unquote(parts.path))
    if not folder.is_dir():
        raise ComponentDownError(f"the checkpoints folder {folder} is not there; is its disk mounted here?")
    found = []
    for job_id in job_ids:
        for metadata in folder.glob(f"{job_id}/chk-*/_metadata"):
            match = _CHECKPOINT.fullmatch(metadata.parent.name)
            with contextlib.suppress(FileNotFoundError):  # the cluster has just replaced it by a newer one
                if match:
                    found.append((metadata.stat().st_mtime_ns, int(match[1]), metadata.parent.absolute().as_uri()))
    return max(found)[2] if found else None


def _checkpoint(entry: dict[str, Any]) -> Checkpoint:
    path = entry.get("external_path")
    return Checkpoint(
        checkpoint_id=int(entry["id"]),
        is_savepoint=bool(entry["is_savepoint"]),
        completed_at=moment(entry["latest_ack_timestamp"]),
        size_bytes=entry["state_size"],
        duration_s=entry["end_to_end_duration"] / 1e3,
        external_path=None if not path or path.startswith("<") else path,  # <checkpoint-not-externally-addressable>
    )


def moment(milliseconds: int) -> datetime:
    """A time as the cluster writes it."""
    return datetime.fromtimestamp(milliseconds / 1e3, UTC)
