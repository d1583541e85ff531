"""A small seeded population of web events with everything that makes convergence hard, as files of JSON lines."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

START = datetime(2026, 11, 1, tzinfo=UTC)
FILE_TIME_S = START.timestamp() + 5 * 86_400
BAD_LINES = ('{"messageId": "cut', "no json", "[1, 2]", '{"type":"track","event":"x"}', '{"messageId":"m","type":"visit"}')


def records(seed: int, ids: int = 54) -> list[str]:
    """Lines in a random order: some ``3 * ids`` of them.

    Per id up to three contents and of each up to three retries, received in any order, so that the content of the winner, which was
    received first, may have lost before; some ids come again at another time, some have none, some lines are no events or filtered.
    """
    rng = Random(seed)
    lines: list[str] = []
    for number in range(ids):
        at = START + timedelta(days=number % 3, seconds=rng.randrange(79_200, 90_000), milliseconds=rng.randrange(1000))
        contents = rng.choice((1, 1, 1, 2, 2, 3))
        for content in range(contents):
            event = _event(rng, number, at, content)
            for _ in range(rng.choice((1, 1, 2, 3))):
                lines.append(_received(event, at, rng))
        if number % 9 == 0:  # the same id at another time, minutes or hours later, with or without other content
            later = at + timedelta(seconds=rng.choice((40, 70, 1_500)))
            lines.append(_received(_event(rng, number, later, 0), later, rng))
        if number % 10 == 0:
            lines.append(lines[-1])  # wholly identical
        if number % 15 == 0:
            lines.append(rng.choice(BAD_LINES))
    rng.shuffle(lines)
    return lines


def _event(rng: Random, number: int, at: datetime, content: int) -> dict[str, Any]:
    event: dict[str, Any] = {
        "messageId": f"m-{number:04d}",
        "type": "track",
        "event": "Viewed",
        "anonymousId": f"a-{number % 17}",
        "originalTimestamp": _iso(at),
        "properties": {"content": content, "price": number / 7, "name": "Süß ✓"},
        "context": {"consent": {"categoryPreferences": {"ads": number % 2 == 0, "analytics": True}}},
    }
    if number % 6 == 0:
        del event["messageId"]
    if number % 13 == 5:
        event["context"]["traffic"] = "bot"
    if number % 11 == 3:
        event["type"] = rng.choice(("trackk", "page"))
    return event


def _received(event: dict[str, Any], at: datetime, rng: Random) -> str:
    received = at + timedelta(seconds=rng.choice((1, 30, 600, 5_000)), milliseconds=rng.randrange(1000))
    return json.dumps({**event, "sentAt": _iso(received - timedelta(seconds=1)), "receivedAt": _iso(received)}, ensure_ascii=False)


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_files(folder: Path, lines: Sequence[str], count: int, prefix: str = "part") -> list[Path]:
    """The lines in order, cut into files of one time."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        part = lines[len(lines) * number // count : len(lines) * (number + 1) // count]
        path = folder / f"{prefix}-{number:02d}.jsonl"
        path.write_text("".join(line + "\n" for line in part), "utf-8")
        os.utime(path, (FILE_TIME_S, FILE_TIME_S))
        paths.append(path)
    return paths
