"""Counters over the requests of a ledger: made of its rows when the server starts, kept up from then on."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

from devstack.cdp.ledger import Request

_SECOND_US = 1_000_000
_RATE_WINDOW_US = 5 * _SECOND_US


class Counters:
    """Totals, and the most requests in any one second."""

    def __init__(self, requests: Iterable[Request] = ()) -> None:
        self.by_status: Counter[str] = Counter()
        self.by_fault: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()
        self.max_requests_per_s = 0
        self._second: deque[int] = deque()
        self._recent: deque[tuple[int, int]] = deque()
        for request in requests:
            self.add(request)

    def add(self, request: Request) -> None:
        """Count one request."""
        self.by_status["reset" if request.status is None else str(request.status)] += 1
        if request.fault:
            self.by_fault[request.fault] += 1
        self.totals.update(
            requests=1,
            unauthorised=request.status == 401,
            events_accepted=request.accepted,
            repeats=request.repeats,
            rejected=request.rejected,
            dropped=request.dropped,
            wire_bytes=request.wire_bytes,
            json_bytes=request.json_bytes,
        )
        _forget(self._second, request.time_us - _SECOND_US)
        self._second.append(request.time_us)
        self.max_requests_per_s = max(self.max_requests_per_s, len(self._second))
        self._recent.append((request.time_us, request.accepted + request.repeats))
        self._forget_recent(request.time_us)

    def rate(self, now_us: int) -> tuple[float, float]:
        """Requests and events a second over the last five."""
        self._forget_recent(now_us)
        seconds = _RATE_WINDOW_US / _SECOND_US
        return len(self._recent) / seconds, sum(events for _, events in self._recent) / seconds

    def _forget_recent(self, now_us: int) -> None:
        while self._recent and self._recent[0][0] <= now_us - _RATE_WINDOW_US:
            self._recent.popleft()

    def document(self) -> dict[str, object]:
        """As ``GET /_control/counters`` answers."""
        names = ("requests", "unauthorised", "events_accepted", "repeats", "rejected", "dropped", "wire_bytes", "json_bytes")
        return {
            **{name: self.totals[name] for name in names},
            "by_status": dict(self.by_status),
            "by_fault": dict(self.by_fault),
            "max_requests_per_s": self.max_requests_per_s,
        }


def _forget(times: deque[int], until_us: int) -> None:
    while times and times[0] <= until_us:
        times.popleft()
