"""Which process is meant: its id, the tick of its start and the boot of the machine, so that a reused id is another process.

Reads ``/proc``: where there is none, as on macOS, no process has an identity.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_STATE, _THREADS, _START_TICK = 0, 17, 19  # fields of /proc/PID/stat after the command's name: 3, 20 and 22 of proc(5)


@dataclass(frozen=True)
class ProcessIdentity:
    """One process, told from all that had or will have its id. start_ticks: clock ticks from boot to its start."""

    pid: int
    start_ticks: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """Who has this id now; None if nobody, or only a zombie. A zombie child of ours is reaped.

        A zombie that still has threads is no such: they hold its files and ports until they have ended too.
        """
        stat = _stat(pid)
        if stat is not None and stat[_STATE] == "Z" and int(stat[_THREADS]) <= 1:
            with contextlib.suppress(OSError):  # somebody else's child
                os.waitpid(pid, os.WNOHANG)
            return None
        return None if stat is None or stat[_STATE] == "X" else cls(pid, int(stat[_START_TICK]), _boot_id())

    @classmethod
    def of_child(cls, pid: int) -> ProcessIdentity:
        """A process that we started and have not waited for: at least a zombie is there."""
        stat = _stat(pid)
        assert stat is not None
        return cls(pid, int(stat[_START_TICK]), _boot_id())

    def alive(self) -> bool:
        """Whether just this process still runs."""
        return ProcessIdentity.of(self.pid) == self

    def send(self, number: signal.Signals) -> bool:
        """Send a signal, if it still runs. Safe against a reused id: the handle is taken first, then the identity looked at."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.alive():
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True

    def resident_bytes(self) -> int:
        """Resident memory; 0 if it is gone."""
        try:
            return int((_PROC / str(self.pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            return 0


def _stat(pid: int) -> list[str] | None:
    try:
        return (_PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None


def _boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
