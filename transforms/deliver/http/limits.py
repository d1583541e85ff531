"""What one request may hold, and how a run of events is cut into requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
        first, size_bytes = 0, 0
        for position, event in enumerate(events):
            alone = self.too_large(event)
            if position > first and (alone or not self.fits(position - first + 1, size_bytes + len(event.body))):
                yield range(first, position)
                first, size_bytes = position, 0
            if alone:
                yield range(position, position + 1)
                first, size_bytes = position + 1, 0
            else:
                size_bytes += len(event.body)
        if first < len(events):
            yield range(first, len(events))
