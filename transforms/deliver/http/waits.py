"""How long to wait before the next attempt: what the destination asks for, or a backoff."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

from tenacity import RetryCallState, Retrying, wait_random_exponential

from transforms.deliver.http.answers import Answer

LONGEST_ASKED_S = 300.0
_BACKOFF = wait_random_exponential(multiplier=0.2, max=20)
_RETRYING = Retrying()


def backoff_s(attempt: int) -> float:
    """Before attempt number ``attempt`` + 1: between 0 and 0.2 s doubled each time, at most 20 s ("full jitter")."""
    state = RetryCallState(_RETRYING, None, (), {})
    state.attempt_number = attempt
    return _BACKOFF(state)


def asked_wait_s(answer: Answer, epoch_s: float) -> float | None:
    """``Retry-After`` in seconds from now, at most five minutes; None where there is none, or nothing that RFC 9110 allows.

    A date counts from the answer's own ``Date`` where it has one, so that a clock that is wrong on either side does no harm; a date
    in the past means now.
    """
    text = (answer.retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_ASKED_S)
    until_s = _http_date_s(text)
    if until_s is None:
        return None
    from_s = _http_date_s(answer.date or "")
    return min(max(until_s - (epoch_s if from_s is None else from_s), 0.0), LONGEST_ASKED_S)


def _http_date_s(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
