"""Tasks side by side on this machine: in this process and in further ones, one at a time in each.

A task is a whole graph over a part of the input. So nothing is shipped between its steps, as it is where the steps of one graph are
shared out to processes: that took a quarter more CPU time, and held what came between in one of them.
"""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import TracebackType

from apache_beam.internal import pickler

from contracts.errors import ComponentDownError
from runners.allocator import tune_allocator

Task = Callable[[], None]
_END_S = 15.0


class DirectWorkers:
    """Processes that run tasks, this one among them. They start at once, and have ended after the block.

    Args:
        count: how many, with this one.
        imports: a module that tasks need; imported before the first of them.
    """

    def __init__(self, count: int, imports: str) -> None:
        tune_allocator()
        self.count = count
        self._others = [_Worker(imports) for _ in range(count - 1)]

    def __enter__(self) -> DirectWorkers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for worker in self._others:
            worker.end()
        for worker in self._others:
            worker.wait()

    def run(self, tasks: Iterable[tuple[Task, Task]]) -> None:
        """Run tasks, each once, as processes are free.

        Args:
            tasks: picklable callables, and what is to be done here after each; the next is asked for when a process is free.

        Raises:
            HeadraceError, OSError: as the first task that failed raised it; no other was begun after that.
            ComponentDownError: a process ended that nobody here had stopped.
            RuntimeError: what else a task raised in another process, as text.
        """
        shared = _Shared(iter(tasks))
        threads = [threading.Thread(target=shared.feed, args=(worker.run,), daemon=True) for worker in self._others]
        for thread in threads:
            thread.start()
        shared.feed(_call)
        for thread in threads:
            thread.join()
        if shared.failed:
            raise shared.failed[0]


def _call(task: Task) -> None:
    task()


class _Shared:
    """Tasks that several threads take one by one, until there are none or one has failed."""

    def __init__(self, tasks: Iterator[tuple[Task, Task]]) -> None:
        self._tasks, self._lock = tasks, threading.Lock()
        self.failed: list[BaseException] = []

    def feed(self, run: Callable[[Task], None]) -> None:
        """Take and run."""
        try:
            while (taken := self._take()) is not None:
                task, after = taken
                run(task)
                with self._lock:
                    after()
        except Exception as error:
            self.failed.append(error)

    def _take(self) -> tuple[Task, Task] | None:
        with self._lock:
            return None if self.failed else next(self._tasks, None)


class _Worker:
    def __init__(self, imports: str) -> None:
        command = [sys.executable, "-m", "runners.direct_worker", imports]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, task: Task) -> None:
        assert self._process.stdin and self._process.stdout
        try:
            pickle.dump(pickler.dumps(task), self._process.stdin)
            self._process.stdin.flush()
            outcome = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            raise ComponentDownError(
                f"a worker process of this run ended: {_ending(self._process.wait())}; run it again, where memory was short with "
                "fewer --workers or a smaller --slice-bytes"
            ) from None
        if isinstance(outcome, BaseException):
            raise outcome
        if outcome is not None:
            raise RuntimeError(outcome)

    def end(self) -> None:
        self._process.terminate()

    def wait(self) -> None:
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return f"killed by {signal.Signals(-code).name}"
