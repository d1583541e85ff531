"""Text cut at line ends, with bounded memory: the ground of JSON lines and CSV."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from transforms.formats.base import PIECE_BYTES
from transforms.formats.compression import DamagedInputError, read_pieces

UTF8_BOM = codecs.BOM_UTF8
# A line longer than this is kept only up to here; the rest is skipped. Far above any record_bytes.
LINE_KEPT_BYTES = 16 << 20


@dataclass(frozen=True)
class TextPiece:
    """Whole lines as bytes in UTF-8 (or a superset of ASCII).

    offset: of its first byte in the decompressed (and, for UTF-16, transcoded) stream. damaged: what follows cannot be read, and the
    text may end within a line.
    """

    offset: int
    text: bytes
    damaged: bool = False


def read_text_pieces(file: BinaryIO, offset: int, encoding: str = "utf-8") -> Iterator[TextPiece]:
    """Pieces of about 1 MiB that end at a line end, but for the last one.

    A byte-order mark at the start of the file is left out, and one of UTF-16 or UTF-32 wins over ``encoding``.
    """
    wide = transcoded_from(file, encoding)
    if wide:
        source = _skip(_transcode(read_pieces(file), wide), offset)
    else:
        source = read_pieces(file, offset)
    rest: list[bytes] = []
    rest_size, position, damaged = 0, offset, False
    try:
        for piece in source:
            if position == 0 and not rest and piece.startswith(UTF8_BOM):
                position, piece = len(UTF8_BOM), piece[len(UTF8_BOM) :]  # noqa: PLW2901
            cut = piece.rfind(b"\n") + 1
            if cut == 0 or rest_size + cut < PIECE_BYTES:
                rest.append(piece)
                rest_size += len(piece)
                if cut == 0 or rest_size < PIECE_BYTES:
                    continue
                piece, rest, rest_size = b"".join(rest), [], 0  # noqa: PLW2901
                cut = piece.rfind(b"\n") + 1
            text = b"".join((*rest, piece[:cut]))
            yield TextPiece(position, text)
            position += len(text)
            rest, rest_size = [piece[cut:]], len(piece) - cut
    except DamagedInputError:
        damaged = True
    text = b"".join(rest)
    if text or damaged:
        yield TextPiece(position, text, damaged)


def transcoded_from(file: BinaryIO, encoding: str) -> str | None:
    """The encoding that pieces are transcoded from into UTF-8; None where they hold the file's own bytes."""
    return _wide_encoding(next(_unbroken(read_pieces(file)), b""), encoding)


def _unbroken(pieces: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    except DamagedInputError:
        return


def _wide_encoding(head: bytes, encoding: str) -> str | None:
    """The encoding to transcode from; None where bytes can be cut at line ends as they are."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    name = codecs.lookup(encoding).name
    return name if name.startswith(("utf-16", "utf-32")) else None


def _transcode(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """To UTF-8. Code units that are no character stay recognisable: they become bytes that are not UTF-8."""
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    for piece in pieces:
        yield decoder.decode(piece).encode("utf-8", "surrogatepass")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise DamagedInputError from None


def _skip(pieces: Iterable[bytes], offset: int) -> Iterator[bytes]:
    for piece in pieces:
        if offset >= len(piece):
            offset -= len(piece)
        else:
            yield piece[offset:] if offset else piece
            offset = 0
