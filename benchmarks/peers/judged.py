"""What peers that run Python per record do with a web event: the columns of the contract, or the code of what is wrong with it.

Nesting is told by counting brackets.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

IDS = {
    "event_id": "messageId", "user_id": "userId", "anonymous_id": "anonymousId", "previous_id": "previousId",
    "group_id": "groupId",
}  # fmt: skip
TIMES = {"original_timestamp": ("originalTimestamp", "timestamp"), "sent_at": ("sentAt",), "received_at": ("receivedAt",)}
NESTED = {
    "ip": ("ip", 64), "user_agent": ("userAgent", 2048), "locale": ("locale", 64), "page_url": ("page.url", 8192),
    "campaign_name": ("campaign.name", None), "campaign_source": ("campaign.source", None),
    "campaign_medium": ("campaign.medium", None), "campaign_term": ("campaign.term", None),
    "campaign_content": ("campaign.content", None), "device_id": ("device.id", None), "library": ("library.name", None),
    "library_version": ("library.version", None),
}  # fmt: skip
OBJECTS = ("context", "properties", "traits", "integrations")
JSON_COLUMNS = (*OBJECTS, "consent", "unknown_fields")
KNOWN = frozenset(
    (*IDS.values(), *OBJECTS, "type", "event", "name", "originalTimestamp", "timestamp", "sentAt", "receivedAt", "schemaVersion",
     "channel", "writeKey")
)  # fmt: skip
UNSTABLE = ("event_id", "sent_at", "received_at", "event_time", "unknown_fields")
NO_VALUE = ("", "null", "undefined", "None", "00000000-0000-0000-0000-000000000000")
TYPES = ("track", "identify", "page", "screen", "group", "alias")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS = {10: 1_000_000, 13: 1_000, 16: 1}
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d{1,12})?)? ?(Z|z|UTC|[+-]\d\d(:?\d\d)?)\Z", re.ASCII)
Row = dict[str, Any]


class RejectedError(Exception):
    """What is wrong with an event: a code."""


def text(value: Any, limit: int | None) -> str | None:
    if value is not None and not isinstance(value, str):
        raise RejectedError("wrong_type")
    if value is not None and limit and len(value) > limit:
        raise RejectedError("bad_length")
    return value


def identifier(value: Any) -> str | None:
    return None if value in NO_VALUE else text(value, 256)


def time(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        if isinstance(value, str) and RFC_3339.match(value):
            return datetime.fromisoformat(value)
        if type(value) is int and len(str(value)) in UNITS:
            return EPOCH + timedelta(microseconds=value * UNITS[len(str(value))])
    except (ValueError, OverflowError):
        pass
    raise RejectedError("bad_timestamp")


def at(value: Any, path: str) -> Any:
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def event_of(line: bytes) -> Row:
    """The event of a line."""
    if len(line) > 1_048_576:
        raise RejectedError("too_large")
    if line.count(b"{") + line.count(b"[") > 64:
        raise RejectedError("too_deep")
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            line.decode()
        except UnicodeDecodeError:
            raise RejectedError("invalid_encoding") from None
        raise RejectedError("malformed") from None
    if not isinstance(event, dict):
        raise RejectedError("malformed")
    return event


def row_of(event: Row, modified: datetime) -> Row:
    """The contract's columns."""
    if str(event.get("schemaVersion") or 1) not in ("1", "2"):
        raise RejectedError("unknown_schema_version")
    row: Row = {"event_id": identifier(event.get("messageId")), "event_type": text(event.get("type"), None)}
    if row["event_type"] is None:
        raise RejectedError("missing_required")
    if row["event_type"] not in TYPES:
        raise RejectedError("not_in_enum")
    name = event.get("event")
    row["event_name"] = text(event.get("name") if name is None else name, 256)
    row |= {column: identifier(event.get(key)) for column, key in IDS.items() if column != "event_id"}
    for column, keys in TIMES.items():
        row[column] = time(next((event[key] for key in keys if event.get(key) is not None), None))
    row["consent"] = at(event, "context.consent.categoryPreferences")
    if row["consent"] is not None and not all(type(choice) is bool for choice in row["consent"].values()):
        raise RejectedError("wrong_type")
    row |= {column: text(at(event, f"context.{path}"), limit) for column, (path, limit) in NESTED.items()}
    for column in OBJECTS:
        row[column] = event.get(column)
        if row[column] is not None and not isinstance(row[column], dict):
            raise RejectedError("wrong_type")
    row["unknown_fields"] = {key: value for key, value in event.items() if key not in KNOWN} or None
    if breaks_rules(row):
        raise RejectedError("missing_required")
    set_times(row, modified)
    if row["event_id"] is None:
        stable = {name: value for name, value in row.items() if name not in UNSTABLE}
        row["event_id"] = f"fp-{hashlib.md5(orjson.dumps(stable, option=orjson.OPT_SORT_KEYS)).hexdigest()}"
    return row


def breaks_rules(row: Row) -> bool:
    """The rules over several columns."""
    kind, user = row["event_type"], row["user_id"]
    return (
        (user is None and row["anonymous_id"] is None)
        or (kind == "track" and row["event_name"] is None)
        or (kind == "group" and row["group_id"] is None)
        or (kind == "alias" and (row["previous_id"] is None or user is None))
        or (kind == "identify" and user is None and row["traits"] is None)
    )


def set_times(row: Row, modified: datetime) -> None:
    """When it was received, and when it happened by the collector's clock."""
    has_clock = row["received_at"] is not None
    received = row["received_at"] = row["received_at"] or modified
    original, sent = row["original_timestamp"], row["sent_at"]
    low, high = received - timedelta(days=30), received + timedelta(hours=1)
    estimate = received - (sent - original) if sent and original else None
    within = estimate is not None and low <= estimate <= high and (has_clock or low <= original <= high)
    row["event_time"] = estimate if within else None


def window_time(row: Row) -> datetime:
    """The time by which it belongs into a window, after ``set_times``."""
    original, received = row["original_timestamp"], row["received_at"]
    if original is not None and received - timedelta(days=30) <= original <= received + timedelta(hours=1):
        return original  # type: ignore[no-any-return]
    return row["event_time"] or received  # type: ignore[no-any-return]


def is_filtered(event: Row) -> bool:
    """Whether it is traffic that nobody wants: neither a row nor a reject."""
    return at(event, "context.traffic") in ("synthetic", "bot")
