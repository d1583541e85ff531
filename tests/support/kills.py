"""Processes that die by SIGKILL at a moment with a name, and the lake that is put back in its place before each.

In its place, so that the paths in Iceberg's metadata stay true.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from lake.location import Lake
from tests.support.moments import At

DEADLINE_S = 300.0
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["tests.support.replay_points", "tests.support.sweep_points", "pipelines.replay.run", "cli.ingest"]
)


def kill_at(moment: str) -> At:
    """Kills the process that is told of this moment."""

    def at(told: str) -> None:
        if told == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    return at


def assert_killed(target: Callable[..., None], *given: Any) -> None:
    """Run this in a process that does not survive it."""
    assert exit_code(target, *given) == -signal.SIGKILL


def exit_code(target: Callable[..., None], *given: Any) -> int | None:
    """Run this in a process of its own, to its end."""
    process = PROCESSES.Process(target=target, args=given)
    process.start()
    process.join(DEADLINE_S)
    return process.exitcode


def save(lake: Lake, copy: Path) -> None:
    """Copy a lake."""
    shutil.copytree(lake.root, copy)


def put_back(lake: Lake, copy: Path) -> None:
    """Put a copy in the lake's place."""
    shutil.rmtree(lake.root)
    shutil.copytree(copy, lake.root)


@contextmanager
def reading(read: Callable[[], str], allowed: set[str]) -> Iterator[None]:
    """While the block runs, one who reads again and again sees nothing but these states, in one order: never back again."""
    reader = _Reader(read)
    reader.start()
    try:
        yield
    finally:
        seen = reader.finish()
    assert seen and set(seen) <= allowed
    assert sum(a != b for a, b in pairwise(seen)) <= 1


class _Reader(threading.Thread):
    def __init__(self, read: Callable[[], str]) -> None:
        super().__init__(daemon=True)
        self._read, self._over = read, threading.Event()
        self.seen: list[str] = []
        self.failures: list[BaseException] = []

    def run(self) -> None:
        try:
            while not self._over.is_set():
                self.seen.append(self._read())
        except BaseException as error:
            self.failures.append(error)

    def finish(self) -> list[str]:
        self._over.set()
        self.join(DEADLINE_S)
        assert not self.failures, self.failures
        return self.seen
