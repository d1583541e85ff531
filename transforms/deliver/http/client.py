"""One request over a pool of connections, what can go wrong on its way, and what its answer means.

Which answers a destination documents: ``dialects``.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import httpx

from contracts.bounded_http import BoundedTransport, TooLargeError, read_bounded
from contracts.errors import ConfigurationError

LONGEST_ASKED_S = 300.0
_MOST_ANSWER_BYTES = 1 << 20
WRONG_ANSWER = "wrong_answer"
_RETRY = {408, 410, 425, 460}  # Source: Segment's server libraries; 425 by RFC 8470
_UNUSABLE = {401, 402, 403, 404, 405, 407, 421, 426, 451, 501, 505}
_NAMES = {401: "unauthorised", 403: "unauthorised", 407: "unauthorised", 404: "not_found"}


class Answer(NamedTuple):
    """What came back: status, body (bounded), and the two headers that say how long to wait."""

    status: int
    body: bytes
    retry_after: str | None = None
    date: str | None = None


class TransportFailure(Exception):
    """No answer. ``name``: "connect", "tls", "timeout", "reset" or "wrong_answer" (damaged, or without end)."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Client:
    """Posts to one URL. For several threads.

    Args:
        url: of the endpoint.
        timeout_s: for a request and all of its answer.
        connections: most at once.
        transport: what carries the requests; None: sockets.

    Raises:
        ConfigurationError: no URL, or no proxy of the environment, that HTTP can use.
    """

    def __init__(self, url: str, *, timeout_s: float, connections: int, transport: httpx.BaseTransport | None = None) -> None:
        try:
            self._url = httpx.URL(url)
        except httpx.InvalidURL:
            raise ConfigurationError("destination: endpoint: not a URL such as https://api.segment.io/v1/batch") from None
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs the URL of every request
        self._http = httpx.Client(
            headers={"User-Agent": _user_agent(), "Accept-Encoding": "identity"},
            transport=transport or BoundedTransport(self._url, timeout_s=timeout_s, connections=connections),
        )

    def post(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Send and read the answer.

        Raises:
            TransportFailure: there is none.
        """
        try:
            with self._http.stream("POST", self._url, content=body, headers=headers) as response:
                received = read_bounded(response, _MOST_ANSWER_BYTES)
                get = response.headers.get
                return Answer(response.status_code, received, get("Retry-After"), get("Date"))
        except TooLargeError:
            raise TransportFailure(WRONG_ANSWER) from None
        except httpx.RequestError as error:
            raise TransportFailure(_name_of(error)) from None

    def close(self) -> None:
        """Close all connections."""
        self._http.close()


def _name_of(error: httpx.RequestError) -> str:
    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError | httpx.ProxyError):
        return "tls" if _caused_by_tls(error) else "connect"
    if isinstance(error, httpx.TimeoutException):
        return "timeout"
    return WRONG_ANSWER if isinstance(error, httpx.DecodingError) else "reset"


def _caused_by_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _user_agent() -> str:
    try:
        return f"headrace/{version('headrace')}"
    except PackageNotFoundError:  # run from its sources
        return "headrace"


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
