"""Answers that last longer, or are more, than they may."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from contracts.bounded_http import BoundedTransport, TooLargeError, read_bounded
from contracts.errors import ConfigurationError
from transforms.deliver.http.client import Client, TransportFailure

MOST = 1 << 20


def answer(content: bytes, encoding: str) -> httpx.Response:
    """As it comes, not unpacked."""
    return httpx.Response(200, headers={"Content-Encoding": encoding}, stream=httpx.ByteStream(content))


@pytest.mark.parametrize(("pack", "encoding"), [(bytes, "identity"), (gzip.compress, "gzip"), (zlib.compress, "deflate")])
def test_a_body_up_to_the_limit_is_read_and_one_above_is_not(pack: object, encoding: str) -> None:
    assert callable(pack)
    assert read_bounded(answer(pack(b"x" * MOST), encoding), MOST) == b"x" * MOST
    with pytest.raises(TooLargeError):
        read_bounded(answer(pack(b"x" * (MOST + 1)), encoding), MOST)


def test_a_bomb_takes_no_more_memory_than_the_limit() -> None:
    bomb = gzip.compress(bytes(200 << 20))
    tracemalloc.start()
    with pytest.raises(TooLargeError):
        read_bounded(answer(bomb, "gzip"), MOST)
    assert tracemalloc.get_traced_memory()[1] < 8 * MOST
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "encoding"), [(b"no", "gzip"), (b"x", "br"), (b"x", "zstd"), (gzip.compress(b"ends", mtime=0)[:-3], "gzip")]
)
def test_what_is_damaged_or_was_not_asked_for_is_an_error(content: bytes, encoding: str) -> None:
    with pytest.raises(httpx.DecodingError):
        read_bounded(answer(content, encoding), MOST)


def test_a_bomb_as_an_answer_is_a_wrong_answer() -> None:
    transport = httpx.MockTransport(lambda request: answer(gzip.compress(bytes(50 << 20)), "gzip"))
    client = Client("http://127.0.0.1:9/v1", timeout_s=5, connections=1, transport=transport)
    with pytest.raises(TransportFailure, match="wrong_answer"):
        client.post(b"{}", {})


# --- over sockets


@contextmanager
def listening(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port; each connection is treated so."""

    def serve() -> None:
        with suppress(OSError):  # closed from outside: the end
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    behave(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def posted(url: str, timeout_s: float = 0.5, content: bytes = b"{}") -> httpx.Response:
    address = httpx.URL(url)
    with httpx.Client(transport=BoundedTransport(address, timeout_s=timeout_s, connections=1)) as http:
        return http.post(address, content=content)


def drips(start: bytes, drop: bytes) -> Callable[[socket.socket], None]:
    """An answer that begins, and goes on for ever, by drops."""

    def behave(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(start)
        end_s = time.monotonic() + 10
        while time.monotonic() < end_s:
            connection.sendall(drop)
            time.sleep(0.02)  # what makes it slow

    return behave


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.usefixtures("no_proxy")
@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["status", "header", "body"])
def test_an_answer_that_drips_ends_when_the_request_may_last_no_longer(start: bytes) -> None:
    with listening(drips(start, b"a")) as port:
        began_s = time.monotonic()
        with pytest.raises(httpx.ReadTimeout):
            posted(f"http://127.0.0.1:{port}/")
        assert time.monotonic() - began_s < 2


@pytest.mark.usefixtures("no_proxy")
def test_a_request_that_nobody_reads_ends_too() -> None:
    with listening(lambda connection: time.sleep(2)) as port:  # it takes what fits into its buffers
        began_s = time.monotonic()
        with pytest.raises(httpx.WriteTimeout):
            posted(f"http://127.0.0.1:{port}/", content=bytes(64 << 20))
        assert time.monotonic() - began_s < 2


@pytest.mark.usefixtures("no_proxy")
def test_a_connection_is_used_again_and_each_request_has_its_own_time() -> None:
    connections = []

    def answers_twice(connection: socket.socket) -> None:
        connections.append(connection)
        for _ in range(2):
            connection.recv(65_536)
            time.sleep(0.3)  # of 0.5 s: two would be too long for one request
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with listening(answers_twice) as port:
        url = httpx.URL(f"http://127.0.0.1:{port}/")
        with httpx.Client(transport=BoundedTransport(url, timeout_s=0.5, connections=1)) as http:
            assert [http.post(url).status_code for _ in range(2)] == [204, 204]
    assert len(connections) == 1


def test_the_proxy_of_the_environment_is_used_but_not_for_hosts_that_need_none(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def proxies(connection: socket.socket) -> None:
        asked.append(connection.recv(65_536).split(b"\r\n"))
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with listening(proxies) as port:
        monkeypatch.setenv("http_proxy", f"http://user:word@127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "")
        assert posted("http://cdp.invalid/v1/batch").status_code == 204
        assert asked[0][0] == b"POST http://cdp.invalid/v1/batch HTTP/1.1"
        assert b"Proxy-Authorization: Basic dXNlcjp3b3Jk" in asked[0]
        monkeypatch.setenv("no_proxy", "cdp.invalid")
        with pytest.raises(httpx.ConnectError):
            posted("http://cdp.invalid/v1/batch")
    assert len(asked) == 1


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "ftp://127.0.0.1:9"])
def test_a_proxy_that_is_none_for_http_is_told_without_its_address(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(ConfigurationError, match="https_proxy: the environment names a proxy that is no") as error:
        BoundedTransport(httpx.URL("https://cdp.invalid/"), timeout_s=1, connections=1)
    assert "127.0.0.1" not in str(error.value)
