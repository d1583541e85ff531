"""What a registry's answers mean.

Source: Confluent Schema Registry API reference, "Errors"; the same codes come from Apicurio's ccompat API, Karapace and Redpanda.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx
import msgspec

from contracts.errors import ConfigurationError
from contracts.text import printable

_MISSING = {40401, 40402, 40403, 40408}  # subject, version, schema, and a mode of compatibility that a subject has not of its own
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_MOST_TOLD = 300


class MissingError(Exception):
    """The registry answers, and has no such schema, subject or version."""


class AgainError(Exception):
    """No answer, or one that says to ask again. after_s: how long to wait first, where it says so."""

    def __init__(self, told: str, after_s: float | None = None) -> None:
        super().__init__(told)
        self.after_s = after_s


class IncompatibleError(Exception):
    """It refuses a schema that does not go together with earlier ones. Its text says why."""


class Answer(NamedTuple):
    """status; document: decoded from JSON; None where it is none; content_type; retry_after."""

    status: int
    document: Any
    body: bytes
    headers: Mapping[str, str]


def judged(url: str, answer: Answer) -> Answer:
    """An answer that is a success.

    Raises:
        MissingError, AgainError, IncompatibleError: see there.
        ConfigurationError: nothing of this registry would be answered, or not to this user, or it does not take what was sent.
    """
    status, document = answer.status, answer.document
    if 200 <= status < 300:
        if document is None and "json" not in answer.headers.get("content-type", "json"):
            raise AgainError(f"answers {answer.headers.get('content-type', '')[:40]} and no JSON; is something before it?")
        return answer
    code = document.get("error_code") if isinstance(document, dict) else None
    if status in (401, 403):
        raise ConfigurationError(f"registry {url}: it refuses who asks ({status}); see credentials in headrace.yaml")
    if status == 404 and code in _MISSING:
        raise MissingError(_message(document))
    if status == 409:
        raise IncompatibleError(_message(document))
    if status in _AGAIN or status > 504:
        raise AgainError(f"answers {status}", _seconds(answer.headers.get("retry-after")))
    if 300 <= status < 400:
        raise ConfigurationError(f"registry {url}: it sends elsewhere ({status}); give that URL in headrace.yaml")
    if status in (404, 405):
        raise ConfigurationError(
            f"registry {url}: nothing of the Confluent API is there ({status}); is the path right? Apicurio's is /apis/ccompat/v7"
        )
    raise ConfigurationError(f"registry {url}: it does not take this ({status}): {_message(document)}")


def failure(error: httpx.RequestError) -> AgainError:
    """Why there is no answer."""
    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError | httpx.ProxyError):
        return AgainError("cannot be reached" if "certificate" not in str(error).lower() else "has no certificate that is trusted")
    return AgainError("gives no answer in time" if isinstance(error, httpx.TimeoutException) else "breaks its answer off")


def decoded(body: bytes) -> Any:
    """A body as JSON; None where it is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _message(document: Any) -> str:
    told = document.get("message") if isinstance(document, dict) else None
    text = printable(str(told or "it does not say why"))
    return text if len(text) <= _MOST_TOLD else text[:_MOST_TOLD] + "…"


def _seconds(text: str | None) -> float | None:
    return min(float(text), 60.0) if text and text.isascii() and text.isdigit() else None
