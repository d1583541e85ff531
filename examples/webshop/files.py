"""How the bytes lie on disk: compression, line ends and everything else that a reader must bear."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path
from typing import NamedTuple

import zstandard


class Style(NamedTuple):
    """The form of one file of lines; all of it is accepted without complaint."""

    suffix: str
    byte_order_mark: bool = False
    line_end: bytes = b"\n"
    blank_every: int = 0  # a blank line after so many lines
    last_newline: bool = True
    parts: int = 1  # gzip members or zstd frames


WEB_STYLES = (  # at least one file of each at every size
    Style(".jsonl", byte_order_mark=True),
    Style(".jsonl.gz", parts=3),
    Style(".jsonl.zst", parts=3),
    Style(".jsonl", line_end=b"\r\n", blank_every=97),
    Style(".jsonl.gz", last_newline=False),
    Style(".jsonl.zst"),
    Style(".jsonl", blank_every=211, last_newline=False),
    Style(".jsonl.gz", byte_order_mark=True, parts=2),
)
MOBILE_STYLES = (
    Style(".jsonl"),
    Style(".jsonl.gz"),
    Style(".jsonl.gz", line_end=b"\r\n", parts=2),
    Style(".jsonl", blank_every=53, last_newline=False),
)


def write_lines(path: Path, lines: list[bytes], style: Style) -> None:
    """The lines as one file in the given style."""
    if style.blank_every:
        lines = [line + style.line_end if number % style.blank_every == 0 else line for number, line in enumerate(lines, 1)]
    cuts = [len(lines) * part // style.parts for part in range(style.parts + 1)]
    with path.open("wb") as file:
        for part in range(style.parts):
            data = style.line_end.join(lines[cuts[part] : cuts[part + 1]])
            if cuts[part + 1] > cuts[part] and (style.last_newline or part + 1 < style.parts):
                data += style.line_end
            if part == 0 and style.byte_order_mark:
                data = b"\xef\xbb\xbf" + data
            file.write(compress(data, style.suffix))


def compress(data: bytes, suffix: str) -> bytes:
    """One gzip member or zstd frame, or the bytes themselves."""
    if suffix.endswith(".gz"):
        return gzip.compress(data, compresslevel=1, mtime=0)
    if suffix.endswith(".zst"):
        return zstandard.ZstdCompressor(level=1).compress(data)
    return data


def truncate_gzip(data: bytes) -> tuple[bytes, int]:
    """The first half of a gzip file, and how many whole lines it still holds.

    The cut is moved until the text that is left ends well inside a line, so that decompressors which give a byte more
    or less of a broken stream agree on the number.
    """
    for cut in range(len(data) // 2, len(data)):
        text = zlib.decompressobj(wbits=31).decompress(data[:cut])
        rest = len(text) - (text.rfind(b"\n") + 1)
        if 40 <= rest <= 200:
            return data[:cut], text.count(b"\n")
    raise ValueError("too few lines to truncate")


def set_mtime(path: Path, at_ms: int) -> None:
    """The file's time from the data, never from the clock."""
    os.utime(path, ns=(at_ms * 1_000_000, at_ms * 1_000_000))
