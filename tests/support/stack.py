"""A real Kafka and Flink for tests: one stack, on ports of its own, apart from a developer's ``headrace stack``.

Tests ask for the fixture ``stack``. How it is shared:

- All processes of a test run (workers of pytest-xdist, another run beside it) use the same stack. Who comes first starts it from
  clean data, who leaves last stops it. They are counted by shared locks on a file, which a killed process loses too.
- A test has the stack for itself, killing components included: the fixture holds an exclusive lock for the time of the test.
  Before each test dead components are started again and leftover jobs are cancelled.

``private_stack`` is for tests of the stack itself: nothing runs, own folders, own ports; downloads are shared.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from devstack.layout import Layout, Ports, Settings
from devstack.stack import Stack

DEADLINE_S = 120.0
_POLL_S = 0.1
_TEST_PORTS = Ports(**{field.name: 27_000 + number for number, field in enumerate(fields(Ports))})
_PRIVATE_PORTS = range(20_000, 26_900)
_TOOLS = ("java", "mvn", "go")


def require_tools() -> None:
    """Skip where the stack's tools are missing; ``make test`` names them, and under CI=true it fails because of them."""
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"no {', '.join(missing)}: make doctor says how to install")


@pytest.fixture(scope="session")
def _running_stack() -> Iterator[Stack]:
    require_tools()
    layout = Layout.default()
    stack = Stack(layout.with_home(layout.home / "tests"), Settings(ports=_TEST_PORTS, slots=4))
    stack.layout.home.mkdir(parents=True, exist_ok=True)
    with (stack.layout.home / "users").open("a") as users:
        with _locked(stack.layout.home / "gate"):
            if _alone(users.fileno()):
                stack.down(purge_data=True)
                stack.up(deadline_s=DEADLINE_S)
            fcntl.flock(users, fcntl.LOCK_SH)
        yield stack
        with _locked(stack.layout.home / "gate"):
            fcntl.flock(users, fcntl.LOCK_UN)
            if _alone(users.fileno()):
                stack.down(purge_data=True)


@pytest.fixture
def stack(_running_stack: Stack) -> Iterator[Stack]:
    """A stack where all components are ready, no job runs, and that no other test uses meanwhile."""
    with _locked(_running_stack.layout.home / "turn"):
        _running_stack.up(deadline_s=DEADLINE_S)
        cancel_jobs(_running_stack)
        yield _running_stack


@pytest.fixture
def private_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of one test, not started. Its processes are gone after the test, whatever it did."""
    require_tools()
    stack = Stack(Layout.default().with_home(tmp_path / "stack"), Settings(ports=free_ports(), slots=2))
    yield stack
    stack.down()


def free_ports() -> Ports:
    """Ports that nobody listens on, and below the range from which the system hands out ports."""
    names = Ports.names()
    start = _PRIVATE_PORTS[os.getpid() * len(names) % (len(_PRIVATE_PORTS) // 2)]
    found: list[int] = []
    for port in range(start, _PRIVATE_PORTS.stop):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == len(names):
            return Ports(**dict(zip(names, found, strict=True)))
    raise AssertionError("no free ports")


def flink(stack: Stack, path: str, method: str = "GET") -> Any:
    """A document of Flink's REST interface."""
    request = urllib.request.Request(f"http://{stack.flink_rest}{path}", method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read() or b"{}")


def jobs(stack: Stack) -> dict[str, str]:
    """Job ids and states of what runs, or tries to."""
    final = {"FINISHED", "CANCELED", "FAILED", "SUSPENDED"}
    return {job["jid"]: job["state"] for job in flink(stack, "/jobs/overview")["jobs"] if job["state"] not in final}


def cancel_jobs(stack: Stack) -> None:
    """Cancel all jobs, and wait until their slots are free."""
    for job in jobs(stack):
        flink(stack, f"/jobs/{job}?mode=cancel", "PATCH")
    wait_for(lambda: not jobs(stack), "all jobs to end")


def wait_for(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until the condition holds."""
    until = monotonic() + deadline_s
    while not condition():
        assert monotonic() < until, f"waited {deadline_s:.0f} s for {what}"
        sleep(_POLL_S)


def _alone(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
