"""Decompressed pieces of a file. The compression is told from the bytes, never from the name."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO

import zstandard

from contracts.codes import Violation
from lake.formats.base import DAMAGE
from lake.formats.limits import expansion_limit, too_many_bytes

# Small, since it bounds what one step gives out: a byte may become 1,000 (gzip) or 32,000 (zstd).
_GZIP_INPUT_BYTES = 1 << 12
_ZSTD_INPUT_BYTES = 1 << 9
_PLAIN_BYTES = 1 << 18
_GATHERED_BYTES = 1 << 16
_LARGEST_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZSTD_SKIPPABLE_NIBBLE, ZSTD_SKIPPABLE_TAIL = 5, b"\x2a\x4d\x18"


# What a frame may ask for as memory; the library's own bound, and that of the zstd command.
_ZSTD_WINDOW_BYTES = 128 << 20


class DamagedInputError(Exception):
    """The compressed stream ends early, is broken or has no measure. Everything before the broken place was given out."""

    def __init__(self, violation: Violation = DAMAGE) -> None:
        super().__init__(violation)
        self.violation = violation


def compression_of(head: bytes) -> str | None:
    """``gzip``, ``zstd`` or None, from the first bytes of a file."""
    if head.startswith(GZIP_MAGIC):
        return "gzip"
    skippable = head[1:4] == ZSTD_SKIPPABLE_TAIL and head[0] >> 4 == ZSTD_SKIPPABLE_NIBBLE  # pzstd begins with such a frame
    return "zstd" if skippable or head.startswith(ZSTD_MAGIC) else None


def read_pieces(file: BinaryIO, offset: int = 0) -> Iterator[bytes]:
    """Pieces of the decompressed stream from a decompressed offset on: at most some MiB each, and none but the last small.

    Several gzip members and zstd frames are one stream; zero bytes after a gzip member are padding.

    Raises:
        DamagedInputError: at the broken place, after all that could be read; or where the stream is longer than a file of this size
            can mean.
    """
    limit = expansion_limit(file)
    file.seek(0)
    head = file.read(4)
    file.seek(0)
    kind = compression_of(head)
    if kind is None:
        file.seek(offset)
        while piece := file.read(_PLAIN_BYTES):
            yield piece
        return
    skip = offset
    total = 0
    for piece in _gathered(_gunzip(file) if kind == "gzip" else _unzstd(file)):
        total += len(piece)
        if total > limit:
            raise DamagedInputError(too_many_bytes(limit))
        if skip >= len(piece):
            skip -= len(piece)
        else:
            yield piece[skip:] if skip else piece
            skip = 0


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same stream in pieces that are worth a step, and not too large for one: members may be as short as one byte."""
    held: list[bytes] = []
    size = 0
    try:
        for piece in pieces:
            for begin in range(0, len(piece), _LARGEST_BYTES):
                held.append(piece[begin : begin + _LARGEST_BYTES])
                size += len(held[-1])
                if size >= _GATHERED_BYTES:
                    yield b"".join(held)
                    held, size = [], 0
    except DamagedInputError:
        if held:
            yield b"".join(held)
        raise
    if held:
        yield b"".join(held)


def _gunzip(file: BinaryIO) -> Iterator[bytes]:
    member: zlib._Decompress | None = None
    pending = b""
    while True:
        data = pending or file.read(_GZIP_INPUT_BYTES)
        pending = b""
        if not data:
            if member is not None:
                raise DamagedInputError
            return
        if member is None:
            data = data.lstrip(b"\0")
            if not data:
                continue
            member = zlib.decompressobj(wbits=31)
        before = member.copy()
        try:
            piece = member.decompress(data)
        except zlib.error:
            yield from _up_to_the_error(before, data)
            raise DamagedInputError from None
        if piece:
            yield piece
        if member.eof:
            pending, member = member.unused_data, None


def _up_to_the_error(member: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """What can be decompressed before a broken place: zlib gives out nothing of a call that fails."""
    for at in range(len(data)):
        try:
            piece = member.decompress(data[at : at + 1])
        except zlib.error:
            return
        if piece:
            yield piece


def _unzstd(file: BinaryIO) -> Iterator[bytes]:
    frame: zstandard.ZstdDecompressionObj | None = None
    pending = b""
    while True:
        data = pending or file.read(_ZSTD_INPUT_BYTES)
        pending = b""
        if not data:
            if frame is not None:
                raise DamagedInputError
            return
        if frame is None:
            frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()
        try:
            piece = frame.decompress(data)
        except zstandard.ZstdError:
            raise DamagedInputError from None
        if piece:
            yield piece
        if frame.eof:
            pending, frame = frame.unused_data, None
