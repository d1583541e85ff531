"""When a partition is silent: nothing moves W, and nothing that could have is unread. Pure.

A topic whose messages have no believable record times may never be at its end when it is asked: more has come meanwhile. It is as
good as silent when all is read that was there a while ago, and none of it moved W.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lake.raw.log_ids import LogId


@dataclass
class EndsSeen:
    """Ends of partitions, as the broker told them since something moved W last."""

    _seen: dict[LogId, tuple[float, int]] = field(default_factory=dict)

    def forget(self, log: LogId) -> None:
        """Something moved W: it counts from here."""
        self._seen.pop(log, None)

    def read_up_to(self, log: LogId, following: int, end: int, now_s: float, within_s: float) -> float | None:
        """The moment up to which all is read that had come: now, or when this was asked before. None where neither is so.

        Args:
            log: the partition.
            following: the next offset to read.
            end: its end, as the broker tells it now.
            now_s: the clock.
            within_s: what was told longer ago says nothing: what came since may be much.
        """
        then_s, before = self._seen.get(log, (now_s, end))
        if now_s - then_s > within_s:
            then_s, before = now_s, end
        read = now_s if following >= end else then_s if following >= before else None
        self._seen[log] = (then_s, before) if read is None else (now_s, end)
        return read
