"""Compressed and damaged bytes for tests."""

from __future__ import annotations

import gzip
import zlib
from random import Random

import zstandard


def gzip_members(parts: list[bytes]) -> bytes:
    """One gzip member per part."""
    return b"".join(map(gz, parts))


def zstd_frames(parts: list[bytes], *, checksum: bool = True) -> bytes:
    """One zstd frame per part."""
    return b"".join(zstandard.ZstdCompressor(write_checksum=checksum).compress(part) for part in parts)


def gzip_repeated(piece: bytes, times: int) -> bytes:
    """One gzip member of the same piece many times, made without holding it."""
    out = zlib.compressobj(wbits=31)
    return b"".join(out.compress(piece) for _ in range(times)) + out.flush()


def zstd_repeated(piece: bytes, times: int) -> bytes:
    """One zstd frame of the same piece many times."""
    out = zstandard.ZstdCompressor().compressobj()
    return b"".join(out.compress(piece) for _ in range(times)) + out.flush()


def noise(seed: int, size: int) -> bytes:
    """Bytes that no format knows."""
    return Random(seed).randbytes(size)


def gzip_prefix(data: bytes) -> bytes:
    """All that zlib itself can read of a damaged gzip stream, a byte at a time."""
    member = zlib.decompressobj(wbits=31)
    out = bytearray()
    try:
        for byte in data:
            out += member.decompress(bytes([byte]))
    except zlib.error:
        pass
    return bytes(out)


def gz(data: bytes) -> bytes:
    """One gzip member without a time, so that the same data is the same bytes in every process."""
    return gzip.compress(data, mtime=0)
