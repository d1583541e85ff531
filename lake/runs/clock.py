"""When a run began, how long its steps take, and the name that follows from it."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass
class RunClock:
    """When a run began, and how long its steps took."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    timings: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.monotonic)

    def done(self, step: str) -> None:
        """A step ended now."""
        now = time.monotonic()
        self.timings[step] = now - self._last
        self._last = now

    def seconds(self) -> dict[str, float]:
        """Per step and in all, as a manifest has them."""
        total = (datetime.now(UTC) - self.started).total_seconds()
        return {f"{name}_s": round(seconds, 3) for name, seconds in (self.timings | {"total": total}).items()}


def new_run_id(name: str, clock: RunClock) -> str:
    """``<time>-<name>-<random>``; sorts by time."""
    return f"{clock.started:%Y%m%dT%H%M%S%f}Z-{name}-{secrets.token_hex(3)}"
