"""One request over a pool of connections, and what can go wrong on its way."""

from __future__ import annotations

import logging
import ssl
import time
from importlib.metadata import PackageNotFoundError, version

import httpx

from contracts.errors import ConfigurationError
from transforms.deliver.http.answers import Answer

CONNECT_TIMEOUT_S = 5.0
_KEEP_ALIVE_S = 4.0  # less than servers keep a connection (uvicorn: 5 s), so that none is used while it is being closed
_MOST_ANSWER_BYTES = 1 << 20


class TransportFailure(Exception):
    """No answer. ``name``: "connect", "tls", "timeout", "reset" or "wrong_answer" (damaged, or without end)."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Client:
    """Posts to one URL. For several threads.

    Args:
        url: of the endpoint.
        timeout_s: for an answer, and before it for each write.
        connections: most at once.
        transport: what carries the requests; None: sockets.

    Raises:
        ConfigurationError: no URL that HTTP can use.
    """

    def __init__(self, url: str, *, timeout_s: float, connections: int, transport: httpx.BaseTransport | None = None) -> None:
        try:
            self._url = httpx.URL(url)
        except httpx.InvalidURL:
            raise ConfigurationError("destination: endpoint: not a URL such as https://api.segment.io/v1/batch") from None
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs the URL of every request
        self._timeout_s = timeout_s
        self._http = httpx.Client(
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=_KEEP_ALIVE_S),
            headers={"User-Agent": _user_agent(), "Accept-Encoding": "identity"},
            transport=transport,
        )

    def post(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Send and read the answer.

        Raises:
            TransportFailure: there is none.
        """
        end_s = time.monotonic() + self._timeout_s
        try:
            with self._http.stream("POST", self._url, content=body, headers=headers) as response:
                received = bytearray()
                for chunk in response.iter_bytes():
                    received += chunk
                    if len(received) > _MOST_ANSWER_BYTES:
                        raise TransportFailure("wrong_answer")
                    if time.monotonic() > end_s:
                        raise TransportFailure("timeout")
                get = response.headers.get
                return Answer(response.status_code, bytes(received), get("Retry-After"), get("Date"))
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
    return "wrong_answer" if isinstance(error, httpx.DecodingError) else "reset"


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
