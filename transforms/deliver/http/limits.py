"""What one request may hold, and how a run of events is cut into requests."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from transforms.deliver.http.events import Outgoing


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
