"""A small HTTP server that speaks Flink's REST documents, recorded from 1.19.3 and cut short; its jobs change while it serves."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_TRACE = "\n\tat org.apache.flink.runtime.rest.handler.AbstractHandler.respondAsLeader(AbstractHandler.java:196)\n\t... 45 more\n"
A, B, C = "a" * 32, "b" * 32, "c" * 32
OFF = {"className": "completed", "status": "COMPLETED", "checkpointed_size": 1, "num_subtasks": 3}


def error(kind: str, message: str) -> dict[str, Any]:
    return {"errors": [f"org.apache.flink.runtime.rest.{kind}: {message}{_TRACE}"]}


def checkpoint(number: int, path: str, *, savepoint: bool = False, at_ms: int = 1_795_415_480_000) -> dict[str, Any]:
    return OFF | {
        "id": number, "is_savepoint": savepoint, "trigger_timestamp": at_ms - 40, "latest_ack_timestamp": at_ms,
        "state_size": 229_171, "end_to_end_duration": 40, "external_path": path, "discarded": False,
    }  # fmt: skip


@dataclass
class StubJob:
    """One job of the cluster.

    stop: what becomes of a stop with savepoint, as (polls in progress, location or failing trace). starting: for so many looks its
    tasks do not run yet, and a stop is refused.
    """

    job_id: str
    name: str
    state: str = "RUNNING"
    started_ms: int = 1_795_415_000_000
    restarts: str = "0"
    exception: str | None = None
    completed: dict[str, Any] | None = None
    restored: str | None = None
    checkpointing: bool = True
    keeps: bool = True
    stop: tuple[int, str] = (0, "file:/savepoints/savepoint-1")
    starting: int = 0


@dataclass
class StubCluster:
    """What the server serves; tests change it. broken: answers with this status. requests: what was asked, method and path."""

    jobs: list[StubJob] = field(default_factory=list)
    config: dict[str, str] = field(default_factory=dict)
    slots: int = 2
    taskmanagers: list[int] = field(default_factory=lambda: [2])  # slots of each
    broken: int | None = None
    delay_s: float = 0.0
    raw: bytes | None = None
    requests: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    address: str = ""
    polls: int = 0

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:  # noqa: PLR0911 - a table of paths
        """Status and document of one request."""
        self.requests.append(f"{method} {path}")
        self.bodies.append(body)
        if self.broken:
            return self.broken, {"errors": ["Service temporarily unavailable due to an ongoing leader election. Please refresh."]}
        match path.partition("?")[0].strip("/").split("/"):
            case ["overview"]:
                return 200, {"taskmanagers": 1, "slots-total": 2, "slots-available": self.slots, "flink-version": "1.19.3"}
            case ["taskmanagers"]:
                return 200, {"taskmanagers": [{"id": f"tm-{n}", "slotsNumber": s} for n, s in enumerate(self.taskmanagers)]}
            case ["jobmanager", "config"]:
                return 200, [{"key": key, "value": value} for key, value in self.config.items()]
            case ["jobs", "overview"]:
                return 200, {"jobs": [self._overview(job) for job in self.jobs]}
            case ["jobs", job_id, *rest]:
                job = next((job for job in self.jobs if job.job_id == job_id), None)
                if job is None:
                    return 404, error("NotFoundException", f"Job {job_id} not found")
                return self._of_job(job, method, rest)
        return 404, {"errors": ["Not found: " + path]}

    def _of_job(self, job: StubJob, method: str, rest: list[str]) -> tuple[int, Any]:  # noqa: PLR0911 - a table of paths
        match rest:
            case [] if method == "PATCH":
                if job.state in {"FINISHED", "CANCELED", "FAILED"}:
                    return 409, error("handler.RestHandlerException", _ENDED)
                job.state = "CANCELED"
                return 202, {}
            case []:
                job.starting, starts = max(job.starting - 1, 0), job.starting > 0
                vertex = _VERTEX | {"status": "INITIALIZING"} if starts else _VERTEX
                times = {"CREATED": job.started_ms, "RUNNING": job.started_ms + 5_000}
                more = {"vertices": [vertex], "isStoppable": False, "timestamps": times, "now": job.started_ms + 66_000}
                return 200, self._overview(job) | more
            case ["metrics"]:
                gathered = self.requests.count(f"GET /jobs/{job.job_id}/metrics?get=numRestarts") > 1  # not at the first request
                return 200, [{"id": "numRestarts", "value": job.restarts}] if gathered else []
            case ["exceptions"]:
                entries = [
                    {"exceptionName": "x", "stacktrace": job.exception, "timestamp": 1_795_415_400_000, "taskName": "Count (1/1)"}
                ]
                return 200, {"root-exception": job.exception, "timestamp": 1_795_415_400_000, "all-exceptions": [],
                             "exceptionHistory": {"entries": entries if job.exception else [], "truncated": False}}  # fmt: skip
            case ["checkpoints"] if job.checkpointing:
                restored = {"id": 3, "restore_timestamp": 1, "is_savepoint": False, "external_path": job.restored}
                return 200, {
                    "counts": {"restored": 0, "total": 9, "in_progress": 1, "completed": 7, "failed": 1},
                    "latest": {
                        "completed": job.completed,
                        "savepoint": None,
                        "failed": _FAILED,
                        "restored": job.restored and restored,
                    },
                    "history": [],
                }
            case ["checkpoints", "config"] if job.checkpointing:
                return 200, {
                    "mode": "exactly_once",
                    "externalization": {"enabled": job.keeps, "delete_on_cancellation": not job.keeps},
                }
            case ["checkpoints", *_]:
                return 404, error("handler.RestHandlerException", f"Checkpointing was not enabled for job {job.job_id}.")
            case ["vertices", _, "subtasks", "metrics"]:
                return 200, [{"id": "busyTimeMsPerSecond", "max": "NaN"}, {"id": "backPressuredTimeMsPerSecond", "max": 250.0}]
            case ["stop"] if job.starting:
                return 500, error("handler.RestHandlerException", "Checkpoint triggering task is not being executed at the moment.")
            case ["stop"]:
                self.polls = 0
                return 202, {"request-id": "d" * 32}
            case ["savepoints", _]:
                return 200, self._savepoint(job)
        return 404, {"errors": ["Not found."]}

    def _savepoint(self, job: StubJob) -> dict[str, Any]:
        waits, result = job.stop
        self.polls += 1
        if self.polls <= waits:
            return {"status": {"id": "IN_PROGRESS"}, "operation": None}
        if result.startswith("file:"):
            job.state = "FINISHED"
            return {"status": {"id": "COMPLETED"}, "operation": {"location": result}}
        cause = {"class": "java.util.concurrent.CompletionException", "stack-trace": result, "serialized-throwable": "rO0="}
        return {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": cause}}

    @staticmethod
    def _overview(job: StubJob) -> dict[str, Any]:
        return {
            "jid": job.job_id,
            "name": job.name,
            "state": job.state,
            "start-time": job.started_ms,
            "end-time": -1,
            "duration": 90_000,
        }


_ENDED = "Job cancellation failed because the job has already reached another terminal state (FINISHED)."
_FAILED = {"className": "failed", "id": 2, "failure_timestamp": 1, "failure_message": "Checkpoint expired before completing."}
_VERTEX = {
    "id": "e" * 32, "name": "[1]Count", "maxParallelism": 128, "parallelism": 2, "status": "RUNNING",
    "metrics": {"read-records": 71, "read-records-complete": True, "write-records": 12, "accumulated-busy-time": "NaN"},
}  # fmt: skip


@contextmanager
def serving(cluster: StubCluster) -> Iterator[StubCluster]:
    """The cluster on a free port, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, document = cluster.answer(self.command, self.path, body)
            time.sleep(cluster.delay_s)  # what a slow cluster is; no test waits for it
            data = cluster.raw if cluster.raw is not None else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = handle_any

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    given = re.fullmatch(r"127\.0\.0\.1:(\d+)", cluster.address)  # started again where it was
    with ThreadingHTTPServer(("127.0.0.1", int(given[1]) if given else 0), Handler) as server:
        cluster.address = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield cluster
        finally:
            server.shutdown()
            thread.join()
