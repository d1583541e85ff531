"""A real Airflow for tests: a project of the shop, its DAGs, tasks that end as they are told; on PostgreSQL, with two schedulers.

Airflow knows PostgreSQL by the driver of the tests' own environment, which is put on its path: it is of the same Python.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.main import main
from contracts.spec.project import Project
from devstack import airflow
from devstack.airflow_api import AirflowApi, wait_until
from devstack.layout import Layout, Settings
from devstack.processes import spawn
from devstack.stack import MARK, Stack
from lake.ledger.ledger import LedgerEntry, source_ledger
from lake.location import Lake
from lake.runs.process import ProcessIdentity
from lake.tables.publish import table_totals
from templates.build.airflow import build
from tests.support.airflow import SCRIPTS, airflow_python
from tests.support.postgres import Postgres, postgres
from tests.support.runs import ingest
from tests.support.shop import TABLE, WEBSHOP, event
from tests.support.stack import free_ports

WITHIN_S = 420.0
DAY = "2026-11-02"
DEAD_AFTER_S = 20  # without a sign of life; Airflow's own are minutes


def _limits(dead_after_s: int) -> dict[str, str]:
    """Settings by which Airflow takes a task, a scheduler or a triggerer for dead."""
    return {
        "scheduler__task_instance_heartbeat_timeout": f"{dead_after_s}",
        "scheduler__task_instance_heartbeat_timeout_detection_interval": "5",
        "scheduler__orphaned_tasks_check_interval": "10",
        "scheduler__scheduler_health_check_threshold": f"{dead_after_s}",
        "triggerer__triggerer_health_check_threshold": f"{dead_after_s}",
    }


OwnDags = Callable[[dict[str, Any]], Mapping[str, Mapping[str, Any]]]
"""Of the project's description: descriptions of DAGs of ours by name, as far as they differ from the usual."""


class RealAirflow:
    """Airflow with a project of the shop, named ``shop``, and DAGs named ``own.…``. calls: a line for each call of headrace."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder, self.dags = stack, folder, airflow.dags_folder(stack.layout)
        self.project, self.calls = folder / "shop", folder / "calls"
        self.second: ProcessIdentity | None = None  # scheduler
        self.api: AirflowApi

    def lay_out(self, schedules: str, own: OwnDags, files: Mapping[str, str]) -> set[str]:
        """Files of the project, its DAGs and ours; the names of ours."""
        shutil.copytree(WEBSHOP / "sources", self.project / "sources")
        for name, text in {"headrace.yaml": schedules, **files}.items():
            (self.project / name).parent.mkdir(exist_ok=True)
            (self.project / name).write_text(text)
        self.calls.touch()
        self.build()
        document = json.loads((self.dags / "shop" / "dags.json").read_text())
        shutil.copytree(self.dags / "shop", self.dags / "own")
        described = [{**_usual(name), **more} for name, more in own(document).items()]
        (self.dags / "own" / "dags.json").write_text(json.dumps({**document, "dags": described}))
        return {dag["dag_id"] for dag in described}

    def build(self) -> None:
        """As ``headrace airflow build``, but that a failure is tried again at once, and three hours are ingested at a time."""
        place = self.dags / "shop"
        place.mkdir(parents=True, exist_ok=True)
        built = build(Project.load(self.project), place)
        for dag in built.document["dags"]:
            dag["defaults"] |= {"retry_delay_s": 1, "max_retry_delay_s": 2}
            dag["max_active_runs"] = 3 if dag["kind"] == "ingest" else dag["max_active_runs"]
        for name, text in {**built.files, "dags.json": json.dumps(built.document)}.items():
            (place / name).write_text(text)

    def ready(self, dag_ids: set[str]) -> None:
        """Wait until it has read them; let all run."""
        self.api = AirflowApi(self.stack.airflow_address)
        wait_until(lambda: dag_ids <= self.api.dag_ids(), {True}, WITHIN_S)
        self.api.make_pools(json.loads((self.dags / "shop" / "pools.json").read_text()))
        for dag_id in self.api.dag_ids():
            self.api.unpause(dag_id)

    def start_second(self) -> None:
        """Another scheduler on the same database; the stack ends it with itself."""
        self.second = start_another(self.stack, "scheduler")

    def kill_second(self) -> None:
        """SIGKILL to it and its workers: a worker that is left keeps its connection to the database, and the locks of its rows."""
        assert self.second is not None
        os.killpg(self.second.pid, signal.SIGKILL)
        wait_until(self.second.alive, {False}, 30)

    def tags(self, dag_id: str) -> set[str]:
        """As Airflow has read the DAG last."""
        return {tag["name"] for tag in self.api.get(f"/dags/{dag_id}")["tags"]}

    # --- data

    def land(self, hour: int, name: str = "events", day: str = DAY, records: int = 40) -> None:
        """A file of an hour of the shop, there at once."""
        place = self.project / "drop" / day / f"{hour:02}"
        place.mkdir(parents=True, exist_ok=True)
        made = self.folder / "landing.jsonl"
        first = int(day[-2:]) * 100_000 + hour * 1_000 + (500 if name != "events" else 0)
        lines = [event(first + n, hour).replace(DAY, day) for n in range(records)]
        lines += [event(first + records, hour, type="no such type").replace(DAY, day), lines[0]]  # rejected; twice
        made.write_text("\n".join(lines) + "\n")
        made.rename(place / f"{name}.jsonl")

    def state_of_tables(self, lake: Path | None = None) -> tuple[int, str, LedgerEntry]:
        """Rows, content hash and ledger of the project's lake, or of another."""
        at, project = Lake.at(str(lake or self.project / "lake")), Project.load(self.project)
        rows, digest = table_totals(at.load(TABLE))
        spec, _ = project.source("web")
        return rows, f"{digest:032x}", sum(source_ledger(at, spec, TABLE).values(), LedgerEntry())

    def undisturbed(self, name: str) -> tuple[int, str, LedgerEntry]:
        """The same of a lake of its own, by one run over all folders that there are."""
        lake = self.folder / name
        ingest(lake, [self.project / "drop"], project=Project.load(self.project), max_rejected=1.0)
        return self.state_of_tables(lake)

    def replays(self) -> list[dict[str, Any]]:
        """As ``headrace replay list`` shows them."""
        done = CliRunner().invoke(main, ["replay", "list", "--project", str(self.project), "--json"])
        assert done.exit_code == 0, done.output
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def calls_of(self, *words: str) -> list[str]:
        """Calls of headrace that had all of these words."""
        return [line for line in self.calls.read_text().splitlines() if all(word in line.split() for word in words)]

    # --- processes

    def kill(self, name: str) -> None:
        """SIGKILL to a component of Airflow and all processes of its group, as the end of a container; start it again."""
        pid = self.stack.pid(name)
        assert pid, f"{name} does not run"
        os.killpg(pid, signal.SIGKILL)
        wait_until(lambda: self.stack.pid(name), {None}, 30)
        self.stack.start(name)

    def end(self, task: Mapping[str, Any], of: str) -> bool:
        """SIGKILL to a task: its process (``task``), the one that watches it (``worker``), its headrace (``headrace``), or, while
        it runs, to the ``triggerer`` or the first ``scheduler``, which is started again.
        """
        if of in ("scheduler", "triggerer"):
            self.kill(f"airflow-{of}")
            return True
        pid = task["pid"]
        if of == "headrace":
            found = [each for each in _below(pid) if "cli.main" in _command(each)]
            targets = found[-1:]
        else:
            targets = [pid] if of == "task" else [_parent(pid)]
        return all([_kill(target) for target in targets]) if targets else False


def start_another(stack: Stack, kind: str) -> ProcessIdentity:
    """Another scheduler or triggerer of a stack's Airflow; the stack ends it with itself."""
    layout = stack.layout
    env = {**os.environ, **airflow.variables(layout, stack.settings.ports.airflow), MARK: str(layout.home)}
    command = [str(airflow.binary()), kind, "--skip-serve-logs"]
    return spawn(command, log=layout.logs / f"airflow-{kind}-2.log", cwd=layout.home, env=env)


def _usual(name: str) -> dict[str, Any]:
    """A description as ``headrace airflow build`` writes it."""
    defaults = {"retries": 3, "retry_delay_s": 1, "max_retry_delay_s": 2, "timeout_s": 600, "pool": "default_pool"}
    return {
        "dag_id": f"own.{name}", "kind": name, "owner": "tests", "contact": "", "runbook": "", "tags": [], "files": [],
        "schedule": None, "start": DAY, "catchup": False, "max_active_runs": 1, "max_active_tasks": 4, "about": name,
        "dagrun_timeout_s": 3_600, "defaults": defaults, "params": {}, "tasks": [],
    }  # fmt: skip


def own_task(*command: str) -> dict[str, Any]:
    """A task of it, that calls headrace."""
    return {"task_id": "task", "kind": "headrace", "after": [], "with": {"command": list(command)}}


@contextmanager
def airflow_stack(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A stack of its own whose Airflow is that of the tests; nothing of it runs before ``up``, and nothing is left."""
    patch.setenv(airflow.ENVIRONMENT, str(airflow_python().parent.parent))
    stack = Stack(Layout.default().with_home(folder / "stack"), Settings(ports=free_ports()))
    try:
        yield stack
    finally:
        stack.down()


@contextmanager
def real_airflow(
    folder: Path,
    *,
    database: bool,
    schedules: str,
    own: OwnDags,
    schedulers: int = 2,
    files: Mapping[str, str] | None = None,
    dead_after_s: int = DEAD_AFTER_S,
) -> Iterator[RealAirflow]:
    """One that runs, and of which nothing is left.

    Args:
        folder: of the project, and of what Airflow keeps.
        database: PostgreSQL; else SQLite, and one scheduler.
        schedules: the text of ``headrace.yaml``.
        own: what DAGs it has beside those of the project.
        schedulers: how many, on PostgreSQL.
        files: further files of the project, by their place in it.
        dead_after_s: when it takes for dead what gives no sign of life. Under a load that starves it, what works is taken for dead:
            then a task is tried again until its tries are used up.
    """
    with pytest.MonkeyPatch.context() as patch, _database(database, folder, patch), airflow_stack(folder, patch) as stack:
        patch.setenv("HEADRACE_COMMAND", f"{sys.executable} {SCRIPTS / 'dispatch.py'} {sys.executable}")
        patch.setenv("HEADRACE_TEST_CALLS", str(folder / "calls"))
        for name, value in _limits(dead_after_s).items():
            patch.setenv(f"AIRFLOW__{name.upper()}", value)
        made = RealAirflow(stack, folder)
        names = made.lay_out(schedules, own, files or {})
        stack.up(("airflow",), deadline_s=airflow.DEADLINE_S)
        if database and schedulers > 1:
            made.start_second()
        made.ready({*names, "shop.ingest.web"})
        yield made


@contextmanager
def _database(wanted: bool, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Postgres | None]:
    if not wanted:
        yield None
        return
    drivers = folder / "drivers"
    drivers.mkdir()
    for name in ("psycopg", "psycopg_binary"):
        found = find_spec(name)
        assert found and found.submodule_search_locations, f"no {name}: make dev"
        place = Path(found.submodule_search_locations[0])
        for each in (place, *place.parent.glob(f"{name}.libs"), *place.parent.glob(f"{name}-*.dist-info")):
            (drivers / each.name).symlink_to(each)
    with postgres() as server:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(drivers)))))
        patch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", server.url)
        patch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC", server.url)
        yield server


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _below(pid: int) -> list[int]:
    """Its descendants, the nearest first."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                parents.setdefault(_parent(int(entry.name)), []).append(int(entry.name))
    found, todo = list[int](), [pid]
    while todo:
        children = parents.get(todo.pop(0), [])
        found += children
        todo += children
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""
