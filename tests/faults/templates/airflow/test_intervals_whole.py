"""Three days by the hour in any order, a tenth of the tasks killed, a scheduler too; rivals.

Long: each task is a process of Airflow and one of headrace.
"""

import random
import time
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
    approve_all,
    assert_events_once,
    over,
    own_dags,
    promoted,
    replay,
    run_hours,
)  # fmt: skip
from tests.support.postgres import missing
from tests.support.real_airflow import DAY, WITHIN_S, RealAirflow, real_airflow
from tests.support.tiers import sized

pytestmark = pytest.mark.long
DAYS = ("2026-11-02", "2026-11-03", "2026-11-04")
HOURS = range(sized(6, 24))
KILLED = 0.1
WHOLE_S = 5_400.0
DEAD_AFTER_S = 60


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealAirflow]:
    if lacking := missing():
        pytest.skip(f"no {lacking}: install PostgreSQL")
    folder = tmp_path_factory.mktemp("whole")
    with real_airflow(folder, database=True, schedules=SCHEDULES, own=own_dags, dead_after_s=DEAD_AFTER_S) as made:
        yield made


def test_three_days_in_any_order_with_kills_of_tasks_and_of_a_scheduler_equal_one_run(own: RealAirflow) -> None:
    chance = random.Random(11)
    hours = [(day, hour) for day in DAYS for hour in HOURS]
    chance.shuffle(hours)
    for day, hour in hours:
        own.land(hour, day=day)
    tasks = [(f"{day}T{hour:02}", task) for day, hour in hours for task in ("partitions", "ingest", "publish")]
    planned = {key: chance.choice(_ways(key[1])) for key in chance.sample(tasks, round(len(tasks) * KILLED))}
    runs = run_hours(own, hours)
    killer = Killer(own, INGEST, planned)
    began = time.monotonic()
    killer.until(lambda: over(own, INGEST, runs[: len(runs) // 2]), WHOLE_S)
    own.kill_second()
    killer.until(lambda: over(own, INGEST, runs), WHOLE_S)
    all_succeeded(own, INGEST, runs)
    assert len(killer.made) > len(planned) / 2  # some tasks are over before anybody looks
    found = own.state_of_tables()
    tasks_over = f"{len(runs)} hours, {len(tasks)} tasks in {time.monotonic() - began:.0f} s"
    print(f"{tasks_over}; killed, with a scheduler: {len(killer.made)} of {len(planned)}; {found}")
    assert found == own.undisturbed("three-days")
    assert_events_once(own, set(runs))
    own.start_second()


def _ways(task: str) -> tuple[str, ...]:
    return ("task", "worker", "headrace") if task == "ingest" else ("task", "worker")


def test_a_backfill_beside_an_ingest_of_the_same_hours_loses_neither(own: RealAirflow) -> None:
    """The ingest reads a file that comes late while the hours are rebuilt."""
    run = replay(own, 4, 6, "-beside")
    wait_until(lambda: len(own.api.waiting()), {1}, WITHIN_S)
    own.land(5, "late")
    (ingest,) = run_hours(own, [(DAY, 5)], "-again")
    assert answer(own.api, BACKFILL, run, "Approve", "tests") == "success"
    assert own.api.wait_run(INGEST, ingest, WITHIN_S) == "success"
    assert own.state_of_tables() == own.undisturbed("beside")


def test_two_backfills_of_overlapping_hours_go_one_after_the_other(own: RealAirflow) -> None:
    before, known = own.state_of_tables(), promoted(own)
    runs = [replay(own, 0, 3), replay(own, 2, 5)]

    def are_over() -> bool:
        approve_all(own)
        return over(own, BACKFILL, runs)

    wait_until(are_over, {True}, WITHIN_S)
    all_succeeded(own, BACKFILL, runs)
    assert own.state_of_tables() == before
    assert promoted(own) == known + 2


def test_a_clear_of_half_a_run_changes_nothing(own: RealAirflow) -> None:
    before = own.state_of_tables()
    run = own.api.runs(INGEST)[0]["dag_run_id"]
    own.api.clear(INGEST, run, "ingest")
    assert own.api.wait_run(INGEST, run, WITHIN_S) == "success"
    assert own.state_of_tables() == before


def test_400_days_are_a_few_tasks_by_the_hour_and_one_question_for_a_replay(own: RealAirflow) -> None:
    before = own.state_of_tables()
    span = {"data_interval_start": "2025-10-01T00:00:00Z", "data_interval_end": "2026-11-05T00:00:00Z"}
    given = {"logical_date": "2025-10-01T00:00:00Z", "dag_run_id": "400-days", "conf": {}, **span}
    own.api.send("POST", f"/dags/{INGEST}/dagRuns", given)
    assert own.api.wait_run(INGEST, "400-days", WITHIN_S) == "success"
    calls = own.calls_of("ingest", "web")
    assert max(line.split().count("--input") for line in calls) <= 38  # 9,600 hours in 256 tasks
    run = own.api.trigger(BACKFILL, start="2025-10-01T00:00:00Z", end="2026-11-05T00:00:00Z")
    wait_until(lambda: len(own.api.waiting()), {1}, WITHIN_S)
    assert answer(own.api, BACKFILL, run, "Reject", "too much") == "success"
    assert own.state_of_tables() == before


def test_a_source_that_is_deleted_and_a_project_that_does_not_load_are_red_until_they_are_back(own: RealAirflow) -> None:
    before: Any = own.state_of_tables()
    source, project = own.project / "sources" / "web.yaml", own.project / "headrace.yaml"
    text = project.read_text()
    project.write_text("lake: [")
    (run,) = run_hours(own, [(DAY, 0)], "-no-project")
    assert own.api.wait_run(INGEST, run, WITHIN_S) == "failed"
    assert own.api.states(INGEST, run)["publish"] == "upstream_failed"
    project.write_text(text)
    away = source.rename(own.folder / "web.yaml")
    wait_until(lambda: "broken" in own.tags(INGEST), {True}, WITHIN_S)
    away.rename(source)
    wait_until(lambda: "broken" in own.tags(INGEST), {False}, WITHIN_S)
    (run,) = run_hours(own, [(DAY, 0)], "-back")
    assert own.api.wait_run(INGEST, run, WITHIN_S) == "success"
    assert own.state_of_tables() == before
