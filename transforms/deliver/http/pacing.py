"""When a request may leave: rate, requests in flight, what the destination asks for, and the circuit breaker, for all threads."""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from apache_beam.io.components.adaptive_throttler import AdaptiveThrottler
from tenacity import RetryCallState, Retrying, wait_random_exponential

from transforms.deliver.http.client import Fate, Verdict

_LATEST_ARRIVAL_S = 0.25  # of a request that has no answer yet, after it left
_BACKOFF = wait_random_exponential(multiplier=0.2, max=20)
_RETRYING = Retrying()
_MOST_DOUBLINGS = 30  # of the breaker's wait: a float holds 1,023, which a destination that is down for seven hours reaches
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
        self.delayed = 0

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
            self._turn("throttled" if fate is Fate.THROTTLED or self._held_until_s > now_s else "ok")
            self._condition.notify_all()

    def governs(self) -> bool:
        """Whether the breaker, or what the destination asked for, decides when to try again, and no backoff of an attempt's own."""
        with self._condition:
            return self._breaker.open or self._held_until_s > self._clock.now_s()

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
        wait_s = min(self._longest_s, self._first_s * 2.0 ** min(self._failed_probes, _MOST_DOUBLINGS))
        self.ready_s = now_s + self._jitter.uniform(wait_s / 2, wait_s)


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


def backoff_s(attempt: int) -> float:
    """Before attempt number ``attempt`` + 1: between 0 and 0.2 s doubled each time, at most 20 s ("full jitter")."""
    state = RetryCallState(_RETRYING, None, (), {})
    state.attempt_number = attempt
    return _BACKOFF(state)
