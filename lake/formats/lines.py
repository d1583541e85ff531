"""Text cut at line ends, with bounded memory: the ground of JSON lines and CSV."""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from contracts.codes import Violation
from lake.formats.base import PIECE_BYTES
from lake.formats.compression import DamagedInputError, read_pieces

UTF8_BOM = codecs.BOM_UTF8


@dataclass(frozen=True)
class TextPiece:
    """Whole lines as bytes in UTF-8 (or a superset of ASCII).

    offset, end: where it begins and ends in the decompressed (and, for UTF-16, transcoded) stream; further apart than its text is
    long where a line was not kept whole. damaged: why what follows cannot
    be read; the text may then end within a line.
    """

    offset: int
    text: bytes
    end: int
    damaged: Violation | None = None


def read_text_pieces(file: BinaryIO, offset: int, line_bytes: int, encoding: str = "utf-8") -> Iterator[TextPiece]:
    """Pieces of about 256 KiB that end at a line end, but for the last one.

    A byte-order mark at the start of the file is left out, and one of UTF-16 or UTF-32 wins over ``encoding``. Of a line longer
    than ``line_bytes`` at least that much and one byte is kept, and the rest left out: memory is bounded whatever the input.
    """
    held: list[bytes] = []
    size = line = skipped = 0  # of what is held; of its last line, which has not ended; of what was left out of that
    position, damaged = offset, None
    try:
        for piece in read_text(file, offset, encoding):
            if position == 0 and not held and piece.startswith(UTF8_BOM):
                position, piece = len(UTF8_BOM), piece[len(UTF8_BOM) :]  # noqa: PLW2901
            if line > line_bytes:
                line_end = piece.find(b"\n")
                skipped += len(piece) if line_end < 0 else line_end
                if line_end < 0:
                    continue
                piece = piece[line_end:]  # noqa: PLW2901
            held.append(piece)
            size += len(piece)
            last_line = len(piece) - piece.rfind(b"\n") - 1
            line = line + len(piece) if last_line == len(piece) else last_line
            whole = size - line
            if whole >= PIECE_BYTES or (skipped and whole):
                text = b"".join(held)
                yield TextPiece(position, text[:whole], position + whole + skipped)
                position += whole + skipped
                held, size, skipped = [text[whole:]], line, 0
    except DamagedInputError as error:
        damaged = error.violation
    text = b"".join(held)
    if text or damaged:
        yield TextPiece(position, text, position + len(text) + skipped, damaged)


def read_text(file: BinaryIO, offset: int, encoding: str = "utf-8") -> Iterator[bytes]:
    """Pieces of the decompressed stream, transcoded to UTF-8 where its code units are wider than a byte.

    Raises:
        DamagedInputError: see ``read_pieces``; also where code units are no characters.
    """
    wide = _wide_encoding(_head(file), encoding)
    return _skip(_transcode(read_pieces(file), wide), offset) if wide else read_pieces(file, offset)


def text_encoding(file: BinaryIO, encoding: str) -> str:
    """The encoding of what ``read_text`` gives: UTF-8 where it was transcoded or a byte-order mark says so."""
    head = _head(file)
    return "utf-8" if _wide_encoding(head, encoding) or head.startswith(UTF8_BOM) else encoding


def _head(file: BinaryIO) -> bytes:
    return next(_unbroken(read_pieces(file)), b"")


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
    for piece in itertools.chain(pieces, [b""]):
        state = decoder.getstate()
        broken = False
        try:
            text = decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            decoder.setstate(state)
            text, broken = decoder.decode(piece[: max(error.start - len(state[0]), 0)]), True
        if text:
            yield text.encode("utf-8", "surrogatepass")
        if broken:
            raise DamagedInputError


def _skip(pieces: Iterable[bytes], offset: int) -> Iterator[bytes]:
    for piece in pieces:
        if offset >= len(piece):
            offset -= len(piece)
        else:
            yield piece[offset:] if offset else piece
            offset = 0
