"""Segment's HTTP Tracking API, ``POST /v1/batch``.

Source: segment.com/docs/connections/sources/catalog/libraries/server/http-api (limits, Retry-After, answers) and Segment's
server libraries (which statuses are sent again). Nothing is added to the events: ``sentAt`` would differ between two attempts.
"""

from __future__ import annotations

from collections.abc import Sequence

from transforms.deliver.http.answers import Answer, Verdict
from transforms.deliver.http.dialects.base import basic_auth, decoded, judge
from transforms.deliver.http.limits import BatchLimits


class Segment:
    """32 KB an event, 500 KB and 2,500 events a request; above 2,500 it answers 200 and drops them."""

    opening = b'{"batch":['
    closing = b"]}"
    limits = BatchLimits(events=2_500, size_bytes=500_000, event_bytes=32_768, envelope_bytes=len(opening + closing))
    ceilings = frozenset({"batch_events", "batch_bytes", "event_bytes"})

    def headers(self, write_key: str) -> dict[str, str]:
        """The write key as user, no password."""
        return basic_auth(write_key)

    def judge(self, answer: Answer, event_ids: Sequence[str]) -> Verdict:
        """A success is 200 with ``{"success": true}``."""
        return judge(answer, event_ids, _is_success)


def _is_success(body: bytes) -> bool:
    document = decoded(body)
    return isinstance(document, dict) and document.get("success") is True and not document.get("errors")
