"""What a dialect has to say, and what the APIs that follow Segment's have in common."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from transforms.deliver.http.answers import WRONG_ANSWER, Answer, Fate, Verdict, failure_of, fate_of
from transforms.deliver.http.limits import BatchLimits


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


def basic_auth(write_key: str) -> dict[str, str]:
    """The write key as user, no password; JSON."""
    token = base64.b64encode(f"{write_key}:".encode()).decode("ascii")
    return {"Authorization": f"Basic {token}", "Content-Type": "application/json"}


def judge(answer: Answer, event_ids: Sequence[str], is_success: Callable[[bytes], bool]) -> Verdict:
    """What an answer means, given what the dialect's answer to a success looks like.

    A 2xx that is neither that nor a list of excepted events is a "wrong_answer", of a proxy perhaps: whether the events have
    arrived is not known, so they are sent again.
    """
    fate = fate_of(answer.status)
    if fate is not Fate.DELIVERED:
        return Verdict(fate, answer.status, failure_of(answer.status))
    if answer.status == 200 and is_success(answer.body):
        return Verdict(fate, answer.status)
    listed = _excepted(answer, event_ids)
    return Verdict(fate, answer.status, "", listed) if listed else Verdict(Fate.RETRY, answer.status, WRONG_ANSWER)


def _excepted(answer: Answer, event_ids: Sequence[str]) -> dict[int, int] | None:
    """``{"errors": [{"messageId" or "index", "status"}, …]}`` as status by position; None where anything of it does not fit."""
    document = decoded(answer.body)
    errors = document.get("errors") if isinstance(document, dict) else None
    if answer.status not in (200, 207) or not isinstance(errors, list):
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


def decoded(body: bytes) -> Any:
    """JSON, or None where it is not JSON."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
