"""The sink's account of itself, for ``headrace status`` and metrics."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from transforms.deliver.http.pacing import HealthName
from transforms.deliver.http.wire import Result


@dataclass(frozen=True, kw_only=True)
class Counters:
    """Since the sink was made.

    requests: sent, of which ``retried`` repeat one that failed, ``throttled_requests`` were answered 429, and by_class counts the
    rest of the answers: "2xx" … "5xx", "none" for no answer. split: requests that were sent again in halves. delayed: requests held
    back because most before them were answered 429. delivered, refused: events. sent_bytes: bodies as sent. waited_s: of all
    threads, before requests.
    """

    requests: int = 0
    retried: int = 0
    throttled_requests: int = 0
    by_class: Mapping[str, int] = field(default_factory=dict)
    split: int = 0
    delayed: int = 0
    delivered: int = 0
    refused: int = 0
    sent_bytes: int = 0
    waited_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SinkState:
    """How the destination is.

    state: "ok"; "throttled": it asks for less; "down": it fails or does not answer, and is probed. since: when that began, epoch
    seconds. next_try: epoch seconds, None: at any time. last_failure: "connect", "tls", "timeout", "reset", "wrong_answer",
    "unauthorised", "not_found", "redirect", "http_" and a status, or "" where nothing has failed yet; last_failure_at: when.
    proven: a proof (see ``blame``) has failed as well, since something was last accepted. in_doubt: there was nothing to send as a
    proof, so one event may be to blame.
    """

    state: HealthName
    since: float
    next_try: float | None
    last_failure: str
    last_failure_at: float | None
    proven: bool = False
    in_doubt: bool = False
    counters: Counters


class Tally:
    """Counters for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters = Counters()

    def request(self, status: int | None, size_bytes: int, *, again: bool) -> None:
        """A request was answered, or not."""
        key = f"{status // 100}xx" if status else "none"
        with self._lock:
            now = self._counters
            self._counters = replace(
                now, requests=now.requests + 1, retried=now.retried + again, sent_bytes=now.sent_bytes + size_bytes,
                throttled_requests=now.throttled_requests + (status == 429),
                by_class={**now.by_class, key: now.by_class.get(key, 0) + 1},
            )  # fmt: skip

    def split(self) -> None:
        """A request is sent again in halves."""
        with self._lock:
            self._counters = replace(self._counters, split=self._counters.split + 1)

    def settled(self, results: Iterable[Result]) -> None:
        """Events have ended."""
        outcomes = [result.delivered for result in results]
        with self._lock:
            now, delivered = self._counters, sum(outcomes)
            refused = now.refused + len(outcomes) - delivered
            self._counters = replace(now, delivered=now.delivered + delivered, refused=refused)

    def counters(self, *, delayed: int, waited_s: float) -> Counters:
        """All of them, with those that the gate counts."""
        with self._lock:
            return replace(self._counters, delayed=delayed, waited_s=waited_s)
