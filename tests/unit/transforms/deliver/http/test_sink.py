"""What becomes of events, answer by answer."""

from __future__ import annotations

import logging
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.errors import ConfigurationError
from contracts.spec.destination import Limits, Secret
from tests.support.scripted import EPOCH_S, SUCCESS, WRITE_KEY, Seen, Step, destination, event, events, rig
from transforms.deliver.http.sink import HttpSink
from transforms.deliver.http.wire import Outgoing

YES = (True, "")
RETRIED = [408, 410, 425, 429, 460, 500, 502, 503, 504, 507, 511, 599]
UNUSABLE = {401: "unauthorised", 403: "unauthorised", 407: "unauthorised", 404: "not_found", 301: "redirect", 308: "redirect",
            402: "http_402", 405: "http_405", 501: "http_501", 505: "http_505"}  # fmt: skip
TRANSPORT = {
    httpx.ConnectError("no route to jane@example.com"): "connect",
    httpx.ConnectTimeout(""): "connect",
    httpx.ReadTimeout(""): "timeout",
    httpx.WriteTimeout(""): "timeout",
    httpx.ReadError(""): "reset",
    httpx.WriteError(""): "reset",
    httpx.RemoteProtocolError(""): "reset",
}


def status(code: int, **headers: str) -> httpx.Response:
    return httpx.Response(code, headers={key.replace("_", "-"): value for key, value in headers.items()}, text="jane@example.com")


def partial(**statuses: int) -> httpx.Response:
    errors = [{"messageId": event_id, "status": code, "message": "jane@example.com"} for event_id, code in statuses.items()]
    return httpx.Response(207, json={"success": False, "errors": errors})


def refusing(*bad: str, code: int = 400) -> Step:
    """A destination that takes no request with one of these events in it."""
    return lambda seen: status(code) if set(bad) & set(seen.ids) else SUCCESS["segment"]


@pytest.mark.parametrize("type_", ["segment", "rudderstack"])
def test_a_batch_goes_out_in_one_request_and_all_of_it_is_delivered(monkeypatch: pytest.MonkeyPatch, type_: Any) -> None:
    it = rig(monkeypatch, type=type_)
    assert it.send(events(3)) == [YES] * 3
    assert it.target.requests == [["m0", "m1", "m2"]]
    headers = it.target.seen[0].request.headers
    assert headers["User-Agent"].startswith("headrace")
    assert headers["Content-Type"] == "application/json"
    assert headers["Accept-Encoding"] == "identity"
    state = it.sink.state()
    assert (state.state, state.last_failure, state.next_try) == ("ok", "", None)
    assert (state.counters.requests, state.counters.delivered, dict(state.counters.by_class)) == (1, 3, {"2xx": 1})


def test_no_events_are_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch)
    assert it.send([]) == []
    assert not it.target.seen


@pytest.mark.parametrize("code", RETRIED)
def test_statuses_after_which_the_same_is_sent_again(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    it = rig(monkeypatch, status(code), status(code))
    assert it.send(events(3)) == [YES] * 3
    first, *others = [(seen.body, seen.request.headers["Idempotency-Key"]) for seen in it.target.seen]
    assert others == [first, first]
    state = it.sink.state()
    assert state.last_failure == f"http_{code}"
    assert (state.counters.retried, state.counters.throttled_requests) == (2, 2 * (code == 429))


@pytest.mark.parametrize(
    ("error", "name"), TRANSPORT.items(), ids=lambda value: value if isinstance(value, str) else type(value).__name__
)
def test_without_an_answer_the_same_is_sent_again(monkeypatch: pytest.MonkeyPatch, error: Exception, name: str) -> None:
    it = rig(monkeypatch, error)
    assert it.send(events(3)) == [YES] * 3
    assert it.target.requests == [["m0", "m1", "m2"]] * 2
    assert (it.sink.state().last_failure, dict(it.sink.state().counters.by_class)) == (name, {"none": 1, "2xx": 1})


@pytest.mark.parametrize(("code", "name"), UNUSABLE.items())
def test_no_event_is_refused_where_none_could_be_accepted(monkeypatch: pytest.MonkeyPatch, code: int, name: str) -> None:
    it = rig(monkeypatch, *[status(code)] * 99)
    assert it.send(events(3), within_s=20) == [None] * 3
    state = it.sink.state()
    assert (state.state, state.last_failure, state.counters.refused, state.counters.split) == ("down", name, 0, 0)
    assert state.next_try is not None
    assert state.next_try > it.clock.epoch_s()
    assert 3 <= len(it.target.seen) <= 8, "probes after waits that double"
    it.target.script.clear()
    assert it.send(events(3)) == [YES] * 3
    assert it.sink.state().state == "ok"


@pytest.mark.parametrize("code", [400, 409, 413, 415, 422])
def test_of_many_events_only_the_bad_one_is_refused(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    it = rig(monkeypatch, *[refusing("m5", code=code)] * 99)
    reason = "too_large" if code == 413 else f"http_{code}"
    assert it.send(events(16)) == [YES] * 5 + [(False, reason)] + [YES] * 10
    assert it.target.committed == [f"m{number}" for number in range(16) if number != 5], "in order"
    state = it.sink.state()
    assert len(it.target.seen) == 9, "two for each halving, and the first"
    assert (state.state, state.counters.split, state.counters.refused, state.counters.delivered) == ("ok", 4, 1, 15)


def test_the_last_word_about_an_event_is_on_plain_json(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot_decompress(seen: Seen) -> httpx.Response:
        return status(400) if "Content-Encoding" in seen.request.headers else SUCCESS["segment"]

    it = rig(monkeypatch, *[cannot_decompress] * 99)
    assert it.send([event(number, 500) for number in range(4)]) == [YES] * 4


def test_an_event_above_the_limit_is_refused_without_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch)
    batch = [event(0), event(1, 32_769), event(2, 32_768)]
    assert [[one.event_id for one in cut] for cut in it.sink.cut(batch)] == [["m0"], ["m1"], ["m2"]]
    assert it.send(batch) == [YES, (False, "too_large"), YES]
    assert it.target.requests == [["m0"], ["m2"]]


def test_a_batch_that_is_larger_than_a_request_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch)
    assert it.send(events(6_000)) == [YES] * 6_000
    assert [len(ids) for ids in it.target.requests] == [2_500, 2_500, 1_000]
    assert it.send([event(number, 20_000) for number in range(6_000, 6_030)]) == [YES] * 30
    assert [len(ids) for ids in it.target.requests[3:]] == [24, 6], "500,000 bytes"


def test_excepted_events_are_judged_each_by_its_own_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def first(seen: Seen) -> httpx.Response:
        target.commit(["m0", "m2"])
        return partial(m1=503, m3=400, m4=429, m5=413)

    it = rig(monkeypatch, first, status(503), partial(m4=500), limits=Limits(batch_events=6, timeout_s=5))
    target = it.target
    assert it.send(events(8)) == [YES, YES, YES, (False, "http_400"), YES, (False, "too_large"), YES, YES]
    assert it.target.requests[1:] == [["m1", "m4"], ["m1", "m4"], ["m4"], ["m6", "m7"]], "alone, and before anything later"
    assert it.clock.passed_s > 0, "after a backoff"
    assert it.sink.state().counters.refused == 2


def test_excepted_events_that_are_never_accepted_are_given_back_with_all_that_is_later(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch, *[partial(m1=503)] * 99, limits=Limits(batch_events=3, timeout_s=5))
    assert it.send(events(5), within_s=30) == [YES, None, YES, None, None]
    assert 4 < len(it.target.seen) < 40
    assert all("m3" not in ids for ids in it.target.requests)


def test_a_credential_that_an_answer_finds_wrong_for_one_event_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch, partial(m1=401))
    assert it.send(events(2)) == [YES, YES]
    assert it.target.requests == [["m0", "m1"], ["m1"]]


@pytest.mark.parametrize("body", ["<html>log in</html>", '{"success": false}'])
def test_a_200_of_something_else_is_sent_again(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    it = rig(monkeypatch, httpx.Response(200, text=body))
    assert it.send(events(2)) == [YES, YES]
    assert it.sink.state().last_failure == "wrong_answer"
    assert it.target.requests == [["m0", "m1"]] * 2


def test_an_answer_without_end_is_a_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch, httpx.Response(503, content=b"x" * (2 << 20)))
    assert it.send(events(1)) == [YES]
    assert it.sink.state().last_failure == "wrong_answer"


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_holds_everybody(monkeypatch: pytest.MonkeyPatch, code: int, as_date: bool) -> None:
    value = formatdate(EPOCH_S + 8, usegmt=True) if as_date else "8"
    it = rig(monkeypatch, status(code, Retry_After=value))
    assert it.send(events(1), within_s=5) == [None]
    state = it.sink.state()
    assert it.clock.passed_s == 0, "said at once, not after five seconds"
    assert state.next_try == pytest.approx(EPOCH_S + 8)
    assert state.state == "throttled"
    assert it.send([event(7)], within_s=5) == [None], "another batch waits too"
    assert it.send([event(7)], within_s=20) == [YES]
    assert it.target.seen[1].at_s == pytest.approx(8.5, abs=0.51), "and perhaps the delay of the throttler, and no backoff"
    assert it.sink.state().state == "ok"


@pytest.mark.parametrize("value", ["soon", "-1", "Thu, 01 Jan 1970 00:00:00 GMT", "0"])
def test_a_retry_after_that_says_nothing_or_is_over_leaves_the_backoff(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    it = rig(monkeypatch, status(503, Retry_After=value))
    assert it.send(events(1)) == [YES]
    assert it.clock.passed_s <= 0.2


@pytest.mark.parametrize(
    ("answer", "earliest_s", "latest_s"),
    [
        (status(503), 7.0, 7.0),
        (status(503, Retry_After="2"), 2.0, 2.0),
        (status(503, Retry_After="0"), 7.0, 7.0),
        (status(401), 0.5, 1.0),
    ],
    ids=["backoff", "asked for", "asked for nothing", "breaker"],
)
def test_who_says_when_to_try_again(
    monkeypatch: pytest.MonkeyPatch, answer: httpx.Response, earliest_s: float, latest_s: float
) -> None:
    monkeypatch.setattr("transforms.deliver.http.sink.backoff_s", lambda attempt: 7.0)
    it = rig(monkeypatch, answer)
    assert it.send(events(1)) == [YES]
    assert earliest_s <= it.target.seen[1].at_s <= latest_s


def test_a_refusal_is_no_failure_of_the_destination(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch, status(400))
    assert it.send(events(1)) == [(False, "http_400")]
    assert (it.sink.state().state, it.sink.state().last_failure) == ("ok", "")


def test_a_retry_after_of_a_day_is_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch, status(429, Retry_After="86400"))
    assert it.send(events(1)) == [None]
    assert it.sink.state().next_try == pytest.approx(EPOCH_S + 300)


def test_a_destination_that_throttles_most_requests_is_asked_less(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch, *[status(429)] * 40)
    assert it.send(events(1), within_s=60) in ([YES], [None])
    counters = it.sink.state().counters
    assert counters.delayed > 0
    assert counters.waited_s == pytest.approx(it.clock.passed_s)
    assert counters.throttled_requests <= counters.requests < 40


def test_the_throttler_delays_a_request_within_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch, status(429, Retry_After="1"))
    assert it.send(events(1), within_s=0.5) == [None]
    monkeypatch.setattr(it.sink._gate._throttler, "throttle_request", lambda now_ms: True)
    it.clock.passed_s = 1.0
    assert it.send(events(1), within_s=0.5) == [YES]
    assert it.clock.passed_s == 1.25
    assert it.sink.state().counters.delayed == 1


def test_throttling_does_not_open_the_breaker(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch, *[status(429)] * 99)
    it.send(events(1), within_s=30)
    assert len(it.target.seen) > 5
    assert it.sink.state().state == "throttled"


def test_a_destination_that_is_down_is_asked_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch, *[status(503)] * 999)
    assert it.send(events(1), within_s=600) == [None]
    assert 20 <= len(it.target.seen) <= 60, "five, then one about each 23 s"
    state = it.sink.state()
    assert (state.state, state.last_failure) == ("down", "http_503")
    assert state.since == pytest.approx(EPOCH_S + 2, abs=2), "when it opened, and not when it was probed last"


def test_no_request_leaves_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch)
    assert it.send(events(1), within_s=-0.001) == [None]
    assert it.send(events(1), within_s=0) == [YES]
    slow = rig(monkeypatch, *[status(503)] * 99)
    slow.send(events(1), within_s=3)
    assert all(seen.at_s <= 3 for seen in slow.target.seen)


def test_what_was_delivered_before_the_deadline_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch, SUCCESS["segment"], *[status(500)] * 99, limits=Limits(batch_events=2, timeout_s=5))
    assert it.send(events(6), within_s=5) == [YES, YES, None, None, None, None]
    assert all(ids in (["m2", "m3"], ["m0"], ["m2"]) for ids in it.target.requests[1:]), "nothing overtakes; others are proofs"


def test_the_rate_and_the_share_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch, share=0.5, limits=Limits(requests_per_s=20, batch_events=1, timeout_s=5))
    assert it.send(events(31)) == [YES] * 31
    assert it.clock.passed_s == pytest.approx(3.0)
    assert [round(seen.at_s, 3) for seen in it.target.seen[:4]] == [0.0, 0.1, 0.2, 0.3]


def test_a_missing_write_key_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CDP_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="CDP_KEY"):
        HttpSink(destination())


def test_a_write_key_that_is_replaced_in_its_file_is_used_without_a_restart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def only_new(seen: Seen) -> httpx.Response:
        return SUCCESS["segment"] if seen.request.headers["Authorization"] == "Basic bmV3Og==" else status(401)

    (tmp_path / "key").write_text("old")
    it = rig(monkeypatch, *[only_new] * 99, write_key=Secret("file", str(tmp_path / "key")))
    assert it.send(events(1), within_s=5) == [None]
    (tmp_path / "key").unlink()
    assert it.send(events(1), within_s=15) == [None], "without a key the known one is tried"
    (tmp_path / "key").write_text("new\n")
    assert it.send(events(1), within_s=90) == [YES]


def test_nothing_that_is_secret_or_personal_is_logged_or_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    script = [status(503), httpx.ConnectError("jane@example.com"), status(400), status(422)]
    it = rig(monkeypatch, *script, endpoint="http://127.0.0.1:9/v1/batch?token=hidden")
    results = it.sink.send([event(1, email="jane@example.com")], it.clock.now_s() + 60)
    told = f"{caplog.text} {results} {it.sink.state()}"
    for secret in ("jane", WRITE_KEY, "hidden", "m1", "Basic"):
        assert secret not in told


def test_after_it_is_closed_everything_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rig(monkeypatch)
    it.sink.close()
    assert it.send(events(2)) == [None, None]


def test_an_error_of_our_own_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(seen: Seen) -> httpx.Response:
        raise KeyError("a bug")

    it = rig(monkeypatch, broken, limits=Limits(in_flight=1, timeout_s=5))
    with pytest.raises(KeyError):
        it.send(events(1))
    assert it.send([Outgoing("m9", b'{"messageId":"m9"}')]) == [YES]
