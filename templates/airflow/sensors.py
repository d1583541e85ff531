"""What waits in the triggerer for a job on Flink or for a stream, and takes no worker meanwhile. All of it ends in time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from templates.airflow.command import WRONG_USE, Verdict, project_folder, run
from templates.airflow.streams import frontiers
from templates.airflow.triggers import WAITING_TRY, FlinkJobTrigger, StreamTrigger


class FlinkJobSensor(BaseOperator):
    """Waits until a job on Flink has finished. A user who kills or clears it meanwhile cancels the job, and so does its time limit.

    Args:
        job: what ``headrace ingest --runner flink`` gave: ``{run_id, job_id, flink}``; a template, or the XCom of a task.
        within_s: how long, in seconds; by default ``execution_timeout``, to which Airflow does not hold what is deferred.
        project: the project's folder.
    """

    template_fields: Sequence[str] = ("job",)

    def __init__(self, *, job: Any, within_s: float | None = None, project: str = ".", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job, self.within_s, self.project = job, within_s, project

    def execute(self, context: Context) -> None:
        """Defers.

        Raises:
            AirflowFailException: what it was given names no job.
        """
        if not isinstance(self.job, Mapping) or not all(self.job.get(word) for word in ("run_id", "job_id", "flink")):
            raise AirflowFailException("job: expected {run_id, job_id, flink}, as a task with --runner flink returns it")
        within_s = self.within_s
        if within_s is None and self.execution_timeout is not None:
            within_s = self.execution_timeout.total_seconds()
        deadline = None if within_s is None else time.time() + within_s
        trigger = FlinkJobTrigger(
            self.job["flink"], self.job["job_id"], self._cancel(), project_folder(self.project), deadline=deadline
        )
        context["ti"].xcom_push(WAITING_TRY, context["ti"].try_number)
        self.defer(trigger=trigger, method_name="execute_complete")

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Raises AirflowFailException: the job ended otherwise, ran for too long, or its cluster has lost it."""
        state = event["state"]
        if state == "FINISHED":
            return
        if state == "LATE":
            folder = project_folder(self.project)
            ended = run([*self._cancel(), "--project", folder, "--json"], self.log.info, cwd=folder)
            if ended.verdict is Verdict.AGAIN:
                raise AirflowException(f"job {self.job['job_id']} took too long, and could not be cancelled: {ended.why()}")
            raise AirflowFailException(f"job {self.job['job_id']} took too long, and was cancelled")
        raise AirflowFailException(f"job {self.job['job_id']}: {state}; headrace job status {self.job['run_id']} says why")

    def _cancel(self) -> list[str]:
        return ["job", "cancel", self.job["run_id"], "--yes"]


class _StreamSensor(BaseOperator):
    """Waits for a stream of a source that the project knows."""

    def __init__(self, *, source: str, within_s: int, project: str = ".", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source, self.within_s, self.project = source, within_s, project

    def _wait(self, **wanted: Any) -> None:
        """Defers.

        Raises:
            AirflowFailException: there is no such source, or no project. A stream that is not there yet is waited for.
        """
        folder = project_folder(self.project)
        known = run(["contract", "lint", self.source, "--project", folder], self.log.info, cwd=folder)
        if known.code == WRONG_USE:
            raise AirflowFailException(known.why())
        trigger = StreamTrigger(self.source, folder, time.time() + self.within_s, **wanted)
        self.defer(trigger=trigger, method_name="execute_complete")

    def _judge(self, event: Mapping[str, Any], late: str) -> None:
        if not event["reached"]:
            why = f"; {event['why']}" if event.get("why") else ""
            raise AirflowFailException(f"{self.source}: {late if event['late'] else 'it cannot be told how it stands'}{why}")


class FrontierSensor(_StreamSensor):
    """Waits until a source's frontier is further than another task found it, or than it is now.

    Args:
        source: which. within_s: how long. of: id of that task.
        then: what the task says where the frontier went on, and fails with: after a failure that was made good, a run stays red.
    """

    def __init__(self, *, of: str = "", then: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.of, self.then = of, then

    def execute(self, context: Context) -> None:
        """Defers.

        Raises:
            AirflowException: nobody knows how it stands now, so nobody could tell whether it moves.
        """
        found = (context["task_instance"].xcom_pull(task_ids=self.of) or {}) if self.of else {}
        since = found.get("frontiers")
        if since is None:
            folder = project_folder(self.project)
            stands = run(["status", "--project", folder, "--json"], self.log.info, cwd=folder)
            if stands.code not in (0, WRONG_USE):  # wrong use: there is no lake yet, or no project, which is looked at next
                raise (AirflowException if stands.verdict is Verdict.AGAIN else AirflowFailException)(stands.why())
            if stands.code == 0 and not isinstance(stands.document, list):
                raise AirflowException("headrace status printed no JSON list, so nobody could tell whether the frontier moves")
            since = frontiers(stands.document, self.source)
        self._wait(since=since)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Raises AirflowFailException: it stood still, or ``then``."""
        self._judge(event, f"the frontier did not move within {self.within_s} s; headrace job status says why")
        if self.then:
            raise AirflowFailException(f"{self.source}: {self.then}")


class FreshnessSensor(_StreamSensor):
    """Waits until the newest row of a streamed source is no older than ``fresh_s``; fails after ``within_s``."""

    def __init__(self, *, fresh_s: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fresh_s = fresh_s

    def execute(self, context: Context) -> None:
        """Defers."""
        self._wait(fresh_s=self.fresh_s)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Raises AirflowFailException: it is late."""
        self._judge(event, f"no row younger than {self.fresh_s:.0f} s came within {self.within_s} s")
