"""Intervals of the shop on a real Airflow: its schedules, runs of hours in any order, kills, and events that come once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import quote

from devstack.airflow_api import ENDED, AirflowApi, wait_until
from tests.support.real_airflow import DAY, WITHIN_S, RealAirflow, own_task

ASSET = "headrace://shop/validated/customer_event"
INGEST, BACKFILL = "shop.ingest.web", "shop.backfill.customer_event"
SCHEDULES = """
lake: lake
replay: {maxAge: 36500d}
schedules:
  name: shop
  start: 2026-11-02
  sources:
    web: {input: drop/%Y-%m-%d/%H, catchup: false, missing: skip, options: [--max-rejected, "1.0"]}
  backfill: {size: 1K}
"""


_MADE = count(1)


def own_dags(built: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What starts by the dataset's events, and a backfill that waits for an answer no longer than a second."""
    backfill = next(dag for dag in built["dags"] if dag["dag_id"] == BACKFILL)
    tasks = [
        {**task, "with": {**task["with"], "respond_s": 1}} if task["kind"] == "approve" else task for task in backfill["tasks"]
    ]
    ranged = {"task_id": "range", "kind": "range", "after": [], "with": {}, "inlets": [ASSET]}
    consumer = {"schedule": {"assets": [ASSET]}, "tasks": [ranged, {**own_task("argv"), "after": ["range"]}]}
    return {"consumer": consumer, "unanswered": {"params": backfill["params"], "tasks": tasks}}


def run_hours(own: RealAirflow, hours: list[tuple[str, int]], name: str = "") -> list[str]:
    """A run of each, asked for in this order, which is that in which they begin: Airflow's backfill knows only two orders."""
    runs = [f"{day}T{hour:02}{name}" for day, hour in hours]
    for run, (day, hour) in zip(runs, hours, strict=True):
        start = datetime.fromisoformat(f"{day}T{hour:02}:00:00+00:00")
        logical = start + timedelta(seconds=next(_MADE)) if name else start  # Airflow takes a logical date once
        given = {"data_interval_start": start.isoformat(), "data_interval_end": (start + timedelta(hours=1)).isoformat()}
        after = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(seconds=next(_MADE))
        given |= {"logical_date": logical.isoformat(), "run_after": after.isoformat(), "dag_run_id": run}
        own.api.send("POST", f"/dags/{INGEST}/dagRuns", {**given, "conf": {}})
    return runs


def over(own: RealAirflow, dag_id: str, runs: list[str]) -> bool:
    states = {run["dag_run_id"]: run["state"] for run in own.api.runs(dag_id)}
    return all(states.get(run) in ("success", "failed") for run in runs)


def all_succeeded(own: RealAirflow, dag_id: str, runs: list[str]) -> None:
    states = {run["dag_run_id"]: run["state"] for run in own.api.runs(dag_id)}
    assert {run: states[run] for run in runs if states[run] != "success"} == {}, [own.api.states(dag_id, run) for run in runs]


def answer(api: AirflowApi, dag_id: str, run: str, chosen: str, reason: str) -> str:
    """Answer the question of a run; the state in which it ends.

    Airflow may take an answer for a failure of the task, and asks again (apache/airflow#72716).
    """

    def state() -> str:
        for question in api.waiting():
            if question["task_instance"]["dag_run_id"] == run:
                api.answer(question, chosen, reason=reason)
        return next(str(each["state"]) for each in api.runs(dag_id) if each["dag_run_id"] == run)

    return str(wait_until(state, ENDED, WITHIN_S))


def replay(own: RealAirflow, first: int, end: int, of: str = "") -> str:
    """A replay of hours of the first day, asked for by hand."""
    at = [f"{DAY}T{hour:02}:00:00Z" for hour in (first, end)]
    given = {"logical_date": None, "dag_run_id": f"replay-{first}-{end}{of}", "conf": {"start": at[0], "end": at[1]}}
    own.api.send("POST", f"/dags/{BACKFILL}/dagRuns", given)
    return str(given["dag_run_id"])


def approve_all(own: RealAirflow) -> None:
    """Answer every question with a yes."""
    for question in own.api.waiting():
        own.api.answer(question, "Approve", reason="tests")


def promoted(own: RealAirflow) -> int:
    """How many replays are."""
    return sum(each["state"] == "promoted" for each in own.replays())


def assert_events_once(own: RealAirflow, runs: set[str]) -> None:
    events = [event for event in own.api.events() if event["uri"] == ASSET and event["source_dag_id"] == INGEST]
    assert sorted(event["source_run_id"] for event in events) == sorted(runs)

    def consumed() -> list[int]:
        found: list[Any] = []
        for run in own.api.runs("own.consumer"):
            found += own.api.get(f"/dags/own.consumer/dagRuns/{run['dag_run_id']}/upstreamAssetEvents")["asset_events"]
        return sorted(event["id"] for event in found)

    def covered() -> bool:
        """Whether each event's interval is in the range of a run that it or an earlier one has started."""
        ended = [run["dag_run_id"] for run in own.api.runs("own.consumer") if run["state"] == "success"]
        entry = "/dags/own.consumer/dagRuns/{}/taskInstances/range/xcomEntries/return_value"
        ranges = [own.api.get(entry.format(quote(run)), deserialize=True)["value"] for run in ended]
        spans = [event["extra"] for event in events]
        return all(any(one["start"] <= span["start"] and span["end"] <= one["end"] for one in ranges) for span in spans)

    wait_until(covered, {True}, WITHIN_S)
    assert len(consumed()) == len(set(consumed()))


class Killer:
    """Kills tasks while they run, each at its first try. planned: what to kill, by (run id, task id).

    made: what was killed.
    """

    def __init__(self, own: RealAirflow, dag_id: str, planned: Mapping[tuple[str, str], str]) -> None:
        self.own, self.dag_id, self.planned = own, dag_id, dict(planned)
        self.made: dict[tuple[str, str], str] = {}

    def look(self) -> None:
        """Kill what is due and runs now."""
        for task in self.own.api.get(f"/dags/{self.dag_id}/dagRuns/~/taskInstances", state="running", limit=100)["task_instances"]:
            key = (task["dag_run_id"], task["task_id"])
            first = task["try_number"] == 1 and task["pid"] and key not in self.made
            if first and (of := self.planned.get(key)) and self.own.end(task, of):
                self.made[key] = of

    def until(self, over: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        """Go on until something holds."""
        until = time.monotonic() + within_s
        looked = 0.0
        while True:
            self.look()
            if time.monotonic() - looked > 2:
                if over():
                    return
                looked = time.monotonic()
            assert time.monotonic() < until, self.own.api.tasks(self.dag_id)
            time.sleep(0.2)
