"""Delivers batches to one destination over HTTP."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import httpx
import msgspec

from contracts.errors import ConfigurationError
from contracts.spec.destination import Destination
from transforms.deliver.http.blame import REFUSED_ROUNDS, SUSPECT_FAILURES, Blame, Suspect
from transforms.deliver.http.client import (
    WRONG_ANSWER,
    Answer,
    Client,
    Fate,
    TransportFailure,
    Verdict,
    asked_wait_s,
    failure_of,
    fate_of,
)
from transforms.deliver.http.dialects import batch_limits, dialect_of
from transforms.deliver.http.pacing import Clock, Gate, SystemClock, backoff_s
from transforms.deliver.http.state import SinkState, Tally
from transforms.deliver.http.wire import BatchLimits, Outgoing, Request, Result, delivered, refused, request_of

_FAILED = (Fate.RETRY, Fate.UNUSABLE)
_NOT_OF_EVENTS = ("connect", "tls")  # nothing had left


class _Piece(NamedTuple):
    """Positions in the batch that are sent together.

    attempts: how often they were, without success, since the destination last accepted something. failures, rounds, unproven: see
    ``Suspect``.
    """

    positions: Sequence[int]
    attempts: int = 0
    failures: int = 0
    rounds: int = 0
    unproven: Verdict | None = None


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
        self._blame = Blame(_probe_of(destination), self.limits)

    def cut(self, events: Sequence[Outgoing]) -> Iterator[Sequence[Outgoing]]:
        """Consecutive batches, each one request; an event that is too large alone. Input: events in order."""
        for positions in self.limits.ranges(events):
            yield events[positions.start : positions.stop]

    def delivered_before(self, event: Outgoing) -> None:
        """A receipt says that the destination has this event: it may tell whose fault a failure is."""
        self._blame.delivered_before(event)

    def send(self, batch: Sequence[Outgoing], until_s: float, ahead: Sequence[Outgoing] = ()) -> list[Result | None]:
        """Deliver events in order.

        Output: what became of each, at its position. None: not settled by ``until_s`` (``time.monotonic()``), as far as known not
        accepted, to be given again. No request leaves after ``until_s``, but the last one may take ``timeout_s`` to end. Comes
        back earlier where nobody may ask the destination until then; ``state().next_try`` says when.

        Guarantees: an event is sent only when all before it of its user are settled or in the same request; at least once, with the
        same id; so what is unsettled is a tail of the batch, except after an answer that excepts single events, and where the first
        event of a user was sent as a proof. A batch that is larger than a request is cut. What the destination fails at while it
        takes proofs is sent in halves, and the one event that is left in the end is refused: see ``blame``.

        Args:
            batch: events in order.
            until_s: monotonic.
            ahead: events that wait behind them; the first of a user may be sent as a proof, and again in its turn.
        """
        results: list[Result | None] = [None] * len(batch)
        pieces = self._pieces(batch)[::-1]
        while pieces:
            piece = pieces.pop()
            piece = piece._replace(positions=[position for position in piece.positions if results[position] is None])
            if not piece.positions:
                continue
            events = [batch[position] for position in piece.positions]
            if len(events) == 1 and self.limits.too_large(events[0]):
                self._settle(results, {piece.positions[0]: refused(None)})
                continue
            verdict = piece.unproven
            if verdict is None:
                verdict, piece = self._exchange(events, piece, until_s)
            if verdict is None:
                break
            if verdict.fate is Fate.REFUSED or verdict.fate is Fate.DELIVERED:
                self._blame.suspected(events[0].event_id, None)
                pieces += self._apply(verdict, piece, results)[::-1]
                taken = [batch[position] for position in piece.positions if (result := results[position]) and result.delivered]
                self._blame.accepted(taken)
                self._blame.settled([batch[position] for position in piece.positions if results[position]])
                continue
            proof = self._blame.proof(batch, results, ahead, piece.positions)
            answer = self._attempt([proof.event], again=True, until_s=until_s, once=proof.position is None)
            if answer is None:
                break
            if answer.fate is Fate.THROTTLED:
                pieces.append(piece)  # says nothing of either
            elif answer.fate is Fate.DELIVERED and not answer.listed:
                self._blame.taken(proof)
                if proof.position is not None:
                    assert answer.status is not None
                    self._settle(results, {proof.position: delivered(answer.status)})
                    self._blame.settled([proof.event])
                pieces += self._to_blame(verdict, piece, events, results)[::-1]
            else:
                self._blame.not_taken(proof)
                pieces.append(self._noted(events, piece._replace(rounds=0, unproven=None)))
        return results

    def _pieces(self, batch: Sequence[Outgoing]) -> list[_Piece]:
        """Requests, in order; suspects of an earlier call stay apart."""
        pieces: list[_Piece] = []
        for positions in self.limits.ranges(batch):
            first = positions.start
            for position in positions if self._blame else ():
                if position >= first and (suspect := self._blame.suspect(batch[position].event_id)):
                    if position > first:
                        pieces.append(_Piece(range(first, position)))
                    first = min(position + suspect.count, positions.stop)
                    piece = _Piece(range(position, first), failures=suspect.failures)
                    whole = len(piece.positions) == suspect.count
                    pieces.append(piece._replace(rounds=suspect.rounds, unproven=suspect.unproven) if whole else piece)
            if first < positions.stop:
                pieces.append(_Piece(range(first, positions.stop)))
        return pieces

    def _to_blame(self, verdict: Verdict, piece: _Piece, events: Sequence[Outgoing], results: list[Result | None]) -> list[_Piece]:
        """The destination takes a proof: what is to be sent next of these."""
        self._blame.suspected(events[0].event_id, None)
        if results[piece.positions[0]] and len(events) == 1:
            return []  # it was the proof itself
        if len(events) > 1:
            self._tally.split()
            middle = len(piece.positions) // 2
            halves = piece.positions[:middle], piece.positions[middle:]
            first, second = [_Piece(half, 1, SUSPECT_FAILURES - 1) for half in halves]
            return [self._noted(events[:middle], first), second]
        if piece.rounds + 1 < REFUSED_ROUNDS:
            return [self._noted(events, piece._replace(attempts=1, rounds=piece.rounds + 1, unproven=None))]
        self._blame.refused()
        answered = verdict.status is not None and verdict.failure != WRONG_ANSWER
        self._settle(results, {piece.positions[0]: refused(verdict.status) if answered else Result(False, None, verdict.failure)})
        self._blame.settled(events)
        return []

    def _noted(self, events: Sequence[Outgoing], piece: _Piece) -> _Piece:
        """Kept for the next call."""
        self._blame.suspected(events[0].event_id, Suspect(len(events), piece.failures, piece.rounds, piece.unproven))
        return piece

    def state(self) -> SinkState:
        """How the destination is, now."""
        health, now_s, epoch_s = self._gate.health(), self._clock.now_s(), self._clock.epoch_s()
        failure, failed_at = self._last_failure
        return SinkState(
            state=health.state, since=health.since_s - now_s + epoch_s, last_failure=failure, last_failure_at=failed_at,
            next_try=None if health.next_try_s is None else health.next_try_s - now_s + epoch_s,
            proven=self._blame.destination_proven, in_doubt=self._blame.in_doubt,
            counters=self._tally.counters(delayed=self._gate.delayed, waited_s=self._gate.waited_s),
        )  # fmt: skip

    def close(self) -> None:
        """Send waiting threads back with what they hold, wait for requests under way, close connections."""
        self._gate.close(self._timeout_s)
        self._client.close()

    def _exchange(self, events: Sequence[Outgoing], piece: _Piece, until_s: float) -> tuple[Verdict | None, _Piece]:
        """Send the same request until an answer settles something, or the events are suspects; None: neither."""
        while verdict := self._attempt(events, again=piece.attempts > 0, until_s=until_s, attempts=piece.attempts):
            if len(verdict.listed) == len(events) and all(fate_of(status) in _FAILED for status in verdict.listed.values()):
                status = verdict.listed[0]
                verdict = Verdict(fate_of(status), status, failure_of(status))
            if verdict.fate in (Fate.DELIVERED, Fate.REFUSED):
                return verdict, piece
            piece = piece._replace(attempts=piece.attempts + 1)
            if verdict.fate is not Fate.THROTTLED and verdict.failure not in _NOT_OF_EVENTS:
                piece = piece._replace(failures=piece.failures + 1)
                suspects = piece.failures >= SUSPECT_FAILURES or verdict.fate is Fate.UNUSABLE
                piece = self._noted(events, piece._replace(unproven=verdict if suspects else None))
                if suspects:
                    return verdict, piece
        return None, piece

    def _attempt(
        self, events: Sequence[Outgoing], *, again: bool, until_s: float, attempts: int = 0, once: bool = False
    ) -> Verdict | None:
        """Send a request once, after the backoff of as many attempts; None: not by ``until_s``. once: see ``request_of``."""
        governed = self._gate.governs()  # by what the destination asks for, or by the breaker
        not_before_s = self._clock.now_s() + backoff_s(attempts) if attempts and not governed else -math.inf
        mark = f"{self._clock.epoch_s():.6f}" if once else ""
        request = request_of(events, self._dialect.opening, self._dialect.closing, once=mark)
        admission = self._gate.enter(until_s, not_before_s)
        if admission is None:
            return None
        verdict, wait_s = None, None
        try:
            verdict, wait_s = self._ask(request, [event.event_id for event in events], again=again)
        finally:
            self._gate.leave(admission, verdict, wait_s)
        return verdict

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


def _probe_of(destination: Destination) -> Outgoing | None:
    if destination.probe is None:
        return None
    body = msgspec.json.encode({**destination.probe, "messageId": destination.probe_id}, order="sorted")
    return Outgoing(destination.probe_id, body)
