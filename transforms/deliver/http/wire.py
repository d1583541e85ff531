"""What goes out: events, the batches that they are cut into, and a batch as a request. And what became of each event."""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import xxhash

# Measured on batches of 500 KB: 2.0 ms and 12.3 % of the size; level 1: 2.0 ms, 12.9 %; 3: 2.1 ms, 12.1 %; 6: 4.1 ms, 9.8 %.
GZIP_LEVEL = 2
_GZIP_CONTAINER = 16 + zlib.MAX_WBITS


class Outgoing(NamedTuple):
    """One event to deliver.

    body: JSON in the destination's shape, UTF-8. event_id: the ``messageId`` that is in it. user: whose it is; events of one user
    keep their order.
    """

    event_id: str
    body: bytes
    user: str = ""


@dataclass(frozen=True)
class Result:
    """What became of one event.

    delivered: the destination confirmed it; False: refused for good. status: HTTP status that decided, None where there was none.
    reason: "" when delivered, else "too_large", "http_" and the status, "timeout", "reset" or "wrong_answer". Never text of the
    destination: it may repeat the event.
    """

    delivered: bool
    status: int | None
    reason: str


def delivered(status: int) -> Result:
    """Confirmed with this status."""
    return Result(True, status, "")


def refused(status: int | None) -> Result:
    """Refused with this status; None: larger than the destination takes, and therefore not sent."""
    return Result(False, status, "too_large" if status in (None, 413) else f"http_{status}")


@dataclass(frozen=True, kw_only=True)
class BatchLimits:
    """Limits of one request, of JSON before compression.

    events: how many. size_bytes: of the whole body, envelope and commas included. event_bytes: of one event. envelope_bytes: of
    what is around the events.
    """

    events: int
    size_bytes: int
    event_bytes: int
    envelope_bytes: int

    def fits(self, events: int, bodies_bytes: int) -> bool:
        """Whether so many events, whose bodies add up to so many bytes, go into one request."""
        commas = max(events - 1, 0)
        return events <= self.events and bodies_bytes + commas + self.envelope_bytes <= self.size_bytes

    def too_large(self, event: Outgoing) -> bool:
        """Whether the event is above what the destination takes of one event, in whatever company."""
        return len(event.body) > self.event_bytes or not self.fits(1, len(event.body))

    def ranges(self, events: Sequence[Outgoing]) -> Iterator[range]:
        """Positions of consecutive requests, in order, as full as they may be; an event that is too large is alone in its range."""
        sizes = [len(event.body) for event in events]
        if sizes and max(sizes) <= self.event_bytes and self.fits(len(sizes), sum(sizes)):  # a batch that was cut before
            yield range(len(sizes))
            return
        alone = [position for position, size in enumerate(sizes) if size > self.event_bytes]
        ends = list(accumulate((size + 1 for size in sizes), initial=0))  # an event and a comma each; the last has none
        room = self.size_bytes - self.envelope_bytes + 1
        first = 0
        while first < len(sizes):
            stop = min(bisect_right(ends, ends[first] + room) - 1, first + self.events)
            if alone and (place := bisect_left(alone, first)) < len(alone):
                stop = min(stop, alone[place])
            stop = max(stop, first + 1)
            yield range(first, stop)
            first = stop


class Request(NamedTuple):
    """Body and the headers that are its own. The same events give the same bytes."""

    body: bytes
    headers: dict[str, str]


def request_of(events: Sequence[Outgoing], opening: bytes, closing: bytes, *, once: str = "") -> Request:
    """One request: the events joined with commas, and what a dialect puts around them.

    A single event is not compressed. It hardly pays; and an endpoint that cannot decompress refuses a batch, which is then sent in
    halves down to single events, and these arrive.

    Args:
        events: in order.
        opening: before them.
        closing: behind them.
        once: what tells this request from others with the same events, so that no answer to one of them is remembered for it.
    """
    body = opening + b",".join([event.body for event in events]) + closing
    named = [event.event_id for event in events] + ([once] if once else [])
    headers = {"Idempotency-Key": xxhash.xxh3_128_hexdigest("\n".join(named).encode())}
    if len(events) > 1 and len(small := _gzip(body)) < len(body):
        return Request(small, {**headers, "Content-Encoding": "gzip"})
    return Request(body, headers)


def _gzip(body: bytes) -> bytes:
    """Without name and time, so that it depends on the body alone."""
    compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_CONTAINER)
    return compressor.compress(body) + compressor.flush()
