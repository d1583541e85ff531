"""Processes are found again, told apart from others with their id, and stopped for good."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from devstack.processes import command_of, listener, marked, port_is_free, spawn, stop
from lake.runs.process import ProcessIdentity
from tests.support.stack import wait_for

_IDLE = "import signal; signal.pause()"
_STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def idle(log: Path) -> Iterator[ProcessIdentity]:
    process = spawn([sys.executable, "-c", _IDLE], log=log, cwd=log.parent, env={"MARK": str(log)})
    yield process
    process.send(signal.SIGKILL)


def test_a_process_runs_in_a_session_of_its_own(idle: ProcessIdentity) -> None:
    assert idle.alive()
    assert os.getsid(idle.pid) == idle.pid
    assert idle.resident_bytes() > 0


def test_another_process_with_the_same_id_is_not_taken_for_it_and_not_signalled(idle: ProcessIdentity) -> None:
    earlier = replace(idle, start_ticks=idle.start_ticks - 1)
    before_boot = replace(idle, boot_id="another boot")
    for other in (earlier, before_boot):
        assert not other.alive()
        assert not other.send(signal.SIGKILL)
        assert stop([other], grace_s=1) == []
    assert idle.alive()


def test_a_killed_child_counts_as_gone_before_anyone_waited_for_it(idle: ProcessIdentity) -> None:
    os.kill(idle.pid, signal.SIGKILL)
    wait_for(lambda: not idle.alive(), "the end of the process", 10)
    assert not idle.send(signal.SIGTERM)


def test_stop_kills_who_ignores_it_and_says_so(log: Path, idle: ProcessIdentity) -> None:
    stubborn = spawn([sys.executable, "-c", _STUBBORN], log=log, cwd=log.parent, env={})
    wait_for(lambda: "ready" in log.read_text(), "the handler", 10)
    assert stop([idle, stubborn], grace_s=0.5) == [stubborn]
    assert not idle.alive()
    assert not stubborn.alive()


def test_marked_finds_grandchildren_whose_parent_is_dead(log: Path) -> None:
    script = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {_IDLE!r}]).pid, flush=True)"
    parent = spawn([sys.executable, "-c", script], log=log, cwd=log.parent, env={"MARK": str(log)})
    wait_for(lambda: not parent.alive(), "the parent's end", 10)
    (orphan,) = marked("MARK", str(log))
    assert orphan.pid == int(log.read_text())
    assert list(marked("MARK", "another value")) == []
    stop([orphan], grace_s=5)
    assert list(marked("MARK", str(log))) == []


def test_the_holder_of_a_port_is_named() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert not port_is_free(port)
        assert listener(port) == os.getpid()
    assert port_is_free(port)
    assert listener(port) is None


def test_long_commands_are_cut() -> None:
    with subprocess.Popen([sys.executable, "-c", _IDLE, "x" * 100]) as process:
        wait_for(lambda: "signal.pause" in command_of(process.pid), "exec", 10)
        assert len(command_of(process.pid)) == 78
        process.kill()
    assert command_of(process.pid) == ""
