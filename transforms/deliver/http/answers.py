"""What a status means for the events of a request. Which answers a destination documents: ``dialects``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple


class Answer(NamedTuple):
    """What came back: status, body (bounded), and the two headers that say how long to wait."""

    status: int
    body: bytes
    retry_after: str | None = None
    date: str | None = None


class Fate(Enum):
    """What a status means for what was sent with it.

    DELIVERED: confirmed. REFUSED: of one event, for good; of several, at least one of them is why, so they are sent in halves.
    RETRY: send the same again. THROTTLED: the same, and the destination is not down but asks for less. UNUSABLE: nothing that is
    sent to this URL with this credential would do better, so no event is to blame.
    """

    DELIVERED = "delivered"
    REFUSED = "refused"
    RETRY = "retry"
    THROTTLED = "throttled"
    UNUSABLE = "unusable"


_RETRY = {408, 410, 425, 460}  # Source: Segment's server libraries; 425 by RFC 8470
_UNUSABLE = {401, 402, 403, 404, 405, 407, 421, 426, 451, 501, 505}
_NAMES = {401: "unauthorised", 403: "unauthorised", 407: "unauthorised", 404: "not_found"}
WRONG_ANSWER = "wrong_answer"


def fate_of(status: int) -> Fate:
    """What a status means, of a request or of one event that an answer lists."""
    if 200 <= status < 300:
        return Fate.DELIVERED
    if status == 429:
        return Fate.THROTTLED
    if status in _UNUSABLE or 300 <= status < 400:
        return Fate.UNUSABLE
    if 400 <= status < 500 and status not in _RETRY:
        return Fate.REFUSED
    return Fate.RETRY


def failure_of(status: int) -> str:
    """A short name for a status that is not a success, for ``headrace status``."""
    return _NAMES.get(status) or ("redirect" if 300 <= status < 400 else f"http_{status}")


@dataclass(frozen=True)
class Verdict:
    """What an answer means for its request.

    failure: "" or the name of what went wrong: a ``failure_of`` a status, "wrong_answer", "connect", "tls", "timeout" or "reset".
    listed: with DELIVERED, the positions that the answer excepts, each with a status of its own.
    """

    fate: Fate
    status: int | None
    failure: str = ""
    listed: Mapping[int, int] = field(default_factory=dict)
