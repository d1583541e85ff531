"""A small seeded population of events as a collector sends them to a topic: payloads in an order of arrival, with the times of it.

Their event times lie within ten minutes, so that a run has few windows and nothing is late unless somebody wants it to be; payloads
hold no line feed and are not blank, so that a file can hold them too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
SPAN_S = 540
_DEEP = 100
_LARGE = 1_100_000  # the limit of a source is 1 MiB


@dataclass(frozen=True)
class Sent:
    """A payload and its record time."""

    value: bytes
    time_ms: int


def web(seed: int, ids: int = 60) -> list[Sent]:
    """Events of the website, one a message.

    Per id one to three contents, of each one to three retries, received in any order; some ids come again in another minute, some
    events have no id, are filtered or break a rule; and poison of every kind.
    """
    rng = Random(f"web:{seed}")
    payloads = [json.dumps(event, ensure_ascii=False).encode() for event in _events(rng, ids)]
    payloads += poison()
    rng.shuffle(payloads)
    return _in_time(payloads)


def mobile(seed: int, ids: int = 60) -> list[Sent]:
    """The same as SDK batches: several events a message, also none, also no list."""
    rng = Random(f"mobile:{seed}")
    events = list(_events(rng, ids))
    rng.shuffle(events)
    payloads = []
    while events:
        count = rng.choice((0, 1, 2, 5, 9))
        part, events = events[:count], events[count:]
        batch = [{k: v for k, v in event.items() if k not in ("sentAt", "receivedAt")} for event in part]
        items: list[Any] = [*batch, *rng.choice(([], [], [17], ["text", None]))]
        received = START + timedelta(seconds=rng.randrange(SPAN_S), milliseconds=rng.randrange(1000))
        payloads.append(json.dumps({"batch": items, "sentAt": _iso(received), "receivedAt": _iso(received)}).encode())
    payloads += [*poison(), b'{"batch": {}}', b'{"batch": null, "sentAt": "x"}', rng.choice(payloads)]
    rng.shuffle(payloads)
    return _in_time(payloads)


def poison() -> list[bytes]:
    """Payloads that no source can read, one of each kind that a line of a file can be too."""
    return [
        b'{"messageId": "cut',
        b"no json",
        b"[1, 2]",
        b'"text"',
        b"\x00\x00\x00\x00\x05{}",  # a schema registry's magic byte
        b"\x1f\x8b\x08\x00",  # gzip's
        b"Obj\x01",  # Avro's
        b'{"messageId": "\xff\xfe"}',
        b'{"type": "track", "properties": ' + b"[" * _DEEP + b"]" * _DEEP + b"}",
        b'{"type": "track", "event": "' + b"x" * _LARGE + b'"}',
        b'{"type": "track", "properties": {"n": 1e999}}',
    ]


def _events(rng: Random, ids: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for number in range(ids):
        at = START + timedelta(seconds=rng.randrange(SPAN_S), milliseconds=rng.randrange(1000))
        for content in range(rng.choice((1, 1, 1, 2, 2, 3))):
            event = _event(rng, number, at, content)
            found += [_received(event, at, rng) for _ in range(rng.choice((1, 1, 2, 3)))]
        if number % 9 == 0:
            later = at + timedelta(seconds=rng.choice((40, 70, 200)))
            found.append(_received(_event(rng, number, later, 0), later, rng))
        if number % 10 == 0:
            found.append(found[-1])
    return found


def _event(rng: Random, number: int, at: datetime, content: int) -> dict[str, Any]:
    event: dict[str, Any] = {
        "messageId": f"m-{number:04d}",
        "type": "track",
        "event": "Viewed",
        "anonymousId": f"a-{number % 17}",
        "originalTimestamp": _iso(at),
        "properties": {"content": content, "price": number / 7, "name": "Süß ✓"},
        "context": {"consent": {"categoryPreferences": {"ads": number % 2 == 0}}},
    }
    if number % 6 == 0:
        del event["messageId"]
    if number % 13 == 5:
        event["context"]["traffic"] = "bot"
    if number % 11 == 3:
        event["type"] = rng.choice(("trackk", "page"))
    return event


def _received(event: dict[str, Any], at: datetime, rng: Random) -> dict[str, Any]:
    received = at + timedelta(seconds=rng.choice((1, 30, 200)), milliseconds=rng.randrange(1000))
    return {**event, "sentAt": _iso(received - timedelta(seconds=1)), "receivedAt": _iso(received)}


def _in_time(payloads: Sequence[bytes]) -> list[Sent]:
    """Record times that rise over the span."""
    first = int(START.timestamp() * 1000)
    return [Sent(payload, first + SPAN_S * 1000 * i // len(payloads)) for i, payload in enumerate(payloads)]


def track(event_id: str, at: datetime, **fields: Any) -> bytes:
    """One sound event of the website."""
    event = {"messageId": event_id, "type": "track", "event": "Viewed", "userId": "u-1", "originalTimestamp": _iso(at), **fields}
    return json.dumps({"receivedAt": _iso(at + timedelta(seconds=1)), **event}).encode()


def write_lines(folder: Path, sent: Sequence[Sent], count: int) -> list[Path]:
    """The payloads as lines of so many files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"part-{number:02d}.jsonl" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(b"".join(one.value + b"\n" for one in sent[number::count]))
    return paths


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
