"""Web events of the demo's generator as templates: everything but id and times is rendered once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from itertools import islice
from random import Random

from examples.webshop.people import Calendar, Population
from examples.webshop.sessions import Sessions, Shop

_PEOPLE, _DAY, _SEED = 4_000, date(2026, 11, 1), 7
_TIMES = ("originalTimestamp", "sentAt", "receivedAt")
_HEAD = b'{"messageId":"'
Render = Callable[[bytes, bytes], bytes]


def templates(number: int) -> list[tuple[bytes, Render]]:
    """So many events of visits to the shop, in the order of the visits.

    Returns:
        Per event the Kafka key (whose event it is), and what renders the payload of an id and a time: the id is at its start, the
        time is original, sent and received time in one.
    """
    shop = Shop(Population(_SEED, _PEOPLE), Calendar(_DAY, 1))
    sessions = Sessions(shop, "web", Random(_SEED))
    made: list[tuple[bytes, Render]] = []
    start_ms = shop.calendar.start_ms
    while len(made) < number:
        rows = sessions.run(*sessions.pick(start_ms), start_ms)
        made += [_template(row.body) for row in islice(rows, number - len(made))]
        start_ms += 60_000  # so that devices are free again
    return made


def _template(body: bytes) -> tuple[bytes, Render]:
    event = json.loads(body)
    key = str(event.get("userId") or event["anonymousId"]).encode()
    times = "|".join(f'(?<="{name}":")[^"]+' for name in _TIMES)
    marked = re.sub(times.encode(), b"\0", body.replace(event["messageId"].encode(), b"\0", 1))
    parts = marked.split(b"\0")
    assert parts[0] == _HEAD, "an event begins with its id"
    assert len(parts) == 2 + len(_TIMES), "an event has an id and three times"
    _, a, b, c, d = parts

    def render(event_id: bytes, time: bytes) -> bytes:
        return b"".join((_HEAD, event_id, a, time, b, time, c, time, d))

    return key, render


def id_of(payload: bytes, length: int) -> bytes:
    """The id of a rendered payload, also of a truncated one; length: of the id."""
    return payload[len(_HEAD) : len(_HEAD) + length]


@lru_cache(maxsize=64)
def _second(second: int) -> bytes:
    day, rest = divmod(second, 86_400)
    on = date.fromordinal(day + date(1970, 1, 1).toordinal())
    return b"%sT%02d:%02d:%02d." % (on.isoformat().encode(), rest // 3_600, rest // 60 % 60, rest % 60)


def iso(ms: int) -> bytes:
    """``2026-11-23T06:58:44.123Z``."""
    return b"%s%03dZ" % (_second(ms // 1_000), ms % 1_000)
