"""The sink against an endpoint in a process of its own: real connections, resets, time limits, threads."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from contracts.spec.destination import Limits
from tests.support.cdp import CdpEndpoint
from tests.support.scripted import destination, event
from transforms.deliver.http.sink import HttpSink
from transforms.deliver.http.wire import Outgoing, Result

PATIENCE_S = 60.0
LANES = 8


@pytest.fixture(scope="module")
def endpoint() -> Iterator[CdpEndpoint]:
    with CdpEndpoint.started() as started:
        yield started


@pytest.fixture
def cdp(endpoint: CdpEndpoint, monkeypatch: pytest.MonkeyPatch) -> CdpEndpoint:
    """Empty, without faults."""
    endpoint.faults()
    endpoint.clear()
    monkeypatch.setenv("CDP_KEY", endpoint.write_key)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return endpoint


def sink_for(cdp: CdpEndpoint, **limits: Any) -> HttpSink:
    return HttpSink(destination(endpoint=f"{cdp.url}/v1/batch", limits=Limits(**{"timeout_s": 5.0, **limits})))


def lane(number: int, count: int) -> list[Outgoing]:
    """Events of one user, numbered through."""
    return [event(number * 10_000 + step, userId=f"u{number}", properties={"step": step}) for step in range(count)]


def send(sink: HttpSink, batch: list[Outgoing], within_s: float = PATIENCE_S) -> list[Result | None]:
    return sink.send(batch, time.monotonic() + within_s)


def in_parallel(sink: HttpSink, batches: list[list[Outgoing]], size: int) -> list[Result | None]:
    """A thread for each; in requests of a size, one after the other."""

    def one(batch: list[Outgoing]) -> list[Result | None]:
        return [result for start in range(0, len(batch), size) for result in send(sink, batch[start : start + size])]

    with ThreadPoolExecutor(len(batches)) as pool:
        return [result for results in pool.map(one, batches) for result in results]


def all_delivered(results: list[Result | None]) -> bool:
    return bool(results) and all(result is not None and result.delivered for result in results)


@pytest.mark.parametrize("path", ["/v1/batch", "/rudderstack/v1/batch"])
def test_both_dialects(cdp: CdpEndpoint, path: str) -> None:
    type_ = "rudderstack" if "rudderstack" in path else "segment"
    sink = HttpSink(destination(type=type_, endpoint=cdp.url + path))
    assert all_delivered(send(sink, lane(0, 3_000)))
    assert cdp.message_ids() == [f"m{number}" for number in range(3_000)]
    sink.close()


@pytest.mark.parametrize(
    ("fault", "failure", "more"),
    [
        ("503", "http_503", {}),
        ("500", "http_500", {}),
        ("429_seconds", "http_429", {"retry_after_s": 1}),
        ("429_date", "http_429", {"retry_after_s": 1}),
        ("reset_before", "reset", {}),
        ("reset_after", "reset", {}),
        ("wrong_body", "wrong_answer", {}),
        ("slow", "timeout", {"slow_s": 1.5}),
    ],
)
def test_after_a_fault_the_same_events_arrive_once(cdp: CdpEndpoint, fault: str, failure: str, more: dict[str, Any]) -> None:
    sink = sink_for(cdp, timeout_s=0.5 if fault == "slow" else 5.0)
    cdp.faults(script=["ok", fault], **more)
    assert all_delivered(send(sink, lane(1, 5)))
    began_s = time.monotonic()
    assert all_delivered(send(sink, lane(2, 700)))
    took_s = time.monotonic() - began_s
    assert sink.state().last_failure == failure
    assert cdp.message_ids() == [one.event_id for one in lane(1, 5) + lane(2, 700)]
    if fault.startswith("429"):
        assert took_s > 0.9
    if fault in ("reset_after", "wrong_body"):
        assert cdp.counters()["repeats"] == 700, "they had arrived, and were known"
    sink.close()


def test_what_a_partial_answer_refuses_is_refused_and_the_rest_is_there(cdp: CdpEndpoint) -> None:
    sink = sink_for(cdp)
    cdp.faults(script=["partial"], partial_statuses=[400], partial_share=0.1)
    results = send(sink, lane(1, 300))
    refused = {one.event_id for one, result in zip(lane(1, 300), results, strict=True) if result == Result(False, 400, "http_400")}
    assert len(refused) == results.count(Result(False, 400, "http_400")) > 0
    assert set(cdp.message_ids()) == {one.event_id for one in lane(1, 300)} - refused
    assert cdp.counters()["requests"] == 1
    sink.close()


def test_what_a_partial_answer_puts_off_is_sent_again_alone(cdp: CdpEndpoint) -> None:
    sink = sink_for(cdp)
    cdp.faults(script=["partial", "partial"], partial_statuses=[429, 503], partial_share=0.1)
    assert all_delivered(send(sink, lane(1, 300)))
    assert sorted(cdp.message_ids()) == sorted(one.event_id for one in lane(1, 300))
    counters = cdp.counters()
    assert (counters["requests"], counters["repeats"]) == (3, 0)
    sink.close()


def test_eight_threads_through_every_fault_keep_each_users_order_and_lose_nothing(cdp: CdpEndpoint) -> None:
    sink = sink_for(cdp, timeout_s=0.5, in_flight=LANES)
    kinds = ["429_seconds", "429_date", "503", "500", "slow", "reset_before", "reset_after", "wrong_body"]
    cdp.faults(share=0.25, seed=7, kinds=kinds, retry_after_s=0, slow_s=1.0)
    lanes = [lane(number, 200) for number in range(LANES)]
    assert all_delivered(in_parallel(sink, lanes, size=20))
    for number, sent in enumerate(lanes):
        assert cdp.order(f"u{number}") == [one.event_id for one in sent]
    counters = sink.state().counters
    assert counters.delivered == LANES * 200
    assert counters.requests - counters.retried == LANES * 10, "nothing else was sent"
    assert counters.retried > 0
    sink.close()


def test_no_second_has_more_requests_than_the_destination_allows(cdp: CdpEndpoint) -> None:
    sink = sink_for(cdp, requests_per_s=50, in_flight=4)
    began_s = time.monotonic()
    assert all_delivered(in_parallel(sink, [lane(number, 25) for number in range(LANES)], size=1))
    assert time.monotonic() - began_s > 3.9
    assert cdp.counters()["requests"] == 200
    assert cdp.counters()["max_requests_per_s"] <= 50
    sink.close()


def test_a_destination_that_limits_itself_is_never_asked_too_much_for_long(cdp: CdpEndpoint) -> None:
    cdp.faults(rate_limit_per_s=20)
    sink = sink_for(cdp, in_flight=LANES)
    assert all_delivered(in_parallel(sink, [lane(number, 8) for number in range(LANES)], size=1))
    counters = sink.state().counters
    assert 0 < counters.throttled_requests < counters.requests / 2
    assert sorted(cdp.message_ids()) == sorted(one.event_id for number in range(LANES) for one in lane(number, 8))
    sink.close()


def test_eight_threads_ask_a_destination_that_is_down_seldom_and_go_on_when_it_is_back(cdp: CdpEndpoint) -> None:
    sink = sink_for(cdp, in_flight=LANES)
    cdp.faults(down=True)
    with ThreadPoolExecutor(1) as back:
        began_s = time.monotonic()
        outcome = back.submit(in_parallel, sink, [lane(number, 3) for number in range(LANES)], 1)
        while time.monotonic() - began_s < 5:
            if outcome.done():
                outcome.result()
                raise AssertionError("nothing can be delivered yet")
            assert sink.state().state in ("ok", "down")
            time.sleep(0.05)  # how long it is down is what is tested
        state, attempts = sink.state(), cdp.counters()["requests"]
        assert (state.state, state.last_failure) == ("down", "http_503")
        assert attempts <= 5 + LANES + 5, "what was in flight when it opened, and probes"
        cdp.faults()
        assert all_delivered(outcome.result())
    assert sink.state().state == "ok"
    assert len(cdp.message_ids()) == LANES * 3
    sink.close()


def test_an_endpoint_that_is_not_there(cdp: CdpEndpoint) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # taken, and nobody listens
        sink = HttpSink(destination(endpoint=f"http://127.0.0.1:{free.getsockname()[1]}/v1/batch"))
        assert send(sink, lane(0, 2), within_s=0.5) == [None, None]
    assert sink.state().last_failure == "connect"
    sink.close()


def test_an_endpoint_without_tls(cdp: CdpEndpoint) -> None:
    sink = HttpSink(destination(endpoint=cdp.url.replace("http:", "https:") + "/v1/batch"))
    assert send(sink, lane(0, 2), within_s=0.5) == [None, None]
    assert sink.state().last_failure == "tls"
    sink.close()


@contextmanager
def answering(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """Address of a server that does this with each connection, one after the other."""

    def serve() -> None:
        with suppress(OSError):  # closed from outside: the end
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.recv(65_536)
                    behave(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/batch"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE_S)


def drip(connection: socket.socket) -> None:
    """A body that goes on and on, always just fast enough for a time limit per read."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    end_s = time.monotonic() + 20
    while time.monotonic() < end_s:
        connection.sendall(b" ")
        time.sleep(0.02)  # what makes it slow


def drip_headers(connection: socket.socket) -> None:
    """A header that never ends, always just fast enough for a time limit per read."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    end_s = time.monotonic() + 20
    while time.monotonic() < end_s:
        connection.sendall(b"a")
        time.sleep(0.02)  # what makes it slow


@pytest.mark.parametrize(
    ("behave", "failure"),
    [
        (drip, "timeout"),
        (drip_headers, "timeout"),
        (lambda connection: connection.sendall(b"220 mail.example.com ESMTP\r\n"), "reset"),
        (lambda connection: connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"success": true}'), "reset"),
        (lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnot gzip"), "wrong_answer"),
        (lambda connection: None, "reset"),
    ],
    ids=["drips", "drips headers", "no HTTP", "cut off", "damaged", "closes"],
)
def test_answers_that_are_none(cdp: CdpEndpoint, behave: Callable[[socket.socket], None], failure: str) -> None:
    with answering(behave) as url:
        sink = HttpSink(destination(endpoint=url, limits=Limits(timeout_s=0.5)))
        began_s = time.monotonic()
        assert send(sink, lane(0, 2), within_s=0.2) == [None, None]
        assert time.monotonic() - began_s < 5
        sink.close()
    assert sink.state().last_failure == failure


def test_a_wrong_write_key(cdp: CdpEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDP_KEY", "another")
    sink = sink_for(cdp)
    assert send(sink, lane(0, 2), within_s=0.2) == [None, None]
    assert (sink.state().state, sink.state().last_failure) == ("down", "unauthorised")
    assert cdp.counters()["unauthorised"] == 1
    sink.close()


def test_an_endpoint_that_is_killed_and_started_again(cdp: CdpEndpoint) -> None:
    sink = sink_for(cdp)
    assert all_delivered(send(sink, lane(0, 10)))
    cdp.restart()
    assert all_delivered(send(sink, lane(1, 10))), "over a connection that is not there any more"
    assert cdp.message_ids() == [one.event_id for one in lane(0, 10) + lane(1, 10)]
    sink.close()
