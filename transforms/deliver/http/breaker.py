"""A circuit breaker: a destination that is down is asked seldom, by one request at a time."""

from __future__ import annotations

import math
import random


class Breaker:
    """Closed until ``failures`` in a row without a success in between; then open, with one probe after each wait.

    Waits double from ``first_s`` to ``longest_s``, each cut by up to a half at random. Any success closes it. What fails while it
    is open without being the probe had left before and changes nothing. Not for several threads without a lock.

    Source: M. Nygard, Release It!, "Circuit Breaker". Libraries hold a lock while the request runs (pybreaker) or wait equally
    long each time.
    """

    def __init__(self, failures: int = 5, first_s: float = 1.0, longest_s: float = 30.0) -> None:
        self._allowed, self._first_s, self._longest_s = failures, first_s, longest_s
        self._jitter = random.Random()
        self._failed_in_a_row = self._failed_probes = 0
        self._probing = False
        self.open = False
        self.ready_s = -math.inf

    def may_leave_s(self) -> float | None:
        """When a request may leave; None: not before the probe under way has ended."""
        return None if self._probing else self.ready_s

    def depart(self) -> bool:
        """A request leaves; whether it is the probe."""
        self._probing = self.open
        return self._probing

    def succeeded(self) -> None:
        """A request was answered as it should be."""
        self._failed_in_a_row = self._failed_probes = 0
        self._probing = self.open = False
        self.ready_s = -math.inf

    def failed(self, now_s: float, *, probe: bool, at_once: bool) -> None:
        """A request failed; at_once: no use in trying again soon."""
        self._failed_in_a_row += 1
        if probe and self._probing:
            self._probing = False
            self._failed_probes += 1
        elif self.open or not (at_once or self._failed_in_a_row >= self._allowed):
            return
        self.open = True
        wait_s = min(self._longest_s, self._first_s * 2.0**self._failed_probes)
        self.ready_s = now_s + self._jitter.uniform(wait_s / 2, wait_s)
