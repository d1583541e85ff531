"""One stack: start it, look at it, hurt it, stop it. ``headrace stack`` and the tests use the same calls.

stack = Stack(Layout.default())
stack.up()                      # fetches what is missing, starts what does not run, waits until all of it serves
stack.kill("taskmanager")       # SIGKILL; its Python workers end with it. Further ones are taskmanager-2, taskmanager-3, …
stack.start("taskmanager")
stack.wait_ready("taskmanager")
stack.down()                    # no process is left
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from contracts.errors import ComponentDownError, ConfigurationError
from devstack import airflow, pieces, tools
from devstack.cdp.component import cdp
from devstack.component import Component
from devstack.flink import jobmanager, taskmanager
from devstack.gcs import gcs
from devstack.kafka import kafka
from devstack.layout import TASKMANAGER, Layout, Settings, taskmanager_name, taskmanager_number
from devstack.lock import held
from devstack.processes import command_of, listener, marked, port_is_free, spawn, stop
from devstack.registry import CCOMPAT, registry
from devstack.s3 import s3
from devstack.state import Record, State
from runners import binaries
from runners.flink.worker.launcher import write_launcher

# What ``--only`` names, and the processes of each, with one TaskManager; two are files that Beam starts by itself.
GROUPS = {
    "kafka": ("kafka",),
    "flink": ("jobmanager", TASKMANAGER),
    "job-server": (),
    "prism": (),
    "gcs": ("gcs",),
    "cdp": ("cdp",),
    "registry": ("registry",),
    "s3": ("s3",),
    "airflow": airflow.PROCESSES,
}
EXTRA = ("gcs", "cdp", "registry", "s3", "airflow")  # only where it is asked for
USUAL = tuple(name for name in GROUPS if name not in EXTRA)
MARK = "HEADRACE_STACK"  # in the environment of all that a stack starts, directly or not: its home folder
READY_DEADLINE_S = 60.0
_GRACE_S = 15.0
_POLL_S = 0.1
_LOG_LIMIT_BYTES = 50 << 20

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Status:
    """A component that was started. state: ready, starting (runs, does not serve yet) or dead; pid: None when dead."""

    component: str
    state: str
    pid: int | None
    url: str
    ports: dict[str, int]
    log: str
    resident_bytes: int
    started_at: str


class Stack:
    """The processes of one home folder.

    Args:
        layout: its folders.
        settings: ports and sizes; None takes those that it runs with, else the defaults.
        report: is told what happens, one line each.
    """

    def __init__(self, layout: Layout, settings: Settings | None = None, report: Report = lambda line: None) -> None:
        self.layout = layout
        self._given = settings
        self._state = State(layout.state)
        self._report = report

    # --- where things are

    @property
    def settings(self) -> Settings:
        """As given, else as it runs, else the defaults."""
        return self._given or self._state.settings() or Settings()

    @property
    def kafka_bootstrap(self) -> str:
        """HOST:PORT of the broker."""
        return f"localhost:{self.settings.ports.kafka}"

    @property
    def gcs_emulator(self) -> str:
        """Address of the emulator of Google Cloud Storage; its clients take it from ``STORAGE_EMULATOR_HOST``."""
        return f"http://localhost:{self.settings.ports.gcs}"

    @property
    def s3_emulator(self) -> str:
        """Address of the stand-in for S3; its clients take it from ``AWS_ENDPOINT_URL_S3``."""
        return f"http://localhost:{self.settings.ports.s3}"

    @property
    def airflow_address(self) -> str:
        """Address of Airflow's pages and API."""
        return airflow.address(self.settings.ports.airflow)

    @property
    def cdp_endpoint(self) -> str:
        """Address of the CDP endpoint: Segment's dialect, and RudderStack's at ``/rudderstack``."""
        return f"http://localhost:{self.settings.ports.cdp}"

    @property
    def registry_url(self) -> str:
        """Address of the schema registry, as Confluent's API; ``registry.url`` of ``headrace.yaml``."""
        return f"http://localhost:{self.settings.ports.registry}{CCOMPAT}"

    @property
    def flink_rest(self) -> str:
        """HOST:PORT of the JobManager's REST interface; Beam's ``--flink_master``."""
        return f"localhost:{self.settings.ports.flink_rest}"

    @property
    def flink_conf_dir(self) -> Path:
        """The cluster's configuration; Beam's ``--flink_conf_dir``: a job takes its retention of checkpoints from there."""
        return self.layout.conf

    @property
    def job_server_jar(self) -> Path:
        """Beam's ``--flink_job_server_jar``."""
        return binaries.job_server_jar(self.layout.downloads)

    @property
    def prism(self) -> Path:
        """Beam's ``--prism_location``."""
        return binaries.prism(self.layout.downloads)

    @property
    def worker_command(self) -> Path:
        """The command of Beam's PROCESS environment; runs workers with the interpreter that did the last ``up``."""
        return self.layout.bin / "flink-worker"

    @property
    def checkpoints_dir(self) -> Path:
        """Where Flink keeps checkpoints, retained ones included: ``<job id>/chk-<n>``."""
        return self.layout.checkpoints

    @property
    def savepoints_dir(self) -> Path:
        """Where Flink writes savepoints unless told otherwise."""
        return self.layout.savepoints

    # --- the whole

    def up(self, only: Collection[str] = USUAL, *, deadline_s: float = READY_DEADLINE_S) -> list[Status]:
        """Fetch what is missing, start what does not run, wait until all of it serves.

        **Guarantees**: a second call changes nothing, but that it starts further TaskManagers where the settings have more of them;
        where it raises, nothing that it had started is left running.

        Args:
            only: some of GROUPS.
            deadline_s: for the components to be ready, from the moment that all is fetched.

        Raises:
            ConfigurationError: an unknown component, a missing tool, or it runs with other settings.
            ComponentDownError: a port is taken, a download failed, a component did not start, or another up or down is at work.
        """
        if unknown := [name for name in only if name not in GROUPS]:
            raise ConfigurationError(f"no component {', '.join(map(repr, unknown))}; there are: {', '.join(GROUPS)}")
        names = self._processes(only, self.settings.taskmanagers)
        with self._alone():
            before = self._check_settings()
            missing = [name for name in names if not self._state.running(name)]
            self._check_ports(missing)
            pieces.fetch(only, self.layout.downloads, self._report)
            write_launcher(self.layout.bin)
            self._state.write_settings(self.settings)
            for name in names:
                if name not in missing:
                    self._report(f"{name}: runs already")
            try:
                self._bring_up(names, missing, deadline_s)
            except BaseException:  # an interrupt too must not leave half a stack behind
                self._stop(missing)
                if before:
                    self._state.write_settings(before)
                else:
                    self._state.forget_settings()
                raise
        return self.status()

    def down(self, *, purge_data: bool = False) -> list[str]:
        """Stop everything. Returns the names of what ran.

        **Guarantees**: no process of this stack is left, Python workers and those of killed components included.

        Args:
            purge_data: also delete data, checkpoints, savepoints, logs and configuration; downloads stay.

        Raises:
            ComponentDownError: another up or down is at work.
        """
        if not self.layout.state.is_dir() and not any(marked(MARK, str(self.layout.home))):
            return []
        with self._alone():
            stopped = self._stop(self.processes)
            stop(marked(MARK, str(self.layout.home)), grace_s=_GRACE_S)
            self._state.forget_settings()
            if purge_data:
                for folder in (self.layout.data, self.layout.logs, self.layout.conf):
                    shutil.rmtree(folder, ignore_errors=True)
        return stopped

    def status(self) -> list[Status]:
        """What was started and not stopped since, in the order of ``processes``."""
        return [self._status(self._component(name), record) for name, record in self._state.records(self.processes)]

    @property
    def processes(self) -> tuple[str, ...]:
        """All that it may run, by their names; the TaskManagers are those of its settings, and further ones that are on record."""
        recorded = (taskmanager_number(name) or 0 for name in self._state.components())
        return tuple(self._processes(GROUPS, max(self.settings.taskmanagers, *recorded, 0)))

    # --- one component

    def start(self, name: str) -> None:
        """Start one process of a stack that was ``up``; does not wait. Nothing happens if it runs.

        Raises:
            ComponentDownError: its port is taken, or it cannot be started.
            ConfigurationError: it has no such component.
        """
        if not self._state.running(name):
            self._check_ports([name])
            self._start(self._component(name))

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a component; with SIGKILL, wait until it is gone.

        Raises:
            ComponentDownError: it does not run.
            ConfigurationError: there is no such component.
        """
        identity = self._state.running(name)
        if identity is None or not identity.send(number):
            self._component(name)
            raise ComponentDownError(f"{name} does not run; headrace stack up starts it")
        if number == signal.SIGKILL:
            stop([identity], grace_s=_GRACE_S)

    def wait_ready(self, name: str, deadline_s: float = READY_DEADLINE_S, *, abandoned: threading.Event | None = None) -> None:
        """Wait until the last start of a component serves, or until ``abandoned``.

        Raises:
            ComponentDownError: it ended, or was not ready in time; the message names its log.
        """
        component, until = self._component(name), time.monotonic() + deadline_s
        record = self._state.record(name)
        while record and record.identity.alive() and not (abandoned and abandoned.is_set()):
            if component.ready(record.start_id):
                return
            if time.monotonic() > until:
                raise ComponentDownError(f"{name} was not ready in time; see the end of {component.log}")
            time.sleep(_POLL_S)
        raise ComponentDownError(f"{name} ended while it started; see the end of {component.log}")

    def pid(self, name: str) -> int | None:
        """A component's process id; None if it does not run."""
        identity = self._state.running(name)
        return identity.pid if identity else None

    def worker_pids(self) -> list[int]:
        """Process ids of Python workers that a TaskManager has started and that still run, also of a TaskManager that is dead."""
        known = {record.identity for _, record in self._state.records(self.processes)}
        return sorted(process.pid for process in marked(MARK, str(self.layout.home)) if process not in known)

    # --- inside

    def _component(self, name: str) -> Component:
        """The component of this name.

        Raises:
            ConfigurationError: there is none.
        """
        if name not in self.processes:
            raise ConfigurationError(f"no component {name!r}; this stack has: {', '.join(self.processes)}")
        number = taskmanager_number(name)
        if number is None:
            return self._others[name]
        flink = pieces.flink(self.layout.downloads)
        return taskmanager(self.layout, self.settings, number, java=tools.java(), flink=flink)

    @cached_property
    def _others(self) -> dict[str, Component]:
        """All but the TaskManagers."""
        layout, settings, java = self.layout, self.settings, tools.java()
        made = (
            kafka(layout, settings, java=java, libs=pieces.kafka_libs(layout.downloads)),
            jobmanager(layout, settings, java=java, flink=pieces.flink(layout.downloads)),
            gcs(layout, settings, binary=pieces.gcs(layout.downloads)),
            cdp(layout, settings),
            registry(layout, settings, java=java, folder=pieces.registry(layout.downloads)),
            s3(layout, settings),
            *airflow.airflow(layout, settings),
        )
        return {component.name: component for component in made}

    @staticmethod
    def _processes(groups: Collection[str], taskmanagers: int) -> list[str]:
        """Of these groups, in the order of GROUPS."""
        names = [name for group, processes in GROUPS.items() if group in groups for name in processes]
        if TASKMANAGER in names:
            first = names.index(TASKMANAGER)
            names[first : first + 1] = map(taskmanager_name, range(1, taskmanagers + 1))
        return names

    def _alone(self) -> AbstractContextManager[None]:
        return held(self._state.lock, "headrace stack up or down")

    def _bring_up(self, names: Sequence[str], missing: Collection[str], deadline_s: float) -> None:
        """All side by side: a JVM takes seconds to start."""
        began, abandoned = time.monotonic(), threading.Event()

        def bring_up(name: str) -> None:
            if name in missing:
                self._start(self._component(name))
            self.wait_ready(name, deadline_s - (time.monotonic() - began), abandoned=abandoned)
            if name in missing:
                self._report(f"{name}: ready after {time.monotonic() - began:.1f} s")

        with ThreadPoolExecutor(max(1, len(names))) as pool:
            try:
                done, _ = wait([pool.submit(bring_up, name) for name in names], return_when=FIRST_EXCEPTION)
                for finished in done:
                    finished.result()
            finally:
                abandoned.set()

    def _start(self, component: Component) -> None:
        for folder in (self.layout.conf, self.layout.logs, self.layout.checkpoints, self.layout.savepoints):
            folder.mkdir(parents=True, exist_ok=True)
        for log in (component.log, self.layout.logs / "workers.log"):
            if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
                log.replace(log.with_suffix(".log.1"))
        start = component.prepare()
        env = {**os.environ, **component.env, MARK: str(self.layout.home)}
        identity = spawn(start.command, log=component.log, cwd=self.layout.home, env=env)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._state.write(component.name, Record(identity=identity, start_id=start.start_id, started_at=now))

    def _stop(self, names: Collection[str]) -> list[str]:
        running = {name: identity for name in names if (identity := self._state.running(name))}
        killed = stop(running.values(), grace_s=_GRACE_S)
        for name, identity in running.items():
            self._report(f"{name}: {'killed, it did not end by itself' if identity in killed else 'stopped'}")
        for name in names:
            self._state.forget(name)
        return list(running)

    def _status(self, component: Component, record: Record) -> Status:
        alive = record.identity.alive()
        return Status(
            component=component.name,
            state="dead" if not alive else "ready" if component.ready(record.start_id) else "starting",
            pid=record.identity.pid if alive else None,
            url=component.url,
            ports=dict(component.ports),
            log=str(component.log),
            resident_bytes=record.identity.resident_bytes() if alive else 0,
            started_at=record.started_at,
        )

    def _check_settings(self) -> Settings | None:
        """The settings that it runs with, None if it does not run.

        Raises:
            ConfigurationError: it runs with others. More TaskManagers may come while it runs.
        """
        stored, asked = self._state.settings(), self.settings
        if stored is None or not any(map(self._state.running, self.processes)):
            return None
        same = replace(asked, taskmanagers=min(stored.taskmanagers, asked.taskmanagers))
        if found := stored.differences(same):
            raise ConfigurationError(f"the stack runs with {'; '.join(found)}; stop it first: headrace stack down")
        return stored

    def _check_ports(self, names: Collection[str]) -> None:
        for name in names:
            for what, port in self._component(name).ports.items():
                if not port_is_free(port):
                    pid = listener(port)
                    who = f"process {pid} ({command_of(pid)})" if pid else "another process"
                    raise ComponentDownError(
                        f"port {port} ({what}) is taken by {who}; stop that, or give another port: --port {what}=NUMBER"
                    )
