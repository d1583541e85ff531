"""How far one reader is: offsets and times of its partitions, as the restriction of a splittable DoFn. Pure.

W, the watermark of a partition, is the largest record time that was seen in it less the bound on disorder. A reader's W is the
smallest of its partitions that are neither finished nor idle, and never goes back. See ``transforms/late.py`` for what W decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from apache_beam import coders
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker

from lake.raw.log_ids import LogId
from transforms.late import NEVER_LATE_US

FUTURE_US = 300_000_000  # record times further ahead of the clock than this do not move W
END_OF_TIME_US = 2**63 - 1


class PartitionProgress(msgspec.Struct, frozen=True):
    """One partition.

    next: the next offset to read. end: read up to here only; None for ever. max_us: the largest record time that moved W, None
    before the first. idle: it was empty for long, and a query confirmed it.
    """

    topic: str
    topic_id: str
    partition: int
    next: int
    end: int | None = None
    max_us: int | None = None
    idle: bool = False

    @property
    def log(self) -> LogId:
        """Its log."""
        return LogId(self.topic, self.topic_id, self.partition)

    @property
    def finished(self) -> bool:
        """Whether all of it is read."""
        return self.end is not None and self.next >= self.end


class ReaderProgress(msgspec.Struct, frozen=True):
    """One reader's partitions, and its W. stopped: somebody else goes on from here."""

    partitions: tuple[PartitionProgress, ...]
    watermark_us: int = NEVER_LATE_US
    stopped: bool = False

    @property
    def finished(self) -> bool:
        """Whether all of every partition is read; never, where one has no end."""
        return all(p.finished for p in self.partitions) and bool(self.partitions) and not self.endless

    @property
    def endless(self) -> bool:
        """Whether it reads for ever."""
        return not self.partitions or any(p.end is None for p in self.partitions)

    def with_partitions(self, changed: Mapping[LogId, PartitionProgress], bound_us: int) -> ReaderProgress:
        """After these partitions moved; W follows."""
        moved = tuple(changed.get(p.log, p) for p in self.partitions)
        return msgspec.structs.replace(self, partitions=moved, watermark_us=max(self.watermark_us, _smallest(moved, bound_us)))


def _smallest(partitions: tuple[PartitionProgress, ...], bound_us: int) -> int:
    """The reader's W by its partitions alone."""
    if partitions and all(p.finished for p in partitions):
        return END_OF_TIME_US
    active = [p for p in partitions if not p.finished and not p.idle]
    if not active or any(p.max_us is None for p in active):
        return NEVER_LATE_US
    return min(p.max_us for p in active if p.max_us is not None) - bound_us


def watermarks(
    times_us: npt.NDArray[np.int64], *, max_us: int | None, watermark_us: int, bound_us: int, now_us: int
) -> tuple[npt.NDArray[np.int64], int | None]:
    """W of each record of a poll, and the partition's new largest time.

    Args:
        times_us: record times in the order of offsets.
        max_us: the largest of this partition before them.
        watermark_us: the reader's W at the start of the poll.
        bound_us: bound on disorder.
        now_us: the clock; record times beyond it by more than FUTURE_US do not move W.
    """
    believed = np.where(times_us <= now_us + FUTURE_US, times_us, NEVER_LATE_US)
    reached = np.maximum.accumulate(np.concatenate(([NEVER_LATE_US if max_us is None else max_us], believed)))
    before = np.where(reached[:-1] == NEVER_LATE_US, NEVER_LATE_US, reached[:-1] - bound_us)
    latest = int(reached[-1])
    return np.maximum(before, watermark_us), None if latest == NEVER_LATE_US else latest


class ReaderProgressTracker(RestrictionTracker):
    """Claims whole polls; splits only into "what is done" and "everything else", which is what a checkpoint needs.

    A split elsewhere would hand a partition to two readers; Prism tries so with a slow reader, and is refused.
    """

    def __init__(self, progress: ReaderProgress) -> None:
        self._progress = progress
        self._stopped = progress.stopped

    def current_restriction(self) -> ReaderProgress:
        """As far as claimed."""
        return self._progress

    def current_progress(self) -> RestrictionProgress:
        """No end is known."""
        return RestrictionProgress(fraction=1.0 if self._stopped or self._progress.finished else 0.0)

    def try_claim(self, position: ReaderProgress) -> bool:
        """Move to this progress; False when the rest was given away."""
        if self._stopped:
            return False
        self._progress = position
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[ReaderProgress, ReaderProgress] | None:
        """At 0 only."""
        if fraction_of_remainder != 0 or self._stopped or self._progress.finished:
            return None
        residual = self._progress
        self._progress = msgspec.structs.replace(residual, stopped=True)
        self._stopped = True
        return self._progress, residual

    def check_done(self) -> None:
        """Raise where reading ended without reason."""
        if not (self._stopped or self._progress.finished):
            raise ValueError("a reader returned before its end without a checkpoint")

    def is_bounded(self) -> bool:
        """Whether every partition has an end."""
        return not self._progress.endless


class ReaderProgressCoder(coders.Coder):
    """JSON: a savepoint of it can be read by people, and by a later version that knows more fields."""

    def encode(self, value: ReaderProgress) -> bytes:
        """To bytes."""
        return msgspec.json.encode(value)

    def decode(self, encoded: bytes) -> ReaderProgress:
        """From bytes."""
        return msgspec.json.decode(encoded, type=ReaderProgress)

    def is_deterministic(self) -> bool:
        """Fields come in a fixed order."""
        return True

    def to_type_hint(self) -> Any:
        """The type it codes."""
        return ReaderProgress


coders.registry.register_coder(ReaderProgress, ReaderProgressCoder)
