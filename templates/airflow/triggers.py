"""What waits in the triggerer: for folders, for a job on Flink, for a table to be fresh. None of them blocks its loop."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from templates.airflow.command import environment, headrace
from templates.airflow.partitions import landed
from templates.airflow.streams import ENDED, fresh, moved

_REQUEST_TIMEOUT_S = 10.0
_MODULE = "templates.airflow.triggers"


class LandedTrigger(BaseTrigger):
    """Fires when all folders are there, or at the deadline (seconds since 1970) with those that are missing."""

    def __init__(self, folders: Sequence[str], marker: str, project: str, deadline: float, every_s: float = 15.0) -> None:
        super().__init__()
        self.folders, self.marker, self.project = list(folders), marker, project
        self.deadline, self.every_s = deadline, every_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Airflow's hook."""
        given = {"folders": self.folders, "marker": self.marker, "project": self.project}
        return f"{_MODULE}.LandedTrigger", {**given, "deadline": self.deadline, "every_s": self.every_s}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: ``{missing: […]}``."""
        while True:
            missing = await asyncio.to_thread(self._missing)
            left_s = self.deadline - _now()
            if not missing or left_s <= 0:
                yield TriggerEvent({"missing": missing})
                return
            await asyncio.sleep(min(self.every_s, left_s))

    def _missing(self) -> list[str]:
        return [folder for folder in self.folders if not landed(folder, self.marker, self.project)]


class FlinkJobTrigger(BaseTrigger):
    """Fires when a job has ended: ``{state}``. A user who kills or clears the task while it waits cancels the job.

    A cluster that does not answer is asked again: it may be starting. One that does not know the job has lost it: ``LOST``.
    """

    def __init__(self, flink: str, job_id: str, cancel: Sequence[str], project: str, every_s: float = 10.0) -> None:
        super().__init__()
        self.flink, self.job_id, self.cancel, self.project, self.every_s = flink, job_id, list(cancel), project, every_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Airflow's hook."""
        given = {"flink": self.flink, "job_id": self.job_id, "cancel": self.cancel, "project": self.project}
        return f"{_MODULE}.FlinkJobTrigger", {**given, "every_s": self.every_s}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event."""
        while True:
            state = await asyncio.to_thread(self._state)
            if state in ENDED:
                yield TriggerEvent({"state": state})
                return
            await asyncio.sleep(self.every_s)

    async def on_kill(self) -> None:
        """A user ended the task: end the job too."""
        await call([*self.cancel, "--project", self.project, "--json"], self.project)

    def _state(self) -> str:
        base = self.flink if "://" in self.flink else f"http://{self.flink}"
        try:
            with urllib.request.urlopen(f"{base}/jobs/{self.job_id}", timeout=_REQUEST_TIMEOUT_S) as answer:
                return str(json.load(answer).get("state"))
        except urllib.error.HTTPError as error:
            return "LOST" if error.code == 404 else "UNKNOWN"
        except (OSError, ValueError):
            return "UNKNOWN"


class StreamTrigger(BaseTrigger):
    """Fires when a stream is as wanted, or at the deadline: ``{reached, state}``.

    since: frontiers by log; it waits until one is further. fresh_s: it waits until the newest row is no older.
    """

    def __init__(
        self,
        source: str,
        project: str,
        deadline: float,
        since: dict[str, int] | None = None,
        fresh_s: float | None = None,
        every_s: float = 20.0,
    ) -> None:
        super().__init__()
        self.source, self.project, self.deadline = source, project, deadline
        self.since, self.fresh_s, self.every_s = since, fresh_s, every_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Airflow's hook."""
        given = {"source": self.source, "project": self.project, "deadline": self.deadline, "since": self.since}
        return f"{_MODULE}.StreamTrigger", {**given, "fresh_s": self.fresh_s, "every_s": self.every_s}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event."""
        while True:
            runs = await call(["status", "--project", self.project, "--json"], self.project)
            reached = (
                moved(runs, self.source, self.since) if self.since is not None else fresh(runs, self.source, self.fresh_s or 0)
            )
            left_s = self.deadline - _now()
            if reached or left_s <= 0:
                yield TriggerEvent({"reached": reached})
                return
            await asyncio.sleep(min(self.every_s, left_s))


async def call(arguments: Sequence[str], folder: str) -> Any:
    """The JSON that a call of ``headrace`` prints; None where it prints none. The loop goes on meanwhile."""
    process = await asyncio.create_subprocess_exec(
        *headrace(), *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL, cwd=folder, env=environment(),
    )  # fmt: skip
    try:
        text, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    try:
        return json.loads(text)
    except ValueError:
        return None


def _now() -> float:
    return time.time()
