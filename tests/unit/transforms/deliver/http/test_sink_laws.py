"""Whatever a destination answers: every event ends once, in order, and its destination has it once."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from math import ceil, log2
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.spec.destination import Limits
from tests.support.scripted import FakeClock, Scripted, Seen, destination, event
from transforms.deliver.http.sink import HttpSink

ACTIONS = [
    "ok",
    "ok",
    "429",
    "429_seconds",
    "500",
    "503_seconds",
    "401",
    "302",
    "reset_before",
    "reset_after",
    "wrong_body",
    "partial",
]


@dataclass
class Moody(Scripted):
    """Does what the script says to events that are good, and takes no bad one; ``moods`` are followed by "ok" for ever.

    bad: ids that are never taken. excepted: good ones that the first partial answer puts off. partials: whether any was put off.
    """

    moods: list[str] = field(default_factory=list)
    bad: frozenset[str] = frozenset()
    excepted: frozenset[str] = frozenset()
    partials: bool = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        seen = Seen(self.clock.passed_s, request, request.read())
        self.seen.append(seen)
        mood = self.moods.pop(0) if self.moods else "ok"
        if mood == "reset_before":
            raise httpx.ReadError("")
        if mood == "partial":
            return self._partial(seen.ids)
        if mood in ("ok", "reset_after", "wrong_body"):
            if self.bad & set(seen.ids):
                return httpx.Response(400)
            self.commit(seen.ids)
            if mood == "reset_after":
                raise httpx.ReadError("")
            return httpx.Response(200, text="<html>") if mood == "wrong_body" else httpx.Response(200, json={"success": True})
        code, _, seconds = mood.partition("_")
        return httpx.Response(int(code), headers={"Retry-After": "2"} if seconds else {})

    def _partial(self, ids: list[str]) -> httpx.Response:
        later = [one for one in ids if one in self.excepted - self.bad]
        self.partials |= bool(later)
        self.excepted = frozenset()  # the next time they are taken
        self.commit(one for one in ids if one not in self.bad and one not in later)
        errors: list[dict[str, Any]] = [{"messageId": one, "status": 400} for one in ids if one in self.bad]
        errors += [{"index": ids.index(one), "status": 503} for one in later]
        return httpx.Response(207, json={"errors": errors}) if errors else httpx.Response(200, json={"success": True})


numbers = st.frozensets(st.integers(0, 11).map("m{}".format), max_size=4)


@settings(max_examples=300)
@given(
    moods=st.lists(st.sampled_from(ACTIONS), max_size=14),
    bad=numbers,
    excepted=numbers,
    most=st.integers(1, 12),
    patience_s=st.sampled_from([0.0, 1.0, 10.0, 100.0]),
)
def test_every_event_ends_once_in_order_whatever_the_destination_answers(
    moods: list[str], bad: frozenset[str], excepted: frozenset[str], most: int, patience_s: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        given_ = destination(patch, limits=Limits(batch_events=most, timeout_s=5))
        clock = FakeClock()
        target = Moody(clock, moods=list(moods), bad=bad, excepted=excepted)
        sink = HttpSink(given_, clock=clock, transport=httpx.MockTransport(target))
    batch = [event(number, 300) for number in range(12)]
    ended: dict[str, bool] = {}
    remaining, rounds = batch, 0
    while remaining:
        until_s = clock.now_s() + patience_s
        before = len(target.seen)
        results = sink.send(remaining, until_s)
        assert len(results) == len(remaining)
        assert all(seen.at_s + 1_000.0 <= until_s for seen in target.seen[before:]), "no request after the deadline"
        unsettled = [one for one, result in zip(remaining, results, strict=True) if result is None]
        if not target.partials:
            assert unsettled == remaining[len(remaining) - len(unsettled) :], "a tail"
        for one, result in zip(remaining, results, strict=True):
            if result is not None:
                assert one.event_id not in ended
                ended[one.event_id] = result.delivered
        remaining = unsettled
        rounds += 1
        if remaining and (next_try := sink.state().next_try):  # as the caller does
            clock.passed_s += next_try - clock.epoch_s() + 1e-6  # floats of so many seconds are no finer
        assert rounds < 100
    assert ended == {f"m{number}": f"m{number}" not in bad for number in range(12)}
    assert Counter(target.committed) == {f"m{number}": 1 for number in range(12) if f"m{number}" not in bad}
    if not target.partials:
        assert target.committed == [f"m{number}" for number in range(12) if f"m{number}" not in bad]
    bodies = defaultdict(set)
    for seen in target.seen:
        bodies[seen.request.headers["Idempotency-Key"]].add(seen.body)
    assert all(len(each) == 1 for each in bodies.values()), "the same key, the same bytes"
    counters = sink.state().counters
    assert (counters.delivered, counters.refused) == (12 - len(bad), len(bad))
    assert counters.requests == len(target.seen)
    sink.close()


@dataclass
class Poisoned(Scripted):
    """Follows moods, and then fails at poisonous events and takes all others."""

    moods: list[str] = field(default_factory=list)
    poison: frozenset[str] = frozenset()
    answer: int = 500

    def __call__(self, request: httpx.Request) -> httpx.Response:
        seen = Seen(self.clock.passed_s, request, request.read())
        self.seen.append(seen)
        mood = self.moods.pop(0) if self.moods else "ok"
        if mood == "reset_before":
            raise httpx.ReadError("")
        if mood not in ("ok", "reset_after", "wrong_body"):
            code, _, seconds = mood.partition("_")
            return httpx.Response(int(code), headers={"Retry-After": "2"} if seconds else {})
        if self.poison & set(seen.ids):
            return httpx.Response(self.answer)
        self.commit(seen.ids)
        if mood == "reset_after":
            raise httpx.ReadError("")
        return httpx.Response(200, text="<html>") if mood == "wrong_body" else httpx.Response(200, json={"success": True})


MOODS = [action for action in ACTIONS if action != "partial"]
COUNT, PEOPLE = 24, 4


def most_requests(refused: int, moods: int, calls: int, batches: int) -> int:
    """Of a delivery of ``COUNT`` events in so many requests and calls, with so many answers that were not the events' fault.

    Halving and rounds: docs/decisions/0022. An answer of the destination's own costs itself, a proof, and the failures and
    rounds that it takes back; a call begins with at most one request that is not needed.
    """
    return batches + 8 + refused * (3 * ceil(log2(COUNT)) + 12) + 16 * moods + calls


@settings(max_examples=100, deadline=None)
@given(
    moods=st.lists(st.sampled_from(MOODS), max_size=10),
    poison=st.frozensets(st.integers(0, COUNT - 1), max_size=5),
    people=st.lists(st.integers(0, PEOPLE - 1), min_size=COUNT, max_size=COUNT),
    answer=st.sampled_from([403, 500, 503]),
    most=st.sampled_from([1, 2, 7, COUNT]),
    patience_s=st.sampled_from([0.0, 1.0, 10.0, 100.0]),
)
def test_poisonous_events_are_refused_and_all_others_arrive_in_their_users_order_whatever_else_happens(
    moods: list[str], poison: frozenset[int], people: list[int], answer: int, most: int, patience_s: float
) -> None:
    """As a lane does: it gives a batch and what waits behind it, and begins again at the first that is not settled."""
    if not any(number not in poison for number in {people.index(one) for one in people}):
        poison = frozenset()  # nothing that could be tried without changing an order
    ids = frozenset(f"m{number}" for number in poison)
    with pytest.MonkeyPatch.context() as patch:
        given_ = destination(patch, limits=Limits(batch_events=most, timeout_s=5))
        clock = FakeClock()
        target = Poisoned(clock, moods=list(moods), poison=ids, answer=answer)
        sink = HttpSink(given_, clock=clock, transport=httpx.MockTransport(target))
    batch = [event(number, userId=f"u{person}") for number, person in enumerate(people)]
    ended: dict[str, tuple[bool, str]] = {}
    waiting, calls = batch, 0
    while waiting:
        head, calls = waiting[:most], calls + 1
        results = sink.send(head, clock.now_s() + patience_s, waiting[most:])
        settled = next((number for number, result in enumerate(results) if result is None), len(head))
        for one, result in zip(head[:settled], results, strict=False):
            assert result is not None
            assert one.event_id not in ended
            ended[one.event_id] = (result.delivered, result.reason)
        waiting = waiting[settled:]
        if waiting and (next_try := sink.state().next_try):  # as the caller does
            clock.passed_s += max(next_try - clock.epoch_s(), 0) + 1e-6
        assert calls < 500
    assert ended == {one.event_id: (False, f"http_{answer}") if one.event_id in ids else (True, "") for one in batch}
    for person in set(people):
        own = [f"m{number}" for number, other in enumerate(people) if other == person and number not in poison]
        assert [one for one in target.committed if one in own] == own
    assert len(target.seen) <= most_requests(len(poison), len(moods), calls, -(-COUNT // most))
    sink.close()
