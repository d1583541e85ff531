"""What a test run leaves: no process, and nothing in the temporary folder.

All of a run have one temporary folder, by which processes are known that it started, whoever is their parent by now. One that is
left when the last fixture has ended is named, ended, and fails the run.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

_GRACE_S = 5.0
_POLL_S = 0.1
_OF_PYTHON = (b"from multiprocessing.resource_tracker", b"from multiprocessing.forkserver")  # end with the process they serve


class LeftoverPlugin:
    """What pytest calls in the process that all others belong to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._left: list[str] = []

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        yield  # workers of pytest-xdist end here
        until = monotonic() + _GRACE_S
        while (left := processes_of(self._folder)) and monotonic() < until:
            sleep(_POLL_S)
        for pid, command in left.items():
            self._left.append(f"left by a test, and killed: process {pid}, {command}, in {_folder_of(pid)}")
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if left:
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for line in self._left:
            terminalreporter.line(line)

    def pytest_unconfigure(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def processes_of(folder: Path) -> dict[int, str]:
    """Processes other than this one that were started with this temporary folder or one below, and their commands."""
    mark, found = b"TMPDIR=" + os.fsencode(folder), {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone, or another user's
            variables = (process / "environ").read_bytes().split(b"\0")
            command = (process / "cmdline").read_bytes()
            if int(process.name) == os.getpid() or any(name in command for name in _OF_PYTHON):
                continue
            if any(variable.startswith(mark) for variable in variables):
                found[int(process.name)] = command.replace(b"\0", b" ").decode("utf-8", "replace")[:200]
    return found


def _folder_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return "no folder"


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # what tests write is kept for those who look
    folder = Path(tempfile.mkdtemp(prefix="headrace-tests-"))
    folder.chmod(0o711)  # PostgreSQL runs as another user
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    config.pluginmanager.register(LeftoverPlugin(folder), "leftovers")
