"""What ``headrace status --json`` and ``headrace job list --json`` say of a stream. Knows no Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ENDED = frozenset({"FINISHED", "FAILED", "CANCELED", "LOST"})


def frontiers(runs: Any, source: str) -> dict[str, int]:
    """Up to which offset everything of a log is accounted for, by ``topic[partition]``."""
    for run in runs or ():
        stream = run.get("stream")
        if isinstance(stream, Mapping) and stream.get("source") == source:
            return {f"{log['topic']}[{log['partition']}]": int(log["frontier"]) for log in stream["logs"]}
    return {}


def moved(runs: Any, source: str, since: Mapping[str, int]) -> bool:
    """Whether a frontier is further than it was."""
    return any(frontier > since.get(log, 0) for log, frontier in frontiers(runs, source).items())


def fresh(runs: Any, source: str, within_s: float) -> bool:
    """Whether the newest row of a source is no older."""
    for run in runs or ():
        stream = run.get("stream")
        if isinstance(stream, Mapping) and stream.get("source") == source:
            age = stream.get("newest_row_age_s")
            return age is not None and age <= within_s
    return False


def running_job(jobs: Any, source: str) -> dict[str, Any] | None:
    """The job of a source that works, if there is one."""
    return next((job for job in jobs or () if job.get("source") == source and job.get("state") not in ENDED), None)
