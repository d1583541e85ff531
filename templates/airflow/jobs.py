"""Operators for streaming jobs on Flink: deploy, stop with a savepoint, watch the frontier."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from templates.airflow.command import project_folder
from templates.airflow.operators import HeadraceOperator
from templates.airflow.streams import frontiers, running_job
from templates.airflow.triggers import FlinkJobTrigger, StreamTrigger


class _StreamOperator(HeadraceOperator):
    """Looks at a source's job with ``headrace job list`` and ``status``."""

    def __init__(self, *, source: str, **kwargs: Any) -> None:
        super().__init__(command=(), **kwargs)
        self.source = source

    def _asked(self, *command: str) -> Any:
        folder = project_folder(self.project)
        outcome = self.headrace([*command, "--project", folder, "--json"], folder)
        self.judge(outcome)
        return outcome.document

    def _job(self) -> dict[str, Any] | None:
        return running_job(self._asked("job", "list"), self.source)

    def _frontiers(self) -> dict[str, int]:
        return frontiers(self._asked("status"), self.source)


class DeployOperator(_StreamOperator):
    """Starts a source's streaming job, unless it runs. Run again it finds the job that it started.

    Args:
        source: which.
        input: ``kafka://HOST:PORT/TOPIC``. workers: slots. more: further options of ``headrace ingest``.
        savepoint_of: id of the task whose savepoint it starts from.
    """

    def __init__(
        self,
        *,
        input: str,
        workers: int,
        more: Sequence[str] = (),
        savepoint_of: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input, self.workers, self.more, self.savepoint_of = input, workers, list(more), savepoint_of

    def execute(self, context: Context) -> dict[str, Any]:
        """``{run_id, job_id, flink, frontiers, links}``: where the frontiers stood before it."""
        before = self._frontiers_or_none()
        if (job := self._job()) is not None:
            self.log.info("run %s of %s works already as job %s", job["run_id"], self.source, job["job_id"])
            return {**job, "frontiers": before}
        stopped = context["task_instance"].xcom_pull(task_ids=self.savepoint_of) if self.savepoint_of else None
        savepoint = (stopped or {}).get("savepoint") or ""
        self.command = ["ingest", self.source, "--runner", "flink", "--workers", str(self.workers), *self.more]
        self.options = {"--from-savepoint": savepoint} if savepoint else {}
        self.inputs = [self.input]
        folder = project_folder(self.project)
        outcome = self.headrace(self.arguments(folder), folder)
        found = self._note(context, outcome, "")
        self.judge(outcome)
        return {**found, "frontiers": before}

    def _frontiers_or_none(self) -> dict[str, int]:
        """None yet, where there is no lake."""
        folder = project_folder(self.project)
        outcome = self.headrace(["status", "--project", folder, "--json"], folder)
        return frontiers(outcome.document, self.source) if outcome.code == 0 else {}


class StopOperator(_StreamOperator):
    """Stops a source's job with a savepoint."""

    def execute(self, context: Context) -> dict[str, Any]:
        """``{run_id, savepoint, frontiers}``.

        Raises:
            AirflowFailException: no job of the source runs.
        """
        job = self._job()
        if job is None:
            raise AirflowFailException(f"no job of {self.source} runs; the DAG that deploys it starts one")
        before = self._frontiers()
        ended = self._asked("job", "stop", job["run_id"])
        return {"run_id": job["run_id"], "savepoint": ended.get("savepoint"), "frontiers": before}


class CancelOperator(_StreamOperator):
    """Cancels a source's job, where one runs: after an upgrade whose frontier stood still."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Raises AirflowFailException: always, so that the run is red; it says where to go on from."""
        job = self._job()
        if job is not None:
            self._asked("job", "cancel", job["run_id"], "--yes")
        stopped = context["task_instance"].xcom_pull(task_ids="stop") or {}
        raise AirflowFailException(
            f"{self.source}: the new job's frontier stood still and it is cancelled. Install the version before, and start it with "
            f"--from-savepoint {stopped.get('savepoint')}"
        )


class FlinkJobSensor(BaseOperator):
    """Waits in the triggerer until a job on Flink has finished. A user who kills or clears it meanwhile cancels the job.

    Args:
        job: what ``headrace ingest --runner flink`` gave: ``{run_id, job_id, flink}``; a template, or the XCom of a task.
        project: the project's folder.
    """

    template_fields: Sequence[str] = ("job",)

    def __init__(self, *, job: Any, project: str = ".", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job, self.project = job, project

    def execute(self, context: Context) -> None:
        """Defers."""
        cancel = ["job", "cancel", self.job["run_id"], "--yes"]
        trigger = FlinkJobTrigger(self.job["flink"], self.job["job_id"], cancel, project_folder(self.project))
        self.defer(trigger=trigger, method_name="execute_complete")

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Raises AirflowFailException: the job ended otherwise, or its cluster has lost it."""
        if event["state"] != "FINISHED":
            raise AirflowFailException(
                f"job {self.job['job_id']}: {event['state']}; headrace job status {self.job['run_id']} says why"
            )


class FrontierSensor(BaseOperator):
    """Waits in the triggerer until a source's frontier is further than another task found it. of: that task's id."""

    def __init__(self, *, source: str, of: str, within_s: int, project: str = ".", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source, self.of, self.within_s, self.project = source, of, within_s, project

    def execute(self, context: Context) -> None:
        """Defers."""
        since = (context["task_instance"].xcom_pull(task_ids=self.of) or {}).get("frontiers") or {}
        trigger = StreamTrigger(self.source, project_folder(self.project), time.time() + self.within_s, since=since)
        self.defer(trigger=trigger, method_name="execute_complete")

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Raises AirflowFailException: it stood still."""
        if not event["reached"]:
            raise AirflowFailException(
                f"{self.source}: the frontier did not move within {self.within_s} s; headrace job status says why"
            )


class FreshnessSensor(BaseOperator):
    """Waits in the triggerer until the newest row of a streamed source is no older than ``fresh_s``; fails after ``within_s``."""

    def __init__(self, *, source: str, fresh_s: float, within_s: int, project: str = ".", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source, self.fresh_s, self.within_s, self.project = source, fresh_s, within_s, project

    def execute(self, context: Context) -> None:
        """Defers."""
        trigger = StreamTrigger(self.source, project_folder(self.project), time.time() + self.within_s, fresh_s=self.fresh_s)
        self.defer(trigger=trigger, method_name="execute_complete")

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Raises AirflowFailException: it is late."""
        if not event["reached"]:
            raise AirflowFailException(f"{self.source}: no row younger than {self.fresh_s:.0f} s came within {self.within_s} s")
