"""The defects, oddities and copies of the generated data: tables of name, rate, maker and expected outcome.

A rate is a share of the source's records, a count a number of records in the whole source; both hold at any size from
50,000 records. Every defective record has exactly one defect, so that its code is certain. The tables of contacts and
orders are in `contacts.py` and `orders.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Protocol, TypeVar

import msgspec

from examples.webshop.truth import DEAD_LETTER, FILTERED, OUT

Event = dict[str, Any]
EditEvent = Callable[[Event, Random], Event]
EditBytes = Callable[[bytes, Random], bytes]

ONE_MIB = 1 << 20
LEVELS = 1_000
KEYS = 10_000
ZERO_UUID = "00000000-0000-0000-0000-000000000000"
PROPERTIES = b'"properties":{'


class Rated(Protocol):
    """What has a share or a number of a source's records."""

    @property
    def rate(self) -> float:
        """Share of the source's records."""

    @property
    def count(self) -> int:
        """Number in the whole source, if not 0; it replaces the rate."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that have it."""


R = TypeVar("R", bound=Rated)


def due(table: tuple[R, ...], source: str, first: int, last: int, total: int) -> list[R]:
    """Which entries of a table, and each how often, fall to the records from `first` to `last` of the planned `total`.

    The sums over the files are the rates of the whole source, rounded once, however it is cut into files.
    """
    entries: list[R] = []
    for entry in table:
        if source in entry.sources:
            rate = entry.count / total if entry.count else entry.rate
            entries += [entry] * (int(last * rate + 0.5) - int(first * rate + 0.5))
    return entries


@dataclass(frozen=True)
class EventDefect:
    """How a sound track event becomes a defective or odd one."""

    name: str
    make: EditBytes  # on the event's JSON, or on the whole line if `line`
    code: str | None = None
    rate: float = 5e-4
    count: int = 0
    expected: str = DEAD_LETTER
    sources: tuple[str, ...] = ("web", "mobile")
    line: bool = False  # spoils its whole line; in the SDK's format that is one batch and one record
    keeps_id: bool = True


@dataclass(frozen=True)
class Copy:
    """A record that comes more than once."""

    name: str
    rate: float
    identical: bool = False  # wholly, transport columns included
    conflicting: bool = False  # the same id with other content
    without_id: bool = False  # neither has an id of its own: it comes from the content, so the copy has the same
    next_file: bool = False
    times: int = 1  # copies of one record
    count: int = 0
    sources: tuple[str, ...] = ("web", "mobile", "crm", "orders")


def _edit(change: EditEvent) -> EditBytes:
    return lambda event, rng: msgspec.json.encode(change(msgspec.json.decode(event), rng))


def _with(**fields: Any) -> EditBytes:
    return _edit(lambda event, _: {**event, **fields})


def _without(*names: str, **fields: Any) -> EditBytes:
    return _edit(lambda event, _: {name: value for name, value in event.items() if name not in names} | fields)


def _with_context(**fields: Any) -> EditBytes:
    return _edit(lambda event, _: {**event, "context": {**event["context"], **fields}})


def _replace(old: bytes, new: bytes) -> EditBytes:
    return lambda text, _: text.replace(old, new, 1)


def _into_properties(text: bytes) -> EditBytes:
    return _replace(PROPERTIES, PROPERTIES + text + b",")


def _with_ids(user_id: str | None, anonymous_id: str | None) -> EditBytes:
    return _with(userId=user_id, anonymousId=anonymous_id)


def _alias(event: Event, _: Random) -> Event:
    event = {name: value for name, value in event.items() if name not in ("event", "properties")}
    return {**event, "type": "alias", "userId": event.get("userId") or "u-0"}


def _clock(text: str) -> EditBytes:
    """A client whose clock is wrong by decades: both of its times, but not the collector's."""

    def change(event: Event, rng: Random) -> Event:
        original_ms = rng.randrange(3_600_000)
        stamp = f"{text}{original_ms // 60_000:02d}:{original_ms % 60_000 // 1000:02d}.{original_ms % 1000:03d}Z"
        return {**event, "originalTimestamp": stamp, "sentAt": stamp}

    return _edit(change)


def _epoch(microseconds_per_unit: int) -> EditBytes:
    """The original timestamp as a number in a unit."""

    def change(event: Event, rng: Random) -> Event:
        original_s = datetime.fromisoformat(event["originalTimestamp"]).timestamp()
        original_us = round(original_s * 1000) * 1000 + rng.randrange(1000)
        return {**event, "originalTimestamp": original_us // microseconds_per_unit}

    return _edit(change)


def _truncate(text: bytes, rng: Random) -> bytes:
    return text[: rng.randrange(20, len(text) - 20)].decode(errors="ignore").encode()  # never inside a character


def _many_keys(event: Event, _: Random) -> Event:
    return {**event, "properties": event["properties"] | {f"attribute_{number:05d}": number for number in range(KEYS)}}


def _filtered(name: str, make: EditBytes, rate: float) -> EventDefect:
    return EventDefect(name, make, None, rate, expected=FILTERED)


def _odd(name: str, make: EditBytes, **options: Any) -> EventDefect:
    return EventDefect(name, make, None, expected=OUT, **options)


def _line(name: str, make: EditBytes, code: str, **options: Any) -> EventDefect:
    return EventDefect(name, make, code, line=True, keeps_id=False, **options)


_SYNTHETIC = _with_context(traffic="synthetic")
_EMOJI = '"review":"So schön 🧡👩‍👩‍👧 – 5★"'.encode()

EVENT_DEFECTS = (
    # Never customers, whatever else is wrong with them.
    _filtered("synthetic_traffic", _SYNTHETIC, 0.006),
    _filtered("bot_traffic", _with_context(traffic="bot"), 0.006),
    _filtered("synthetic_without_type", lambda e, rng: _without("type")(_SYNTHETIC(e, rng), rng), 5e-4),
    _filtered(
        "synthetic_with_bad_time",
        lambda e, rng: _with(originalTimestamp="yesterday")(_SYNTHETIC(e, rng), rng),
        5e-4,
    ),
    # Lines that are no JSON object.
    _line("truncated_json", _truncate, "malformed"),
    _line("nan_literal", _into_properties(b'"discount":NaN'), "malformed"),
    _line("bare_text", lambda *_: b"upstream connect error or disconnect/reset before headers", "malformed"),
    _line("lone_surrogate", _into_properties(b'"title":"\\ud83d"'), "malformed"),
    _line("array_for_object", lambda text, _: b"[" + text + b"]", "malformed"),
    _line("invalid_utf8", _into_properties(b'"title":"M\xfcller \xff\xfe"'), "invalid_encoding"),
    _line("batch_missing", _replace(b'"batch":', b'"events":'), "malformed", sources=("mobile",)),
    _line("batch_no_list", lambda *_: b'{"batch":{"type":"track"},"sentAt":null}', "malformed", sources=("mobile",)),
    _line("too_deep", _into_properties(b'"tree":' + b'{"a":' * LEVELS + b"1" + b"}" * LEVELS), "too_deep"),
    _line("too_large", _into_properties(b'"blob":"' + b"A" * ONE_MIB + b'"'), "too_large", count=1),
    # Objects that break the contract.
    EventDefect("missing_message_id", _without("messageId"), "missing_required", sources=("mobile",), keeps_id=False),
    EventDefect("null_message_id", _with(messageId="null"), "missing_required", sources=("mobile",), keeps_id=False),
    EventDefect("missing_type", _without("type"), "missing_required"),
    EventDefect("unknown_type", _with(type="pageview"), "not_in_enum"),
    EventDefect("track_without_event", _without("event"), "missing_required"),
    EventDefect("no_ids", _without("userId", "anonymousId"), "missing_required"),
    EventDefect("null_ids", _with_ids("null", "undefined"), "missing_required"),
    EventDefect("zero_uuid_id", _with_ids(None, ZERO_UUID), "missing_required"),
    EventDefect("alias_without_previous_id", _edit(_alias), "missing_required"),
    EventDefect("group_without_group_id", _without("event", "properties", type="group"), "missing_required"),
    EventDefect("number_as_user_id", _edit(lambda e, rng: {**e, "userId": rng.randrange(1, 10**7)}), "wrong_type"),
    EventDefect("context_as_string", _with(context="web"), "wrong_type"),
    EventDefect("time_as_word", _with(originalTimestamp="yesterday"), "bad_timestamp"),
    EventDefect("time_of_no_day", _with(originalTimestamp="2026-02-30T10:00:00Z"), "bad_timestamp"),
    EventDefect("time_without_zone", _with(originalTimestamp="2026-11-02T10:00:00"), "bad_timestamp"),
    EventDefect("long_user_id", _with(userId="u-" + "9" * 298), "bad_length"),
    EventDefect("schema_version_9", _with(schemaVersion=9), "unknown_schema_version", sources=("web",)),
    # Odd, but accepted.
    _odd("derived_id", _without("messageId"), sources=("web",), keeps_id=False, rate=2e-3),
    _odd("clock_1970", _clock("1970-01-01T00:")),
    _odd("clock_2099", _clock("2099-12-31T23:")),
    _odd("epoch_seconds", _epoch(1_000_000)),
    _odd("epoch_milliseconds", _epoch(1_000)),
    _odd("epoch_microseconds", _epoch(1)),
    _odd("integer_of_2_64", _into_properties(b'"serial":18446744073709551616')),
    _odd("ten_thousand_keys", _edit(_many_keys), sources=("web",), count=1),
    _odd("without_received_at", _without("receivedAt"), sources=("web",)),  # the file's time stands in
    _odd("nul_in_string", _into_properties(b'"coupon":"SAVE\\u000010"')),
    _odd("emoji", _into_properties(_EMOJI)),
    _odd("duplicate_keys", lambda text, _: b'{"type":"pageview","userId":17,' + text[1:]),
    _odd("unknown_fields", _with(projectId="p-1", _metadata={"bundled": ["Segment.io"], "unbundled": []})),
)

COPIES = (
    Copy("identical_in_file", 0.002, identical=True),
    Copy("identical_in_next_file", 0.002, identical=True, next_file=True),
    Copy("retry", 0.006, sources=("web", "mobile")),
    Copy("retry_in_next_file", 0.002, next_file=True, sources=("web", "mobile")),
    Copy("retried_three_times", 5e-4, next_file=True, times=3, sources=("web",)),
    Copy("retry_without_id", 5e-4, without_id=True, sources=("web",)),
    Copy("conflict", 0.001, conflicting=True),
    Copy("conflict_in_next_file", 0.001, conflicting=True, next_file=True),
)
