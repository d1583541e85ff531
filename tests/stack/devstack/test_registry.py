"""The schema registry as a component of the stack."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from cli.main import main
from devstack.stack import EXTRA, USUAL, Stack
from tests.support.wire import client


def test_the_registry_keeps_its_schemas_when_it_is_killed_and_goes_with_the_stack(private_stack: Stack) -> None:
    stack = private_stack
    (status,) = stack.up(["registry"])
    assert (status.state, status.url) == ("ready", stack.registry_url)
    number = client(stack.registry_url).register("a-value", '{"type": "record", "name": "A", "fields": []}', "AVRO")
    stack.kill("registry")
    (again,) = stack.up(["registry"])
    assert again.pid != status.pid
    assert client(stack.registry_url).schema(f"id-{number}").type == "AVRO"
    assert stack.down(purge_data=True) == ["registry"]
    assert not stack.layout.data.exists()


def test_the_registry_is_started_only_where_it_is_asked_for() -> None:
    assert "registry" in EXTRA and "registry" not in USUAL


def test_up_says_where_the_registry_is(private_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, port = private_stack.layout, private_stack.settings.ports.registry
    monkeypatch.setenv("HEADRACE_STACK_HOME", str(layout.home))
    monkeypatch.setenv("HEADRACE_STACK_DOWNLOADS", str(layout.downloads))
    monkeypatch.setenv("HEADRACE_STACK_PORT_REGISTRY", str(port))
    up = CliRunner().invoke(main, ["stack", "up", "--only", "registry"], catch_exceptions=False)
    assert up.exit_code == 0, up.stderr
    assert f"registry url     http://localhost:{port}/apis/ccompat/v7" in up.stdout.splitlines()
    found = json.loads(CliRunner().invoke(main, ["stack", "status", "--json"]).stdout)
    assert [(one["component"], one["state"]) for one in found["components"]] == [("registry", "ready")]
    assert found["registry_url"] == f"http://localhost:{port}/apis/ccompat/v7"
