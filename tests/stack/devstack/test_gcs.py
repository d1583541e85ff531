"""The storage emulator as a component of the stack."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from cli.main import main
from devstack.gcs import BUCKET
from devstack.stack import EXTRA, USUAL, Stack
from lake.storage import storage_of


def test_the_emulator_keeps_its_objects_when_it_is_killed(private_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = private_stack
    (status,) = stack.up(["gcs"])
    assert (status.state, status.url) == ("ready", stack.gcs_emulator)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", stack.gcs_emulator)
    storage = storage_of(f"gs://{BUCKET}")
    assert storage.put_if_absent(f"gs://{BUCKET}/a/x", b"one")
    assert not storage.put_if_absent(f"gs://{BUCKET}/a/x", b"two")
    stack.kill("gcs")
    (again,) = stack.up(["gcs"])
    assert again.pid != status.pid
    assert storage.read(f"gs://{BUCKET}/a/x") == b"one"
    assert not storage.put_if_absent(f"gs://{BUCKET}/a/x", b"three")
    assert stack.down(purge_data=True) == ["gcs"]
    assert not stack.layout.data.exists()


def test_the_emulator_is_started_only_where_it_is_asked_for() -> None:
    assert "gcs" in EXTRA
    assert "gcs" not in USUAL


def test_up_says_how_clients_find_the_emulator_and_needs_no_java(private_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, port = private_stack.layout, private_stack.settings.ports.gcs
    monkeypatch.setenv("HEADRACE_STACK_HOME", str(layout.home))
    monkeypatch.setenv("HEADRACE_STACK_DOWNLOADS", str(layout.downloads))
    monkeypatch.setenv("HEADRACE_STACK_PORT_GCS", str(port))
    monkeypatch.setenv("JAVA_HOME", str(layout.home))
    up = CliRunner().invoke(main, ["stack", "up", "--only", "gcs"], catch_exceptions=False)
    assert up.exit_code == 0, up.stderr
    assert up.stdout.splitlines()[-1] == f"export STORAGE_EMULATOR_HOST=http://localhost:{port}  # bucket gs://{BUCKET}"
    found = json.loads(CliRunner().invoke(main, ["stack", "status", "--json"]).stdout)
    assert [(one["component"], one["state"]) for one in found["components"]] == [("gcs", "ready")]
    down = CliRunner().invoke(main, ["stack", "down"], catch_exceptions=False)
    assert down.stdout == "stopped: gcs\n"
