"""What ``headrace status --json`` and ``headrace job list --json`` say of a stream. Knows no Airflow."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any

ENDED = frozenset({"FINISHED", "FAILED", "CANCELED", "LOST"})


def stream(runs: Any, source: str) -> Mapping[str, Any] | None:
    """Where the newest run of a source stands that goes on; None where there is none."""
    for run in runs or ():
        found = run.get("stream")
        if isinstance(found, Mapping) and found.get("source") == source:
            return found
    return None


def frontiers(runs: Any, source: str) -> dict[str, int]:
    """Up to which offset everything of a log is accounted for, by ``topic[partition]``."""
    found = stream(runs, source)
    return {f"{log['topic']}[{log['partition']}]": int(log["frontier"]) for log in found["logs"]} if found else {}


def moved(runs: Any, source: str, since: Mapping[str, int]) -> bool:
    """Whether a frontier is further than it was."""
    return any(frontier > since.get(log, 0) for log, frontier in frontiers(runs, source).items())


def fresh(runs: Any, source: str, within_s: float) -> bool:
    """Whether the newest row of a source is no older."""
    age = (stream(runs, source) or {}).get("newest_row_age_s")
    return age is not None and age <= within_s


def standing(runs: Any, source: str) -> str:
    """How a source's stream stands, in words."""
    found = stream(runs, source)
    if found is None:
        return f"no stream of {source} was found: was its job ever started?"
    age = found.get("newest_row_age_s")
    logs = ", ".join(f"{log} {offset}" for log, offset in sorted(frontiers(runs, source).items()))
    return f"frontiers: {logs or 'none'}; " + ("no rows yet" if age is None else f"newest row {age:.0f} s old")


def running_job(jobs: Any, source: str) -> dict[str, Any] | None:
    """The job of a source that works, if there is one."""
    return next((job for job in jobs or () if job.get("source") == source and job.get("state") not in ENDED), None)


def idle_runs(jobs: Any, source: str) -> list[str]:
    """Runs of a source that are not over, whose job failed or is lost to its cluster: a supervisor may start them."""
    return [job["run_id"] for job in jobs or () if job.get("source") == source and job.get("state") in ("LOST", "FAILED")]


def last_run(jobs: Any, source: str) -> str | None:
    """The newest run of a source, of all that ``headrace job list --all`` tells."""
    return max((job["run_id"] for job in jobs or () if job.get("source") == source and job.get("run_id")), default=None)


def command_of(previous: str, environ: Mapping[str, str] = os.environ) -> list[str]:
    """The words of a command. ``$NAME``: as that variable says.

    Raises:
        ValueError: there is no such variable, or it is empty.
    """
    words = shlex.split(environ.get(previous[1:], "") if previous.startswith("$") else previous)
    if not words:
        raise ValueError(f"the variable {previous[1:]}, which names headrace of the version before, is not set where tasks run")
    return words
