"""At most so many requests in any second, by what the destination can see."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

_LATEST_ARRIVAL_S = 0.25  # of a request that has no answer yet, after it left


@dataclass
class Departure:
    """One request that left; seen_by_s: when it had arrived at the latest."""

    seen_by_s: float


class Pace:
    """Requests evenly spaced, and never more than ``per_s`` in one second.

    Below one a second, one in every 1 / ``per_s`` seconds; a fraction above one is not used (1.9 is 1), because whole requests are
    what a second is counted in. Spacing alone is not enough: a request that is held up on its way and the next ones that are not
    arrive within less than a second. So a request leaves one second after the ``per_s``-th before it has *arrived*: when it was
    answered, but no more than 0.25 s after it left. That costs rate where answers are slow: a tenth at 0.1 s, a fifth at most.
    State: that many numbers. Not for several threads without a lock.
    """

    def __init__(self, per_s: float) -> None:
        count = max(1, math.floor(per_s + 1e-9))
        self._window_s = max(1.0, 1 / per_s)
        self._spacing_s = self._window_s / count
        self._window: deque[Departure] = deque(maxlen=count)
        self._next_s = -math.inf

    def ready_s(self) -> float:
        """When the next request may leave."""
        if len(self._window) < (self._window.maxlen or 0):
            return self._next_s
        return max(self._next_s, self._window[0].seen_by_s + self._window_s)

    def depart(self, now_s: float) -> Departure:
        """A request leaves."""
        self._next_s = now_s + self._spacing_s
        departure = Departure(now_s + _LATEST_ARRIVAL_S)
        self._window.append(departure)
        return departure

    def arrived(self, departure: Departure, now_s: float) -> None:
        """It was answered, or it failed."""
        departure.seen_by_s = min(departure.seen_by_s, now_s)
