"""What goes out: how events are cut into requests, and the bytes of a request."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ConfigurationError
from contracts.spec.destination import Limits
from tests.support.scripted import destination, event, events
from transforms.deliver.http.dialects import batch_limits, dialect_of
from transforms.deliver.http.wire import BatchLimits, Outgoing, request_of


@given(
    sizes=st.lists(st.integers(1, 60), max_size=40),
    most=st.integers(1, 9),
    size_bytes=st.integers(14, 200),
    event_bytes=st.integers(1, 70),
)
def test_requests_are_in_order_within_limits_and_as_full_as_they_may_be(
    sizes: list[int], most: int, size_bytes: int, event_bytes: int
) -> None:
    limits = BatchLimits(events=most, size_bytes=size_bytes, event_bytes=event_bytes, envelope_bytes=12)
    events = [Outgoing(f"m{number}", b"x" * size) for number, size in enumerate(sizes)]
    cut = list(limits.ranges(events))
    assert [position for one in cut for position in one] == list(range(len(events)))
    for number, one in enumerate(cut):
        batch = [events[position] for position in one]
        if any(limits.too_large(single) for single in batch):
            assert len(batch) == 1
            continue
        assert len(batch) <= most
        assert sum(len(single.body) for single in batch) + len(batch) - 1 + 12 <= size_bytes
        if number + 1 < len(cut) and not limits.too_large(after := events[cut[number + 1].start]):
            assert not limits.fits(len(batch) + 1, sum(len(single.body) for single in [*batch, after]))


def test_limits_of_the_body_count_envelope_and_commas() -> None:
    segment = batch_limits(destination())
    body = dialect_of("segment").opening + b",".join([b"{}"] * 3) + dialect_of("segment").closing
    exact = BatchLimits(events=9, size_bytes=len(body), event_bytes=9, envelope_bytes=segment.envelope_bytes)
    assert exact.fits(3, 6)
    assert not exact.fits(3, 7)


def test_documented_limits_hold_where_the_destination_sets_none() -> None:
    segment = batch_limits(destination())
    assert (segment.events, segment.size_bytes, segment.event_bytes) == (2_500, 500_000, 32_768)
    rudderstack = batch_limits(destination(type="rudderstack"))
    assert (rudderstack.events, rudderstack.size_bytes, rudderstack.event_bytes) == (20_000, 4_000_000, 32_768)


def test_a_destination_sets_lower_limits() -> None:
    limits = batch_limits(destination(limits=Limits(batch_events=10, batch_bytes=2_000, event_bytes=500)))
    assert (limits.events, limits.size_bytes, limits.event_bytes) == (10, 2_000, 500)


def test_segment_cannot_be_raised_because_it_drops_silently_and_a_server_of_ones_own_can() -> None:
    raised = Limits(batch_events=2_501, batch_bytes=500_001, event_bytes=32_769)
    with pytest.raises(ConfigurationError) as caught:
        batch_limits(destination(limits=raised))
    for named in ("batch_events: 2,501", "2,500", "batch_bytes: 500,001", "event_bytes: 32,769", "cdp"):
        assert named in str(caught.value)
    assert batch_limits(destination(type="rudderstack", limits=Limits(event_bytes=100_000))).event_bytes == 100_000


def test_limits_that_leave_no_room_for_an_event_are_said() -> None:
    with pytest.raises(ConfigurationError, match="no room"):
        batch_limits(destination(limits=Limits(batch_bytes=12)))


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
