"""A real Kafka and Flink for tests, on ports and in folders of the test run.

``stack`` is shared: by all processes of a test run (workers of pytest-xdist), and by tests that run at the same time. Each reads
topics of its own into a lake of its own, and ends its own jobs. Who asks first starts it from clean data, who leaves last stops it.

``exclusive_stack`` is a second one, for tests that kill components or count what runs. One test at a time has it; before it,
components that are dead are started again and jobs that were left are cancelled.

``private_stack`` is for tests of the stack itself: nothing runs, own folders, own ports.

Processes of a run are counted by shared locks on a file, which a killed process loses too. A run that finds the stack of one that
was killed stops it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Any

import pytest

from devstack import tools
from devstack.layout import Layout, Ports, Settings
from devstack.processes import listener, spawn
from devstack.stack import MARK, Stack
from lake.location import Lake
from lake.runs.submission import submissions

DEADLINE_S = 300.0
_CALL_S = 60.0
_POLL_S = 0.1
_SLOTS = 12  # for jobs of several tests at once
_PORT_BLOCK = 64
_KEPT: list[IO[str]] = []  # locks of blocks of ports, for as long as this process lives
_PRIVATE_PORTS = range(20_000, 26_900)
_TOOLS = ("java", "mvn", "go")


def require_tools() -> None:
    """Skip where the stack's tools are missing; ``make test`` names them, and under CI=true it fails because of them."""
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"no {', '.join(missing)}: make doctor says how to install")


@pytest.fixture(scope="session")
def shared_stack(testrun: str) -> Iterator[Stack]:
    """The stack of the test run."""
    with _shared(testrun, "stack", Settings(slots=_SLOTS)) as stack:
        yield stack


@pytest.fixture(scope="session")
def stack(shared_stack: Stack) -> Stack:
    """A stack where all components are ready, and that other tests use too. A file whose tests break one puts it in its place."""
    return shared_stack


@pytest.fixture(scope="session")
def registry_url(shared_stack: Stack) -> str:
    """The address of a real schema registry beside the stack; it ends with it."""
    with _locked(shared_stack.layout.home.parent / "gate"):
        shared_stack.up(("registry",), deadline_s=DEADLINE_S)
    return shared_stack.registry_url


@pytest.fixture(scope="session")
def job_server(shared_stack: Stack) -> str:
    """``--job_endpoint=``, for Beam: a job server beside the stack, so that a submission starts none of its own."""
    stack, home = shared_stack, shared_stack.layout.home
    address = home / "job-server"
    with _locked(home.parent / "gate"):
        if not address.exists():
            port = free_ports().flink_rest
            command = [tools.java(), "-Xmx512m", "-jar", str(stack.job_server_jar), "--job-port", str(port)]
            command += ["--artifact-port", "0", "--expansion-port", "0", "--artifacts-dir", str(home / "artifacts")]
            # With the stack's mark, so that it ends with the stack.
            identity = spawn(command, log=stack.layout.logs / "job-server.log", cwd=home, env={**os.environ, MARK: str(home)})
            wait_for(lambda: not identity.alive() or listener(port) is not None, "the job server")
            assert identity.alive(), "the job server ended while it started"
            address.write_text(f"localhost:{port}")
    return f"--job_endpoint={address.read_text()}"


@pytest.fixture(scope="session")
def stack_to_break(testrun: str) -> Iterator[Stack]:
    """Of all ``exclusive_stack``s, and of what holds it for longer than a test, by ``alone``."""
    with _shared(testrun, "stack-to-break", Settings(slots=4, taskmanager_memory="3g")) as stack:
        yield stack


@pytest.fixture(scope="module")
def stack_of_two(testrun: str) -> Iterator[Stack]:
    """Two TaskManagers of four slots each, for one file of tests, which may kill them and start a third."""
    with _shared(testrun, "stack-of-two", Settings(slots=4, taskmanager_memory="3g", taskmanagers=2)) as stack:
        yield stack


@pytest.fixture
def exclusive_stack(stack_to_break: Stack) -> Iterator[Stack]:
    """A stack where all components are ready, no job runs, and that no other test uses meanwhile."""
    with alone(stack_to_break):
        yield stack_to_break


@contextmanager
def alone(stack: Stack) -> Iterator[None]:
    """While the block runs, no other test has this stack; it begins with all of its components and without a job."""
    with _locked(stack.layout.home / "turn"):
        stack.up(deadline_s=DEADLINE_S)
        cancel_all_jobs(stack)
        yield


@pytest.fixture(scope="session")
def testrun() -> str:
    """A name that all processes of this test run share."""
    return os.environ.get("PYTEST_XDIST_TESTRUNUID", f"{os.getpid()}")


@contextmanager
def _shared(testrun: str, name: str, settings: Settings) -> Iterator[Stack]:
    require_tools()
    layout = Layout.default()
    homes = layout.home / "tests"
    homes.mkdir(parents=True, exist_ok=True)
    home = homes / f"{testrun}-{name}"
    with _locked(homes / "gate"):
        _stop_abandoned(homes)
        home.mkdir(exist_ok=True)
        users = (home / "users").open("a")
        kept = home / "settings.json"
        if _nobody(users):
            settings = replace(settings, ports=free_ports(settings.taskmanagers + 1))  # a test may start one more
            stack = Stack(layout.with_home(home), settings)
            stack.up(deadline_s=DEADLINE_S)
            kept.write_text(json.dumps(settings.to_json()))
        else:
            stack = Stack(layout.with_home(home), Settings.from_json(json.loads(kept.read_text())))
        fcntl.flock(users, fcntl.LOCK_SH)
    try:
        yield stack
    finally:
        with _locked(homes / "gate"), users:
            fcntl.flock(users, fcntl.LOCK_UN)
            if _nobody(users):
                _stop(stack)


def _stop_abandoned(homes: Path) -> None:
    """Stop what a test run left that was killed."""
    for file in homes.glob("*/users"):
        with file.open("a") as users:
            if _nobody(users):
                _stop(Stack(Layout.default().with_home(file.parent)))


def _stop(stack: Stack) -> None:
    stack.down()
    shutil.rmtree(stack.layout.home, ignore_errors=True)


@pytest.fixture
def private_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of one test, not started. Its processes are gone after the test, whatever it did."""
    require_tools()
    stack = Stack(Layout.default().with_home(tmp_path / "stack"), Settings(ports=free_ports(), slots=2))
    kept = _KEPT[-1]
    yield stack
    stack.down()
    kept.close()


def free_ports(taskmanagers: int = 1) -> Ports:
    """Ports that nobody listens on, and below the range from which the system hands out ports.

    No other process of tests gets them as long as this one lives: of some components nobody listens until a test wants them.
    """
    names = Ports.names(taskmanagers)
    blocks = range(_PRIVATE_PORTS.start, _PRIVATE_PORTS.stop - _PORT_BLOCK, _PORT_BLOCK)
    first = os.getpid() % len(blocks)
    for start in (*blocks[first:], *blocks[:first]):
        kept = (Path(os.environ.get("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())) / f"headrace-test-ports-{start}").open("w")
        try:
            fcntl.flock(kept, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            kept.close()
            continue
        found = [port for port in range(start, start + _PORT_BLOCK) if _is_free(port)]
        if len(found) >= len(names):
            _KEPT.append(kept)
            return Ports.of(dict(zip(names, found, strict=False)))
        kept.close()
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def flink(stack: Stack, path: str, method: str = "GET") -> Any:
    """A document of Flink's REST interface."""
    request = urllib.request.Request(f"http://{stack.flink_rest}{path}", method=method)
    with urllib.request.urlopen(request, timeout=_CALL_S) as answer:
        return json.loads(answer.read() or b"{}")


def jobs(stack: Stack) -> dict[str, str]:
    """Job ids and states of what runs, or tries to."""
    final = {"FINISHED", "CANCELED", "FAILED", "SUSPENDED"}
    return {job["jid"]: job["state"] for job in flink(stack, "/jobs/overview")["jobs"] if job["state"] not in final}


def cancel_jobs(stack: Stack, *job_ids: str) -> None:
    """Cancel these jobs, where they run, and wait until their slots are free."""

    def running() -> set[str]:
        return jobs(stack).keys() & set(job_ids)

    for job in running():
        with suppress(urllib.error.HTTPError):  # it has ended meanwhile
            flink(stack, f"/jobs/{job}?mode=cancel", "PATCH")
    wait_for(lambda: not running(), "jobs to end")


def cancel_all_jobs(stack: Stack) -> None:
    """Cancel every job of a stack that no other test uses."""
    cancel_jobs(stack, *jobs(stack))


def jobs_of(stack: Stack, lake: Lake) -> set[str]:
    """Jobs that run, or try to, of a lake's runs. On a stack that others use too it is these alone that a test may count or end."""
    return {job for run in submissions(lake) for job in run.job_ids} & set(jobs(stack))


def wait_for(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until the condition holds."""
    until = monotonic() + deadline_s
    while not condition():
        assert monotonic() < until, f"waited {deadline_s:.0f} s for {what}"
        sleep(_POLL_S)


def _nobody(users: IO[str]) -> bool:
    """Whether no process holds it; if so, this one does."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
