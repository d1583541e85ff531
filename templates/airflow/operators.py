"""Operators: a call of ``headrace`` each, its exit code as what Airflow does next, its JSON as XCom and as events of assets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from templates.airflow.command import Call, Outcome, Verdict, arguments, project_folder
from templates.airflow.links import LINKS, flink_page
from templates.airflow.summary import at, merged, summary, tables_in_words, told, unchanged

PAGE = "@page"  # an option's value: a page of the task's own
BEGAN = "began"  # of a task's XCom: when it began


class HeadraceOperator(BaseOperator):
    """Runs one ``headrace`` command in a process group of its own.

    Exit code 0: XCom holds run id, ledger, tables with rows and content hash, links. 1, 2 and 4 fail the task at once, whatever its
    retries: the same command would end the same way. 3, and an end by a signal, are tried again. The time limit, a kill and a clear
    end the process group; headrace's commits are atomic, so nothing is half visible. A bounded job on Flink is cancelled with it.

    Args:
        command: words behind ``headrace``; templates.
        options: options and their values; those that come out empty are left out; templates.
        inputs: values of ``--input``.
        project: the project's folder; HEADRACE_AIRFLOW_PROJECT wins over it.
        reports: folder for pages, relative to the project; reports_url: its address.
        runbook: address of the runbook, for the link.
    """

    template_fields: Sequence[str] = ("command", "options", "inputs")
    operator_extra_links = LINKS
    ui_color = "#dcebf5"

    def __init__(
        self,
        *,
        command: Sequence[str],
        options: Mapping[str, str] | None = None,
        inputs: Sequence[str] = (),
        project: str = ".",
        reports: str = "",
        reports_url: str = "",
        runbook: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.command = list(command)
        self.options = dict(options or {})
        self.inputs = list(inputs) if isinstance(inputs, (list, tuple)) else inputs
        self.project = project
        self.reports = reports
        self.reports_url = reports_url
        self.runbook = runbook
        self._call: Call | None = None
        self._killed = False
        if type(self) is HeadraceOperator:  # what the graph says below the task's name
            words = takewhile(lambda word: not word.startswith("-") and "{" not in word, self.command)
            self.custom_operator_name = " ".join(("headrace", *words))

    def execute(self, context: Context) -> dict[str, Any]:
        """Run it; returns what XCom holds."""
        folder = project_folder(self.project)
        options, page = self._with_page(context, folder)
        self.options = options
        outcome = self.headrace(self.arguments(folder), folder)
        found = self._note(context, outcome, page)
        self.judge(outcome)
        for asset in self.outlets:
            context["outlet_events"][asset].extra = {**interval(context), **self._span(), **found}
        return found

    def _span(self) -> dict[str, str]:
        """The range that the command was given, if it takes one."""
        words = {"start": self.options.get("--start"), "end": self.options.get("--end")}
        return {name: text for name, text in words.items() if text}

    def arguments(self, folder: str) -> list[str]:
        """Of the call."""
        return arguments(self.command, self.options, self.inputs, folder)

    def headrace(self, given: list[str], folder: str, command: Sequence[str] | None = None) -> Outcome:
        """Call and wait; ``on_kill`` ends it. command: headrace of another version."""
        self.log.info("headrace %s", " ".join(given))
        undo = self._cancel if runner(given) == "flink" else None
        self._call = Call(given, self.log.info, cwd=folder, command=command, undo=undo, begun=self.begun)
        return self._call.wait()

    def begun(self, run_id: str) -> None:
        """A call has told the id of its run; it goes on."""

    def judge(self, outcome: Outcome) -> None:
        """Raise what makes Airflow do the right thing.

        Raises:
            AirflowFailException: running it again would end the same way.
            AirflowException: it may work later.
        """
        if self._killed:
            raise AirflowException("ended by Airflow; what was committed stays, and a later run goes on")
        if outcome.verdict is Verdict.FINAL:
            raise AirflowFailException(outcome.why())
        if outcome.verdict is Verdict.AGAIN:
            raise AirflowException(outcome.why())

    def on_kill(self) -> None:
        """End the process group, and the job on a cluster that it waits for; its leash does both, also where this is cut short."""
        self._killed = True
        if self._call is not None:
            self._call.end()

    def _cancel(self, run_id: str) -> list[str]:
        """Its job has the run's name."""
        return ["job", "cancel", run_id, "--yes", "--project", project_folder(self.project), "--json"]

    def _with_page(self, context: Context, folder: str) -> tuple[dict[str, str], str]:
        """The options with the place of the page filled in, and the page."""
        if PAGE not in self.options.values():
            return self.options, ""
        ti = context["task_instance"]
        name = "/".join(_plain(part) for part in (ti.dag_id, ti.run_id, f"{ti.task_id}.html"))
        place = Path(folder, self.reports, name).absolute()
        place.parent.mkdir(parents=True, exist_ok=True)
        return {key: str(place) if value == PAGE else value for key, value in self.options.items()}, name

    def _note(self, context: Context, outcome: Outcome, page: str) -> dict[str, Any]:
        """What is kept of a call, also of one that failed."""
        found = {"exit_code": outcome.code, **summary(outcome.document)}
        if outcome.run_id:
            found.setdefault("run_id", outcome.run_id)
        links = {
            "report": f"{self.reports_url.rstrip('/')}/{page}" if page and self.reports_url else "",
            "flink_job": flink_page(found),
            "runbook": self.runbook,
        }
        found["links"] = {name: address for name, address in links.items() if address}
        ti = context["task_instance"]
        ti.xcom_push(key="headrace", value=found)
        return found


def runner(given: Sequence[str]) -> str:
    """The value of ``--runner``; empty where there is none."""
    words = [part for word in given for part in word.split("=", 1)]
    return words[words.index("--runner") + 1] if "--runner" in words[:-1] else ""


def interval(context: Context) -> dict[str, str]:
    """The range that a run is about: as given by hand, else its data interval; nothing where it has neither."""
    params = context.get("params") or {}
    start = params.get("start") or context.get("data_interval_start")
    end = params.get("end") or context.get("data_interval_end")
    return {"start": moment(start), "end": moment(end)} if start and end else {}


def some_interval(context: Context) -> dict[str, str]:
    """As ``interval``, and not empty.

    Raises:
        AirflowFailException: it holds no time. Airflow makes such a one for a run by hand where clocks change
            (apache/airflow#70089); nothing found in it would pass as nothing to do.
    """
    span = interval(context)
    if span and span["start"] >= span["end"]:
        raise AirflowFailException(
            f"the interval from {span['start']} to {span['end']} holds no time; choose another logical date, or a later end"
        )
    return span


def moment(value: Any) -> str:
    """A time as headrace reads it.

    Raises:
        AirflowFailException: it has no zone.
    """
    read = value if isinstance(value, datetime) else at(str(value))
    if read.tzinfo is None:
        raise AirflowFailException(f"{value}: give the time with its zone, such as 2026-11-01T00:00:00Z")
    return read.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class PublishOperator(BaseOperator):
    """Says once that a dataset has changed, when all mapped tasks of a run are done.

    Skipped where the tables are as the last event before the run told them: what follows would run in vain. That is asked of the
    events, and not of the tasks, since a try that was killed may have changed what the next one finds. Needs the assets as inlets.

    Args:
        of: id of the mapped task. since: id of the task before it, which says when the run began; without it each run tells, as
            descriptions of earlier versions have it.
    """

    def __init__(self, *, of: str, since: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.of, self.since = of, since

    def execute(self, context: Context) -> dict[str, Any]:
        """One event per asset: the ledgers of all tasks added up, the tables as the last of them left them.

        Raises:
            AirflowSkipException: nothing has changed.
        """
        pulled = context["task_instance"].xcom_pull(task_ids=self.of)
        parts = [pulled] if isinstance(pulled, dict) else list(pulled or ())
        found = {**interval(context), **merged([part for part in parts if part])}
        began = context["task_instance"].xcom_pull(task_ids=self.since, key=BEGAN) if self.since else None
        if began and all(unchanged(found, self._told(context, asset, began)) for asset in self.outlets):
            raise AirflowSkipException(f"no event: the tables are as they were told last ({tables_in_words(found)})")
        for asset in self.outlets:
            context["outlet_events"][asset].extra = found
        return found

    def _told(self, context: Context, asset: Any, began: str) -> Mapping[str, Any] | None:
        """By the last event of an asset before this run began; None where there is none."""
        events = list(context["inlet_events"][asset].before(began).ascending(False).limit(1))
        return dict(events[0].extra or {}) if events else None


class RangeOperator(BaseOperator):
    """Which range of time a run is about: as given by hand, else that of the events that started it, else its data interval.

    lookback_s: begin so long before the end, if that is earlier. behind_s: all of it so much earlier.

    With ``inlets``, events of these assets that came after those that started the run count too: those that come while a run is
    awaited or goes on start no run of their own in Airflow (apache/airflow#56050), and would wait for the next change.

    XCom holds ``start`` and ``end``; of the events ``run_ids``, and ``content_hash`` as the last of them told it, else None.
    """

    def __init__(self, *, lookback_s: int = 0, behind_s: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lookback_s = lookback_s
        self.behind_s = behind_s

    def execute(self, context: Context) -> dict[str, Any]:
        """Raises AirflowFailException: there is no range; run it by hand with start and end."""
        params = context.get("params") or {}
        if params.get("start") and params.get("end"):
            return {**some_interval(context), **told(())}
        events = [event for events in (context.get("triggering_asset_events") or {}).values() for event in events]
        events += self._later(context, events)
        spans = [span for event in events if (span := dict(event.extra or {})).get("start") and span.get("end")]
        spans = spans or [span for span in (some_interval(context),) if span]
        if not spans:
            raise AirflowFailException("no interval and no event with one: run it by hand, with start and end")
        start, end = min(at(span["start"]) for span in spans), max(at(span["end"]) for span in spans)
        behind = timedelta(seconds=self.behind_s)
        start = min(start, end - timedelta(seconds=self.lookback_s)) if self.lookback_s else start
        extras = [dict(event.extra or {}) for event in sorted(events, key=lambda event: event.timestamp)]
        return {"start": moment(start - behind), "end": moment(end - behind), **told(extras)}

    def _later(self, context: Context, events: list[Any]) -> list[Any]:
        """Events of the inlets since the first of these; none for a run that no event has started."""
        if not events:
            return []
        since = min(event.timestamp for event in events).isoformat()
        return [event for asset in self.inlets for event in context["inlet_events"][asset].after(since)]


def _plain(text: str) -> str:
    """A name as a file's."""
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in text)


class BrokenOperator(BaseOperator):
    """Fails and says why: in place of the tasks of a DAG that cannot be made, and for a task of which others need not be."""

    ui_color = "#f5c6c6"

    def __init__(self, *, why: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.why = why

    def execute(self, context: Context) -> None:
        """Raises AirflowFailException: always."""
        raise AirflowFailException(self.why)
