"""What a file is by its first bytes, where that is no format that is read: archives, workbooks, error pages."""

from __future__ import annotations

import re
from typing import BinaryIO

from lake.formats.compression import DamagedInputError, read_pieces
from lake.formats.lines import UTF8_BOM

HEAD_BYTES = 1 << 12
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"PK\x07\x08", "a ZIP archive in parts"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\xfd7zXZ\x00", "xz-compressed"),
    (b"\x04\x22\x4d\x18", "LZ4-compressed"),
    (b"\x02\x21\x4c\x18", "LZ4-compressed"),
    (b"\x1f\x9d", "compressed by compress (.Z)"),
    (b"LZIP\x01", "lzip-compressed"),
    (b"\xff\x06\x00\x00sNaPpY", "Snappy-compressed"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook (XLS) or another file of old Office"),
    (b"%PDF-", "a PDF"),
    (b"{\\rtf", "a text of Word (RTF)"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"ARROW1\x00\x00", "an Arrow file"),
    (b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF87a", "a picture (GIF)"),
    (b"GIF89a", "a picture (GIF)"),
    (b"\x7fELF", "a program"),
    (b"-----BEGIN PGP", "PGP-encrypted"),
    (b"\x1f\x8b", "gzip within another compression"),
    (b"\x28\xb5\x2f\xfd", "zstd within another compression"),
)
_OWN = {"avro": (re.compile(rb"Obj\x01"), "an Avro file"), "parquet": (re.compile(rb"PAR[1E][^\t\r\n -~]"), "a Parquet file")}
_ORC = re.compile(rb"ORC.{0,200}?[\x00-\x08\x0e-\x1f]", re.DOTALL)  # and no header of a CSV that begins with ORCID
_BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")
_PAGE = re.compile(rb"<(!doctype\s+html|html|head|body|title|center|h1|script)\b", re.IGNORECASE)
_XML = re.compile(rb"<(\?xml|!doctype|error>|[a-z]+:envelope)", re.IGNORECASE)
_WORKBOOK = (b"xl/", b"[Content_Types].xml", b"_rels/.rels")
_TAR_BYTES, _TAR_SUM = 512, slice(148, 156)


def foreign_content(file: BinaryIO, format: str) -> str | None:
    """What a file is, decompressed, where it is known and not of this format; such as "a ZIP archive"."""
    head = b""
    try:
        for piece in read_pieces(file):
            head += piece
            if len(head) >= HEAD_BYTES:
                break
    except DamagedInputError:
        pass  # what is there of it may say enough; the damage is told when it is read
    return what_it_is(head, format)


def what_it_is(head: bytes, format: str) -> str | None:
    """See ``foreign_content``; of the first bytes, at best HEAD_BYTES of them."""
    for name, (own, what) in _OWN.items():
        if own.match(head):
            return None if name == format else what
    found = (what for magic, what in _MAGIC if head.startswith(magic))
    return next(found, None) or _archive(head) or _page(head)


def _archive(head: bytes) -> str | None:
    if head.startswith(b"PK\x03\x04"):
        name_bytes = int.from_bytes(head[26:28], "little")
        is_workbook = head[30 : 30 + name_bytes].startswith(_WORKBOOK)
        return "a ZIP archive, most likely an Excel workbook (XLSX)" if is_workbook else "a ZIP archive"
    kinds = {"bzip2-compressed": _BZIP2.match(head), "an ORC file": _ORC.match(head), "a TAR archive": _is_tar(head[:_TAR_BYTES])}
    return next((what for what, there in kinds.items() if there), None)


def _page(head: bytes) -> str | None:
    text = head.removeprefix(UTF8_BOM).lstrip()
    if _PAGE.match(text):
        return "a page (HTML), such as of a login or an error"
    return "an XML document" if _XML.match(text) else None


def _is_tar(header: bytes) -> bool:
    """A member's header: its checksum is the sum of its bytes, with blanks where itself stands."""
    if len(header) < _TAR_BYTES or not header[0]:
        return False
    written = re.match(rb" *([0-7]{1,7})[ \0]", header[_TAR_SUM])
    return written is not None and int(written[1], 8) == sum(header) - sum(header[_TAR_SUM]) + 8 * ord(" ")
