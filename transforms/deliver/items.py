"""Rows on their way to a destination. An item has a place in its lane; what becomes of it is told by that place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from contracts.encode.events import EventEncoder
from contracts.encode.shape import Columns

MALFORMED = "malformed"  # reason of what came by a topic and is no row
EVENT_OVERHEAD_BYTES = 400  # of an item beside its event: ids, tuples, list slots


class Item(NamedTuple):
    """One row, judged and encoded.

    offset: its place in the lane. window_time_us: of the row. waiting_since_us: when it came to the lane; None where that does not
    matter (a table waits for nobody). event: what is sent; None where it is not sent, and then reason says why. user: whose it is.
    """

    offset: int
    event_id: str
    window_time_us: int
    waiting_since_us: int | None
    event: bytes | None
    reason: str = ""
    user: str = ""

    @property
    def size_bytes(self) -> int:
        """Memory that it takes, about."""
        return EVENT_OVERHEAD_BYTES + (len(self.event) if self.event else 0)


def items_of(
    encoder: EventEncoder, columns: Columns, offsets: Sequence[int], times_us: Sequence[int], since_us: Sequence[int | None]
) -> list[Item]:
    """Items of rows: judged, and encoded where they may leave.

    Args:
        encoder: of the destination.
        columns: of the rows.
        offsets: their places.
        times_us: their window times.
        since_us: when they came to the lane; None where that does not matter.
    """
    reasons = encoder.reasons(columns)
    going = [i for i, reason in enumerate(reasons) if not reason]
    kept: Columns = columns
    if len(going) < len(reasons):
        kept = {name: [values[i] for i in going] for name, values in columns.items()}
    events: list[bytes | None] = [None] * len(reasons)
    for i, event in zip(going, encoder.events(kept), strict=True):
        events[i] = event
    return list(map(Item, offsets, encoder.event_ids(columns), times_us, since_us, events, reasons, encoder.keys(columns)))
