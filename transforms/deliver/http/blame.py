"""Whose fault a failure is: the destination's, the key's, or that of the events; what one process knows of it.

A failing request is *suspect* after some failures. Then a *proof* is sent: something that the destination ought to take. Is it
taken, the suspect is to blame, in this round. One event that was to blame in five rounds, one after the other, is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from transforms.deliver.http.client import Verdict
from transforms.deliver.http.wire import BatchLimits, Outgoing, Result

SUSPECT_FAILURES = 4  # of one request, before a proof is sent
REFUSED_ROUNDS = 5  # of one event alone, each failed and followed by an accepted proof
MOST_IN_A_ROW = 10  # refused, while nothing new is accepted: then what was accepted before is no proof any more


@dataclass(frozen=True)
class Suspect:
    """Events that are sent together and fail.

    count: how many. failures: of them. rounds: in which they were to blame, one after the other. unproven: the last failure, while
    no proof was answered since.
    """

    count: int
    failures: int
    rounds: int = 0
    unproven: Verdict | None = None


@dataclass(frozen=True)
class Proof:
    """What is sent to find out.

    position: in the batch, of the first event of a user that waits there; None: it is not in the batch. ahead: it waits behind the
    batch, and is sent again in its turn. alone: it is the suspect itself, for there is nothing else.
    """

    event: Outgoing
    position: int | None = None
    ahead: bool = False
    alone: bool = False


class Blame:
    """For all threads of a sink: what one of them had accepted is proof for all.

    State: one event, an entry for each suspect, ids of proofs that are sent again in their turn; these end when they are settled.

    Args:
        probe: an event that is for this alone; None: what was accepted before.
        limits: of a request; an event that is too large is no proof.
    """

    def __init__(self, probe: Outgoing | None, limits: BatchLimits) -> None:
        self._probe, self._good, self._limits = probe, probe, limits
        self._suspects: dict[str, Suspect] = {}
        self._sent_before: set[str] = set()
        self._failed_proofs = self._in_a_row = 0
        self.destination_proven = self.in_doubt = False

    def __bool__(self) -> bool:
        """Whether there are suspects."""
        return bool(self._suspects)

    def suspect(self, event_id: str) -> Suspect | None:
        """Those whose first event this is."""
        return self._suspects.get(event_id)

    def suspected(self, event_id: str, suspect: Suspect | None) -> None:
        """They are; None: not any more."""
        if suspect:
            self._suspects[event_id] = suspect
        else:
            self._suspects.pop(event_id, None)

    def delivered_before(self, event: Outgoing) -> None:
        """A receipt says that the destination has this event."""
        if self._good is None:
            self._good = event

    def accepted(self, events: Sequence[Outgoing]) -> None:
        """The destination took them, in their turn."""
        if not events:
            return
        if not self._sent_before or any(event.event_id not in self._sent_before for event in events):
            self._in_a_row = 0
        if self._probe is None:
            self._good = min(events, key=lambda event: len(event.body))
        self._destination_works()

    def settled(self, events: Iterable[Outgoing]) -> None:
        """They have ended."""
        for event in events if self._suspects or self._sent_before else ():
            self._suspects.pop(event.event_id, None)
            self._sent_before.discard(event.event_id)

    def proof(
        self, batch: Sequence[Outgoing], results: Sequence[Result | None], ahead: Sequence[Outgoing], suspects: Sequence[int]
    ) -> Proof:
        """What to send after a failure.

        What is known to be good; after ten refusals in a row without anything new accepted, and where a proof has failed, also the
        first waiting event of each user, which changes no user's order.

        Args:
            batch: events in order.
            results: of those that are settled.
            ahead: events that wait behind the batch; they are sent again in their turn.
            suspects: positions of those that failed.
        """
        exhausted = self._in_a_row >= MOST_IN_A_ROW
        found = [] if exhausted or self._good is None else [Proof(self._good)]
        if not found or self._failed_proofs:
            firsts = _firsts_of_users(batch, results, () if exhausted else ahead, suspects)
            found += [first for first in firsts if not self._limits.too_large(first.event)]
        if not found:
            return Proof(batch[suspects[0]], suspects[0], alone=True)
        return found[self._failed_proofs % len(found)]

    def taken(self, proof: Proof) -> None:
        """The destination took it."""
        if proof.ahead:
            self._sent_before.add(proof.event.event_id)
        if proof.position is not None:
            self._in_a_row = 0
        if self._probe is None:
            self._good = proof.event
        self._destination_works()

    def not_taken(self, proof: Proof) -> None:
        """It failed too."""
        self._failed_proofs += 1
        self.destination_proven, self.in_doubt = True, proof.alone

    def refused(self) -> None:
        """One event was, by rounds."""
        self._in_a_row += 1

    def _destination_works(self) -> None:
        self._failed_proofs = 0
        self.destination_proven = self.in_doubt = False


def _firsts_of_users(
    batch: Sequence[Outgoing], results: Sequence[Result | None], ahead: Sequence[Outgoing], suspects: Sequence[int]
) -> list[Proof]:
    """The first of each user among those that are not settled, but for a suspect that is alone."""
    found: dict[str, Proof] = {}
    for position, event in enumerate(batch):
        if results[position] is None:
            found.setdefault(event.user, Proof(event, position))
    for event in ahead:
        found.setdefault(event.user, Proof(event, ahead=True))
    return [proof for proof in found.values() if len(suspects) > 1 or proof.position != suspects[0]]
