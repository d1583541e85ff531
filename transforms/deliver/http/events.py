"""What goes into the sink and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Outgoing(NamedTuple):
    """One event to deliver. body: JSON in the destination's shape, UTF-8; event_id: the ``messageId`` that is in it."""

    event_id: str
    body: bytes


@dataclass(frozen=True)
class Result:
    """What became of one event.

    delivered: the destination confirmed it; False: refused for good. status: HTTP status that decided, None where no request was
    made. reason: "" when delivered, else "too_large" or "http_" and the status. Never text of the destination: it may repeat the
    event.
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
