"""CPU time and memory of the processes of a run, looked at from outside."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from benchmarks.stream.figures import CpuUse


class CpuMeter:
    """Adds up CPU time by the name of a process, from the first look to the last. For one thread.

    Args:
        processes: the processes of now, by id, with the names that they are counted under.
    """

    def __init__(self, processes: Callable[[], Mapping[int, str]]) -> None:
        self._processes = processes
        self._first: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self._names: dict[int, str] = {}
        self._resident: dict[str, int] = {}
        self._began_s = self._ended_s = 0.0
        self._idle_first = self._idle_last = 0.0

    def look(self) -> None:
        """Read all counters; the first time is the beginning of the interval."""
        beginning = not self._began_s
        resident: dict[str, int] = {}
        for pid, name in self._processes().items():
            try:
                process = psutil.Process(pid)
                times, memory = process.cpu_times(), process.memory_info()
            except psutil.Error:  # it has ended; what it had used by the last look counts
                continue
            used = times.user + times.system
            self._first.setdefault(pid, used if beginning else 0.0)
            self._last[pid], self._names[pid] = used, name
            resident[name] = resident.get(name, 0) + memory.rss
        for name, size in resident.items():
            self._resident[name] = max(self._resident.get(name, 0), size)
        idle = psutil.cpu_times()
        self._ended_s, self._idle_last = time.monotonic(), idle.idle + getattr(idle, "iowait", 0.0)
        if beginning:
            self._began_s, self._idle_first = self._ended_s, self._idle_last

    def forget_memory(self) -> None:
        """The largest memory counts from now on."""
        self._resident.clear()

    @property
    def use(self) -> CpuUse:
        """Between the first look and the last. Resident memory is the largest that was seen."""
        used: dict[str, float] = {}
        for pid, name in self._names.items():
            used[name] = used.get(name, 0.0) + self._last[pid] - self._first[pid]
        resident = {name: size >> 20 for name, size in self._resident.items()}
        cores = len(os.sched_getaffinity(0))
        return CpuUse(self._ended_s - self._began_s, cores, used, resident, self._idle_last - self._idle_first)


def command_line(pid: int) -> str:
    """Of a process; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""
