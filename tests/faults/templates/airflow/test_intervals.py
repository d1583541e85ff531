"""Intervals on a real Airflow with PostgreSQL and two schedulers: any order, kills, approval. The tables equal those of one run."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from devstack.airflow_api import wait_until
from tests.support.airflow_intervals import (
    BACKFILL,
    INGEST,
    SCHEDULES,
    Killer,
    all_succeeded,
    answer,
    assert_events_once,
    over,
    own_dags,
    run_hours,
)  # fmt: skip
from tests.support.postgres import missing
from tests.support.real_airflow import DAY, WITHIN_S, RealAirflow, real_airflow

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealAirflow]:
    if lacking := missing():
        pytest.skip(f"no {lacking}: install PostgreSQL")
    with real_airflow(tmp_path_factory.mktemp("intervals"), database=True, schedules=SCHEDULES, own=own_dags) as made:
        yield made


def ingest_with_kills(own: RealAirflow, hours: list[tuple[str, int]], planned: dict[tuple[str, str], str]) -> Killer:
    runs = run_hours(own, hours)
    killer = Killer(own, INGEST, planned)
    killer.until(lambda: over(own, INGEST, runs))
    all_succeeded(own, INGEST, runs)
    return killer


def test_hours_in_any_order_with_kills_equal_one_run(own: RealAirflow) -> None:
    """Nothing that was not killed runs twice, and each change of the dataset is one event, which starts what follows once."""
    hours = [(DAY, hour) for hour in range(4)]
    random.Random(5).shuffle(hours)
    for day, hour in hours:
        own.land(hour, day=day)
    killed = {(f"{DAY}T01", "ingest"): "headrace", (f"{DAY}T02", "ingest"): "task"}
    killer = ingest_with_kills(own, hours, killed)
    assert killer.made == killed
    assert own.state_of_tables() == own.undisturbed("some-hours")
    assert len(own.calls_of("ingest", "web")) <= len(hours) + len(killed)
    tries = {(task["dag_run_id"], task["task_id"]): task["try_number"] for task in own.api.tasks(INGEST)}
    assert {key for key, number in tries.items() if number > 1} == set(killed)
    assert_events_once(own, {f"{DAY}T{hour:02}" for _, hour in hours})


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
    assert answer(own.api, BACKFILL, run, "Reject", "not now") == "success"
    assert own.api.states(BACKFILL, run) == {
        "plan": "success", "approve": "skipped", "run": "skipped", "diff": "skipped", "promote": "skipped"
    }  # fmt: skip
    assert own.state_of_tables() == before and own.replays() == kept
    ask_for_the_day(own, reprocess_behavior="completed")
    assert answer(own.api, BACKFILL, run, "Approve", "once more") == "success"
    assert set(own.api.states(BACKFILL, run).values()) == {"success"}
    assert own.state_of_tables() == before
    (replay,) = [each for each in own.replays() if each not in kept]
    assert replay["state"] == "promoted"
    assert (replay["spec"]["approved_by"], replay["spec"]["reason"]) == ("Anonymous", "once more")
    ask_for_the_day(own, reprocess_behavior="completed")  # after a yes: a further replay, of the same run
    assert answer(own.api, BACKFILL, run, "Approve", "and again") == "success"
    assert own.state_of_tables() == before
    assert [each["state"] for each in own.replays() if each not in kept] == ["promoted", "promoted"]


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
