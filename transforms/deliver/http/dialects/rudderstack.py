"""RudderStack's HTTP API, ``POST /v1/batch``.

Source: rudderstack.com/docs/api/http-api (32 KB an event, 4 MB a request) and the gateway of rudder-server (text of the answers,
413 for a request that is too large, 404 for a source that is switched off; its cloud counterpart takes 20,000 events a request).
"""

from __future__ import annotations

from collections.abc import Sequence

from transforms.deliver.http.answers import Answer, Verdict
from transforms.deliver.http.dialects.base import basic_auth, judge
from transforms.deliver.http.limits import BatchLimits


class RudderStack:
    """32 KB an event, 4 MB and 20,000 events a request; servers of one's own may take more, so a destination can raise them."""

    opening = b'{"batch":['
    closing = b"]}"
    limits = BatchLimits(events=20_000, size_bytes=4_000_000, event_bytes=32_768, envelope_bytes=len(opening + closing))
    ceilings: frozenset[str] = frozenset()

    def headers(self, write_key: str) -> dict[str, str]:
        """The write key as user, no password."""
        return basic_auth(write_key)

    def judge(self, answer: Answer, event_ids: Sequence[str]) -> Verdict:
        """A success is 200 with the text OK."""
        return judge(answer, event_ids, _is_success)


def _is_success(body: bytes) -> bool:
    return body.strip().strip(b'"').upper() == b"OK"
