from __future__ import annotations

import io
from contextlib import suppress
from random import Random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lake.formats.compression import DamagedInputError, compression_of, read_pieces
from tests.support.compressed import gz, gzip_members, gzip_prefix, noise, zstd_frames

TEXT = b"".join(b'{"id":%d,"x":%d}\n' % (i, Random(i).randrange(10**9)) for i in range(60_000))


def readable(data: bytes, offset: int = 0) -> tuple[bytes, bool]:
    """All that can be read from an offset on, and whether it ends in damage."""
    out = bytearray()
    try:
        for piece in read_pieces(io.BytesIO(data), offset):
            assert piece
            out += piece
    except DamagedInputError:
        return bytes(out), True
    return bytes(out), False


def test_the_compression_is_told_from_the_bytes() -> None:
    assert compression_of(gz(b"x")[:4]) == "gzip"
    assert compression_of(zstandard.compress(b"x")[:4]) == "zstd"
    assert compression_of(b"\x50\x2a\x4d\x18") == "zstd"
    assert compression_of(b'{"a"') is None
    assert compression_of(b"") is None


@given(
    parts=st.lists(st.binary(max_size=40), min_size=1, max_size=6),
    kind=st.sampled_from(["plain", "gzip", "zstd"]),
    padding=st.integers(0, 9_000),
    offset=st.integers(0, 200),
)
def test_members_frames_and_zero_padding_are_one_stream_from_any_offset(
    parts: list[bytes], kind: str, padding: int, offset: int
) -> None:
    whole = b"".join(parts)
    if kind == "plain":
        if compression_of(whole[:4]):
            return
        data = whole
    elif kind == "gzip":
        data = (b"\0" * padding).join(gz(part) for part in parts) + b"\0" * padding
    else:
        data = zstd_frames(parts)
    assert readable(data, offset) == (whole[offset:], False)


def test_a_first_piece_holds_the_magic_bytes_although_members_hold_one_byte() -> None:
    for data in (gzip_members([b"\xef", b"\xbb", b"\xbf", b"{}"]), zstd_frames([b"\xef", b"\xbb", b"\xbf", b"{}"])):
        assert next(read_pieces(io.BytesIO(data))).startswith(b"\xef\xbb\xbf")


def test_frames_that_are_to_be_skipped_are_skipped() -> None:
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"meta"
    assert readable(skippable + zstandard.compress(b"one") + skippable + zstandard.compress(b"two")) == (b"onetwo", False)


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 5_000, 100_000])
def test_everything_before_the_cut_of_a_gzip_file_is_read(cut: int) -> None:
    data = gz(TEXT)[:-cut]
    text, damaged = readable(data)
    assert damaged
    assert text == gzip_prefix(data)
    assert TEXT.startswith(text)
    assert len(text) > len(TEXT) * (len(data) - 40_000) // (len(data) + cut)


@pytest.mark.parametrize("seed", range(12))
def test_everything_before_a_broken_place_of_a_gzip_file_is_read(seed: int) -> None:
    data = bytearray(gz(TEXT))
    at = Random(seed).randrange(2_000, len(data) - 8)
    data[at : at + 64] = noise(seed, 64)
    text, damaged = readable(bytes(data))
    assert damaged
    assert text == gzip_prefix(bytes(data))


def test_a_wrong_checksum_is_damage_after_the_content() -> None:
    data = bytearray(gz(TEXT[:1_000]))
    data[-6] ^= 1
    assert readable(bytes(data)) == (TEXT[:1_000], True)


@pytest.mark.parametrize("cut", [1, 4, 5, 5_000, 100_000])
def test_every_whole_block_before_the_cut_of_a_zstd_file_is_read(cut: int) -> None:
    data = zstd_frames([TEXT])
    text, damaged = readable(data[:-cut])
    assert damaged
    assert TEXT.startswith(text)
    assert len(text) >= len(TEXT) * (len(data) - cut) // len(data) - 2 * 131_072


@pytest.mark.parametrize("seed", range(12))
def test_every_block_before_a_broken_place_of_a_zstd_file_is_read(seed: int) -> None:
    data = bytearray(zstd_frames([TEXT]))
    at = Random(seed).randrange(len(data) // 2, len(data) - 200)
    data[at : at + 64] = noise(seed, 64)
    text, damaged = readable(bytes(data))
    assert damaged
    sound = len(TEXT) * at // len(data) - 3 * 131_072
    assert text[:sound] == TEXT[:sound]
    assert len(text) >= sound > 0


@pytest.mark.parametrize("compress", [gzip_members, zstd_frames])
def test_garbage_behind_a_compressed_stream_is_damage(compress: object) -> None:
    assert callable(compress)
    assert readable(compress([b"good\n"]) + b"<html>not found</html>") == (b"good\n", True)


@pytest.mark.parametrize(
    "data", [b"\x1f\x8b", b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd", b"\x1f\x8bnot gzip at all", b"\x28\xb5\x2f\xfd" * 9]
)
def test_a_beginning_that_promises_a_compression_and_breaks_it_is_damage(data: bytes) -> None:
    assert readable(data) == (b"", True)


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd"]))
def test_no_bytes_raise_anything_else(data: bytes, magic: bytes) -> None:
    readable(magic + data)


@pytest.mark.parametrize("compress", [gzip_members, zstd_frames])
def test_pieces_stay_small_however_well_the_input_compresses(compress: object) -> None:
    assert callable(compress)
    data = compress([b"a" * (100 << 20)])
    longest = total = 0
    with suppress(DamagedInputError):
        for piece in read_pieces(io.BytesIO(data)):
            longest, total = max(longest, len(piece)), total + len(piece)
    assert longest <= 20 << 20
    assert total <= (64 << 20) + 1_000 * len(data)
