"""Answers that unpack to more than they may."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import httpx
import pytest

from transforms.deliver.http.bounded import TooLargeError, read_bounded
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
    ("content", "encoding"), [(b"no", "gzip"), (b"x", "br"), (b"x", "zstd"), (gzip.compress(b"ends")[:-3], "gzip")]
)
def test_what_is_damaged_or_was_not_asked_for_is_an_error(content: bytes, encoding: str) -> None:
    with pytest.raises(httpx.DecodingError):
        read_bounded(answer(content, encoding), MOST)


def test_a_bomb_as_an_answer_is_a_wrong_answer() -> None:
    transport = httpx.MockTransport(lambda request: answer(gzip.compress(bytes(50 << 20)), "gzip"))
    client = Client("http://127.0.0.1:9/v1", timeout_s=5, connections=1, transport=transport)
    with pytest.raises(TransportFailure, match="wrong_answer"):
        client.post(b"{}", {})
