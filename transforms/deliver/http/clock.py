"""Time as the sink sees it; tests bring a clock of their own."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks and one way to wait."""

    def now_s(self) -> float:
        """Monotonic seconds; deadlines are of this clock."""

    def epoch_s(self) -> float:
        """Seconds since the epoch, for what people and servers read."""

    def wait(self, condition: threading.Condition, timeout_s: float) -> None:
        """Give up the condition's lock until it is notified or the time is over."""


class SystemClock:
    """The machine's."""

    def now_s(self) -> float:
        """``time.monotonic()``."""
        return time.monotonic()

    def epoch_s(self) -> float:
        """``time.time()``."""
        return time.time()

    def wait(self, condition: threading.Condition, timeout_s: float) -> None:
        """``condition.wait``."""
        condition.wait(timeout_s)
