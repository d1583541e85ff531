"""What the two products accept: limits, answers, and which events they drop in silence.

Segment answers 200 to almost anything and drops what it cannot use; RudderStack refuses the whole request.

**Source**: Segment's HTTP API source, section "Errors" (segmentio/segment-docs); RudderStack's HTTP API, and in its gateway
``getJobDataFromRequest`` and ``response.go`` (rudderlabs/rudder-server).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec

TYPES = ("track", "identify", "page", "screen", "group", "alias")
EVENT_BYTES = 32 << 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS_FROM = 100_000_000_000  # epoch numbers from here on are milliseconds, smaller ones seconds
_LAST_MILLISECOND = 253_402_300_800_000  # of the year 9999


class Received(msgspec.Struct, frozen=True, gc=False):
    """One event as it goes into the ledger.

    payload: canonical JSON, keys sorted. timestamp: as sent; timestamp_us: the same, None if it is no time.
    """

    message_id: str
    user: str | None
    type: str | None
    timestamp: str | None
    timestamp_us: int | None
    payload: bytes


class RefusedError(Exception):
    """The request as a whole is refused, nothing of it is kept."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass
class Judged:
    """What becomes of a request's events. indexes: of the accepted ones, in the request. dropped: how many, by reason."""

    events: list[Received] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    total: int = 0

    def drop(self, reason: str, count: int = 1) -> None:
        """Count events that are answered with success and not kept."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One product.

    batch_bytes: of the JSON of a batch, uncompressed. batch_events: above it a batch is dropped; None: no limit.
    drops: what cannot be used is dropped in silence; else the request is refused.
    """

    name: str
    batch_bytes: int
    batch_events: int | None
    drops: bool
    success: bytes
    success_type: str

    def request_bytes(self, call: str) -> int:
        """The limit of one request's JSON."""
        return self.batch_bytes if call == "batch" else EVENT_BYTES

    def error(self, message: str) -> tuple[bytes, str]:
        """Body and content type of an answer that refuses."""
        if self.drops:
            return msgspec.json.encode({"success": False, "message": message}), "application/json"
        return f"{message}\n".encode(), "text/plain; charset=utf-8"


SEGMENT = Dialect(
    name="segment",
    batch_bytes=500 << 10,
    batch_events=2_500,
    drops=True,
    success=b'{"success":true}',
    success_type="application/json",
)
RUDDERSTACK = Dialect(
    name="rudderstack",
    batch_bytes=4_000 << 10,  # the gateway's maxReqSizeInKB
    batch_events=None,
    drops=False,
    success=b"OK",
    success_type="text/plain; charset=utf-8",
)


class _Batch(msgspec.Struct):
    batch: list[msgspec.Raw]


_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_event = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder(order="sorted").encode


def judge(dialect: Dialect, call: str, body: bytes) -> Judged:
    """Read a request's JSON and say what becomes of each event.

    Args:
        dialect: whose rules.
        call: ``batch``, or a type: then the body is that one event.
        body: uncompressed.

    Raises:
        RefusedError: too large, no JSON, no events, or by RudderStack's rules an event without a user.
    """
    if len(body) > dialect.request_bytes(call):
        raise RefusedError(413, f"Request size exceeds max limit of {dialect.request_bytes(call)} bytes")
    raws: Sequence[msgspec.Raw | bytes] = _events(body) if call == "batch" else [body]
    if not raws and not dialect.drops:
        raise RefusedError(400, "Empty batch payload")
    judged = Judged(total=len(raws))
    parsed = [_parse(raw, index) for index, raw in enumerate(raws)]
    if dialect.batch_events is not None and len(raws) > dialect.batch_events:
        judged.drop("more than 2,500 events", len(raws))
        return judged
    for index, event in enumerate(parsed):
        if call != "batch":
            event["type"] = call
        user = user_of(event)
        problem = _problem(dialect, event, user)
        if problem is None:
            judged.events.append(received(event, user))
            judged.indexes.append(index)
        elif dialect.drops:
            judged.drop(problem)
        else:
            raise RefusedError(400, "Request neither has anonymousId nor userId")
    return judged


def _events(body: bytes) -> list[msgspec.Raw]:
    try:
        return _decode_batch(body).batch
    except msgspec.ValidationError:
        raise RefusedError(400, "Invalid request: expected an object with a list named batch") from None
    except (msgspec.DecodeError, RecursionError):
        raise RefusedError(400, "Invalid JSON") from None


def _parse(raw: msgspec.Raw | bytes, index: int) -> dict[str, Any]:
    if len(memoryview(raw)) > EVENT_BYTES:
        raise RefusedError(413, f"Event {index} exceeds max limit of {EVENT_BYTES} bytes")
    try:
        return _decode_event(raw)
    except msgspec.ValidationError:
        raise RefusedError(400, f"Event {index} is not an object") from None
    except (msgspec.DecodeError, RecursionError):
        raise RefusedError(400, "Invalid JSON") from None


def _problem(dialect: Dialect, event: dict[str, Any], user: str | None) -> str | None:
    """Why an event cannot be used; RudderStack's gateway looks for a user only."""
    if user is None:
        return "no_user_anon_id"
    if not dialect.drops:
        return None
    kind = event.get("type")
    if kind not in TYPES:
        return "no type" if kind is None else "unknown type"
    return "track without event" if kind == "track" and not event.get("event") else None


def user_of(event: dict[str, Any]) -> str | None:
    """The user id, else the anonymous id; None if both are missing or blank."""
    for name in ("userId", "anonymousId"):
        value = event.get(name)
        if value is not None and (text := str(value)).strip():
            return text
    return None


def received(event: dict[str, Any], user: str | None) -> Received:
    """An event as it goes into the ledger; gets a message id if it has none, as both products give it one."""
    message_id = event.get("messageId")
    if not isinstance(message_id, str) or not message_id:
        message_id = event["messageId"] = str(uuid4()) if message_id is None or message_id == "" else str(message_id)
    kind, time = event.get("type"), event.get("originalTimestamp")
    time = event.get("timestamp") if time is None else time
    return Received(
        message_id,
        user,
        kind if isinstance(kind, str) else None,
        None if time is None else time if isinstance(time, str) else str(time),
        micros(time),
        _encode(event),
    )


def micros(value: object) -> int | None:
    """Microseconds since the epoch, of RFC 3339 (without zone: UTC) or of a number since the epoch; None if it is neither."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        delta = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
        return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LAST_MILLISECOND:
        return int(value * (1_000 if abs(value) >= _MILLISECONDS_FROM else 1_000_000))
    return None
