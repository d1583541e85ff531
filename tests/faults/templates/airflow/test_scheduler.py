"""A real Airflow: retries by exit code, time limit, kill, clear, a trigger that fires, kills of scheduler, triggerer and task.

Long: it starts, and each task is a process of Airflow and one of headrace.
"""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.spec.project import Project
from devstack.airflow_api import wait_until
from lake.location import Lake
from lake.tables.publish import table_totals
from tests.support.airflow_intervals import answer
from tests.support.real_airflow import DAY, WITHIN_S, RealAirflow, own_task, real_airflow
from tests.support.runs import ingest
from tests.support.shop import TABLE, event

pytestmark = pytest.mark.long
HOURS = 3
SCHEDULES = """
lake: lake
schedules:
  name: shop
  start: 2026-11-02
  sources:
    web: {input: drop/%Y-%m-%d/%H, catchup: false, missing: fail, wait: 10m}
  backfill: {size: 1K}
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealAirflow]:
    folder = tmp_path_factory.mktemp("airflow")
    once = {"retries": 0, "retry_delay_s": 1, "max_retry_delay_s": 2, "timeout_s": 600, "pool": "default_pool"}

    def dags(_: dict[str, Any]) -> dict[str, dict[str, Any]]:
        sleeping = {name: {"tasks": [own_task("sleep", str(folder / f"{name}.pids"))]} for name in ("clear", "orphan")}
        return {
            **sleeping,
            "retry": {"tasks": [own_task("fail-until", str(folder / "count"), "3")]},
            "final": {"tasks": [own_task("exit", "1")]},
            "limit": {"tasks": [own_task("sleep", str(folder / "limit.pids"))], "defaults": {**once, "timeout_s": 8}},
            "kill": {"tasks": [own_task("sleep", str(folder / "kill.pids"))], "defaults": once},
        }

    with real_airflow(folder, database=False, schedules=SCHEDULES, own=dags) as made:
        yield made


def land(own: RealAirflow, hour: int) -> None:
    """An hour of the shop, as a folder that appears whole: it is awaited."""
    place = own.project / "drop" / DAY / f"{hour:02}"
    made = place.with_name(f".{hour:02}")
    made.mkdir(parents=True)
    (made / "events.jsonl").write_text("\n".join(event(100 * hour + n, 8 + n % 4) for n in range(60)) + "\n")
    made.rename(place)


def pids_of(own: RealAirflow, name: str) -> list[int]:
    """Processes of a task that sleeps, once they run."""
    file = own.folder / f"{name}.pids"
    wait_until(lambda: file.is_file() and file.read_text().endswith("\n"), {True}, WITHIN_S)
    return [int(pid) for pid in file.read_text().split()]


def wait_gone(pids: list[int]) -> None:
    wait_until(lambda: any(map(_alive, pids)), {False}, 60)


def state_of(own: RealAirflow, dag_id: str, run_id: str, task: str) -> Callable[[], str | None]:
    return lambda: own.api.states(dag_id, run_id).get(task)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_component_that_is_down_is_tried_again_and_data_that_says_no_is_not(own: RealAirflow) -> None:
    retry, final = own.api.trigger("own.retry"), own.api.trigger("own.final")
    assert own.api.wait_run("own.retry", retry, WITHIN_S) == "success"
    assert own.api.wait_run("own.final", final, WITHIN_S) == "failed"
    (task,) = own.api.tasks("own.retry", retry)
    assert task["try_number"] == 3
    (task,) = own.api.tasks("own.final", final)
    assert task["try_number"] == 1 and task["max_tries"] == 3


def test_the_time_limit_ends_the_process_group(own: RealAirflow) -> None:
    run = own.api.trigger("own.limit")
    pids = pids_of(own, "limit")
    assert own.api.wait_run("own.limit", run, WITHIN_S) == "failed"
    wait_gone(pids)


def test_a_task_that_somebody_marks_as_failed_ends_with_its_process_group(own: RealAirflow) -> None:
    run = own.api.trigger("own.kill")
    pids = pids_of(own, "kill")
    own.api.set_state("own.kill", run, "task", "failed")
    wait_gone(pids)
    assert own.api.wait_run("own.kill", run, WITHIN_S) == "failed"


def test_a_task_that_is_cleared_while_it_runs_ends_and_runs_again(own: RealAirflow) -> None:
    run = own.api.trigger("own.clear")
    first = pids_of(own, "clear")
    (own.folder / "clear.pids").unlink()
    own.api.clear("own.clear", run, "task")
    wait_gone(first)
    again = pids_of(own, "clear")
    assert not set(first) & set(again)
    own.api.set_state("own.clear", run, "task", "failed")
    wait_gone(again)


def test_what_a_task_has_started_ends_where_the_task_is_killed_outright(own: RealAirflow) -> None:
    """Neither on_kill nor any signal handler runs then."""
    run = own.api.trigger("own.orphan")
    pids = pids_of(own, "orphan")
    (task,) = own.api.tasks("own.orphan", run)
    os.kill(task["pid"], signal.SIGKILL)
    wait_gone(pids)
    (own.folder / "orphan.pids").unlink()
    again = pids_of(own, "orphan")  # Airflow tries it again
    own.api.set_state("own.orphan", run, "task", "failed")
    wait_gone(again)


def test_kills_of_scheduler_and_triggerer_change_no_row_and_a_trigger_fires(own: RealAirflow) -> None:
    """Three hours; the second appears while it is awaited. The tables equal those of one run over everything."""
    land(own, 0)
    land(own, 2)
    own.api.backfill("shop.ingest.web", f"{DAY}T00:00:00Z", f"{DAY}T0{HOURS - 1}:00:00Z", max_active_runs=3)

    def runs() -> list[str]:
        return sorted(run["dag_run_id"] for run in own.api.runs("shop.ingest.web") if run["run_type"] == "backfill")

    wait_until(lambda: len(runs()), {HOURS}, WITHIN_S)
    awaited = runs()[1]
    wait_until(state_of(own, "shop.ingest.web", awaited, "partitions"), {"deferred"}, WITHIN_S)
    for name in ("airflow-scheduler", "airflow-triggerer"):
        own.stack.kill(name)
        own.stack.start(name)
    land(own, 1)
    for run in runs():
        assert own.api.wait_run("shop.ingest.web", run, WITHIN_S) == "success", own.api.states("shop.ingest.web", run)
    assert totals(own.project / "lake") == totals(one_run(own))


def test_a_backfill_is_published_where_somebody_approves_and_changes_nothing_where_somebody_refuses(own: RealAirflow) -> None:
    before = totals(own.project / "lake")
    refused = own.api.backfill("shop.backfill.customer_event", f"{DAY}T00:00:00Z", f"{DAY}T00:00:00Z")
    wait_until(lambda: len(own.api.waiting()), {1}, WITHIN_S)
    (question,) = own.api.waiting()
    run = question["task_instance"]["dag_run_id"]
    ended = answer(own.api, "shop.backfill.customer_event", run, "Reject", "not now")
    states = own.api.states("shop.backfill.customer_event", run)
    assert (ended, states["promote"]) == ("success", "skipped"), states
    wait_until(lambda: own.api.get(f"/backfills/{refused}")["completed_at"] is None, {False}, WITHIN_S)
    own.api.backfill("shop.backfill.customer_event", f"{DAY}T00:00:00Z", f"{DAY}T00:00:00Z", reprocess_behavior="completed")
    wait_until(lambda: len(own.api.waiting()), {1}, WITHIN_S)
    (question,) = own.api.waiting()
    run = question["task_instance"]["dag_run_id"]
    assert answer(own.api, "shop.backfill.customer_event", run, "Approve", "once more") == "success"
    assert own.api.states("shop.backfill.customer_event", run)["promote"] == "success"
    assert totals(own.project / "lake") == before


def one_run(own: RealAirflow) -> Path:
    """A lake of its own, by one run over all folders."""
    lake = own.folder / "undisturbed"
    ingest(lake, [own.project / "drop"], project=Project.load(own.project))
    return lake


def totals(lake: Path) -> tuple[int, str]:
    """Rows and content hash."""
    return table_totals(Lake.at(str(lake)).load(TABLE))
