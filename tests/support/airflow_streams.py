"""A real Airflow, Kafka and Flink with a project that has a stream, and tasks that end as a test wants it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contracts.spec.project import Project
from devstack import airflow
from devstack.airflow_api import AirflowApi, wait_until
from devstack.layout import Layout, Settings
from devstack.stack import USUAL, Stack
from templates.build.airflow import build
from tests.support.airflow import ROOT, SCRIPTS, airflow_python
from tests.support.kafka import Broker, Record
from tests.support.shop import WEBSHOP
from tests.support.stack import cancel_all_jobs, free_ports, jobs, wait_for
from tests.support.stream_population import track

WITHIN_S = 900.0
PARTITIONS = 2
MOVES_S = 240  # a job that works moves on a busy machine too
QUICK = "[--immediate, 'off', --early-panes, 1s, --commit-every, 1s, --late-panes, 1s, --checkpoint-every, 1s]"
HANGING = "#!/bin/sh\nexec sleep 900\n"


class Streams:
    """The stack, the project ``shop``, its topic, and what was sent."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        self.project, self.lake = folder / "shop", folder / "shop" / "lake"
        self.broker: Broker
        self.api: AirflowApi
        self.topic = ""
        self.sent = 0
        self._sends = threading.Lock()

    # --- what is sent

    def send(self, count: int = 20) -> None:
        """Further events of now."""
        with self._sends:
            now = datetime.now(UTC)
            numbers = range(self.sent, self.sent + count)
            records = [Record(track(f"m-{n}", now), int(now.timestamp() * 1000), n % PARTITIONS) for n in numbers]
            self.broker.send(self.topic, records)
            self.sent += count

    @contextmanager
    def load(self) -> Iterator[None]:
        """Events all the time."""
        over = threading.Event()

        def go_on() -> None:
            while not over.wait(1.0):
                self.send(4)

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @property
    def ids(self) -> set[str]:
        """Of all that was sent."""
        return {f"m-{n}" for n in range(self.sent)}

    # --- Airflow

    def lay_out(self) -> None:
        """Files of the project, its DAGs and ours."""
        worker = self.folder / "worker-that-sleeps"
        worker.write_text(HANGING)
        worker.chmod(0o755)
        for name in ("shop", "down"):
            shutil.copytree(WEBSHOP / "sources", self.folder / name / "sources")
        flink = f"flink: {self.stack.flink_rest}\n"
        (self.folder / "down" / "headrace.yaml").write_text(f"lake: lake\ncatalog: postgresql+psycopg://u:p@localhost:1/c\n{flink}")
        (self.folder / "down" / "lake" / "_runs").mkdir(parents=True)
        stream = (
            f'{{input: "{self.broker.uri(self.topic)}", movesWithin: {MOVES_S}s, previous: $HEADRACE_PREVIOUS, options: {QUICK}}}'
        )
        (self.project / "headrace.yaml").write_text(
            f"lake: lake\n{flink}schedules:\n  name: shop\n  start: 2026-11-01\n  streams:\n    web: {stream}\n"
        )
        dags = airflow.dags_folder(self.stack.layout)
        place = dags / "shop"
        place.mkdir(parents=True)
        built = build(Project.load(self.project), place)
        for name, text in built.files.items():
            (place / name).write_text(text)
        own = dags / "own"
        shutil.copytree(place, own)
        (own / "dags.json").write_text(json.dumps({**built.document, "dags": [self.bounded("job"), self.bounded("job-limit", 75)]}))
        text = (SCRIPTS / "sensor_dags.py").read_text()
        for name in ("shop", "down", "nowhere"):
            text = text.replace(f"@{name}", str(self.folder / name))
        (dags / "sensor_dags.py").write_text(text)

    def bounded(self, name: str, limit_s: int = 900) -> dict[str, Any]:
        """A DAG whose task waits for a bounded job that does not end by itself."""
        given = ["ingest", "web", "--runner", "flink", "--workers", "1", "--until", "now", "--lake", str(self.folder / "bounded")]
        given += ["--python-workers", f"process:{self.folder / 'worker-that-sleeps'}"]
        task = {
            "task_id": "task", "kind": "headrace", "after": [],
            "with": {"command": given, "inputs": [self.broker.uri(self.topic)], "project": str(self.project)},
        }  # fmt: skip
        defaults = {"retries": 0, "retry_delay_s": 1, "max_retry_delay_s": 2, "timeout_s": limit_s, "pool": "default_pool"}
        return {
            "dag_id": f"own.{name}", "kind": name, "owner": "tests", "contact": "", "runbook": "", "tags": [], "files": [],
            "schedule": None, "start": "2026-11-01", "catchup": False, "max_active_runs": 1, "max_active_tasks": 4, "about": name,
            "dagrun_timeout_s": 3_600, "defaults": defaults, "params": {}, "tasks": [task],
        }  # fmt: skip

    def ingest_to_now(self, lake: str) -> int:
        """A bounded job into a lake of its own, to its end: the exit code."""
        command = ["ingest", "web", "--runner", "flink", "--workers", "1", "--until", "now", "--lake", str(self.folder / lake)]
        places = ["--input", self.broker.uri(self.topic), "--project", str(self.project)]
        return subprocess.run(
            [sys.executable, "-m", "cli.main", *command, *places], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL, check=False,
        ).returncode  # fmt: skip

    def run(self, dag_id: str, **conf: Any) -> tuple[str, str, dict[str, str | None]]:
        """Trigger and wait: the run, its state, and those of its tasks."""
        run = self.api.trigger(dag_id, **conf)
        state = self.api.wait_run(dag_id, run, WITHIN_S)
        return run, state, self.api.states(dag_id, run)

    def state(self, dag_id: str, run_id: str, task: str = "task") -> Callable[[], str | None]:
        """Of a task, to wait for."""
        return lambda: self.api.states(dag_id, run_id).get(task)

    def said(self, dag_id: str, run_id: str, task: str = "task") -> str:
        """The log of a task, all of its tries."""
        folder = airflow.home(self.stack.layout) / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task}"
        return "".join(path.read_text() for path in sorted(folder.rglob("*.log")))

    def xcom(self, dag_id: str, run_id: str, task: str) -> Any:
        """What a task returned."""
        return self.api.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task}/xcomEntries/return_value", deserialize=True)[
            "value"
        ]

    # --- Flink

    @property
    def jobs(self) -> set[str]:
        """Jobs that run, or try to."""
        return set(jobs(self.stack))

    def wait_for_jobs(self, number: int) -> set[str]:
        """Wait until so many run."""
        wait_for(lambda: len(self.jobs) == number, f"{number} jobs", WITHIN_S)
        return self.jobs

    def end_jobs(self) -> None:
        """Cancel all."""
        cancel_all_jobs(self.stack)


@contextmanager
def streams(folder: Path) -> Iterator[Streams]:
    """All of it, until the block ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(airflow.ENVIRONMENT, str(airflow_python().parent.parent))
        version = f"{sys.executable} {SCRIPTS / 'versions.py'}"
        patch.setenv("HEADRACE_CODE", str(ROOT))
        patch.setenv("HEADRACE_COMMAND", f"{version} {folder} {sys.executable}")
        patch.setenv("HEADRACE_PREVIOUS", f"{version} {folder / 'previous'} {sys.executable}")
        stack = Stack(Layout.default().with_home(folder / "stack"), Settings(ports=free_ports(), slots=3, taskmanager_memory="3g"))
        made = Streams(stack, folder)
        try:
            stack.up(USUAL, deadline_s=WITHIN_S)
            patch.setenv("HEADRACE_JOB_SERVER_JAR", str(stack.job_server_jar))
            made.broker, made.topic = Broker(stack.kafka_bootstrap), "web-events"
            made.broker.create(made.topic, PARTITIONS)
            made.lay_out()
            stack.up(("airflow",), deadline_s=WITHIN_S)
            made.api = AirflowApi(stack.airflow_address)
            wait_until(lambda: {"own.job", "own.moves", "shop.upgrade.web"} <= made.api.dag_ids(), {True}, WITHIN_S)
            for dag_id in made.api.dag_ids():
                made.api.unpause(dag_id)
            yield made
        finally:
            stack.down()
