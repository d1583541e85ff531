"""Delivers batches to one destination over HTTP."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import httpx

from contracts.errors import ConfigurationError
from contracts.spec.destination import Destination
from transforms.deliver.http.client import Answer, Client, Fate, TransportFailure, Verdict, asked_wait_s, fate_of
from transforms.deliver.http.dialects import batch_limits, dialect_of
from transforms.deliver.http.pacing import Clock, Gate, SystemClock, backoff_s
from transforms.deliver.http.state import SinkState, Tally
from transforms.deliver.http.wire import BatchLimits, Outgoing, Request, Result, delivered, refused, request_of

_SERVER_ERROR = 500
_SUSPECT_ATTEMPTS = 8  # of several events that fail while others do not; of one event twice as many


class _Piece(NamedTuple):
    """Positions in the batch that are sent together; attempts: how often they were, without success."""

    positions: Sequence[int]
    attempts: int = 0


class HttpSink:
    """One per process and destination, for several threads at once.

    Nothing is queued inside: a thread holds the batch that it sends, once as given and once as a request.

    Args:
        destination: where to, and its limits.
        share: of ``requests_per_s`` and ``in_flight`` that this process may use; one request at a time it always may.
        clock: of waits and deadlines.
        transport: what carries the requests; None: sockets.

    Raises:
        ConfigurationError: the write key is not there, or limits are above what the API takes.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        share: float = 1.0,
        clock: Clock | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        given = destination.limits
        self.limits: BatchLimits = batch_limits(destination)
        self._dialect = dialect_of(destination.type)
        self._write_key = destination.write_key
        self._headers = self._dialect.headers(self._write_key.read())
        in_flight = max(1, math.floor(given.in_flight * share + 1e-9))
        self._clock = clock or SystemClock()
        per_s = None if given.requests_per_s is None else given.requests_per_s * share
        self._gate = Gate(per_s=per_s, in_flight=in_flight, clock=self._clock)
        self._timeout_s = given.timeout_s
        self._client = Client(destination.endpoint, timeout_s=given.timeout_s, connections=in_flight, transport=transport)
        self._tally = Tally()
        self._last_failure: tuple[str, float | None] = ("", None)

    def cut(self, events: Sequence[Outgoing]) -> Iterator[Sequence[Outgoing]]:
        """Consecutive batches, each one request; an event that is too large alone. Input: events in order."""
        for positions in self.limits.ranges(events):
            yield events[positions.start : positions.stop]

    def send(self, batch: Sequence[Outgoing], until_s: float) -> list[Result | None]:
        """Deliver events in order.

        Output: what became of each, at its position. None: not settled by ``until_s`` (``time.monotonic()``), as far as known not
        accepted, to be given again. No request leaves after ``until_s``, but the last one may take ``timeout_s`` to end. Comes
        back earlier where nobody may ask the destination until then; ``state().next_try`` says when.

        Guarantees: an event is sent only when all before it in the batch are settled or in the same request; at least once, with
        the same id; so what is unsettled is a tail of the batch, except after an answer that excepts single events. A batch that is
        larger than a request is cut. What a destination answers with a server error again and again, while it accepts as many other
        requests, is to blame itself: it is sent in halves, and the one event that is left in the end is refused, so that it does
        not hold its lane for ever.
        """
        results: list[Result | None] = [None] * len(batch)
        pieces = [_Piece(positions) for positions in self.limits.ranges(batch)][::-1]
        while pieces:
            piece = pieces.pop()
            events = [batch[position] for position in piece.positions]
            if len(events) == 1 and self.limits.too_large(events[0]):
                self._settle(results, {piece.positions[0]: refused(None)})
                continue
            verdict = self._exchange(events, piece.attempts, until_s)
            if verdict is None:
                break
            pieces += self._apply(verdict, piece, results)[::-1]
        return results

    def state(self) -> SinkState:
        """How the destination is, now."""
        health, now_s, epoch_s = self._gate.health(), self._clock.now_s(), self._clock.epoch_s()
        failure, failed_at = self._last_failure
        return SinkState(
            state=health.state, since=health.since_s - now_s + epoch_s, last_failure=failure, last_failure_at=failed_at,
            next_try=None if health.next_try_s is None else health.next_try_s - now_s + epoch_s,
            counters=self._tally.counters(delayed=self._gate.delayed, waited_s=self._gate.waited_s),
        )  # fmt: skip

    def close(self) -> None:
        """Send waiting threads back with what they hold, wait for requests under way, close connections."""
        self._gate.close(self._timeout_s)
        self._client.close()

    def _exchange(self, events: Sequence[Outgoing], attempts: int, until_s: float) -> Verdict | None:
        """Send the same request until an answer settles something; None: none did."""
        request = request_of(events, self._dialect.opening, self._dialect.closing)
        event_ids = [event.event_id for event in events]
        not_before_s = self._clock.now_s() + backoff_s(attempts) if attempts else -math.inf
        suspect = _SUSPECT_ATTEMPTS * (2 if len(events) == 1 else 1)
        failed, accepted = 0, self._gate.succeeded
        while admission := self._gate.enter(until_s, not_before_s):
            verdict, wait_s = None, None
            try:
                verdict, wait_s = self._ask(request, event_ids, again=attempts > 0)
            finally:
                self._gate.leave(admission, verdict, wait_s)
            if verdict.fate in (Fate.DELIVERED, Fate.REFUSED):
                return verdict
            failed += verdict.fate is Fate.RETRY and (verdict.status or 0) >= _SERVER_ERROR
            if failed >= suspect <= self._gate.succeeded - accepted:
                return Verdict(Fate.REFUSED, verdict.status, verdict.failure)
            attempts += 1
            governed = wait_s or self._gate.is_open()  # by what the destination asks for, or by the breaker
            not_before_s = -math.inf if governed else self._clock.now_s() + backoff_s(attempts)
        return None

    def _ask(self, request: Request, event_ids: Sequence[str], *, again: bool) -> tuple[Verdict, float | None]:
        """One request: what its answer means, and how long it asks all to wait."""
        answer: Answer | None = None
        try:
            answer = self._client.post(request.body, {**self._headers, **request.headers})
            verdict = self._dialect.judge(answer, event_ids)
        except TransportFailure as failure:
            verdict = Verdict(Fate.RETRY, None, failure.name)
        self._tally.request(answer.status if answer else None, len(request.body), again=again)
        if verdict.failure and verdict.fate is not Fate.REFUSED:
            self._last_failure = (verdict.failure, self._clock.epoch_s())
        if verdict.failure == "unauthorised":
            self._read_write_key()
        asks = answer is not None and (verdict.failure or verdict.listed)
        return verdict, asked_wait_s(answer, self._clock.epoch_s()) if answer and asks else None

    def _apply(self, verdict: Verdict, piece: _Piece, results: list[Result | None]) -> list[_Piece]:
        """Note what is settled; what is to be sent next, before anything else."""
        positions, status = piece.positions, verdict.status
        if verdict.fate is Fate.REFUSED and len(positions) > 1:
            self._tally.split()
            middle = len(positions) // 2
            return [_Piece(positions[:middle]), _Piece(positions[middle:])]
        if verdict.fate is Fate.REFUSED:
            self._settle(results, {positions[0]: refused(status)})
            return []
        assert status is not None  # delivered: there was an answer
        if not verdict.listed:
            self._settle(results, dict.fromkeys(positions, delivered(status)))
            return []
        statuses = {position: verdict.listed.get(number, status) for number, position in enumerate(positions)}
        fates = {position: fate_of(status) for position, status in statuses.items()}
        ended = {
            position: delivered(statuses[position]) if fate is Fate.DELIVERED else refused(statuses[position])
            for position, fate in fates.items()
            if fate in (Fate.DELIVERED, Fate.REFUSED)
        }
        self._settle(results, ended)
        again = [position for position in positions if position not in ended]
        return [_Piece(again, piece.attempts + 1)] if again else []

    def _read_write_key(self) -> None:
        """It may have been replaced, in a file; where it cannot be read, the one that is known stays."""
        with contextlib.suppress(ConfigurationError):
            self._headers = self._dialect.headers(self._write_key.read())

    def _settle(self, results: list[Result | None], ended: dict[int, Result]) -> None:
        for position, result in ended.items():
            results[position] = result
        self._tally.settled(ended.values())
