"""Decompressed pieces of a file. The compression is told from the bytes, never from the name."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO

import zstandard

_INPUT_BYTES = 1 << 16
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class DamagedInputError(Exception):
    """The compressed stream ends early or is broken. Everything before the broken place was given out."""


def compression_of(head: bytes) -> str | None:
    """``gzip``, ``zstd`` or None, from the first bytes of a file."""
    if head.startswith(GZIP_MAGIC):
        return "gzip"
    return "zstd" if head.startswith(ZSTD_MAGIC) else None


def read_pieces(file: BinaryIO, offset: int = 0) -> Iterator[bytes]:
    """Pieces of the decompressed stream from a decompressed offset on: at most a few MiB each.

    Several gzip members and zstd frames are one stream; zero bytes after a gzip member are padding.

    Raises:
        DamagedInputError: at the broken place, after all that could be read.
    """
    file.seek(0)
    head = file.read(4)
    file.seek(0)
    kind = compression_of(head)
    if kind is None:
        file.seek(offset)
        while piece := file.read(1 << 20):
            yield piece
        return
    skip = offset
    for piece in _gunzip(file) if kind == "gzip" else _unzstd(file):
        if skip >= len(piece):
            skip -= len(piece)
        else:
            yield piece[skip:] if skip else piece
            skip = 0


def _gunzip(file: BinaryIO) -> Iterator[bytes]:
    member: zlib._Decompress | None = None
    pending = b""
    while True:
        data = pending or file.read(_INPUT_BYTES)
        pending = b""
        if member is None:
            data = data.lstrip(b"\0")
            if not data:
                if file.peek(1) if hasattr(file, "peek") else False:  # zero padding may be longer than one read
                    continue
                return
            member = zlib.decompressobj(wbits=31)
        if not data:
            raise DamagedInputError
        try:
            piece = member.decompress(data)
        except zlib.error:
            raise DamagedInputError from None
        if piece:
            yield piece
        if member.eof:
            pending, member = member.unused_data, None


def _unzstd(file: BinaryIO) -> Iterator[bytes]:
    frame: zstandard.ZstdDecompressionObj | None = None
    pending = b""
    while True:
        data = pending or file.read(_INPUT_BYTES)
        pending = b""
        if frame is None:
            if not data:
                return
            frame = zstandard.ZstdDecompressor().decompressobj()
        if not data:
            raise DamagedInputError
        try:
            piece = frame.decompress(data)
        except zstandard.ZstdError:
            raise DamagedInputError from None
        if piece:
            yield piece
        if frame.eof:
            pending, frame = frame.unused_data, None
