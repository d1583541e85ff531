"""What waits in the triggerer: for folders, for a job on Flink, for a table to be fresh. None of them blocks its loop."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.sdk.execution_time.xcom import XCom
from airflow.triggers.base import BaseTrigger, TriggerEvent

from templates.airflow.command import LEASH, Verdict, environment, headrace, there, verdict
from templates.airflow.leash import UNDO
from templates.airflow.partitions import landed
from templates.airflow.streams import ENDED, fresh, job_state, moved, standing

_LOOKS_UNTIL_LOST = 2  # a cluster that has just come up may not list yet what it recovers
_LONGEST_CALL_S, _SHORTEST_CALL_S = 300.0, 60.0
_MODULE = "templates.airflow.triggers"
WAITING_TRY = "waiting_try"  # XCom of a task that waits for a job: its try, which a trigger compares with its own
_ENDING: set[asyncio.Future[None]] = set()


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
    """Fires when a job has ended, or at the deadline (seconds since 1970) with ``LATE``: ``{state}``.

    A user who kills or clears the task while it waits cancels the job. A cluster that does not answer is asked again: it may be
    starting. One that does not know the job, look after look, has lost it: ``LOST``.
    """

    def __init__(
        self,
        flink: str,
        job_id: str,
        cancel: Sequence[str],
        project: str,
        every_s: float = 10.0,
        deadline: float | None = None,
    ) -> None:
        super().__init__()
        self.flink, self.job_id, self.cancel, self.project, self.every_s = flink, job_id, list(cancel), project, every_s
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Airflow's hook."""
        given = {"flink": self.flink, "job_id": self.job_id, "cancel": self.cancel, "project": self.project}
        return f"{_MODULE}.FlinkJobTrigger", {**given, "every_s": self.every_s, "deadline": self.deadline}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event."""
        lost = 0
        while True:
            state = await asyncio.to_thread(job_state, self.flink, self.job_id)
            lost = lost + 1 if state == "LOST" else 0
            if lost >= _LOOKS_UNTIL_LOST or (state in ENDED and not lost):
                yield TriggerEvent({"state": state})
                return
            left_s = self.every_s if self.deadline is None else self.deadline - _now()
            if left_s <= 0:
                yield TriggerEvent({"state": "LATE"})
                return
            await asyncio.sleep(min(self.every_s, left_s))

    async def on_kill(self) -> None:
        """A user ended the task: end the job too.

        Airflow waits half a minute for that, or less where it cancels the trigger again meanwhile; it is seen through all the same.
        Airflow calls this in a triggerer that it took for dead, too, where another one has the trigger by then
        (apache/airflow#73454). The same try of the task waits on then, and the job is left alone. Where a user cleared the task,
        the next try may wait by now: that is another one, and the job is ended.
        """
        ending = asyncio.ensure_future(self._end_job())
        _ENDING.add(ending)  # the loop itself keeps no hold of it
        ending.add_done_callback(_ENDING.discard)
        await asyncio.shield(ending)

    async def _end_job(self) -> None:
        if await self._task_waits():
            self.log.info("its task waits on: another triggerer has the trigger; job %s is left alone", self.job_id)
            return
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(LEASH), UNDO, *headrace(), *self.cancel, "--project", self.project, "--json",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            cwd=there(self.project), env=environment(), start_new_session=True,
        )  # fmt: skip
        await process.wait()

    async def _task_waits(self) -> bool:
        """Whether Airflow says so of this try; no where it cannot be asked."""
        task: Any = self.task_instance
        if task is None:
            return False
        given = {"task_ids": [task.task_id], "run_ids": [task.run_id], "map_index": task.map_index}
        place = {"dag_id": task.dag_id, "run_id": task.run_id, "task_id": task.task_id, "map_index": task.map_index}
        try:
            states = await asyncio.to_thread(RuntimeTaskInstance.get_task_states, task.dag_id, **given)
        except Exception:  # a user who ended the task wants its job to end
            self.log.exception("the task's state could not be asked for")
            return False
        if "deferred" not in (states.get(task.run_id) or {}).values():
            return False
        try:
            waiting = await asyncio.to_thread(XCom.get_one, key=WAITING_TRY, **place)
        except Exception:  # some try waits: a job too many is seen, one that is gone is not
            self.log.exception("the try that waits could not be asked for")
            return True
        return waiting in (None, task.try_number)


class StreamTrigger(BaseTrigger):
    """Fires when a stream is as wanted, at the deadline, or where no further look can help: ``{reached, late, why}``.

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
            left_s = max(self.deadline - _now(), 0)
            reached, final, why = await self._look(min(max(left_s, _SHORTEST_CALL_S), _LONGEST_CALL_S))
            left_s = self.deadline - _now()
            if reached or final or left_s <= 0:
                yield TriggerEvent({"reached": reached, "late": not (reached or final), "why": why})
                return
            await asyncio.sleep(min(self.every_s, left_s))

    async def _look(self, within_s: float) -> tuple[bool, bool, str]:
        """Whether it is as wanted; whether that will not change; how it stands."""
        code, runs, said = await call(["status", "--project", self.project, "--json"], self.project, within_s)
        if code != 0:
            return False, verdict(code) is Verdict.FINAL, f"headrace status: exit code {code}: {said}"
        young = self.since is None and fresh(runs, self.source, self.fresh_s or 0)
        reached = young or (self.since is not None and moved(runs, self.source, self.since))
        return reached, False, "" if reached else standing(runs, self.source)


async def call(arguments: Sequence[str], folder: str, within_s: float = _LONGEST_CALL_S) -> tuple[int, Any, str]:
    """Exit code, document and last words of a call of ``headrace``. The loop goes on meanwhile.

    A call that takes longer is killed, and counts as one that found a component down.
    """
    process = await asyncio.create_subprocess_exec(
        *headrace(), *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, cwd=there(folder), env=environment(),
    )  # fmt: skip
    try:
        text, said = await asyncio.wait_for(process.communicate(), within_s)
    except TimeoutError:
        process.kill()
        return 3, None, f"no answer within {within_s:.0f} s"
    except asyncio.CancelledError:
        process.kill()
        raise
    words = said.decode("utf-8", "replace").strip().splitlines()
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    return process.returncode or 0, document, words[-1] if words else ""


def _now() -> float:
    return time.time()
