"""Which components a stack has, by its settings and by what is on record; nothing is started."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.errors import ComponentDownError, ConfigurationError
from devstack.layout import Layout, Settings
from devstack.stack import Stack
from devstack.state import Record, State
from lake.runs.process import ProcessIdentity
from tests.support.stack import free_ports


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "stack", tmp_path / "downloads")


def started(layout: Layout, settings: Settings, *names: str, alive: bool = False) -> Stack:
    """A stack with these on record; all of them are this process, or one that is gone."""
    ours = ProcessIdentity.of(os.getpid())
    assert ours
    identity = ours if alive else ProcessIdentity(ours.pid, ours.start_ticks + 1, ours.boot_id)
    state = State(layout.state)
    state.write_settings(settings)
    for name in names:
        state.write(name, Record(identity=identity, start_id=f"{name}-1", started_at="2026-11-26T00:00:00+00:00"))
    return Stack(layout)


def test_each_taskmanager_is_a_component_with_its_own_log_and_ports(layout: Layout) -> None:
    stack = started(layout, Settings(taskmanagers=3), "kafka", "jobmanager", "taskmanager", "taskmanager-2", "taskmanager-3")
    assert stack.processes == (
        "kafka",
        "jobmanager",
        "taskmanager",
        "taskmanager-2",
        "taskmanager-3",
        "gcs",
        "cdp",
        "registry",
        "s3",
        "airflow-api",
        "airflow-scheduler",
        "airflow-dag-processor",
        "airflow-triggerer",
    )
    found = {one.component: one for one in stack.status()}
    assert list(found) == ["kafka", "jobmanager", "taskmanager", "taskmanager-2", "taskmanager-3"]
    managers = [found[name] for name in list(found)[2:]]
    assert [Path(one.log).name for one in managers] == ["taskmanager.log", "taskmanager-2.log", "taskmanager-3.log"]
    ports = [port for one in managers for port in one.ports.values()]
    assert len(set(ports)) == 9
    assert [one.url for one in managers] == [f"http://localhost:{port}/metrics" for port in (29_250, 29_260, 29_270)]


def test_a_stack_of_the_version_before_is_listed_and_stopped(layout: Layout) -> None:
    stack = started(layout, Settings(), "kafka", "taskmanager")
    document = Settings().to_json()
    del document["taskmanagers"], document["ports"]["further"]
    (layout.state / "settings.json").write_text(json.dumps(document))
    assert stack.settings == Settings()
    assert [one.component for one in stack.status()] == ["kafka", "taskmanager"]
    assert stack.down() == [] and stack.status() == []


def test_what_is_on_record_beyond_the_settings_is_listed_and_forgotten_when_stopped(layout: Layout) -> None:
    started(layout, Settings(), "taskmanager", "taskmanager-4")
    stack = Stack(layout, Settings(taskmanagers=2))
    assert [one.component for one in stack.status()] == ["taskmanager", "taskmanager-4"]
    stack.down()
    assert stack.status() == [] and "taskmanager-4" not in stack.processes


def test_while_it_runs_it_may_get_more_taskmanagers_and_not_fewer(layout: Layout) -> None:
    started(layout, Settings(taskmanagers=2), "kafka", alive=True)
    assert Stack(layout, Settings(taskmanagers=3))._check_settings() == Settings(taskmanagers=2)
    with pytest.raises(ConfigurationError, match="the stack runs with taskmanagers 2, not 1; stop it first"):
        Stack(layout, Settings(taskmanagers=1))._check_settings()
    with pytest.raises(ConfigurationError, match="the stack runs with slots 2, not 4; stop it first"):
        Stack(layout, Settings(taskmanagers=3, slots=4))._check_settings()


def test_a_taken_port_of_a_further_taskmanager_is_named_before_anything_starts(layout: Layout) -> None:
    stack = Stack(layout, Settings(ports=free_ports(2), taskmanagers=2))
    port = stack.settings.ports.of_taskmanager(2)["taskmanager_2_data"]
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        server.listen()
        with pytest.raises(ComponentDownError) as raised:
            stack.up(["flink"])
    assert str(raised.value).startswith(f"port {port} (taskmanager_2_data) is taken by process {os.getpid()} (")
    assert str(raised.value).endswith("stop that, or give another port: --port taskmanager_2_data=NUMBER")
    assert stack.status() == []


@pytest.mark.parametrize("act", [Stack.start, Stack.kill])
def test_a_component_that_it_does_not_have_is_told_with_those_it_has(layout: Layout, act: Callable[[Stack, str], None]) -> None:
    with pytest.raises(ConfigurationError, match="no component 'taskmanager-2'; this stack has: kafka, jobmanager, taskmanager, "):
        act(Stack(layout, Settings()), "taskmanager-2")
