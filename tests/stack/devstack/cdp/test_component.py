"""The endpoint as a component of the stack, and as a command of its own."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner

from cli.main import main
from contracts.errors import ConfigurationError
from devstack.cdp.component import WRITE_KEY, answers, check_installed
from devstack.layout import Layout
from devstack.stack import EXTRA, USUAL, Stack
from tests.support.cdp import CdpEndpoint

ROOT = Path(__file__).parents[4]


def post(stack: Stack, message_id: str) -> requests.Response:
    batch = {"batch": [{"type": "page", "userId": "u", "messageId": message_id}]}
    return requests.post(f"{stack.cdp_endpoint}/v1/batch", json=batch, auth=(WRITE_KEY, ""), timeout=30)


def events(stack: Stack) -> int:
    return int(requests.get(f"{stack.cdp_endpoint}/_control/counters", timeout=30).json()["events_accepted"])


def test_it_keeps_its_ledger_when_it_is_killed_and_goes_with_the_stack(private_stack: Stack) -> None:
    stack = private_stack
    (status,) = stack.up(["cdp"])
    assert (status.state, status.url) == ("ready", stack.cdp_endpoint)
    assert post(stack, "a").status_code == 200
    stack.kill("cdp")
    assert stack.status()[0].state == "dead"
    (again,) = stack.up(["cdp"])
    assert again.pid != status.pid
    assert events(stack) == 1
    stack.down()
    assert not answers(stack.settings.ports.cdp)
    stack.up(["cdp"])
    assert events(stack) == 1
    assert stack.down(purge_data=True) == ["cdp"]
    assert not stack.layout.data.exists()


def test_it_is_started_only_where_it_is_asked_for() -> None:
    assert "cdp" in EXTRA
    assert "cdp" not in USUAL


def test_up_prints_address_and_key_and_needs_no_java(private_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, port = private_stack.layout, private_stack.settings.ports.cdp
    monkeypatch.setenv("HEADRACE_STACK_HOME", str(layout.home))
    monkeypatch.setenv("HEADRACE_STACK_DOWNLOADS", str(layout.downloads))
    monkeypatch.setenv("JAVA_HOME", str(layout.home))
    up = CliRunner().invoke(main, ["stack", "up", "--only", "cdp", "--port", f"cdp={port}"], catch_exceptions=False)
    assert up.exit_code == 0, up.stderr
    assert (
        up.stdout.splitlines()[-1]
        == f"CDP endpoint http://localhost:{port}, write key dev-write-key; its page is at the same address"
    )
    found = json.loads(CliRunner().invoke(main, ["stack", "status", "--json"]).stdout)
    assert [(one["component"], one["state"]) for one in found["components"]] == [("cdp", "ready")]
    assert (found["cdp_endpoint"], found["cdp_write_key"]) == (f"http://localhost:{port}", "dev-write-key")
    assert (layout.logs / "cdp.log").is_file()
    down = CliRunner().invoke(main, ["stack", "down"], catch_exceptions=False)
    assert down.stdout == "stopped: cdp\n"


def test_what_is_not_installed_is_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def without(name: str, *more: Any) -> Any:
        return None if name in ("starlette", "uvicorn") else find(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    message = "the CDP endpoint needs starlette and uvicorn: pip install 'headrace[cdp]'"
    with pytest.raises(ConfigurationError) as raised:
        check_installed()
    assert str(raised.value) == message
    with pytest.raises(ConfigurationError) as raised:
        Stack(Layout(tmp_path, tmp_path)).up(["cdp"])
    assert str(raised.value) == message


def test_the_stack_is_imported_without_the_extra() -> None:
    code = "import sys; sys.modules['starlette'] = sys.modules['uvicorn'] = None; import devstack.stack, cli.stack"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("dev", "--write-key dev: expected NAME=KEY, and no colon in the key"),
        ("dev=a:b", "--write-key dev=a:b: expected NAME=KEY, and no colon in the key"),
    ],
)
def test_a_wrong_write_key_is_exit_2(tmp_path: Path, given: str, message: str) -> None:
    command = [sys.executable, "-m", "devstack.cdp", "--port", "0", "--data", str(tmp_path), "--write-key", given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"headrace: {message}\n")


def test_a_taken_port_and_a_taken_folder_are_exit_3(tmp_path: Path) -> None:
    with CdpEndpoint.started() as cdp:
        for port, data, message in ((cdp.port, tmp_path, f"port {cdp.port}: "), (0, cdp.data, "ledger.db: database is locked")):
            command = [sys.executable, "-m", "devstack.cdp", "--port", str(port), "--data", str(data)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 3
            assert message in done.stderr
            assert len(done.stderr.splitlines()) == 1


def test_what_listens_without_being_the_endpoint_is_not_ready(tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as other:
        assert other.stdout
        port = int(other.stdout.readline().split(" port ")[1].split()[0])
        assert not answers(port)
        other.terminate()
