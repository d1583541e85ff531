"""The two products' rules, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devstack.cdp.dialects import EVENT_BYTES, RUDDERSTACK, SEGMENT, Dialect, RefusedError, judge, micros

Event = dict[str, Any]


def track(**fields: Any) -> Event:
    return {"type": "track", "event": "Product Viewed", "userId": "u-1", "messageId": "m-1", **fields}


def body(*events: object) -> bytes:
    return json.dumps({"batch": events, "sentAt": "2026-11-23T10:00:00Z"}).encode()


def refusal(dialect: Dialect, call: str, content: bytes) -> tuple[int, str]:
    with pytest.raises(RefusedError) as raised:
        judge(dialect, call, content)
    return raised.value.status, raised.value.message


def test_an_accepted_event_is_kept_as_sent_with_sorted_keys() -> None:
    (event,) = judge(
        SEGMENT, "batch", body(track(properties={"b": 1.50, "a": ["é", None]}, originalTimestamp="2026-11-23T10:00:00.5Z"))
    ).events
    assert (event.message_id, event.user, event.type, event.timestamp) == ("m-1", "u-1", "track", "2026-11-23T10:00:00.5Z")
    assert event.payload.decode() == (
        '{"event":"Product Viewed","messageId":"m-1","originalTimestamp":"2026-11-23T10:00:00.5Z",'
        '"properties":{"a":["é",null],"b":1.5},"type":"track","userId":"u-1"}'
    )


def test_the_user_is_the_user_id_else_the_anonymous_id() -> None:
    events = [track(userId=None, anonymousId="a"), track(anonymousId="a"), track(userId=7), track(userId=" ", anonymousId="a")]
    assert [event.user for event in judge(RUDDERSTACK, "batch", body(*events)).events] == ["a", "u-1", "7", "a"]


def test_an_event_without_message_id_gets_one() -> None:
    first, second = judge(SEGMENT, "batch", body(track(messageId=None), track(messageId=""))).events
    assert first.message_id and second.message_id and first.message_id != second.message_id
    assert json.loads(first.payload)["messageId"] == first.message_id


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (track(userId=None), "no_user_anon_id"),
        (track(type=None), "no type"),
        (track(type="click"), "unknown type"),
        (track(event=None), "track without event"),
    ],
)
def test_segment_drops_in_silence_what_it_cannot_use(event: Event, reason: str) -> None:
    judged = judge(SEGMENT, "batch", body(track(), event, track()))
    assert judged.dropped == {reason: 1}
    assert (judged.total, judged.indexes) == (3, [0, 2])


def test_rudderstack_refuses_the_request_for_one_event_without_user_and_looks_at_nothing_else() -> None:
    assert refusal(RUDDERSTACK, "batch", body(track(), track(userId=""))) == (400, "Request neither has anonymousId nor userId")
    assert len(judge(RUDDERSTACK, "batch", body(track(type="click"), track(event=None))).events) == 2


@pytest.mark.parametrize("dialect", [SEGMENT, RUDDERSTACK], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        (b'{"batch":' + b"[" * 20_000, "Invalid JSON"),
        (b'{"batch":[' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"]}", "Invalid JSON"),
        (b"[]", "Invalid request: expected an object with a list named batch"),
        (b'{"batch":{}}', "Invalid request: expected an object with a list named batch"),
        (body(track(), 5), "Event 1 is not an object"),
    ],
)
def test_what_is_no_batch_of_objects_is_400(dialect: Dialect, content: bytes, message: str) -> None:
    assert refusal(dialect, "batch", content) == (400, message)


def test_an_empty_batch_is_a_success_for_segment_only() -> None:
    assert judge(SEGMENT, "batch", body()).total == 0
    assert refusal(RUDDERSTACK, "batch", body()) == (400, "Empty batch payload")


def sized(size: int) -> bytes:
    """One event of just so many bytes."""
    return json.dumps(track(properties={"x": "y" * (size - len(json.dumps(track(properties={"x": ""}))))})).encode()


@pytest.mark.parametrize("dialect", [SEGMENT, RUDDERSTACK], ids=lambda dialect: dialect.name)
def test_an_event_may_have_32_kb_alone_and_in_a_batch(dialect: Dialect) -> None:
    fits, above = sized(EVENT_BYTES), sized(EVENT_BYTES + 1)
    assert (len(fits), len(above)) == (32_768, 32_769)
    for call, wrap in (("track", b"%s"), ("batch", b'{"batch":[%s]}')):
        assert len(judge(dialect, call, wrap % fits).events) == 1
        assert refusal(dialect, call, wrap % above)[0] == 413


@pytest.mark.parametrize(("dialect", "limit"), [(SEGMENT, 512_000), (RUDDERSTACK, 4_096_000)])
def test_a_batch_has_a_limit_of_bytes(dialect: Dialect, limit: int) -> None:
    events = body(*[track()] * 10)
    assert len(judge(dialect, "batch", events.ljust(limit)).events) == 10
    assert refusal(dialect, "batch", events.ljust(limit + 1)) == (413, f"Request size exceeds max limit of {limit} bytes")


def test_segment_drops_a_batch_of_more_than_2500_events_and_rudderstack_does_not() -> None:
    fits, above = (b'{"batch":[%s]}' % b",".join([b'{"type":"page","userId":"u"}'] * count) for count in (2_500, 2_501))
    assert len(judge(SEGMENT, "batch", fits).events) == 2_500
    dropped = judge(SEGMENT, "batch", above)
    assert (dropped.events, dropped.dropped, dropped.total) == ([], {"more than 2,500 events": 2_501}, 2_501)
    assert len(judge(RUDDERSTACK, "batch", above).events) == 2_501


def test_a_single_call_takes_its_type_from_the_path() -> None:
    (event,) = judge(SEGMENT, "identify", json.dumps({"userId": "u"}).encode()).events
    assert event.type == json.loads(event.payload)["type"] == "identify"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1970-01-01T00:00:01.5Z", 1_500_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00", 0),
        (1_763_892_000, 1_763_892_000_000_000),
        (1_763_892_000_123, 1_763_892_000_123_000),
        ("yesterday", None),
        (True, None),
        (1e300, None),
        (None, None),
    ],
)
def test_times_are_read_from_text_and_numbers(value: object, expected: int | None) -> None:
    assert micros(value) == expected
