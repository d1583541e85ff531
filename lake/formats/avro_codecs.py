"""Payloads of Avro blocks, decompressed; never to more than is asked for."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable

import pyarrow as pa
import zstandard

_SNAPPY_CHECKSUM_BYTES = 4


class PayloadError(Exception):
    """Bytes that are not what the codec says."""


class TooLargeError(PayloadError):
    """They become more than they may."""


def decompress(codec: str, payload: bytes, limit: int) -> bytes:
    """A block's payload.

    Raises:
        PayloadError: see there.
    """
    try:
        found = CODECS[codec](payload, limit)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError, pa.ArrowException, MemoryError):
        raise PayloadError from None
    if len(found) > limit:
        raise TooLargeError
    return found


def _deflate(payload: bytes, limit: int) -> bytes:
    return zlib.decompressobj(wbits=-15).decompress(payload, limit + 1)


def _bzip2(payload: bytes, limit: int) -> bytes:
    return bz2.BZ2Decompressor().decompress(payload, limit + 1)


def _xz(payload: bytes, limit: int) -> bytes:
    return lzma.LZMADecompressor(memlimit=256 << 20).decompress(payload, limit + 1)


def _zstandard(payload: bytes, limit: int) -> bytes:
    reader = zstandard.ZstdDecompressor(max_window_size=128 << 20).stream_reader(payload, read_across_frames=True)
    parts: list[bytes] = []
    size = 0
    while size <= limit and (part := reader.read(1 << 20)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _snappy(payload: bytes, limit: int) -> bytes:
    """Its length is told at its beginning; its checksum stands behind it."""
    body, checksum = payload[:-_SNAPPY_CHECKSUM_BYTES], payload[-_SNAPPY_CHECKSUM_BYTES:]
    size = shift = 0
    for byte in body[:5]:
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # no continuation bit
            break
    if size > limit:
        raise PayloadError
    found = pa.Codec("snappy").decompress(body, size, asbytes=True)
    if zlib.crc32(found) != int.from_bytes(checksum, "big"):
        raise PayloadError
    return bytes(found)


CODECS: dict[str, Callable[[bytes, int], bytes]] = {
    "null": lambda payload, _limit: payload,
    "deflate": _deflate,
    "bzip2": _bzip2,
    "xz": _xz,
    "zstandard": _zstandard,
    "snappy": _snappy,
}
