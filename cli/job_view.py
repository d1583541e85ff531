"""How ``headrace job`` shows a job: as a document for ``--json``, and as text."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli.console import advise, print_json, stdout, table
from contracts.errors import ComponentDownError, ConfigurationError
from contracts.units import duration_text, size_text
from runners.flink.checkpoints import Checkpoints
from runners.flink.rest import Vertex
from runners.jobs.list import LOST, JobLine
from runners.jobs.restart import restart_of
from runners.jobs.target import Target

_NAME_WIDTH = 60  # Beam's name of a fused step lists all that it holds
_LIST = ("source", "run", "job", "state", "uptime", "restarts", "resubmitted", "checkpoint", "size")
_STEPS = ("step", "state", "parallelism", "elements in", "elements out", "busy", "backpressured")


def show_list(lines: Sequence[JobLine], address: str, others: Sequence[str], *, ended: bool) -> None:
    """The table of ``job list``; others: clusters that have runs of this lake too."""
    for other in others:
        stdout.print(f"runs of this lake are also on another cluster: headrace job list --flink {other}")
    if not lines:
        stdout.print(f"no jobs on {address}" if ended else f"no jobs run on {address}")
        return
    rows = [
        (
            x.source, x.run_id or f"({x.name})", x.job_id, x.state, span(x.uptime_s), x.restarts, x.resubmissions,
            (x.checkpoint_age_s is not None and f"{span(x.checkpoint_age_s)} ago") or None, size(x.checkpoint_size_bytes),
        )
        for x in lines
    ]  # fmt: skip
    stdout.print(table(_LIST, rows))
    if any(line.state == LOST for line in lines):
        advise("LOST: headrace job status JOB says how to start it again; headrace job supervise JOB does it by itself")


def status_document(target: Target) -> dict[str, Any]:
    """All that ``job status`` tells of a job; of a job that the cluster does not know, where to go on from."""
    run, found, rest = target.run, target.job, target.rest
    document: dict[str, Any] = {
        "run_id": run.run_id if run else None,
        "source": run.source if run else None,
        "flink": rest.address,
        "submissions": [asdict(attempt) for attempt in run.attempts] if run else [],
        "ended": asdict(run.ended) if run and run.ended else None,
    }
    if found is None:
        return document | {"job_id": run.job_ids[-1] if run else None, "state": LOST, **_next_step(target)}
    health, failure = rest.health(found.job_id), rest.last_failure(found.job_id)
    checkpoints = rest.checkpoints(found.job_id)
    document |= {
        "job_id": found.job_id,
        "name": found.name,
        "state": found.state,
        "started_at": found.started_at,
        "uptime_s": health.uptime_s,
        "restarts": health.restarts,
        "last_failure": asdict(failure) if failure else None,
        "checkpoints": asdict(checkpoints) if checkpoints else None,
        "steps": [asdict(vertex) for vertex in rest.vertices(found.job_id)],
    }
    return document | (_next_step(target) if found.ended else {})


def show_status(target: Target, document: dict[str, Any]) -> None:
    """The text of ``job status``."""
    lines = {"run": document["run_id"], "job": document["job_id"], "cluster": document["flink"], "state": document["state"]}
    if document.get("uptime_s") is not None:
        lines["uptime"] = span(document["uptime_s"])
    if target.run and len(target.run.attempts) > 1:
        lines["resubmitted"] = f"{len(target.run.attempts) - 1} times, last {_ago(target.run.attempts[-1].submitted_at)}"
    if target.run and target.run.ended:
        saved = f", savepoint {target.run.ended.savepoint}" if target.run.ended.savepoint else ""
        lines["ended"] = f"{target.run.ended.how} {_ago(target.run.ended.at)}{saved}"
    if document.get("restarts") is not None:
        lines["restarts"] = f"{document['restarts']:,} by the cluster"
    if failure := document.get("last_failure"):
        lines["last cause"] = f"{failure['cause']} ({_ago(failure['at'])})"
    for name, text in lines.items():
        stdout.print(f"{name:12}{text if text is not None else '(none of this lake)'}")
    if target.job:
        _show_checkpoints(target.rest.checkpoints(target.job.job_id))
        vertices = [Vertex(**step) for step in document["steps"]]
        rows = [
            (_short(v.name), v.state, v.parallelism, v.records_in, v.records_out, _share(v.busy), _share(v.backpressured))
            for v in vertices
        ]
        stdout.print(table(_STEPS, rows))
    if "from_savepoint" in document:
        _show_next_step(target, document)


def show_ended(target: Target, how: str, state: str, savepoint: str | None, *, as_json: bool) -> None:
    """What ``stop`` and ``cancel`` say at the end: where the job can go on from, and with which command."""
    document = {"run_id": target.run.run_id if target.run else None, "state": state, **_start_again(target, savepoint)}
    document["job_id"] = target.job.job_id if target.job else None
    if as_json:
        print_json(document)
        return
    stdout.print(f"{how} {target.name} ({state})")
    _show_next_step(target, document)


def span(seconds: float | None) -> str | None:
    """Seconds as a person says it, if they are known."""
    return None if seconds is None else duration_text(seconds)


def size(size_bytes: int | None) -> str | None:
    """Bytes as a person says it, if they are known."""
    return None if size_bytes is None else size_text(size_bytes)


def _next_step(target: Target) -> dict[str, Any]:
    try:
        return _start_again(target, restart_of(target))
    except (ComponentDownError, ConfigurationError) as error:
        return {"from_savepoint": None, "start_again": None, "problem": str(error)}


def _start_again(target: Target, savepoint: str | None) -> dict[str, Any]:
    run = target.run
    if run is None:
        command = None
    else:
        moved = f"cd {shlex.quote(run.folder)} && " if Path.cwd() != Path(run.folder) else ""
        command = f"{moved}headrace {shlex.join(run.argv_from(savepoint))}"
    return {"from_savepoint": savepoint, "start_again": command}


def _show_next_step(target: Target, document: dict[str, Any]) -> None:
    if problem := document.get("problem"):
        stdout.print(f"go on from   unknown: {problem}")
        return
    savepoint = document["from_savepoint"]
    stdout.print(f"go on from   {savepoint or 'no savepoint or checkpoint is left: the job begins as its --start says'}")
    if document["start_again"]:
        stdout.print(f"start again: {document['start_again']}")
    elif savepoint:
        stdout.print(f"start again: the command that submitted it, with --from-savepoint {shlex.quote(savepoint)}")


def _show_checkpoints(found: Checkpoints | None) -> None:
    if found is None:
        stdout.print("checkpoints none: the job makes none, and begins anew after a failure")
        return
    stdout.print(f"checkpoints {found.completed:,} completed, {found.failed:,} failed, {found.in_progress:,} in progress")
    if found.last:
        kind = "savepoint" if found.last.is_savepoint else "checkpoint"
        stdout.print(
            f"last        {kind} {found.last.checkpoint_id}, {_ago(found.last.completed_at)}, {size(found.last.size_bytes)} "
            f"in {found.last.duration_s:.1f} s, {found.last.external_path or 'not kept'}"
        )
    if found.last_failure:
        stdout.print(f"last failed {found.last_failure}")


def _ago(moment: datetime) -> str:
    return f"{span((datetime.now(UTC) - moment).total_seconds())} ago"


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.0%}"


def _short(name: str) -> str:
    return name if len(name) <= _NAME_WIDTH else name[: _NAME_WIDTH - 1] + "…"
