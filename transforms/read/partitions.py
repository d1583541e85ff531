"""How far one partition is: offsets and times. Pure.

W, the watermark of a partition, is the largest record time that was seen in it less the bound on disorder. A reader's W is the
smallest of its partitions that are neither finished nor idle, and never goes back. See ``transforms/late.py`` for what W decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import msgspec
import numpy as np
import numpy.typing as npt

from contracts.compiler.clocks import NO_TIME_US
from lake.raw.log_ids import LogId
from transforms.late import NEVER_LATE_US
from transforms.readers.progress import END_OF_TIME_US, ProgressCoder, ReaderProgress

FUTURE_US = 300_000_000  # record times further ahead of the clock than this do not move W
_AHEAD_US = 900_000_000  # a partition this far ahead of the reader's slowest waits, or its windows would fill the state


class PartitionProgress(msgspec.Struct, frozen=True):
    """One partition.

    next: the next offset to read. end: read up to here only; None for ever. max_us: the largest record time that moved W, None
    before the first. idle: nothing moved W for long, and a query confirmed that nothing
    waits.
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
    def id(self) -> LogId:
        """See LaneProgress."""
        return self.log

    @property
    def finished(self) -> bool:
        """See LaneProgress."""
        return self.end is not None and self.next >= self.end

    def at(self, place: int) -> Self:
        """See LaneProgress."""
        return msgspec.structs.replace(self, next=place)


class ReaderProgressCoder(ProgressCoder):
    """Of readers of partitions."""

    kind = ReaderProgress[PartitionProgress]


PartitionsProgress = ReaderProgress[PartitionProgress]


def owner_of(partition: int, readers: int) -> int:
    """Which reader a partition belongs to: round robin within a topic."""
    return partition % readers


def with_partitions(progress: PartitionsProgress, changed: Mapping[LogId, PartitionProgress], bound_us: int) -> PartitionsProgress:
    """The progress after these partitions moved; W follows."""
    moved = tuple(changed.get(p.log, p) for p in progress.lanes)
    return msgspec.structs.replace(progress, lanes=moved, watermark_us=max(progress.watermark_us, _smallest(moved, bound_us)))


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
        now_us: the clock, see ``moving``.
    """
    believed = np.where(moving(times_us, now_us), times_us, NEVER_LATE_US)
    reached = np.maximum.accumulate(np.concatenate(([NEVER_LATE_US if max_us is None else max_us], believed)))
    before = np.where(reached[:-1] == NEVER_LATE_US, NEVER_LATE_US, reached[:-1] - bound_us)
    latest = int(reached[-1])
    return np.maximum(before, watermark_us), None if latest == NEVER_LATE_US else latest


def moving(times_us: npt.NDArray[np.int64], now_us: int) -> npt.NDArray[np.bool_]:
    """Which record times may move W: those that a message has, and that do not lie ahead of the clock."""
    moves: npt.NDArray[np.bool_] = (times_us != NO_TIME_US) & (times_us <= now_us + FUTURE_US)
    return moves


def far_ahead(progress: PartitionsProgress) -> set[LogId]:
    """Partitions that are to wait for the slowest."""
    if progress.watermark_us == NEVER_LATE_US:
        return set()
    limit = progress.watermark_us + _AHEAD_US
    return {p.log for p in progress.lanes if p.max_us is not None and p.max_us > limit}
