"""Threads that wait for each other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

from contracts.spec.destination import Limits
from tests.support.scripted import SUCCESS, destination, event
from transforms.deliver.http.sink import HttpSink
from transforms.deliver.http.wire import Result

THREADS = 8
DEADLINE_S = 20.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    end_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.002)


class Held:
    """A destination that answers when it is told to; ``inside`` requests wait for that, ``most`` did at once."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.answer = httpx.Response(503)
        self.inside = self.most = self.requests = 0
        self._lock = threading.Lock()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self.inside += 1
            self.requests += 1
            self.most = max(self.most, self.inside)
        assert self.go.acquire(timeout=DEADLINE_S)
        with self._lock:
            self.inside -= 1
        return httpx.Response(self.answer.status_code, headers=self.answer.headers, content=self.answer.content)


def waiting(sink: HttpSink) -> int:
    """Threads that wait at the gate."""
    return len(sink._gate._condition._waiters)


def sends(pool: ThreadPoolExecutor, sink: HttpSink, count: int, within_s: float = DEADLINE_S) -> list[Future[list[Result | None]]]:
    """As many threads, one event each."""
    end_s = time.monotonic() + within_s
    return [pool.submit(sink.send, [event(number)], end_s) for number in range(count)]


def all_delivered(futures: list[Future[list[Result | None]]]) -> bool:
    """Once they have ended."""
    return all(result is not None and result.delivered for future in futures for result in future.result(DEADLINE_S))


def test_one_probe_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    held.answer = httpx.Response(401)
    sink = HttpSink(destination(monkeypatch, limits=Limits(in_flight=THREADS)), transport=httpx.MockTransport(held))
    held.go.release()
    assert sink.send([event(0)], time.monotonic() + 0.1) == [None]
    assert sink.state().state == "down"
    with ThreadPoolExecutor(THREADS) as pool:
        futures = sends(pool, sink, THREADS)
        for _ in range(2):
            until(lambda: held.inside == 1 and waiting(sink) == THREADS - 1)
            asked = held.requests
            held.go.release()
            until(lambda asked=asked: held.requests == asked + 1)
        until(lambda: held.inside == 1 and waiting(sink) == THREADS - 1)
        assert held.most == 1
        held.answer = SUCCESS["segment"]
        held.go.release()
        until(lambda: held.inside == THREADS - 1)  # all others at once, for it is up again
        held.go.release(THREADS)
        assert all_delivered(futures)


def test_requests_in_flight_are_as_many_as_the_share_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    held.answer = SUCCESS["segment"]
    sink = HttpSink(destination(monkeypatch, limits=Limits(in_flight=6)), share=0.5, transport=httpx.MockTransport(held))
    with ThreadPoolExecutor(THREADS) as pool:
        futures = sends(pool, sink, THREADS)
        for done in range(THREADS):
            until(lambda done=done: waiting(sink) == max(0, THREADS - 3 - done) and held.inside == min(3, THREADS - done))
            held.go.release()
        assert all_delivered(futures)
    assert held.most == 3
    assert sink.state().counters.delayed == 0


def test_a_share_of_less_than_one_request_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    held.answer = SUCCESS["segment"]
    held.go.release()
    sink = HttpSink(destination(monkeypatch, limits=Limits(in_flight=2)), share=0.1, transport=httpx.MockTransport(held))
    assert sink.send([event(0)], time.monotonic() + DEADLINE_S)[0]


def test_of_two_answers_that_ask_to_wait_the_longer_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    sink = HttpSink(destination(monkeypatch), transport=httpx.MockTransport(held))
    with ThreadPoolExecutor(2) as pool:
        futures = sends(pool, sink, 2, within_s=5)
        until(lambda: held.inside == 2)
        for wait_s in (100, 50):
            held.answer = httpx.Response(429, headers={"Retry-After": str(wait_s)})
            before = sum(future.done() for future in futures)
            held.go.release()
            until(lambda before=before: sum(future.done() for future in futures) > before)
    next_try = sink.state().next_try
    assert next_try is not None
    assert 90 < next_try - time.time() <= 100


def test_a_thread_that_waits_goes_home_when_the_sink_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    held.answer = httpx.Response(429, headers={"Retry-After": "100"})
    sink = HttpSink(destination(monkeypatch), transport=httpx.MockTransport(held))
    with ThreadPoolExecutor(2) as pool:
        futures = sends(pool, sink, 2, within_s=200)
        until(lambda: held.inside == 2)
        held.go.release()
        until(lambda: waiting(sink) == 1)
        closer = threading.Thread(target=sink.close)
        closer.start()
        until(lambda: sum(future.done() for future in futures) == 1)
        assert closer.is_alive(), "it waits for the request under way"
        held.go.release()
        closer.join(DEADLINE_S)
        assert not closer.is_alive()
        assert [future.result() for future in futures] == [[None], [None]]
    assert held.requests == 2
