"""Answers bounded in time and in bytes, whatever the other side sends: by drops, without end, or a little that unpacks to much.

Time limits of httpx are of one read each, so a header that drips never ends. Its transport is therefore made here, of the public
parts of httpcore: a pool whose network knows until when a request may last.
"""

from __future__ import annotations

import socket
import ssl
import time
import urllib.request
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

from contracts.errors import ConfigurationError

CONNECT_TIMEOUT_S = 5.0
_KEEP_ALIVE_S = 4.0  # less than servers keep a connection (uvicorn: 5 s), so that none is used while it is being closed
_WRITE_BYTES = 16_384
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_NAMES = (
    "ConnectError", "ConnectTimeout", "LocalProtocolError", "NetworkError", "PoolTimeout", "ProtocolError", "ProxyError",
    "ReadError", "ReadTimeout", "RemoteProtocolError", "TimeoutException", "UnsupportedProtocol", "WriteError", "WriteTimeout",
)  # fmt: skip
_ERRORS: Mapping[type[Exception], type[httpx.RequestError]] = {getattr(httpcore, n): getattr(httpx, n) for n in _NAMES}


class TooLargeError(Exception):
    """An answer has more bytes than it may."""


class BoundedTransport(httpx.BaseTransport):
    """Carries requests to one URL, each over in ``timeout_s`` with all of its answer. For several threads.

    The look-up of a host's name is the system's, with the system's own time limit.

    Args:
        url: where to; a proxy of the environment for it is used.
        timeout_s: of a request; it connects in five seconds at most.
        connections: most at once.
        ca: a file with certificates to trust instead of the system's; None for those.

    Raises:
        ConfigurationError: the environment's proxy is none for HTTP.
    """

    def __init__(self, url: httpx.URL, *, timeout_s: float, connections: int, ca: str | None = None) -> None:
        self._timeout_s = timeout_s
        shared: dict[str, Any] = {
            "ssl_context": ssl.create_default_context(cafile=ca) if ca else httpx.create_ssl_context(),
            "max_connections": connections,
            "max_keepalive_connections": connections,
            "keepalive_expiry": _KEEP_ALIVE_S,
            "network_backend": _Network(),
        }
        proxy = _proxy_for(url)
        if proxy is None:
            self._pool = httpcore.ConnectionPool(**shared)
        else:
            self._pool = httpcore.HTTPProxy(_core_url(proxy.url), proxy_auth=proxy.raw_auth, **shared)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx."""
        assert isinstance(request.stream, httpx.SyncByteStream)
        now_s = time.monotonic()
        end_s = now_s + self._timeout_s
        moments = {"connect": min(end_s, now_s + CONNECT_TIMEOUT_S), "read": end_s, "write": end_s}  # see _left_s
        with _as_httpx():
            answer = self._pool.handle_request(
                httpcore.Request(
                    request.method,
                    _core_url(request.url),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions={"timeout": {**moments, "pool": self._timeout_s}},
                )
            )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions)

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


def read_bounded(response: httpx.Response, most_bytes: int) -> bytes:
    """The body, of gzip, deflate or no encoding.

    Raises:
        TooLargeError: it has more bytes, as sent or unpacked.
        httpx.DecodingError: another encoding, or damaged.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise httpx.DecodingError("an encoding that was not asked for")
    inflate = None if encoding in ("", "identity") else zlib.decompressobj(_GZIP_OR_ZLIB)
    received, sent_bytes = bytearray(), 0
    assert isinstance(response.stream, httpx.SyncByteStream)
    for chunk in response.stream:
        sent_bytes += len(chunk)
        try:
            received += inflate.decompress(chunk, most_bytes + 1 - len(received)) if inflate else chunk
        except zlib.error:
            raise httpx.DecodingError("not what its encoding says") from None
        if max(len(received), sent_bytes) > most_bytes:
            raise TooLargeError
    if inflate and sent_bytes and not inflate.eof:
        raise httpx.DecodingError("ends early")
    return bytes(received)


def _core_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def _proxy_for(url: httpx.URL) -> httpx.Proxy | None:
    proxies = urllib.request.getproxies()
    address = proxies.get(url.scheme) or proxies.get("all")
    if not address or urllib.request.proxy_bypass(url.host):
        return None
    try:
        proxy = httpx.Proxy(address if "://" in address else f"http://{address}")
    except (ValueError, httpx.InvalidURL):
        proxy = None
    if proxy is None or proxy.url.scheme not in ("http", "https"):
        raise ConfigurationError(f"{url.scheme}_proxy: the environment names a proxy that is no http:// or https:// URL")
    return proxy


@contextmanager
def _as_httpx() -> Iterator[None]:
    """Errors of httpcore as those of the same names in httpx."""
    try:
        yield
    except tuple(_ERRORS) as error:
        raise _ERRORS[type(error)](str(error)) from error


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._answer.iter_stream()

    def close(self) -> None:
        with _as_httpx():
            self._answer.close()


def _left_s(end_s: float | None, error: type[Exception]) -> float:
    """Seconds until a moment: what a transport gives as a time limit comes to the network as it is, so here it is the moment."""
    assert end_s is not None
    left_s = end_s - time.monotonic()
    if left_s <= 0:
        raise error
    return left_s


class _Network(httpcore.NetworkBackend):
    """Sockets that keep moments."""

    def __init__(self) -> None:
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """To the first of the host's addresses that answers; all of them until one moment."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        failed: Exception = httpcore.ConnectError("no address")
        for address in dict.fromkeys(str(one[4][0]) for one in found):
            left_s = _left_s(timeout, httpcore.ConnectTimeout)
            try:
                return _Stream(self._sockets.connect_tcp(address, port, left_s, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed


class _Stream(httpcore.NetworkStream):
    """One connection that keeps moments."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left_s(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _WRITE_BYTES):
            self._stream.write(buffer[start : start + _WRITE_BYTES], _left_s(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> _Stream:
        left_s = _left_s(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left_s))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
