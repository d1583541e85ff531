from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.formats.base import DAMAGE
from lake.formats.lines import TextPiece, read_text_pieces, text_encoding
from tests.support.compressed import gz, gzip_members
from tests.support.format_laws import packings, small_pieces


@pytest.fixture(autouse=True, scope="module")
def _pieces_of_thirty_bytes() -> Iterator[None]:
    with small_pieces(30):
        yield


def pieces(data: bytes, offset: int = 0, line_bytes: int = 1_000, encoding: str = "utf-8") -> list[TextPiece]:
    return list(read_text_pieces(io.BytesIO(data), offset, line_bytes, encoding))


@given(lines=st.lists(st.binary(max_size=50).filter(lambda b: b"\n" not in b), max_size=12), ends=st.booleans(), data=st.data())
def test_pieces_are_the_text_cut_at_line_ends_and_their_offsets_are_bookmarks(
    lines: list[bytes], ends: bool, data: st.DataObject
) -> None:
    text = b"\n".join(lines) + b"\n" * ends
    if text.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"\x1f\x8b", b"\x28\xb5", b"\x00\x00\xfe\xff")):
        return
    packed = data.draw(packings(text))
    found = pieces(packed)
    assert b"".join(piece.text for piece in found) == text
    for piece in found[:-1]:
        assert piece.text.endswith(b"\n")
    for piece, following in pairwise(found):
        assert piece.end == following.offset == piece.offset + len(piece.text)
        assert pieces(packed, following.offset)[0].text.startswith(following.text[:1])
        assert b"".join(p.text for p in pieces(packed, following.offset)) == text[following.offset :]


@given(lines=st.lists(st.integers(0, 400), min_size=1, max_size=8), limit=st.integers(1, 100), data=st.data())
def test_a_long_line_is_cut_and_what_follows_keeps_its_place(lines: list[int], limit: int, data: st.DataObject) -> None:
    text = b"".join(b"%c" % (65 + i) * size + b"\n" for i, size in enumerate(lines))
    packed = data.draw(packings(text))
    found = pieces(packed, line_bytes=limit)
    kept = b"".join(piece.text for piece in found).splitlines()
    assert len(kept) == len(lines)
    for i, (size, line) in enumerate(zip(lines, kept, strict=True)):
        assert line == b"%c" % (65 + i) * len(line)
        assert min(size, limit + 1) <= len(line) <= size
    for piece, following in pairwise(found):
        assert piece.end == following.offset
        assert text[following.offset - 1 : following.offset] == b"\n"
        assert text[following.offset :].startswith(following.text[:limit].split(b"\n")[0])


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, lambda text: gzip_members([text[i : i + 25] for i in range(0, len(text), 25)])])
def test_wide_text_becomes_utf_8_and_its_offsets_are_of_that(mark: bytes, encoding: str, pack: object) -> None:
    assert callable(pack)
    text = "".join(f"Größe {i} – 🧡\n" for i in range(20))
    data = pack(mark + text.encode(encoding))
    found = pieces(data, encoding="cp1252")
    assert b"".join(piece.text for piece in found) == text.encode()
    assert len(found) > 3
    assert [p.text for p in pieces(data, found[2].offset)] == [p.text for p in found[2:]]
    assert text_encoding(io.BytesIO(data), "cp1252") == "utf-8"


def test_wide_text_without_a_mark_needs_the_encoding() -> None:
    data = "a;ü\n".encode("utf-16-le")
    assert pieces(data, encoding="utf-16-le")[0].text == "a;ü\n".encode()


def test_a_mark_of_utf_8_is_left_out_and_wins_over_the_encoding() -> None:
    data = codecs.BOM_UTF8 + "ü\n".encode()
    (piece,) = pieces(data, encoding="cp1252")
    assert (piece.offset, piece.text, piece.end) == (3, "ü\n".encode(), 6)
    assert text_encoding(io.BytesIO(data), "cp1252") == "utf-8"
    assert text_encoding(io.BytesIO("ü\n".encode("cp1252")), "cp1252") == "cp1252"


def test_a_lone_surrogate_in_utf_16_becomes_bytes_that_are_not_utf_8() -> None:
    data = codecs.BOM_UTF16_LE + "a\n".encode("utf-16-le") + b"\x00\xd8" + "b\n".encode("utf-16-le")
    (piece,) = pieces(data)
    assert piece.text.splitlines()[0] == b"a"
    with pytest.raises(UnicodeDecodeError):
        piece.text.decode()


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF16_LE + "good\n".encode("utf-16-le") + b"x",
        codecs.BOM_UTF32_LE + "good\n".encode("utf-32-le") + b"\xff\xff\xff\xff" * 3,
        gz(b"good\n")[:-1],
        gz(codecs.BOM_UTF16_LE + "good\n".encode("utf-16-le"))[:-1],
    ],
)
def test_what_cannot_be_decoded_is_damage_after_what_can(data: bytes) -> None:
    found = pieces(data)
    assert b"".join(piece.text for piece in found) == b"good\n"
    assert [piece.damaged for piece in found] == [None] * (len(found) - 1) + [DAMAGE]


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE]),
)
def test_no_bytes_raise(data: bytes, mark: bytes) -> None:
    for encoding in ("utf-8", "cp1252", "utf-16-be"):
        pieces(mark + data, encoding=encoding)
