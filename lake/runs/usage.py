"""What a process and all that it started take: CPU time and resident memory, looked at while it runs, and held to a ceiling.

Reads ``/proc``: where there is none, as on macOS, memory is what the system says at the end, and no ceiling can be held.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from contracts.errors import CeilingError, ConfigurationError
from contracts.units import duration_text, size_text

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_MAXRSS = 1 if sys.platform == "darwin" else 1_024
_PPID, _CPU = 1, slice(11, 15)  # fields of /proc/PID/stat after the command's name: utime, stime, cutime, cstime
_LOOK_EVERY_S, _HOLD_EVERY_S = 2.0, 0.5  # to note what it takes; to hold it to a ceiling
_CHILDREN_S, _GRACE_S = 5.0, 20.0  # after the signal to the main thread: its children are killed, and it is
_NOTE_S = 10.0
_SIGNAL = signal.SIGUSR1
_NEW_PEAK = 1.02


@dataclass(frozen=True)
class Ceiling:
    """The most that a run may take; None for any. cpu_s: of all runs of a replay; spent_s: what earlier ones took."""

    memory_bytes: int | None = None
    cpu_s: int | None = None
    spent_s: float = 0.0

    @property
    def is_there(self) -> bool:
        """Whether there is anything to hold."""
        return self.memory_bytes is not None or self.cpu_s is not None

    def broken(self, memory_bytes: int, cpu_s: float) -> str | None:
        """What is above it, in a sentence; None where nothing is."""
        if self.memory_bytes is not None and memory_bytes > self.memory_bytes:
            return f"takes {size_text(memory_bytes)} of memory, above the ceiling of {size_text(self.memory_bytes)} (--max-memory)"
        if self.cpu_s is not None and cpu_s + self.spent_s > self.cpu_s:
            before = f", {duration_text(self.spent_s)} of it in earlier runs" if self.spent_s else ""
            took = duration_text(cpu_s + self.spent_s)
            return f"takes {took} of CPU time{before}, above the ceiling of {duration_text(self.cpu_s)} (--max-cpu)"
        return None


class _StopError(BaseException):
    """Unwinds the main thread, past whatever catches exceptions."""


class Meter:
    """Measures what a block takes, and ends it where that is above a ceiling.

    The block runs in the main thread. Five seconds after it was to stop the processes that it started are killed: it may wait for
    them; and it is told once more. Where it is not over after twenty seconds, this process ends with exit code 1.

    Args:
        ceiling: what it may take.
        what: what it is, for the message, such as ``replay NAME``.
        stopped: is told why, once, where a ceiling ended it; gives the message.

    Raises:
        ConfigurationError: there is a ceiling, and no way to look at processes.
        CeilingError: it took more; raised at the end of the block.
    """

    def __init__(self, ceiling: Ceiling | None = None, what: str = "the run", stopped: Callable[[str], str] = str) -> None:
        self._ceiling, self._what, self.stopped = ceiling or Ceiling(), what, stopped
        if self._ceiling.is_there and not _PROC.is_dir():
            raise ConfigurationError("--max-memory and --max-cpu need /proc, which this system does not have; leave them out")
        self._done, self._ending = threading.Event(), threading.Lock()
        self._began_s = self._began_cpu_s = 0.0
        self._began_maxrss = self._peak_rss = self._peak_bytes = 0
        self._cpu_s = 0.0
        self._why: str | None = None

    def __enter__(self) -> Meter:
        self._began_s, self._began_maxrss = time.monotonic(), _maxrss()
        self._began_cpu_s = _cpu_s(_descendants(os.getpid()) if _PROC.is_dir() else ())
        self._before: Any = signal.signal(_SIGNAL, _stop) if self._ceiling.is_there else None
        self._hook = threading.excepthook
        self._thread = threading.Thread(target=self._watch, name="meter", daemon=True)
        self._look()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._ceiling.is_there:
            signal.signal(_SIGNAL, signal.SIG_IGN)
        with self._ending:
            self._done.set()
        self._thread.join()
        self._look()
        if self._ceiling.is_there:
            signal.signal(_SIGNAL, self._before)
            threading.excepthook = self._hook
        if isinstance(error, _StopError) or (self._why and error):  # what its children were killed for may end it otherwise
            raise CeilingError(self.stopped(self._told())) from None

    @property
    def wall_s(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began_s

    @property
    def cpu_s(self) -> float:
        """CPU time until now, user and system."""
        self._look()
        return self._cpu_s

    @property
    def peak_memory_bytes(self) -> int | None:
        """Largest resident memory of all its processes at once; None where it is not known."""
        maxrss = _maxrss()  # of this process's life, and of who started it before it became what it is
        return max(self._peak_bytes, maxrss if maxrss > self._began_maxrss else 0) or None

    def _watch(self) -> None:
        every_s = _HOLD_EVERY_S if self._ceiling.is_there else _LOOK_EVERY_S
        while not self._done.wait(every_s):
            self._look()
            if (why := self._ceiling.broken(self._peak_bytes, self._cpu_s)) and not self._why:
                self._why = why
                _stop_main_thread()
                threading.Thread(target=self._end_all, name="meter-end", daemon=True).start()

    def _look(self) -> None:
        """Note what all its processes take now. What a process took that is gone, and nobody waited for, stays counted."""
        found = list(_descendants(os.getpid())) if _PROC.is_dir() else []
        self._cpu_s = max(self._cpu_s, _cpu_s(found) - self._began_cpu_s)
        pids = [os.getpid(), *(pid for pid, _ in found)]
        rss = sum(map(_resident_bytes, pids))
        if rss > self._peak_rss * _NEW_PEAK:
            self._peak_rss = rss
            # Pages that several processes share count once; a process that was just forked has all of its parent's.
            self._peak_bytes = max(self._peak_bytes, sum(map(_proportional_bytes, pids)) if found else rss)

    def _told(self) -> str:
        return f"{self._what}: {self._why}; it was stopped"

    def _end_all(self) -> None:
        if self._done.wait(min(_CHILDREN_S, _GRACE_S)):
            return
        threading.excepthook = _said_already  # of threads that wait for what is killed now
        _kill_descendants()
        with self._ending:  # not after the block: then nobody takes the signal
            if not self._done.is_set():
                _stop_main_thread()  # what a finalizer raises is lost: the first may have come to one
        if self._done.wait(max(_GRACE_S - _CHILDREN_S, 0)):
            return
        told = [self._told()]
        note = threading.Thread(target=lambda: told.append(self.stopped(told[0])), name="meter-note", daemon=True)
        note.start()
        note.join(_NOTE_S)
        _kill_descendants()
        os.write(2, f"headrace: {told[-1]}\n".encode())
        os._exit(CeilingError.exit_code)


def _stop_main_thread() -> None:
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, _SIGNAL)


def _kill_descendants() -> None:
    for pid, _ in list(_descendants(os.getpid())):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _said_already(failure: threading.ExceptHookArgs) -> None:
    pass


def _stop(number: int, frame: FrameType | None) -> None:
    raise _StopError


def _maxrss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS


def _cpu_s(running: Iterable[tuple[int, int]]) -> float:
    """Of this process, of children that were waited for, and of those that run."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used) + sum(ticks for _, ticks in running) / _TICKS


def _descendants(pid: int) -> Iterator[tuple[int, int]]:
    """Processes that one has started, and they in turn, with the ticks that each and what it waited for took."""
    children: dict[int, list[tuple[int, int]]] = {}
    for entry in os.scandir(_PROC):
        if entry.name.isdecimal():
            try:
                fields = Path(entry.path, "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            except OSError:  # it has just ended, or is hidden
                continue
            children.setdefault(int(fields[_PPID]), []).append((int(entry.name), sum(map(int, fields[_CPU]))))
    left = [pid]
    while left:
        for child in children.get(left.pop(), ()):
            yield child
            left.append(child[0])


def _resident_bytes(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _proportional_bytes(pid: int) -> int:
    """Its resident memory, shared pages by their share; where the system does not tell, all of it."""
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return _resident_bytes(pid)
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)
