"""One process and its children, measured: wall time, CPU time, peak memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
MEMORY_SHARE = 0.7  # of the machine's: who takes more is ended, before the system ends something else
_SAMPLE_EVERY_S = 0.1
_ERROR = re.compile(r"\s*(Caused by: )?[\w.]+(Error|Exception)\b")
_YOUNG_S = 0.2  # a process that has just been made may be a copy of its parent, and no memory of its own


@dataclass(frozen=True)
class Measured:
    """What a run took.

    wall_s: from start to exit. cpu_s: user and system time, children included. peak_bytes: largest sum of resident sizes.
    others_cpu_s: what everything else on the machine used meanwhile.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int
    others_cpu_s: float = 0.0


class RunFailedError(Exception):
    """A contestant did not end well."""


def run_measured(arguments: Sequence[str], cores: Sequence[int], log: Path, python: Path = Path(sys.executable)) -> Measured:
    """Run ``python ARGUMENTS`` on these cores.

    Raises:
        RunFailedError: it did not exit with 0, and what it wrote last; or it took more memory than MEMORY_SHARE.
    """
    with log.open("wb") as out:
        started, busy_s = time.perf_counter(), _busy_s()
        process = subprocess.Popen([python, *arguments], stdout=out, stderr=out, cwd=ROOT)
        os.sched_setaffinity(process.pid, cores)
        limit_bytes = int(MEMORY_SHARE * psutil.virtual_memory().total)
        watcher = _Watcher(process.pid, limit_bytes)
        watcher.start()
        _pid, status, usage = os.wait4(process.pid, 0)
        wall_s, busy_s = time.perf_counter() - started, _busy_s() - busy_s
    process.returncode = os.waitstatus_to_exitcode(status)
    watcher.finish()
    if watcher.peak_bytes > limit_bytes:
        told = f"MemoryError: more than {limit_bytes / 2**30:.1f} GiB"
        raise RunFailedError(f"python {' '.join(arguments)} was ended:\n{told}")
    if process.returncode:
        told = _last_words(log.read_text("utf-8", "replace").splitlines())
        raise RunFailedError(f"python {' '.join(arguments)} ended with {process.returncode}:\n{told}")
    # wait4 knows the children that were waited for; the watcher those that were not, to its last look at them.
    cpu_s = max(usage.ru_utime + usage.ru_stime, watcher.cpu_s)
    # The system's own maximum counts this process, too, of which the other was a copy before it became what it is.
    return Measured(wall_s, cpu_s, watcher.peak_bytes or usage.ru_maxrss * 1024, max(0.0, busy_s - cpu_s))


def _last_words(lines: Sequence[str]) -> str:
    """The end of a log; its last line names the error, which Java puts before the stack."""
    errors = [line.strip() for line in lines if _ERROR.match(line)]
    return "\n".join([*lines[-15:], *errors[-1:]])


def _busy_s() -> float:
    """Seconds that all cores have computed."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


class _Watcher(threading.Thread):
    """Looks at a process and its descendants some times a second, and ends them where they take too much memory."""

    def __init__(self, pid: int, limit_bytes: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._limit_bytes, self._done = pid, limit_bytes, threading.Event()
        self._cpu_s: dict[int, float] = {}
        self.peak_bytes = 0

    @property
    def cpu_s(self) -> float:
        """CPU time of every process that was seen."""
        return sum(self._cpu_s.values())

    def run(self) -> None:
        """See threading.Thread."""
        try:
            root = psutil.Process(self._pid)
        except psutil.NoSuchProcess:
            return
        while not self._done.wait(_SAMPLE_EVERY_S):
            resident = 0
            try:
                processes = (root, *root.children(recursive=True))
                for process in processes:
                    with process.oneshot():
                        is_young = process != root and process.create_time() > time.time() - _YOUNG_S
                        resident += 0 if is_young else process.memory_info().rss
                        times = process.cpu_times()
                        self._cpu_s[process.pid] = times.user + times.system
            except psutil.Error:
                continue  # one of them ended between two looks
            self.peak_bytes = max(self.peak_bytes, resident)
            if resident > self._limit_bytes:
                for process in reversed(processes):
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
                return

    def finish(self) -> None:
        """End it."""
        self._done.set()
        self.join()
