"""How far the workers of a run on this machine are: each process counts in a file of its own, and whoever waits adds them up."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

_COUNTS = struct.Struct("<2q")


@dataclass(frozen=True)
class Counts:
    """What was decoded. records: rejected ones included."""

    records: int = 0
    rejected: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Of two processes."""
        return Counts(self.records + other.records, self.rejected + other.rejected)


@dataclass(frozen=True)
class Tally:
    """Counters of a run. Picklable. Bundles that are tried again count twice, so it is for the eyes alone; the ledger counts.

    folder: a local folder that exists as long as somebody looks; where it does not, nothing is counted.
    """

    folder: str

    def add(self, counts: Counts) -> None:
        """Count what this process has done. One thread of a process at a time loses no count."""
        path = Path(self.folder) / str(os.getpid())
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return
        try:  # in place, and in one call: who reads meanwhile sees the numbers of before or of after
            now = _counts(os.pread(handle, _COUNTS.size, 0)) + counts
            os.pwrite(handle, _COUNTS.pack(now.records, now.rejected), 0)
        finally:
            os.close(handle)

    def total(self) -> Counts:
        """What all processes have done so far."""
        try:
            return sum((_counts(path.read_bytes()) for path in Path(self.folder).iterdir()), Counts())
        except OSError:
            return Counts()


def _counts(content: bytes) -> Counts:
    return Counts(*_COUNTS.unpack(content)) if len(content) == _COUNTS.size else Counts()
