"""Flink's REST interface, as far as operating a job needs it: look, stop with a savepoint, cancel, find what to go on from.

https://nightlies.apache.org/flink/flink-docs-release-1.19/docs/ops/rest_api/
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from contracts.errors import HeadraceError, SavepointError, UnknownJobError
from runners.flink.checkpoints import Checkpoints, moment
from runners.flink.failures import plain_failure
from runners.flink.http import FlinkHttp
from runners.raised import raised_in

ENDED = frozenset({"FINISHED", "CANCELED", "FAILED"})  # SUSPENDED is not: another JobManager takes such a job over
_DIRECTORIES = {"checkpoints": ("execution.checkpointing.dir", "state.checkpoints.dir"), "savepoints": (
    "execution.checkpointing.savepoint-dir", "state.savepoints.dir")}  # the new name, which wins, and the old one  # fmt: skip
_POLL_S = (0.2, 2.0)  # first and longest pause while something is waited for
_TASKS_START_S = 60.0
_GATHERING_S = 0.3  # what the cluster needs to gather metrics


@dataclass(frozen=True)
class Job:
    """A job as the cluster's overview tells it. duration_s: since it was submitted, or until it ended."""

    job_id: str
    name: str
    state: str
    started_at: datetime
    duration_s: float

    @property
    def ended(self) -> bool:
        """Whether it will never run again."""
        return self.state in ENDED


@dataclass(frozen=True)
class Vertex:
    """A step of the job as Flink runs it. records_in, records_out: elements on the wire, which are batches of rows.

    busy, backpressured: shares of the last seconds, of the worst subtask; None where the cluster does not measure them.
    """

    vertex_id: str
    name: str
    state: str
    parallelism: int
    records_in: int
    records_out: int
    busy: float | None
    backpressured: float | None


@dataclass(frozen=True)
class Health:
    """uptime_s: since the job last began to run, None while it does not; restarts: of this job, by the cluster itself."""

    uptime_s: float | None
    restarts: int | None


@dataclass(frozen=True)
class Failure:
    """The last exception that made the job restart or fail.

    cause: see ``plain_failure``; never a value of a record. raised: the error of ours in it, if there is one.
    """

    at: datetime
    cause: str
    task: str | None
    raised: HeadraceError | None = None

    @classmethod
    def of(cls, at_ms: int, trace: str, task: str | None = None) -> Failure:
        """By its stack trace."""
        return cls(moment(at_ms), plain_failure(trace), task, raised_in(trace))


@dataclass(frozen=True)
class Directories:
    """Where the cluster writes by default; URIs, None where it is not set."""

    checkpoints: str | None
    savepoints: str | None


@dataclass(frozen=True)
class FlinkRest(FlinkHttp):
    """A client of one cluster. Small and without state; every call is one request or a few.

    All methods raise ComponentDownError where the cluster does not answer.
    """

    def jobs(self) -> list[Job]:
        """All jobs that the cluster remembers, the newest first."""
        found = [_job(entry) for entry in self._listed("/jobs/overview", "jobs")]
        return sorted(found, key=lambda job: job.started_at, reverse=True)

    def job(self, job_id: str) -> Job:
        """One job.

        Raises:
            UnknownJobError: the cluster does not know it.
        """
        return _job(self._job_get(job_id, ""))

    def vertices(self, job_id: str) -> list[Vertex]:
        """The job's vertices in the order of the flow; one further request per vertex.

        Raises:
            UnknownJobError: the cluster does not know the job.
        """
        made = []
        for entry in self._job_get(job_id, "")["vertices"]:
            load = self._load(job_id, entry["id"])
            counts = entry["metrics"]
            made.append(
                Vertex(
                    vertex_id=entry["id"], name=entry["name"], state=entry["status"], parallelism=entry["parallelism"],
                    records_in=counts.get("read-records", 0), records_out=counts.get("write-records", 0),
                    busy=load.get("busyTimeMsPerSecond"), backpressured=load.get("backPressuredTimeMsPerSecond"),
                )
            )  # fmt: skip
        return made

    def health(self, job_id: str) -> Health:
        """Uptime and restarts.

        The cluster gathers metrics only when somebody asks, and answers at once with those of the last time: so they are asked for
        twice. Those of ``vertices`` are then fresh too.

        Raises:
            UnknownJobError: the cluster does not know the job.
        """
        metric = "/metrics?get=numRestarts"
        self._job_get(job_id, metric)
        time.sleep(_GATHERING_S)
        values = {entry["id"]: _number(entry["value"]) for entry in self._job_get(job_id, metric)}
        document, restarts = self._job_get(job_id, ""), values.get("numRestarts")
        since = document["timestamps"].get("RUNNING", 0) if document["state"] == "RUNNING" else 0
        return Health((document["now"] - since) / 1e3 if since else None, None if restarts is None else int(restarts))

    def last_failure(self, job_id: str) -> Failure | None:
        """The last exception, None if there was none.

        Raises:
            UnknownJobError: the cluster does not know the job.
        """
        document = self._job_get(job_id, "/exceptions?maxExceptions=1")
        entries = (document.get("exceptionHistory") or {}).get("entries") or []
        if entries:
            return Failure.of(entries[0]["timestamp"], entries[0]["stacktrace"], entries[0].get("taskName"))
        text = document.get("root-exception")
        return Failure.of(document["timestamp"], text) if text else None

    def checkpoints(self, job_id: str) -> Checkpoints | None:
        """The job's checkpoints; None if the job makes none.

        Raises:
            UnknownJobError: the cluster does not know the job.
        """
        document = self._optional(job_id, "/checkpoints")
        if document is None:
            return None
        return Checkpoints.read(document)

    def keeps_checkpoints(self, job_id: str) -> bool:
        """Whether the job's checkpoints stay when it is cancelled or fails.

        Raises:
            UnknownJobError: the cluster does not know the job.
        """
        document = self._optional(job_id, "/checkpoints/config") or {}
        kept = document.get("externalization") or {}
        return bool(kept.get("enabled")) and not kept.get("delete_on_cancellation")

    def slots_of(self, job_id: str) -> int:
        """Slots that a job takes: its largest parallelism, as its vertices share slots.

        Raises:
            UnknownJobError: the cluster does not know the job.
        """
        return max((entry["parallelism"] for entry in self._job_get(job_id, "")["vertices"]), default=1)

    def directories(self) -> Directories:
        """Where the cluster writes checkpoints and savepoints by default."""
        config = {entry["key"]: entry["value"] for entry in self._get("/jobmanager/config")}
        found = {kind: next((config[key] for key in keys if config.get(key)), None) for kind, keys in _DIRECTORIES.items()}
        return Directories(**found)

    def free_slots(self) -> int:
        """Slots in which a job could run now."""
        return int(self._get("/overview")["slots-available"])

    def slots_each(self) -> int:
        """Slots of the TaskManager that has most; 0 where there is none."""
        return max((entry["slotsNumber"] for entry in self._get("/taskmanagers")["taskmanagers"]), default=0)

    def stop(self, job_id: str, savepoints: str | None = None, *, deadline_s: float = 600.0) -> str:
        """Stop a job with a savepoint and wait for it. Never drains: event time goes on where it stood.

        Args:
            job_id: the job.
            savepoints: URI of a folder; None for the cluster's own.
            deadline_s: how long to wait for the savepoint. The cluster goes on with it afterwards.

        Returns:
            URI of the savepoint.

        Raises:
            UnknownJobError: the cluster does not know the job, or forgot it meanwhile.
            ConfigurationError: the job has ended, or there is no folder.
            SavepointError: it failed or did not complete in time.
        """
        _wait(lambda: self._all_run(job_id) or None, min(deadline_s, _TASKS_START_S))  # before, the cluster refuses
        body = {"targetDirectory": savepoints, "drain": False} if savepoints else {"drain": False}
        trigger = self._send("POST", f"/jobs/{quote(job_id)}/stop", body)["request-id"]

        def done() -> Any:
            document = self._job_get(job_id, f"/savepoints/{trigger}")
            return document["operation"] if document["status"]["id"] == "COMPLETED" else None

        operation = _wait(done, deadline_s)
        if operation is None:
            raise SavepointError(f"the savepoint of job {job_id} did not complete within {deadline_s:.0f} s")
        if "location" not in operation:
            cause = operation.get("failure-cause") or {}
            text = plain_failure(cause.get("stack-trace") or cause.get("class") or "no reason given")
            raise SavepointError(f"the savepoint of job {job_id} failed: {text}")
        return str(operation["location"])

    def _all_run(self, job_id: str) -> bool:
        """Whether every task of a job runs, or will never again; the job itself is RUNNING some seconds before."""
        return all(vertex["status"] in ("RUNNING", *ENDED) for vertex in self._job_get(job_id, "").get("vertices", ()))

    def cancel(self, job_id: str) -> None:
        """Ask for a job to be cancelled; it ends a moment later.

        Raises:
            UnknownJobError: the cluster does not know the job.
            ConfigurationError: the job has ended.
        """
        self._send("PATCH", f"/jobs/{quote(job_id)}?mode=cancel", None)

    def wait_ended(self, job_id: str, deadline_s: float = 60.0) -> str:
        """The job's state when it ended, or its state at the deadline.

        Raises:
            UnknownJobError: the cluster does not know the job, or forgot it meanwhile.
        """
        state = _wait(lambda: job.state if (job := self.job(job_id)).ended else None, deadline_s)
        return str(state) if state else self.job(job_id).state

    def _load(self, job_id: str, vertex_id: str) -> dict[str, float]:
        wanted = "busyTimeMsPerSecond,backPressuredTimeMsPerSecond"
        entries = self._optional(job_id, f"/vertices/{vertex_id}/subtasks/metrics?get={wanted}&agg=max") or []
        values = {entry["id"]: _number(entry["max"]) for entry in entries}
        return {name: value / 1e3 for name, value in values.items() if value is not None}

    def _optional(self, job_id: str, path: str) -> Any:
        """A part of a job that it may not have."""
        try:
            return self._job_get(job_id, path)
        except UnknownJobError:
            self._job_get(job_id, "")  # the whole job is unknown: that is an error
            return None

    def _job_get(self, job_id: str, path: str) -> Any:
        return self._get(f"/jobs/{quote(job_id)}{path}")


def _wait(look: Callable[[], Any], deadline_s: float) -> Any:
    """What look gives as soon as it gives something, None when the deadline is over."""
    end, pause_s = time.monotonic() + deadline_s, _POLL_S[0]
    while (found := look()) is None:
        left = end - time.monotonic()
        if left <= 0:
            return None
        time.sleep(min(pause_s, left))
        pause_s = min(2 * pause_s, _POLL_S[1])
    return found


def _job(entry: dict[str, Any]) -> Job:
    return Job(entry["jid"], entry["name"], entry["state"], moment(entry["start-time"]), max(0, entry["duration"]) / 1e3)


def _number(text: Any) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
