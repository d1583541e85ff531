"""The APIs that the sink speaks: what is around the events of a request, what the API takes, and what its answers mean."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from contracts.errors import ConfigurationError
from contracts.spec.destination import Destination, DialectName
from transforms.deliver.http.client import WRONG_ANSWER, Answer, Fate, Verdict, failure_of, fate_of
from transforms.deliver.http.wire import BatchLimits


class Dialect(Protocol):
    """One API for batches of events.

    opening, closing: what is around the events of a request, which are joined with commas. limits: what the API documents.
    ceilings: keys of ``limits`` that a destination cannot raise, because the API is one service for all, or drops silently what is
    above.
    """

    opening: bytes
    closing: bytes
    limits: BatchLimits
    ceilings: frozenset[str]

    def headers(self, write_key: str) -> dict[str, str]:
        """Headers of every request."""

    def judge(self, answer: Answer, event_ids: Sequence[str]) -> Verdict:
        """What an answer means for a request with these events, in their order."""


class Segment:
    """Segment's HTTP Tracking API, ``POST /v1/batch``.

    32 KB an event, 500 KB and 2,500 events a request; above 2,500 it answers 200 and drops them. Nothing is added to the events:
    ``sentAt`` would differ between two attempts.

    Source: segment.com/docs/connections/sources/catalog/libraries/server/http-api (limits, Retry-After, answers) and Segment's
    server libraries (which statuses are sent again).
    """

    opening = b'{"batch":['
    closing = b"]}"
    limits = BatchLimits(events=2_500, size_bytes=500_000, event_bytes=32_768, envelope_bytes=len(opening + closing))
    ceilings = frozenset({"batch_events", "batch_bytes", "event_bytes"})

    def headers(self, write_key: str) -> dict[str, str]:
        """The write key as user, no password."""
        return _basic_auth(write_key)

    def judge(self, answer: Answer, event_ids: Sequence[str]) -> Verdict:
        """A success is 200 with ``{"success": true}``."""
        return _judge(answer, event_ids)


class RudderStack:
    """RudderStack's HTTP API, ``POST /v1/batch``.

    32 KB an event, 4 MB and 20,000 events a request; servers of one's own may take more, so a destination can raise them.

    Source: rudderstack.com/docs/api/http-api (32 KB an event, 4 MB a request) and the gateway of rudder-server (text of the
    answers, 413 for a request that is too large, 404 for a source that is switched off; its cloud counterpart takes 20,000 events
    a request).
    """

    opening = b'{"batch":['
    closing = b"]}"
    limits = BatchLimits(events=20_000, size_bytes=4_000_000, event_bytes=32_768, envelope_bytes=len(opening + closing))
    ceilings: frozenset[str] = frozenset()

    def headers(self, write_key: str) -> dict[str, str]:
        """The write key as user, no password."""
        return _basic_auth(write_key)

    def judge(self, answer: Answer, event_ids: Sequence[str]) -> Verdict:
        """A success is 200 with the text OK."""
        return _judge(answer, event_ids)


def _basic_auth(write_key: str) -> dict[str, str]:
    """The write key as user, no password; JSON."""
    token = base64.b64encode(f"{write_key}:".encode()).decode("ascii")
    return {"Authorization": f"Basic {token}", "Content-Type": "application/json"}


def _judge(answer: Answer, event_ids: Sequence[str]) -> Verdict:
    """What an answer means. A 2xx is a success, but what it excepts by event.

    A 2xx that is a web page, or says that something failed and not which event, is a "wrong_answer", of a proxy perhaps: whether
    the events have arrived is not known, so it is a failure like that of a server.
    """
    fate = fate_of(answer.status)
    if fate is not Fate.DELIVERED:
        return Verdict(fate, answer.status, failure_of(answer.status))
    listed = _excepted(answer, event_ids)
    if listed:
        return Verdict(fate, answer.status, "", listed)
    if _is_page(answer.body) or _says_failed(_decoded(answer.body)):
        return Verdict(Fate.RETRY, answer.status, WRONG_ANSWER)
    return Verdict(fate, answer.status)


def _is_page(body: bytes) -> bool:
    """HTML or XML, by its first character. The header says nothing: frameworks send ``OK`` as text/html."""
    return body.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")


def _says_failed(document: Any) -> bool:
    """``success`` that is not true, or ``error`` or ``errors`` that are not empty."""
    return isinstance(document, dict) and (
        document.get("success", True) is not True or bool(document.get("errors")) or bool(document.get("error"))
    )


def _excepted(answer: Answer, event_ids: Sequence[str]) -> dict[int, int] | None:
    """``{"errors": [{"messageId" or "index", "status"}, …]}`` as status by position; None where anything of it does not fit."""
    document = _decoded(answer.body)
    errors = document.get("errors") if isinstance(document, dict) else None
    if not isinstance(errors, list):
        return None
    positions: dict[str, list[int]] = {}
    for position, event_id in enumerate(event_ids):
        positions.setdefault(event_id, []).append(position)
    listed: dict[int, int] = {}
    for error in errors:
        if not isinstance(error, dict):
            return None
        index, status = error.get("index"), error.get("status")
        by_index = [index] if type(index) is int and 0 <= index < len(event_ids) else []
        found = positions.get(str(error["messageId"]), []) if "messageId" in error else by_index
        if not found or type(status) is not int:
            return None
        listed.update(dict.fromkeys(found, status))
    return listed


def _decoded(body: bytes) -> Any:
    """JSON, or None where it is not JSON."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


_DIALECTS: dict[DialectName, Dialect] = {"segment": Segment(), "rudderstack": RudderStack()}


def dialect_of(name: DialectName) -> Dialect:
    """The dialect of a destination's ``type``."""
    return _DIALECTS[name]


def batch_limits(destination: Destination) -> BatchLimits:
    """What one request may hold: what the destination sets, else what its API documents.

    Raises:
        ConfigurationError: more is asked for than the API takes where it cannot be raised, or no event would fit.
    """
    dialect = dialect_of(destination.type)
    documented, given = dialect.limits, destination.limits
    pairs = {
        "batch_events": (given.batch_events, documented.events),
        "batch_bytes": (given.batch_bytes, documented.size_bytes),
        "event_bytes": (given.event_bytes, documented.event_bytes),
    }
    problems = [
        f"limits.{key}: {asked:,}, but the API takes {most:,} at most"
        for key, (asked, most) in pairs.items()
        if asked is not None and asked > most and key in dialect.ceilings
    ]
    events, size_bytes, event_bytes = (most if asked is None else asked for asked, most in pairs.values())
    if size_bytes <= documented.envelope_bytes:
        problems.append(f"limits.batch_bytes: {size_bytes:,} leaves no room for an event")
    if problems:
        raise ConfigurationError(f"destination {destination.name}: " + "; ".join(problems))
    return BatchLimits(events=events, size_bytes=size_bytes, event_bytes=event_bytes, envelope_bytes=documented.envelope_bytes)
