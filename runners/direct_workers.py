"""Tasks side by side on this machine: in this process and in further ones, one at a time in each.

A task is a whole graph over a part of the input. So nothing is shipped between its steps, as it is where the steps of one graph are
shared out to processes: that took a quarter more CPU time, and held what came between in one of them.
"""

from __future__ import annotations

import logging
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
_log = logging.getLogger(__name__)
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
        self._failed: list[BaseException] = []

    def __enter__(self) -> DirectWorkers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()
        for worker in self._others:
            worker.wait()

    @property
    def failed(self) -> bool:
        """Whether a task has failed, so that no other is begun. For who gives tasks, and waits before the next."""
        return bool(self._failed)

    def run(self, tasks: Iterable[tuple[Task, Task]]) -> None:
        """Run tasks, each once, as processes are free.

        Where one fails elsewhere, the one here is run to its end. Then, or where it fails here, those elsewhere are ended.

        Args:
            tasks: picklable callables, and what is to be done here after each; the next is asked for when a process is free. One
                thread asks at a time, and one does what comes after.

        Raises:
            Exception: as the first task that failed raised it. None was begun after that.
            ComponentDownError: a process ended that nobody here had ended, or a connection broke.
            RuntimeError: what a task raised in another process and cannot be pickled, as text.
        """
        shared = _Shared(iter(tasks), self._failed)
        threads = [threading.Thread(target=shared.feed, args=(worker.run,), daemon=True) for worker in self._others]
        for thread in threads:
            thread.start()
        try:
            shared.feed(_call)
        except BaseException as error:  # an interrupt: nobody takes another
            self._failed.append(error)
            raise
        if self._failed:
            self._end()
        for thread in threads:
            thread.join()
        if self._failed:
            raise self._failed[0]

    def _end(self) -> None:
        for worker in self._others:
            worker.end()


def _call(task: Task) -> None:
    task()


class _Shared:
    """Tasks that several threads take one by one, until there are none or one has failed. failed: what was raised, first of all."""

    def __init__(self, tasks: Iterator[tuple[Task, Task]], failed: list[BaseException]) -> None:
        self._tasks, self._failed = tasks, failed
        self._taking, self._finishing = threading.Lock(), threading.Lock()

    def feed(self, run: Callable[[Task], None]) -> None:
        """Take and run."""
        try:
            while (taken := self._take()) is not None:
                task, after = taken
                run(task)
                with self._finishing:
                    after()
        except Exception as error:
            if isinstance(error, BrokenPipeError):  # the command line takes it for a reader of our output that went away
                error = ComponentDownError("a connection broke while a slice was run; run the same command again")
            is_first = not self._failed
            self._failed.append(error)
            if is_first and run is not _call:
                _log.warning("a slice has failed (%s); the one that is under way here is waited for", type(error).__name__)

    def _take(self) -> tuple[Task, Task] | None:
        with self._taking:
            taken = None if self._failed else next(self._tasks, None)
            return None if self._failed else taken  # the giver may have waited


class _Worker:
    def __init__(self, imports: str) -> None:
        command = [sys.executable, "-m", "runners.direct_worker", imports]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, task: Task) -> None:
        assert self._process.stdin and self._process.stdout
        given = pickler.dumps(task)
        try:
            pickle.dump(given, self._process.stdin)
            self._process.stdin.flush()
            answer = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            raise ComponentDownError(f"a worker process of this run ended: {_ending(self._process.wait())}") from None
        raised = answer and pickle.loads(answer)
        if isinstance(raised, Exception):
            raise raised
        if raised is not None:
            raise RuntimeError(raised)

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
    if code == -signal.SIGKILL:
        return "killed by SIGKILL, as where memory is short. Run it again, with fewer --workers or a smaller --slice-bytes"
    told = f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
    return f"{told}. Run it again"
