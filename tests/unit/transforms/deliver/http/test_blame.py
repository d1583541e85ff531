"""Whose fault a failure is: the one event that a destination cannot take, or the destination."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import ceil, log2
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.spec.destination import Limits
from tests.support.scripted import SUCCESS, Rig, Seen, Step, event, events, rig
from transforms.deliver.http.wire import Outgoing

YES = (True, "")
# Seen in public: 500 for a batch with a NUL (rudder-server#4161, #5882), one batch that is tried without end (PostHog#15575, #6227,
# fluent-bit#4553), answers of which it is not known what they mean (sourcegraph#17891, siddhi-io-http#165, httplint#145).
POISONED: dict[str, Step] = {
    **{f"http_{code}": httpx.Response(code) for code in (401, 403, 404, 408, 410, 451, 500, 502, 503, 504, 511)},
    "reset": httpx.WriteError(""), "timeout": httpx.ReadTimeout(""),
    "wrong_answer": httpx.Response(200, text="<html>blocked</html>"),
}  # fmt: skip


def most_requests(events: int, refused: int) -> int:
    """Of a delivery of one batch that nothing but poisonous events disturbs."""
    return 8 + refused * (3 * ceil(log2(events)) + 12)


def most_proofs(events: int) -> int:
    """Of one refused event, where one is known to be good."""
    return ceil(log2(events)) + 5


def answered(step: Step, seen: Seen) -> httpx.Response:
    if isinstance(step, Exception):
        raise step
    return step if isinstance(step, httpx.Response) else step(seen)


def poisoned(ids: set[str], step: Step) -> Step:
    """A destination that fails at some events and takes all others."""
    return lambda seen: answered(step, seen) if ids & set(seen.ids) else SUCCESS["segment"]


def delivered_in_the_end(it: Rig, batch: Sequence[Outgoing], within_s: float, calls: int = 60) -> dict[str, Any]:
    """What became of each, call after call as a lane makes them."""
    ended: dict[str, Any] = {}
    waiting = list(batch)
    for _ in range(calls):
        for one, result in zip(waiting, it.send(waiting, within_s), strict=True):
            if result is not None:
                assert one.event_id not in ended
                ended[one.event_id] = result
        waiting = [one for one in waiting if one.event_id not in ended]
        if not waiting:
            break
        if next_try := it.sink.state().next_try:
            it.clock.passed_s = max(it.clock.passed_s, it.clock.passed_s + next_try - it.clock.epoch_s() + 1e-6)
    return ended


@pytest.mark.parametrize("answer", POISONED.items(), ids=lambda answer: answer[0])
@settings(max_examples=30, deadline=None)
@given(ids=st.frozensets(st.integers(0, 31), max_size=6), within_s=st.sampled_from([5.0, 30.0, 600.0]))
def test_of_every_set_of_poisonous_events_exactly_these_are_refused(
    answer: tuple[str, Step], ids: frozenset[int], within_s: float
) -> None:
    """A lane that is alone, nothing accepted before; users are two and each has events on both sides of the poison."""
    reason, step = answer
    if {0, 1} <= ids:  # nothing is known to be good, and nothing that could become it without changing an order
        ids -= {1}
    with pytest.MonkeyPatch.context() as patch:
        it = rig(patch, *[poisoned({f"m{number}" for number in ids}, step)] * 5_000)
        batch = [event(number, userId=f"u{number % 2}") for number in range(32)]
        ended = delivered_in_the_end(it, batch, within_s)
    assert ended == {f"m{n}": (False, reason) if n in ids else YES for n in range(32)}
    arrived = list(dict.fromkeys(one for seen in it.target.requests if not {int(i[1:]) for i in seen} & ids for one in seen))
    for user in (0, 1):
        assert [n for one in arrived if (n := int(one[1:])) % 2 == user] == [n for n in range(user, 32, 2) if n not in ids]
    assert len(it.target.requests) <= most_requests(32, len(ids))


@pytest.mark.parametrize("answer", POISONED.items(), ids=lambda answer: answer[0])
@pytest.mark.parametrize("worked_before", [False, True])
def test_where_everything_fails_nobody_is_refused_and_it_is_told_as_down(
    monkeypatch: pytest.MonkeyPatch, answer: tuple[str, Step], worked_before: bool
) -> None:
    it = rig(monkeypatch, *[SUCCESS["segment"]] * worked_before, *[answer[1]] * 999)
    if worked_before:
        assert it.send([event(99)]) == [YES]
    assert it.send([event(number, userId=f"u{number}") for number in range(8)], within_s=600) == [None] * 8
    state = it.sink.state()
    assert (state.state, state.counters.refused, state.counters.split) == ("down", 0, 0)
    assert (state.proven, state.in_doubt) == (True, False)
    assert len(it.target.seen) <= 60
    it.target.script.clear()
    it.clock.passed_s += 60
    assert it.send([event(number, userId=f"u{number}") for number in range(8)]) == [YES] * 8
    assert not it.sink.state().proven


def test_failures_of_an_outage_do_not_count_against_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch)
    assert it.send([event(0)]) == [YES]
    it.target.script.extend([httpx.Response(503)] * 40)
    it.send([event(1)], within_s=300)
    back = [
        lambda seen: httpx.Response(503) if "m1" in seen.ids else SUCCESS["segment"]
    ] * 6  # three rounds more, and then it is taken
    it.target.script.clear()
    it.target.script.extend(back)
    assert it.send([event(1)], within_s=300) == [YES]


@pytest.mark.parametrize("code", [403, 503])
def test_after_an_outage_that_opened_the_breaker_wide_a_poisonous_event_is_still_found(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Each call ends before the breaker lets a second request leave: the proof must not be forgotten from one to the next."""
    it = rig(monkeypatch)
    assert it.send([event(0)]) == [YES]
    it.target.script.extend([httpx.Response(code)] * 99)
    assert delivered_in_the_end(it, events(4)[1:], 5.0, calls=9) == {}
    it.target.script.clear()
    it.target.script.extend([poisoned({"m1"}, httpx.Response(code))] * 99)
    ended = delivered_in_the_end(it, events(4)[1:], 1.0)
    assert ended == {"m1": (False, f"http_{code}"), "m2": YES, "m3": YES}


def test_users_behind_the_batch_tell_where_a_request_holds_one_event(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch, *[poisoned({"m0"}, httpx.Response(500))] * 99, limits=Limits(batch_events=1, timeout_s=5))
    ahead = [event(1), event(2, userId="u2")]
    results = it.sink.send([event(0)], it.clock.now_s() + 600, ahead)
    assert [result and result.reason for result in results] == ["http_500"]
    assert ["m1"] not in it.target.requests, "the same user's"
    assert ["m2"] in it.target.requests


def test_an_event_that_is_too_large_is_no_proof_and_nobody_passes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch, *[poisoned({"m0"}, httpx.Response(500))] * 99)
    batch = [event(0), event(1, 40_000, userId="u2"), event(2, userId="u2"), event(3, userId="u3")]
    assert it.send(batch, within_s=600) == [(False, "http_500"), (False, "too_large"), YES, YES]
    assert all("m1" not in ids for ids in it.target.requests)
    of = {one: [number for number, ids in enumerate(it.target.requests) if one in ids] for one in ("m0", "m2")}
    assert of["m0"][-1] < of["m2"][0], "not before the one of its user that is too large has its turn"


@settings(max_examples=60, deadline=None)
@given(poison=st.sampled_from(["m0", "m3"]), people=st.lists(st.sampled_from("ab"), min_size=8, max_size=8))
def test_an_event_never_overtakes_one_of_its_user_whatever_the_payload_says_of_users(poison: str, people: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        it = rig(patch, *[poisoned({poison}, httpx.Response(500))] * 99)
        batch = [Outgoing(f"m{n}", event(n, anonymousId=f"x{n}").body, user) for n, user in enumerate(people)]
        it.send(batch, 600)
    for user in "ab":
        own = [f"m{n}" for n, other in enumerate(people) if other == user]
        assert [one for one in it.target.committed if one in own] == [one for one in own if one in it.target.committed]
        if poison in own and len(set(people)) == 1 and poison == "m0":
            assert it.target.committed == []


@pytest.mark.parametrize("code", [403, 500])
def test_where_one_user_waits_and_nothing_is_known_it_is_told_and_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    it = rig(monkeypatch, *[poisoned({"m0"}, httpx.Response(code))] * 999)
    assert it.send([event(0)], within_s=600) == [None]
    state = it.sink.state()
    assert (state.state, state.proven, state.in_doubt, state.counters.refused) == ("down", True, True, 0)
    it.sink.delivered_before(event(7))  # a receipt of an earlier run
    it.clock.passed_s += 60
    assert it.send([event(0)], within_s=600) == [(False, f"http_{code}")]
    assert it.sink.state().in_doubt is False


def test_a_configured_probe_tells_and_no_event_of_a_user_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = {"type": "track", "event": "Headrace Probe", "userId": "headrace-probe"}
    it = rig(monkeypatch, *[poisoned({"m0"}, httpx.Response(500))] * 999, probe=probe)
    assert it.send(events(3), within_s=600) == [(False, "http_500"), YES, YES]
    proofs = [seen for seen in it.target.seen if seen.ids == ["headrace-probe-cdp"]]
    assert 5 <= len(proofs) <= most_proofs(3)
    keys = [seen.request.headers["Idempotency-Key"] for seen in proofs]
    assert len(set(keys)) == len(keys), "no answer to an earlier one is given for a later one"
    for one in ("m1", "m2"):
        assert sum(one in ids for ids in it.target.requests if "m0" not in ids) == 1


def test_a_destination_that_takes_only_what_it_knows_is_down_after_ten_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch)
    assert it.send(events(1)) == [YES]
    it.target.script.extend([lambda seen: SUCCESS["segment"] if seen.ids == ["m0"] else httpx.Response(500)] * 9_999)
    ended = delivered_in_the_end(it, [event(number, userId=f"u{number}") for number in range(1, 50)], 600)
    assert list(ended.values()) == [(False, "http_500")] * 10
    assert it.sink.state().state == "down"
    it.target.script.clear()
    it.clock.passed_s += 60
    assert it.send(events(2)[1:]) == [YES]


@pytest.mark.parametrize("count", [1, 2, 64, 1_024])
def test_how_often_what_is_known_is_sent_again(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    for bad in {0, count // 2, count - 1}:
        it = rig(monkeypatch)
        assert it.send([event(9_999)]) == [YES]
        it.target.script.extend([poisoned({f"m{bad}"}, httpx.Response(500))] * 999)
        delivered_in_the_end(it, events(count), 600)
        came = Counter(one for ids in it.target.requests if f"m{bad}" not in ids for one in ids)
        assert 5 <= came.total() - len(came) <= most_proofs(count)
        assert len(it.target.seen) <= most_requests(count, 1)


def test_an_event_that_every_answer_excepts_is_refused_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    excepted = httpx.Response(207, json={"errors": [{"messageId": "m1", "status": 503}]})
    it = rig(monkeypatch, *[poisoned({"m1"}, excepted)] * 99)
    assert it.send(events(4), within_s=120) == [YES, (False, "http_503"), YES, YES]


def test_a_slow_rate_and_short_patience_do_not_start_the_search_again(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch, *[poisoned({"m700"}, httpx.ReadTimeout(""))] * 999, limits=Limits(requests_per_s=0.5, timeout_s=5))
    batch, refusals = events(1_024), []
    for _ in range(60):
        results = it.send(batch, within_s=5)
        refusals += [result for result in results if result and not result[0]]
        batch = [one for one, result in zip(batch, results, strict=True) if result is None]
    assert (batch, refusals) == ([], [(False, "timeout")])
