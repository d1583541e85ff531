"""A real Airflow: retries by exit code, time limit, kill, clear, a trigger that fires, kills of scheduler, triggerer and task.

Long: it starts, and each task is a process of Airflow and one of headrace.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.spec.project import Project
from devstack import airflow
from devstack.airflow_api import AirflowApi, wait_until
from devstack.layout import Layout, Settings
from devstack.stack import Stack
from lake.location import Lake
from lake.tables.publish import table_totals
from templates.build.airflow import build
from tests.support.airflow import SCRIPTS, airflow_python
from tests.support.airflow_intervals import answer
from tests.support.runs import ingest
from tests.support.shop import TABLE, WEBSHOP, event
from tests.support.stack import free_ports

pytestmark = pytest.mark.long
WITHIN_S = 420.0
DAY = "2026-11-02"
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


class Own:
    """A real Airflow with a project of the shop, and DAGs of tasks that end as they are told."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder, self.dags = stack, folder, airflow.dags_folder(stack.layout)
        self.project = folder / "shop"
        self.api: AirflowApi

    def lay_out(self) -> None:
        """Files of the project, its DAGs and ours."""
        shutil.copytree(WEBSHOP / "sources", self.project / "sources")
        (self.project / "headrace.yaml").write_text(SCHEDULES)
        place = self.dags / "shop"
        place.mkdir(parents=True)
        built = build(Project.load(self.project), place)
        for name, text in built.files.items():
            (place / name).write_text(text)
        own = self.dags / "own"
        shutil.copytree(place, own)
        tasks = {
            "retry": self.task("fail-until", str(self.folder / "count"), "3"),
            "final": self.task("exit", "1"),
            "limit": self.task("sleep", str(self.folder / "limit.pids")),
            "kill": self.task("sleep", str(self.folder / "kill.pids")),
            "clear": self.task("sleep", str(self.folder / "clear.pids")),
            "orphan": self.task("sleep", str(self.folder / "orphan.pids")),
        }
        dags = [self.dag(name, task, timeout_s=8 if name == "limit" else 600) for name, task in tasks.items()]
        (own / "dags.json").write_text(json.dumps({**built.document, "dags": dags}))

    @staticmethod
    def task(*command: str) -> dict[str, Any]:
        return {"task_id": "task", "kind": "headrace", "after": [], "with": {"command": list(command)}}

    @staticmethod
    def dag(name: str, task: dict[str, Any], timeout_s: int) -> dict[str, Any]:
        """As a description has it."""
        retries = 0 if name in ("limit", "kill") else 3
        defaults = {"retries": retries, "retry_delay_s": 1, "max_retry_delay_s": 2, "timeout_s": timeout_s, "pool": "default_pool"}
        return {
            "dag_id": f"own.{name}", "kind": name, "owner": "tests", "contact": "", "runbook": "", "tags": [], "files": [],
            "schedule": None, "start": DAY, "catchup": False, "max_active_runs": 1, "max_active_tasks": 4, "about": name,
            "dagrun_timeout_s": 3_600, "defaults": defaults, "params": {}, "tasks": [task],
        }  # fmt: skip

    def land(self, hour: int) -> None:
        """An hour of the shop, as a folder that appears whole."""
        place = self.project / "drop" / DAY / f"{hour:02}"
        made = place.with_name(f".{hour:02}")
        made.mkdir(parents=True)
        (made / "events.jsonl").write_text("\n".join(event(100 * hour + n, 8 + n % 4) for n in range(60)) + "\n")
        made.rename(place)

    def pids(self, name: str) -> list[int]:
        """Processes of a task that sleeps, once they run."""
        file = self.folder / f"{name}.pids"
        wait_until(lambda: file.is_file() and file.read_text().endswith("\n"), {True}, WITHIN_S)
        return [int(pid) for pid in file.read_text().split()]

    def gone(self, pids: list[int]) -> None:
        wait_until(lambda: any(map(_alive, pids)), {False}, 60)

    def state(self, dag_id: str, run_id: str, task: str = "task") -> Callable[[], str | None]:
        return lambda: self.api.states(dag_id, run_id).get(task)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    folder = tmp_path_factory.mktemp("airflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(airflow.ENVIRONMENT, str(airflow_python().parent.parent))
        patch.setenv("HEADRACE_COMMAND", f"{sys.executable} {SCRIPTS / 'dispatch.py'} {sys.executable}")
        stack = Stack(Layout.default().with_home(folder / "stack"), Settings(ports=free_ports()))
        made = Own(stack, folder)
        made.lay_out()
        try:
            stack.up(("airflow",), deadline_s=airflow.DEADLINE_S)
            made.api = AirflowApi(stack.airflow_address)
            wait_until(lambda: {"own.retry", "shop.ingest.web"} <= made.api.dag_ids(), {True}, WITHIN_S)
            made.api.make_pools(json.loads((made.dags / "shop" / "pools.json").read_text()))
            for dag_id in made.api.dag_ids():
                made.api.unpause(dag_id)
            yield made
        finally:
            stack.down()


def test_a_component_that_is_down_is_tried_again_and_data_that_says_no_is_not(own: Own) -> None:
    retry, final = own.api.trigger("own.retry"), own.api.trigger("own.final")
    assert own.api.wait_run("own.retry", retry, WITHIN_S) == "success"
    assert own.api.wait_run("own.final", final, WITHIN_S) == "failed"
    (task,) = own.api.tasks("own.retry", retry)
    assert task["try_number"] == 3
    (task,) = own.api.tasks("own.final", final)
    assert task["try_number"] == 1 and task["max_tries"] == 3


def test_the_time_limit_ends_the_process_group(own: Own) -> None:
    run = own.api.trigger("own.limit")
    pids = own.pids("limit")
    assert own.api.wait_run("own.limit", run, WITHIN_S) == "failed"
    own.gone(pids)


def test_a_task_that_somebody_marks_as_failed_ends_with_its_process_group(own: Own) -> None:
    run = own.api.trigger("own.kill")
    pids = own.pids("kill")
    own.api.set_state("own.kill", run, "task", "failed")
    own.gone(pids)
    assert own.api.wait_run("own.kill", run, WITHIN_S) == "failed"


def test_a_task_that_is_cleared_while_it_runs_ends_and_runs_again(own: Own) -> None:
    run = own.api.trigger("own.clear")
    first = own.pids("clear")
    (own.folder / "clear.pids").unlink()
    own.api.clear("own.clear", run, "task")
    own.gone(first)
    again = own.pids("clear")
    assert not set(first) & set(again)
    own.api.set_state("own.clear", run, "task", "failed")
    own.gone(again)


def test_what_a_task_has_started_ends_where_the_task_is_killed_outright(own: Own) -> None:
    """Neither on_kill nor any signal handler runs then."""
    run = own.api.trigger("own.orphan")
    pids = own.pids("orphan")
    (task,) = own.api.tasks("own.orphan", run)
    os.kill(task["pid"], signal.SIGKILL)
    own.gone(pids)
    (own.folder / "orphan.pids").unlink()
    again = own.pids("orphan")  # Airflow tries it again
    own.api.set_state("own.orphan", run, "task", "failed")
    own.gone(again)


def test_kills_of_scheduler_and_triggerer_change_no_row_and_a_trigger_fires(own: Own) -> None:
    """Three hours; the second appears while it is awaited. The tables equal those of one run over everything."""
    own.land(0)
    own.land(2)
    own.api.backfill("shop.ingest.web", f"{DAY}T00:00:00Z", f"{DAY}T0{HOURS - 1}:00:00Z", max_active_runs=3)

    def runs() -> list[str]:
        return sorted(run["dag_run_id"] for run in own.api.runs("shop.ingest.web") if run["run_type"] == "backfill")

    wait_until(lambda: len(runs()), {HOURS}, WITHIN_S)
    awaited = runs()[1]
    wait_until(own.state("shop.ingest.web", awaited, "partitions"), {"deferred"}, WITHIN_S)
    for name in ("airflow-scheduler", "airflow-triggerer"):
        own.stack.kill(name)
        own.stack.start(name)
    own.land(1)
    for run in runs():
        assert own.api.wait_run("shop.ingest.web", run, WITHIN_S) == "success", own.api.states("shop.ingest.web", run)
    assert totals(own.project / "lake") == totals(one_run(own))


def test_a_backfill_is_published_where_somebody_approves_and_changes_nothing_where_somebody_refuses(own: Own) -> None:
    before = totals(own.project / "lake")
    refused = own.api.backfill("shop.backfill.customer_event", f"{DAY}T00:00:00Z", f"{DAY}T00:00:00Z")
    wait_until(lambda: len(own.api.waiting()), {1}, WITHIN_S)
    (question,) = own.api.waiting()
    run = question["task_instance"]["dag_run_id"]
    assert answer(own.api, "shop.backfill.customer_event", run, "Reject", "not now") == "success"
    assert own.api.states("shop.backfill.customer_event", run)["promote"] == "skipped"
    wait_until(lambda: own.api.get(f"/backfills/{refused}")["completed_at"] is None, {False}, WITHIN_S)
    own.api.backfill("shop.backfill.customer_event", f"{DAY}T00:00:00Z", f"{DAY}T00:00:00Z", reprocess_behavior="completed")
    wait_until(lambda: len(own.api.waiting()), {1}, WITHIN_S)
    (question,) = own.api.waiting()
    run = question["task_instance"]["dag_run_id"]
    assert answer(own.api, "shop.backfill.customer_event", run, "Approve", "once more") == "success"
    assert own.api.states("shop.backfill.customer_event", run)["promote"] == "success"
    assert totals(own.project / "lake") == before


def one_run(own: Own) -> Path:
    """A lake of its own, by one run over all folders."""
    lake = own.folder / "undisturbed"
    ingest(lake, [own.project / "drop"], project=Project.load(own.project))
    return lake


def totals(lake: Path) -> tuple[int, str]:
    """Rows and content hash."""
    return table_totals(Lake.at(str(lake)).load(TABLE))
