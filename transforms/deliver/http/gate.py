"""When a request may leave: rate, requests in flight, what the destination asks for, and the circuit breaker, for all threads."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Literal, NamedTuple

from apache_beam.io.components.adaptive_throttler import AdaptiveThrottler

from transforms.deliver.http.answers import Fate, Verdict
from transforms.deliver.http.breaker import Breaker
from transforms.deliver.http.clock import Clock
from transforms.deliver.http.pace import Departure, Pace

_THROTTLE_WINDOW_MS = 30_000
_THROTTLE_BUCKET_MS = 1_000
_THROTTLE_RATIO = 2.0  # waits when the destination takes less than half of what it gets
_THROTTLE_DELAY_S = 1.0

HealthName = Literal["ok", "throttled", "down"]


class Admission(NamedTuple):
    """The right to send one request now."""

    probe: bool
    departure: Departure | None


@dataclass(frozen=True)
class Health:
    """The destination as the gate sees it. since_s, next_try_s: of the monotonic clock; next_try_s None: at any time."""

    state: HealthName
    since_s: float
    next_try_s: float | None


class Gate:
    """Every request passes it. Threads wait here, and only here; nobody polls.

    Args:
        per_s: requests a second, None: no limit.
        in_flight: requests at once.
        clock: of waits.
    """

    def __init__(self, *, per_s: float | None, in_flight: int, clock: Clock) -> None:
        self._clock, self._in_flight_limit = clock, in_flight
        self._condition = threading.Condition()
        self._pace = None if per_s is None else Pace(per_s)
        self._breaker = Breaker()
        self._throttler = AdaptiveThrottler(_THROTTLE_WINDOW_MS, _THROTTLE_BUCKET_MS, _THROTTLE_RATIO)
        self._held_until_s = self._throttled_at_s = -math.inf
        self._in_flight = 0
        self._closed = False
        self._health: HealthName = "ok"
        self._since_s = clock.now_s()
        self.waited_s = 0.0
        self.delayed = self.succeeded = 0

    def enter(self, until_s: float, not_before_s: float = -math.inf) -> Admission | None:
        """Wait for the right to send a request; ``leave`` gives it back.

        None: not by ``until_s``, said at once where nobody may ask the destination until then, or the gate is closed.
        """
        with self._condition:
            began_s = now_s = self._clock.now_s()
            asked = False
            try:
                while not self._closed and now_s <= until_s:
                    open_s = self._open_s()
                    ready_s = max(open_s, not_before_s, self._pace.ready_s() if self._pace else -math.inf)
                    if ready_s <= now_s and not asked:
                        asked = True
                        if self._is_throttled(now_s):
                            self.delayed += 1
                            self._turn("throttled")
                            not_before_s = now_s + min(_THROTTLE_DELAY_S, (until_s - now_s) / 2)  # delayed, not sent back
                            continue
                    if ready_s <= now_s:
                        return self._admit(now_s)
                    if now_s == until_s or until_s < open_s < math.inf:
                        return None
                    self._clock.wait(self._condition, min(ready_s, until_s, now_s + threading.TIMEOUT_MAX) - now_s)
                    now_s = self._clock.now_s()
                return None
            finally:
                self.waited_s += self._clock.now_s() - began_s

    def leave(self, admission: Admission, verdict: Verdict | None, wait_s: float | None = None) -> None:
        """The request is over. verdict None: it ended in an error of ours; wait_s: what the destination asks all to wait."""
        with self._condition:
            now_s = self._clock.now_s()
            self._in_flight -= 1
            if self._pace and admission.departure:
                self._pace.arrived(admission.departure, now_s)
            fate = verdict.fate if verdict else Fate.RETRY
            if wait_s:
                self._held_until_s = max(self._held_until_s, now_s + wait_s)
            if fate is Fate.THROTTLED:
                self._throttled_at_s = now_s
            else:
                self._throttler.successful_request(now_s * 1_000)
            if fate in (Fate.RETRY, Fate.UNUSABLE):
                self._breaker.failed(now_s, probe=admission.probe, at_once=fate is Fate.UNUSABLE)
            else:
                self._breaker.succeeded()
                self.succeeded += fate is not Fate.THROTTLED
            self._turn("throttled" if fate is Fate.THROTTLED or self._held_until_s > now_s else "ok")
            self._condition.notify_all()

    def is_open(self) -> bool:
        """Whether the breaker is open: then it decides when to try again, and no backoff of an attempt's own."""
        with self._condition:
            return self._breaker.open

    def health(self) -> Health:
        """How things are."""
        with self._condition:
            now_s = self._clock.now_s()
            next_s = max(self._breaker.ready_s, self._held_until_s)
            return Health(self._health, self._since_s, next_s if next_s > now_s else None)

    def close(self, within_s: float) -> None:
        """Let nobody in any more, send those away who wait, and wait for those who are inside."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
            until_s = self._clock.now_s() + within_s
            while self._in_flight and self._clock.now_s() < until_s:
                self._clock.wait(self._condition, until_s - self._clock.now_s())

    def _open_s(self) -> float:
        """When the destination may be asked, by anybody; infinity: not before a request under way has ended."""
        breaker_s = self._breaker.may_leave_s()
        if breaker_s is None or self._in_flight >= self._in_flight_limit:
            return math.inf
        return max(self._held_until_s, breaker_s)

    def _is_throttled(self, now_s: float) -> bool:
        """Whether this request had better wait.

        The throttler takes requests that have no answer yet for refused ones, so it would delay the first few that are sent at
        once: it is asked only while there are 429s.
        """
        if now_s > self._throttled_at_s + _THROTTLE_WINDOW_MS / 1_000:
            return False
        return bool(self._throttler.throttle_request(now_s * 1_000))

    def _admit(self, now_s: float) -> Admission:
        self._in_flight += 1
        return Admission(self._breaker.depart(), self._pace.depart(now_s) if self._pace else None)

    def _turn(self, health: HealthName) -> None:
        health = "down" if self._breaker.open else health
        if health != self._health:
            self._health, self._since_s = health, self._clock.now_s()
