"""What ``headrace status --json``, ``headrace job list --json`` and Flink say of a stream. Knows no Airflow."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

ENDED = frozenset({"FINISHED", "FAILED", "CANCELED", "LOST"})
ENDING = frozenset({"CANCELLING", "FAILING"})
_NOT_FOUND = 404
_REQUEST_TIMEOUT_S = 10.0
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a cluster's address is never asked of a proxy


def job_state(flink: str, job_id: str) -> str:
    """The state of a job as its cluster tells it; see ``state_of``. ``UNKNOWN`` where nobody answers, or is cut off."""
    base = flink if "://" in flink else f"http://{flink}"
    try:
        try:
            with _OPENER.open(f"{base}/jobs/{job_id}", timeout=_REQUEST_TIMEOUT_S) as answer:
                return state_of(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return state_of(error.code, error.read())
    except (OSError, ValueError, http.client.HTTPException):
        return "UNKNOWN"


def state_of(code: int, text: bytes) -> str:
    """The state of a job by an answer of Flink's REST interface about it.

    Returns:
        Flink's word; ``LOST`` where Flink says that it does not know the job; ``UNKNOWN`` where no Flink answers: a proxy has
        answers of its own, and knows no job, whatever it says.
    """
    try:
        answer = json.loads(text)
    except ValueError:
        return "UNKNOWN"
    if not isinstance(answer, dict):
        return "UNKNOWN"
    if code == _NOT_FOUND:
        return "LOST" if isinstance(answer.get("errors"), list) else "UNKNOWN"
    state = answer.get("state")
    return state if isinstance(state, str) else "UNKNOWN"


def listed(document: Any, command: str) -> list[Any]:
    """What a command printed, which is a JSON list.

    Raises:
        ValueError: it is none, so nothing is known: to take that for an empty list would start a job beside another.
    """
    if not isinstance(document, list):
        raise ValueError(f"headrace {command} printed no JSON list, so nothing is known of its jobs and streams")
    return document


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
    """The job of a source that works, if there is one; else one that is on its way to an end."""
    found = [job for job in jobs or () if job.get("source") == source and job.get("state") not in ENDED]
    return min(found, key=lambda job: job.get("state") in ENDING, default=None)


def ending_job(jobs: Any, source: str) -> dict[str, Any] | None:
    """The job of a source that is on its way to an end, where none of it works."""
    job = running_job(jobs, source)
    return job if job is not None and job.get("state") in ENDING else None


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
