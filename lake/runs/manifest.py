"""What a run leaves behind: ``_runs/<run_id>/manifest.json``, written last, and a note that it began, written first."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from lake.location import Lake
from lake.storage import storage_of

MANIFEST, STARTED = "manifest.json", "started.json"


@dataclass(frozen=True)
class RunSummary:
    """One run, as ``headrace status`` shows it. state: finished, running, or stopped (killed before its end)."""

    run_id: str
    state: str
    started_at: str
    manifest: dict[str, Any]


def write_started(lake: Lake, run_id: str, started: datetime, source: str, pipeline: str = "ingest") -> None:
    """Note that a run began, and where. source: what it reads, or the destination that it writes to."""
    note = {
        "run_id": run_id,
        "started_at": _text(started),
        "pipeline": pipeline,
        "source": source,
        "pid": os.getpid(),
        "host": socket.gethostname(),
    }
    write_document(run_file(lake, run_id, STARTED), note)


def write_manifest(lake: Lake, run_id: str, document: dict[str, Any]) -> str:
    """Write a run's manifest; it appears whole. Returns where."""
    location = run_file(lake, run_id, MANIFEST)
    write_document(location, document)
    return location


def run_file(lake: Lake, run_id: str, name: str) -> str:
    """Where a file of a run lies."""
    return lake.at_key(f"_runs/{run_id}/{name}")


def recent_runs(lake: Lake, limit: int) -> Iterator[RunSummary]:
    """The newest runs first."""
    for run_id in lake.storage.folders(lake.at_key("_runs"))[::-1][:limit]:
        if run := read_run(lake, run_id):
            yield run


def read_run(lake: Lake, run_id: str) -> RunSummary | None:
    """One run; None where it left nothing: it was killed within its first millisecond."""
    storage = lake.storage
    try:
        started = json.loads(storage.read(run_file(lake, run_id, STARTED)))
    except (FileNotFoundError, ValueError):
        return None
    try:
        document = json.loads(storage.read(run_file(lake, run_id, MANIFEST)))
        state = "finished"
    except FileNotFoundError:
        document = {"source": started["source"], "pipeline": started.get("pipeline", "ingest")}
        state = "running" if _alive(started) else "stopped"
    return RunSummary(run_id, state, started["started_at"], document)


def is_gone(lake: Lake, run_id: str) -> bool:
    """Whether the process that began a run was one of this machine and is gone."""
    try:
        started = json.loads(lake.storage.read(run_file(lake, run_id, STARTED)))
    except (FileNotFoundError, ValueError):
        return False
    return started["host"] == socket.gethostname() and not _alive(started)


def _alive(started: dict[str, Any]) -> bool:
    if started["host"] != socket.gethostname():
        return False
    try:
        os.kill(started["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def write_document(location: str | os.PathLike[str], document: Any) -> None:
    """Write a JSON document of a run; it appears whole. Dataclasses and times (UTC) are written as JSON."""
    where = os.fspath(location)
    storage_of(where).write(where, encoded(document))


def encoded(document: Any) -> bytes:
    """A document as ``write_document`` writes it."""
    text = json.dumps(document, indent=2, ensure_ascii=False, default=_plain) + "\n"
    return text.encode("utf-8", "backslashreplace")


def _plain(value: Any) -> Any:
    return _text(value) if isinstance(value, datetime) else asdict(value)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
