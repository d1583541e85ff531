"""Intervals on a real Airflow with PostgreSQL and two schedulers: any order, kills, approval. The tables equal those of one run."""

import random
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from devstack.airflow_api import wait_until
from tests.support.postgres import missing
from tests.support.real_airflow import DAY, WITHIN_S, Killer, RealAirflow, own_task, real_airflow

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


def own_dags(built: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What starts by the dataset's events, and a backfill that waits for an answer no longer than a second."""
    backfill = next(dag for dag in built["dags"] if dag["dag_id"] == BACKFILL)
    tasks = [
        {**task, "with": {**task["with"], "respond_s": 1}} if task["kind"] == "approve" else task for task in backfill["tasks"]
    ]
    consumer = {"schedule": {"assets": [ASSET]}, "tasks": [own_task("argv")]}
    return {"consumer": consumer, "unanswered": {"params": backfill["params"], "tasks": tasks}}


_RUNS_AFTER = count()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealAirflow]:
    if lacking := missing():
        pytest.skip(f"no {lacking}: install PostgreSQL")
    with real_airflow(tmp_path_factory.mktemp("intervals"), database=True, schedules=SCHEDULES, own=own_dags) as made:
        yield made


def run_hours(own: RealAirflow, hours: list[tuple[str, int]]) -> list[str]:
    """A run of each, asked for in this order, which is that in which they begin: Airflow's backfill knows only two orders."""
    return [interval(own, day, hour, f"{day}T{hour:02}") for day, hour in hours]


def interval(own: RealAirflow, day: str, hour: int, run_id: str) -> str:
    start, end = f"{day}T{hour:02}:00:00Z", f"{day}T{hour:02}:59:59Z"
    given = {"logical_date": start, "data_interval_start": start, "data_interval_end": end, "dag_run_id": run_id}
    own.api.send("POST", f"/dags/{INGEST}/dagRuns", {**given, "run_after": f"2026-11-20T00:00:{next(_RUNS_AFTER):02}Z", "conf": {}})
    return run_id


def over(own: RealAirflow, dag_id: str, runs: list[str]) -> bool:
    states = {run["dag_run_id"]: run["state"] for run in own.api.runs(dag_id)}
    return all(states.get(run) in ("success", "failed") for run in runs)


def all_succeeded(own: RealAirflow, dag_id: str, runs: list[str]) -> None:
    states = {run["dag_run_id"]: run["state"] for run in own.api.runs(dag_id)}
    assert {run: states[run] for run in runs if states[run] != "success"} == {}, [own.api.states(dag_id, run) for run in runs]


def ingest_with_kills(own: RealAirflow, hours: list[tuple[str, int]], planned: dict[tuple[str, str], str]) -> Killer:
    runs = run_hours(own, hours)
    killer = Killer(own, INGEST, planned)
    killer.until(lambda: over(own, INGEST, runs))
    all_succeeded(own, INGEST, runs)
    return killer


def test_hours_in_any_order_with_kills_equal_one_run(own: RealAirflow) -> None:
    """Nothing that was not killed runs twice, and each change of the dataset is one event, which starts what follows once."""
    hours = [(DAY, hour) for hour in range(6)]
    random.Random(5).shuffle(hours)
    for day, hour in hours:
        own.land(hour, day=day)
    killed = {(f"{DAY}T01", "ingest"): "headrace", (f"{DAY}T04", "ingest"): "task"}
    killer = ingest_with_kills(own, hours, killed)
    assert killer.made == killed
    assert own.state_of_tables() == own.undisturbed("six-hours")
    assert len(own.calls_of("ingest", "web")) <= len(hours) + len(killed)
    tries = {(task["dag_run_id"], task["task_id"]): task["try_number"] for task in own.api.tasks(INGEST)}
    assert {key for key, number in tries.items() if number > 1} == set(killed)
    assert_events_once(own, {f"{DAY}T{hour:02}" for _, hour in hours})


def assert_events_once(own: RealAirflow, runs: set[str]) -> None:
    events = [event for event in own.api.events() if event["uri"] == ASSET and event["source_dag_id"] == INGEST]
    assert sorted(event["source_run_id"] for event in events) == sorted(runs)

    def consumed() -> list[int]:
        found: list[Any] = []
        for run in own.api.runs("own.consumer"):
            found += own.api.get(f"/dags/own.consumer/dagRuns/{run['dag_run_id']}/upstreamAssetEvents")["asset_events"]
        return sorted(event["id"] for event in found)

    wanted = sorted(event["id"] for event in events)
    wait_until(lambda: len(consumed()) >= len(wanted), {True}, WITHIN_S)
    assert consumed() == wanted


def ask_for_the_day(own: RealAirflow, **more: str) -> dict[str, Any]:
    """A backfill of the day; the question that it asks."""
    wait_until(lambda: not own.api.open_backfills(BACKFILL), {True}, WITHIN_S)
    own.api.backfill(BACKFILL, f"{DAY}T00:00:00Z", f"{DAY}T00:00:00Z", **more)
    wait_until(lambda: len(own.api.waiting()), {1}, WITHIN_S)
    (question,) = own.api.waiting()
    return question


def test_a_backfill_is_refused_and_then_approved_and_says_by_whom(own: RealAirflow) -> None:
    """Refused, nothing has changed; approved, the same rows are published once more, and the replay says who wanted it and why."""
    before, kept = own.state_of_tables(), own.replays()
    question = ask_for_the_day(own)
    run = question["task_instance"]["dag_run_id"]
    own.api.answer(question, "Reject", reason="not now")
    assert own.api.wait_run(BACKFILL, run, WITHIN_S) == "success"
    assert own.api.states(BACKFILL, run) == {
        "plan": "success", "approve": "skipped", "run": "skipped", "diff": "skipped", "promote": "skipped"
    }  # fmt: skip
    assert own.state_of_tables() == before and own.replays() == kept
    question = ask_for_the_day(own, reprocess_behavior="completed")
    own.api.answer(question, "Approve", reason="once more")
    assert own.api.wait_run(BACKFILL, run, WITHIN_S) == "success"
    assert set(own.api.states(BACKFILL, run).values()) == {"success"}
    assert own.state_of_tables() == before
    (replay,) = [each for each in own.replays() if each not in kept]
    assert replay["state"] == "promoted"
    assert (replay["spec"]["approved_by"], replay["spec"]["reason"]) == ("Anonymous", "once more")


def test_a_question_that_nobody_answers_in_time_is_a_no(own: RealAirflow) -> None:
    before, kept = own.state_of_tables(), own.replays()
    run = own.api.trigger("own.unanswered", start=f"{DAY}T00:00:00Z", end=f"{DAY}T04:00:00Z")
    assert own.api.wait_run("own.unanswered", run, WITHIN_S) == "success"
    states = own.api.states("own.unanswered", run)
    assert states["plan"] == "success" and {states[name] for name in ("approve", "run", "diff", "promote")} == {"skipped"}
    assert own.state_of_tables() == before and own.replays() == kept


def test_a_file_that_comes_late_is_taken_by_its_hour_when_that_is_asked_for_again(own: RealAirflow) -> None:
    """By a backfill of that hour; no other folder is read, and the question of the day's replay then is not that of before."""
    own.land(3, "late")
    before, events = len(own.calls_of("ingest", "web")), len(own.api.events())
    own.api.backfill(INGEST, f"{DAY}T03:00:00Z", f"{DAY}T03:00:00Z", reprocess_behavior="completed")
    wait_until(lambda: not own.api.open_backfills(INGEST), {True}, WITHIN_S)
    assert own.api.wait_run(INGEST, f"{DAY}T03", WITHIN_S) == "success"
    (call,) = own.calls_of("ingest", "web")[before:]
    assert f"/{DAY}/03 " in call
    assert own.state_of_tables() == own.undisturbed("with-the-late-file")
    assert len(own.api.events()) == events + 1
    run = own.api.runs(BACKFILL)[-1]["dag_run_id"]
    own.api.clear(BACKFILL, run, "plan")
    assert own.api.wait_run(BACKFILL, run, WITHIN_S) == "failed"
    assert own.api.states(BACKFILL, run)["approve"] == "failed"
