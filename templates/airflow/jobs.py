"""Operators for streaming jobs on Flink: deploy, stop with a savepoint, take an upgrade back."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from templates.airflow.command import WRONG_USE, Verdict, project_folder, run
from templates.airflow.operators import HeadraceOperator
from templates.airflow.streams import command_of, ending_job, frontiers, idle_runs, last_run, listed, running_job

BEGUN = "begun"  # of a task's XCom: the run whose job it starts


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

    def _jobs(self, *more: str) -> list[Any]:
        """Raises AirflowException: nobody knows: to take that for none would start a job beside another."""
        return _list(self._asked("job", "list", *more), "job list")

    def _job(self) -> dict[str, Any] | None:
        return running_job(self._jobs(), self.source)

    def _beside_none(self, jobs: Sequence[Any]) -> None:
        """Raises AirflowException: a job of the source is on its way to an end; the next try finds that it has ended."""
        if (job := ending_job(jobs, self.source)) is not None:
            raise AirflowException(f"job {job['job_id']} of {self.source} is {job['state']}: nothing is started beside it")

    def _frontiers(self) -> dict[str, int]:
        """None yet, where there is no lake.

        Raises:
            AirflowException: nobody knows: to take that for none would take any frontier for one that moved.
        """
        folder = project_folder(self.project)
        outcome = self.headrace(["status", "--project", folder, "--json"], folder)
        if outcome.code == WRONG_USE:  # there is no lake
            return {}
        self.judge(outcome)
        return frontiers(_list(outcome.document, "status"), self.source)

    def _began(self, run_id: str) -> str | None:
        """The savepoint from which a run was started first; None for none."""
        submissions = self._asked("job", "status", run_id).get("submissions") or [{}]
        found: str | None = submissions[0].get("from_savepoint")
        return found


class DeployOperator(_StreamOperator):
    """Starts a source's streaming job, unless it runs. Run again it finds the job that it started.

    A run that failed, or that its cluster lost, is noted as over first, so that no supervisor starts it beside the new one.

    Args:
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
        self._ti: Any = None

    def execute(self, context: Context) -> dict[str, Any]:
        """``{run_id, job_id, flink, frontiers, links}``: where the frontiers stood before it.

        Raises:
            AirflowFailException: in an upgrade, another job of the source works: it is not the new version from the savepoint.
            AirflowException: a job of the source is on its way to an end; the next try finds that it has ended.
        """
        self._ti = context["task_instance"]
        before = self._frontiers()
        jobs = self._jobs()
        self._beside_none(jobs)
        stopped = self._ti.xcom_pull(task_ids=self.savepoint_of) if self.savepoint_of else None
        savepoint = (stopped or {}).get("savepoint") or ""
        if (job := running_job(jobs, self.source)) is not None:
            if savepoint and (began := self._began(job["run_id"])) != savepoint:
                raise AirflowFailException(
                    f"run {job['run_id']} of {self.source} works, which this upgrade did not start: it began at {began}, not at "
                    f"{savepoint}. Somebody started it meanwhile; end it, or let it be the job"
                )
            self.log.info("run %s of %s works already as job %s", job["run_id"], self.source, job["job_id"])
            return {**job, "frontiers": before}
        for run_id in idle_runs(jobs, self.source):
            self._asked("job", "cancel", run_id, "--yes")
        self.command = ["ingest", self.source, "--runner", "flink", "--workers", str(self.workers), *self.more]
        self.options = {"--from-savepoint": savepoint} if savepoint else {}
        self.inputs = [self.input]
        folder = project_folder(self.project)
        outcome = self.headrace(self.arguments(folder), folder)
        found = self._note(context, outcome, "")
        self.judge(outcome)
        return {**found, "frontiers": before}

    def begun(self, run_id: str) -> None:
        """Say which run it is before its job is there: a task that is killed then has started it all the same."""
        assert self._ti is not None
        self._ti.xcom_push(key=BEGUN, value=run_id)


class StopOperator(_StreamOperator):
    """Stops a source's job with a savepoint. Run again it finds the savepoint of the job that it stopped.

    Args:
        previous: ``headrace`` of the version before, to which a failed upgrade goes back. One that does not work stops nothing.
    """

    def __init__(self, *, previous: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.previous = previous

    def execute(self, context: Context) -> dict[str, Any]:
        """``{run_id, savepoint, start_again, frontiers}``.

        Raises:
            AirflowFailException: no job of the source runs, and none was stopped; or there is no way back.
        """
        if self.previous:
            self._check(self.previous)
        before = self._frontiers()
        job = self._job()
        if job is None:
            return {**self._stopped(), "frontiers": before}
        ended = self._asked("job", "stop", job["run_id"] or job["job_id"])
        return {
            "run_id": job["run_id"],
            "savepoint": ended["from_savepoint"],
            "start_again": ended["start_again"],
            "frontiers": before,
        }

    def _check(self, previous: str) -> None:
        folder = project_folder(self.project)
        outcome = run(["--version"], self.log.info, cwd=folder, command=_command(previous))
        if outcome.code:
            raise AirflowFailException(f"nothing was stopped: previous ({previous}) does not work: {outcome.why()}")

    def _stopped(self) -> dict[str, Any]:
        """Of the newest run, where that was stopped and a try before this one could not tell."""
        run_id = last_run(self._jobs("--all"), self.source)
        document = self._asked("job", "status", run_id) if run_id else {}
        ended = document.get("ended") or {}
        if not ended.get("savepoint"):
            raise AirflowFailException(f"no job of {self.source} runs; the DAG that deploys it starts one")
        self.log.info("run %s was stopped already, at %s", run_id, ended["at"])
        return {"run_id": run_id, "savepoint": ended["savepoint"], "start_again": document.get("start_again")}


class TakeBackOperator(_StreamOperator):
    """Takes an upgrade back: cancels the new job, and starts the version before from the savepoint, as it was started.

    It cancels no job but the one that the upgrade's start has started. Run again, also much later, it finds the job that goes on
    from the savepoint; where others have started one since, it leaves everything as it is.

    Args:
        previous: ``headrace`` of the version before; a path, or ``$NAME`` for what that variable says.
        of: id of the task that stopped it. start: id of the task that started the new job.
    """

    def __init__(self, *, previous: str = "", of: str = "stop", start: str = "start", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.previous, self.of, self.start = previous, of, start

    def execute(self, context: Context) -> dict[str, Any]:
        """``{run_id, job_id, flink, frontiers, links}`` of the version before.

        Raises:
            AirflowFailException: nothing was stopped, so nothing is taken back; others have started a job since; or a person must
                start the version before.
            AirflowException: a job of the source is on its way to an end; the next try finds that it has ended.
        """
        ti = context["task_instance"]
        stopped = ti.xcom_pull(task_ids=self.of) or {}
        jobs = self._jobs()
        job = running_job(jobs, self.source)
        if not (savepoint := stopped.get("savepoint")):
            left = "its job was left as it is" if job else "no job of it runs: the DAG that deploys it starts one"
            raise AirflowFailException(f"{self.source} was not stopped with a savepoint, and {left}; the task {self.of} says why")
        self._beside_none(jobs)
        started = {(ti.xcom_pull(task_ids=self.start) or {}).get("run_id"), ti.xcom_pull(task_ids=self.start, key=BEGUN)} - {None}
        if job is not None and job.get("run_id") not in started:
            return self._left(job, savepoint)
        self._check_newest({stopped.get("run_id"), *started}, savepoint)
        by_hand = f"with headrace of the version before: {stopped.get('start_again')}"
        command, folder, given = self._before(stopped.get("start_again"), savepoint)
        failed = [run_id for run_id in idle_runs(jobs, self.source) if run_id in started]  # a supervisor may start them again
        for run_id in [*failed, *([job["run_id"]] if job else [])]:
            self._asked("job", "cancel", run_id, "--yes")
        if not command:
            raise AirflowFailException(f"{self.source}: the new job stood still and is cancelled. No job runs. Start it {by_hand}")
        before = self._frontiers()
        outcome = self.headrace(given, folder, command)
        found = self._note(context, outcome, "")
        if outcome.verdict is Verdict.FINAL:
            raise AirflowFailException(f"{self.source}: no job runs. {self.previous}: {outcome.why()}. Start it {by_hand}")
        self.judge(outcome)
        return {**found, "frontiers": before}

    def _left(self, job: dict[str, Any], savepoint: str) -> dict[str, Any]:
        """A job that works and is not the new one: of the version before, where it goes on from the savepoint."""
        began = self._began(job["run_id"]) if job.get("run_id") else None
        if began == savepoint and self.previous:
            self.log.info("run %s works from the savepoint already, as job %s: nothing was cancelled", job["run_id"], job["job_id"])
            return {**job, "frontiers": self._frontiers()}
        raise AirflowFailException(
            f"{self.source}: {job.get('run_id') or job['job_id']} works, which this upgrade did not start: it began at {began}. It "
            f"was left as it is, and nothing was started from {savepoint}"
        )

    def _check_newest(self, known: set[str | None], savepoint: str) -> None:
        """Raises AirflowFailException: a run came since that did not begin at the savepoint: what that holds is of the past."""
        newest = last_run(self._jobs("--all"), self.source)
        if newest and newest not in known and (began := self._began(newest)) != savepoint:
            raise AirflowFailException(
                f"{self.source}: since {savepoint} was made, run {newest} went on from {began or 'its topic'}. Nothing was "
                "cancelled, and nothing started; the DAG that deploys it starts a job"
            )

    def _before(self, start_again: Any, savepoint: str) -> tuple[list[str], str, list[str]]:
        """The command of the version before, empty without; the folder and the words by which the stopped job was started.

        Raises:
            AirflowFailException: these cannot be told. Nothing was cancelled: a job that stands still is better than none.
        """
        if not self.previous:
            return [], "", []
        words = shlex.split(str(start_again or ""))
        folder = words[1] if words[:1] == ["cd"] and len(words) > 1 else project_folder(self.project)
        words = words[words.index("&&") + 1 :] if "&&" in words else words
        if words[:1] != ["headrace"]:
            raise AirflowFailException(
                f"{self.source}: how its job was started is not known ({start_again}), so the new one was left. Cancel it, "
                f"and start the version before by hand from {savepoint}"
            )
        given = words[1:]
        beam = given.index("--") if "--" in given else len(given)
        return _command(self.previous), folder, [*given[:beam], "--json", *given[beam:]]


def _list(document: Any, command: str) -> list[Any]:
    try:
        return listed(document, command)
    except ValueError as error:
        raise AirflowException(str(error)) from None


def _command(previous: str) -> list[str]:
    try:
        return command_of(previous)
    except ValueError as error:
        raise AirflowFailException(str(error)) from None
