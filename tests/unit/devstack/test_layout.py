"""Folders and ports: defaults, and what overrides them."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import ConfigurationError
from devstack.layout import Layout, Ports, Settings

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
    numbers = [getattr(Ports(), name) for name in Ports.names()]
    assert len(set(numbers)) == len(numbers)
    assert all(20_000 < number < 32_768 for number in numbers)


@pytest.mark.parametrize(
    ("environ", "given", "message"),
    [
        ({"HEADRACE_STACK_PORT_KAFKA": "x"}, {}, "HEADRACE_STACK_PORT_KAFKA='x': expected a port number"),
        ({}, {"kafak": 1}, "no port is called 'kafak'; there are: kafka, "),
        ({}, {"kafka": 65_536}, "port kafka=65536: expected 1 to 65535"),
        ({}, {"kafka": 28_081}, "port 28081 is given to both kafka and flink_rest"),
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
