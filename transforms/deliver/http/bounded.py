"""Answers bounded in time and in bytes, whatever the other side sends: by drops, without end, or a little that unpacks to much."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx
from httpcore._backends.sync import SyncBackend

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_deadline = threading.local()


class TooLargeError(Exception):
    """An answer has more bytes than it may."""


@contextmanager
def deadline(end_s: float) -> Iterator[None]:
    """What this thread reads and writes through a bounded client ends by then, monotonic, with a timeout."""
    _deadline.end_s = end_s
    try:
        yield
    finally:
        del _deadline.end_s


def bound(client: httpx.Client) -> httpx.Client:
    """Let a client keep ``deadline``: time limits of httpx are of one read each, so a header that drips never ends."""
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx.HTTPTransport):
            transport._pool._network_backend = _Backend()
    return client


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


def _left_s(timeout_s: float | None, error: type[Exception]) -> float | None:
    end_s: float | None = getattr(_deadline, "end_s", None)
    if end_s is None:
        return timeout_s
    left_s = end_s - time.monotonic()
    if left_s <= 0:
        raise error
    return left_s if timeout_s is None else min(left_s, timeout_s)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left_s(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), 16_384):
            self._stream.write(buffer[start : start + 16_384], _left_s(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> _Stream:
        left_s = _left_s(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left_s))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left_s = _left_s(timeout, httpcore.ConnectTimeout)
        return _Stream(super().connect_tcp(host, port, left_s, local_address, socket_options))
