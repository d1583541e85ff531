"""Folders and ports: defaults, and what overrides them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contracts.errors import ConfigurationError
from devstack.layout import Layout, Ports, Settings, taskmanager_name, taskmanager_number

ROOT = Path(__file__).parents[3]


def test_a_clone_keeps_its_stack_in_its_ignored_cache() -> None:
    layout = Layout.default({})
    assert layout.home == ROOT / ".cache" / "stack"
    assert layout.downloads == layout.home / "downloads"


def test_home_and_downloads_can_be_elsewhere_and_apart() -> None:
    assert Layout.default({"HEADRACE_STACK_HOME": "/a"}).downloads == Path("/a/downloads")
    layout = Layout.default({"HEADRACE_STACK_HOME": "/a", "HEADRACE_STACK_DOWNLOADS": "/b"})
    assert (layout.home, layout.downloads) == (Path("/a"), Path("/b"))
    other = layout.with_home(Path("/c"))
    assert (other.home, other.downloads) == (Path("/c"), Path("/b"))


def test_given_ports_win_over_the_environment_and_that_over_what_was() -> None:
    environ = {"HEADRACE_STACK_PORT_KAFKA": "1001", "HEADRACE_STACK_PORT_FLINK_REST": "1002"}
    ports = Ports(taskmanager_rpc=1003).changed(environ, {"kafka": 1004})
    assert (ports.kafka, ports.flink_rest, ports.taskmanager_rpc) == (1004, 1002, 1003)


def test_every_default_port_is_its_own_and_outside_the_ephemeral_range() -> None:
    numbers = Ports().numbers(taskmanagers=64)
    assert tuple(numbers) == Ports.names(64)
    assert len(set(numbers.values())) == len(numbers)
    assert all(20_000 < number < 32_768 for number in numbers.values())


def test_taskmanagers_are_numbered_from_the_second_on() -> None:
    names = ["taskmanager", "taskmanager-2", "taskmanager-3"]
    assert [taskmanager_name(number) for number in (1, 2, 3)] == names
    assert [taskmanager_number(name) for name in names] == [1, 2, 3]
    others = ("jobmanager", "taskmanager-1", "taskmanager-02", "taskmanager-0", "taskmanager-x", "taskmanager-", "other-2")
    assert [taskmanager_number(name) for name in others] == [None] * len(others)


def test_ports_of_a_further_taskmanager_follow_the_first_unless_they_are_given() -> None:
    ports = Ports(taskmanager_rpc=21_000)
    assert ports.of_taskmanager(1) == {"taskmanager_rpc": 21_000, "taskmanager_data": 28_085, "taskmanager_metrics": 29_250}
    assert list(ports.of_taskmanager(3).items()) == [
        ("taskmanager_3_rpc", 21_020), ("taskmanager_3_data", 28_105), ("taskmanager_3_metrics", 29_270),
    ]  # fmt: skip
    environ = {"HEADRACE_STACK_PORT_TASKMANAGER_2_RPC": "1001", "HEADRACE_STACK_PORT_TASKMANAGER_3_RPC": "1002"}
    changed = ports.changed(environ, {"taskmanager_2_data": 1003}, taskmanagers=2)
    assert tuple(changed.of_taskmanager(2).values()) == (1001, 1003, 29_260)
    assert changed.of_taskmanager(3)["taskmanager_3_rpc"] == 21_020  # the stack has no third
    assert changed.changed({}, {}, taskmanagers=2) == changed == Ports.of(changed.numbers(1) | changed.further)


@pytest.mark.parametrize(
    ("environ", "given", "message"),
    [
        ({"HEADRACE_STACK_PORT_KAFKA": "x"}, {}, "HEADRACE_STACK_PORT_KAFKA='x': expected a port number"),
        ({}, {"kafak": 1}, "no port is called 'kafak'; there are: kafka, "),
        ({}, {"kafka": 65_536}, "port kafka=65536: expected 1 to 65535"),
        ({}, {"kafka": 28_081}, "port 28081 is given to both kafka and flink_rest"),
        ({}, {"taskmanager_2_rpc": 21_000}, "no port is called 'taskmanager_2_rpc'; there are: kafka, "),
    ],
)
def test_wrong_ports_are_refused_in_one_sentence(environ: dict[str, str], given: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Ports().changed(environ, given)
    assert message in str(raised.value)


def test_settings_survive_their_file_and_say_where_they_differ() -> None:
    settings = Settings(ports=Ports(kafka=1), slots=3)
    assert Settings.from_json(settings.to_json()) == settings
    assert settings.differences(settings) == []
    assert settings.differences(Settings()) == ["port kafka 1, not 29092", "slots 3, not 2"]
    several = Settings(ports=Ports.of({"taskmanager_2_rpc": 21_000}), taskmanagers=2)
    assert Settings.from_json(json.loads(json.dumps(several.to_json()))) == several
    assert several.differences(Settings()) == ["taskmanagers 2, not 1"]
    assert several.differences(Settings(taskmanagers=2)) == ["port taskmanager_2_rpc 21000, not 28094"]


def test_ports_of_all_taskmanagers_are_held_to_be_different() -> None:
    ports = Ports(kafka=28_094)
    assert Settings(ports=ports).ports.kafka == 28_094
    with pytest.raises(ConfigurationError, match="port 28094 is given to both kafka and taskmanager_2_rpc"):
        Settings(ports=ports, taskmanagers=2)
