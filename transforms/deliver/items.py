"""Rows on their way to a destination. An item has a place in its lane; what becomes of it is told by that place."""

from __future__ import annotations

from typing import NamedTuple

from contracts.compiler.events import EventEncoder, Row

MALFORMED = "malformed"  # reason of what came by a topic and is no row
EVENT_OVERHEAD_BYTES = 400  # of an item beside its event: ids, tuples, list slots


class Item(NamedTuple):
    """One row, judged and encoded.

    offset: its place in the lane. window_time_us: of the row. waiting_since_us: when it came to the lane; None where that does not
    matter (a table waits for nobody). event: what is sent; None where it is not sent, and then reason says why.
    """

    offset: int
    event_id: str
    window_time_us: int
    waiting_since_us: int | None
    event: bytes | None
    reason: str = ""

    @property
    def size_bytes(self) -> int:
        """Memory that it takes, about."""
        return EVENT_OVERHEAD_BYTES + (len(self.event) if self.event else 0)


def item_of(encoder: EventEncoder, row: Row, offset: int, window_time_us: int, waiting_since_us: int | None) -> Item:
    """An item of a row: judged, and encoded where it may leave."""
    verdict = encoder.verdict(row)
    event = None if verdict.reason else encoder.event(row)
    return Item(offset, encoder.event_id(row), window_time_us, waiting_since_us, event, verdict.reason)
