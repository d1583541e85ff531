"""The bytes of a request."""

from __future__ import annotations

import gzip
import json

from tests.support.scripted import event, events
from transforms.deliver.http.dialects import dialect_of
from transforms.deliver.http.wire import Outgoing, request_of

SEGMENT = dialect_of("segment")
AROUND = (SEGMENT.opening, SEGMENT.closing)


def test_bodies_are_joined_as_they_are() -> None:
    request = request_of([Outgoing("a", b'{"n": 1.0}'), Outgoing("b", b'{"n":"\xc3\xbc"}')], *AROUND)
    assert request.body == b'{"batch":[{"n": 1.0},{"n":"\xc3\xbc"}]}'
    assert "Content-Encoding" not in request.headers, "compressed, it would be larger"


def test_many_events_are_compressed_and_are_the_same_bytes_each_time() -> None:
    first, second = request_of(events(50), *AROUND), request_of(events(50), *AROUND)
    assert first == second
    assert first.headers["Content-Encoding"] == "gzip"
    assert [one["messageId"] for one in json.loads(gzip.decompress(first.body))["batch"]] == [f"m{n}" for n in range(50)]


def test_a_single_event_is_not_compressed() -> None:
    request = request_of([event(1, 20_000)], *AROUND)
    assert "Content-Encoding" not in request.headers
    assert len(json.loads(request.body)["batch"]) == 1


def test_the_key_tells_requests_apart_by_the_ids_in_them_and_their_order() -> None:
    def key(*ids: str) -> str:
        return request_of([Outgoing(one, b"{}") for one in ids], *AROUND).headers["Idempotency-Key"]

    assert key("a", "b") == key("a", "b")
    assert len({key("a", "b"), key("b", "a"), key("a"), key("ab"), key("a", "b", "c")}) == 5
    assert len(key("a")) == 32
