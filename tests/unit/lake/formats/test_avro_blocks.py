from __future__ import annotations

import importlib
import io
from collections.abc import Iterator
from random import Random
from typing import Any

import fastavro
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from contracts.codes import Code
from contracts.compiler.exact import Unheld
from tests.support.compressed import gz, noise
from tests.support.format_laws import agree, is_damaged, read_whole, small_pieces, spec_of

AVRO = spec_of("avro")
SCHEMA = {"type": "record", "name": "r", "fields": [{"name": "id", "type": "long"}, {"name": "text", "type": "string"}]}
SYNC = b"\x07SYNC-MARKER-16\x09"
LIBRARIES = {"snappy": "cramjam", "zstandard": "backports.zstd"}


def is_installed(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


CODECS = ("null", "deflate", "bzip2", "xz", *(codec for codec, module in LIBRARIES.items() if is_installed(module)))


@pytest.fixture(autouse=True, scope="module")
def _pieces_of_three_hundred_bytes() -> Iterator[None]:
    with small_pieces(300):
        yield


def rows(first: int, count: int) -> list[dict[str, Any]]:
    return [{"id": i, "text": f"row {i} {Random(i).randrange(10**12)}"} for i in range(first, first + count)]


def parts(codec: str = "null", blocks: int = 6, count: int = 20, schema: Any = None) -> list[bytes]:
    """A header, then one entry per block: (count, size, payload, sync) as written by fastavro."""
    out = io.BytesIO()
    writer = fastavro.write.Writer(out, schema or SCHEMA, codec=codec, sync_marker=SYNC)
    found = [out.getvalue()]
    for number in range(blocks):
        at = out.tell()
        for row in rows(number * count, count):
            writer.write(row)
        writer.flush()
        found.append(out.getvalue()[at:])
    return found


def payload_at(block: bytes) -> int:
    """Where the payload of a block begins."""
    size_bytes = 0
    for start in (0, 1):
        while block[size_bytes] & 0x80:
            size_bytes += 1
        size_bytes += 1
        assert start < 2
    return size_bytes


@given(codec=st.sampled_from(CODECS), sizes=st.lists(st.integers(0, 30), max_size=8), chunk=st.integers(1, 3_000))
def test_records_come_in_any_chunks(codec: str, sizes: list[int], chunk: int) -> None:
    out = io.BytesIO()
    writer = fastavro.write.Writer(out, SCHEMA, codec=codec, sync_marker=SYNC)
    expected: list[dict[str, Any]] = []
    for size in sizes:
        for row in rows(len(expected), size):
            writer.write(row)
            expected.append(row)
        writer.flush()
    seen = agree(AVRO, out.getvalue(), chunk)
    assert [s.value for s in seen] == expected


def test_the_raw_bytes_of_a_record_are_its_datum() -> None:
    seen = read_whole(AVRO, b"".join(parts()))
    assert fastavro.schemaless_reader(io.BytesIO(seen[7].raw), SCHEMA) == seen[7].value  # type: ignore[call-arg]


@pytest.mark.parametrize("pack", [gz, zstandard.compress])
def test_a_compressed_file_is_read_in_any_chunks(pack: object) -> None:
    assert callable(pack)
    assert [s.value for s in agree(AVRO, pack(b"".join(parts())), 500)] == rows(0, 120)


def test_an_empty_file_has_no_records() -> None:
    assert agree(AVRO, b"", 10) == []
    assert agree(AVRO, parts(blocks=0)[0], 10) == []


def with_broken_payload(codec: str) -> bytes:
    """Six blocks of twenty; the payload of the third begins with noise, its sync marker is sound."""
    pieces = parts(codec)
    broken = bytearray(pieces[3])
    at = payload_at(broken)
    broken[at : at + 60] = b"\xff" * 60
    pieces[3] = bytes(broken)
    return b"".join(pieces)


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "null"])
def test_a_payload_that_cannot_be_decoded_is_damage_for_the_count_of_its_block(codec: str) -> None:
    seen = agree(AVRO, with_broken_payload(codec), 700)
    assert [s.value for s in seen if not s.violations] == rows(0, 40) + rows(60, 60)
    assert [(s.ordinal, s.rules) for s in seen if s.violations] == [(i, ("damage",)) for i in range(40, 60)]


def test_noise_in_a_payload_without_checksum_changes_no_other_block() -> None:
    seen = agree(AVRO, with_broken_payload("null"), 700)
    assert [s.value for s in seen if not 40 <= s.ordinal < 60] == rows(0, 40) + rows(60, 60)
    assert any(s.rules == ("damage",) for s in seen[40:60])


def test_a_codec_that_is_not_installed_is_told_once_by_its_name() -> None:
    header = parts()[0].replace(b"\x08null", b"\x06lz4")
    seen = agree(AVRO, header + b"".join(parts()[1:]), 700)
    assert [(s.rules, s.violations[0].expected) for s in seen] == [(("damage",), "a codec that is known; lz4 is not")]


@pytest.mark.parametrize("codec", CODECS)
def test_a_sync_marker_that_is_wrong_costs_its_own_block_only(codec: str) -> None:
    pieces = parts(codec)
    pieces[3] = pieces[3][:-16] + noise(1, 16)
    data = b"".join(pieces)
    seen = agree(AVRO, data, 700)
    assert [s.value for s in seen] == [*rows(0, 40), None, *rows(60, 60)]
    assert seen[40].rules == ("damage",)
    assert seen[40].raw == pieces[3]
    assert is_damaged(AVRO, data)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("garbage", [b"\x00", b"<html>", noise(2, 500), b"\xff" * 40, b"\x00" * 64, b"\x02\x04" * 9])
def test_garbage_between_blocks_costs_no_record(codec: str, garbage: bytes) -> None:
    pieces = parts(codec)
    seen = agree(AVRO, b"".join([*pieces[:3], garbage, *pieces[3:]]), 700)
    good = [s.value for s in seen if not s.violations]
    assert good == rows(0, 120)
    assert [s.rules for s in seen if s.violations] == [("damage",)]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("cut", [1, 16, 17, 60])
def test_a_file_that_is_cut_gives_its_whole_blocks_then_one_damage(codec: str, cut: int) -> None:
    data = b"".join(parts(codec))[:-cut]
    seen = agree(AVRO, data, 700)
    assert [s.value for s in seen] == [*rows(0, 100), None]
    assert seen[-1].rules == ("damage",)
    assert is_damaged(AVRO, data)


@pytest.mark.parametrize("pack", [gz, zstandard.compress])
def test_a_compressed_file_that_is_cut_is_one_damage_after_its_whole_blocks(pack: object) -> None:
    assert callable(pack)
    pieces = parts()
    seen = agree(AVRO, pack(b"".join(pieces[:4])) + pack(b"".join(pieces[4:]))[:-9], 700)
    good = [s.value for s in seen if not s.violations]
    assert good == rows(0, len(good))
    assert len(good) >= 60
    assert [s.rules for s in seen if s.violations] == [("damage",)]


@pytest.mark.parametrize(
    "data",
    [
        b"O",
        b"Obj\x01",
        b"Obj\x02" + b"x" * 99,
        b"not avro",
        noise(3, 5_000),
        gz(b"Obj\x01")[:-3],
        gz(b"")[:-3],
    ],
)
def test_what_has_no_header_is_one_damage(data: bytes) -> None:
    seen = agree(AVRO, data, 10)
    assert [(s.rules, s.violations[0].code) for s in seen] == [(("damage",), Code.DAMAGED_INPUT)]


def test_a_block_that_holds_more_than_it_says_is_told() -> None:
    pieces = parts(count=20)
    assert pieces[3][0] == 40  # zig-zag of 20
    pieces[3] = b"\x26" + pieces[3][1:]
    seen = agree(AVRO, b"".join(pieces), 700)
    assert [s.ordinal for s in seen if s.violations] == [58]
    assert seen[58].rules == ("damage",)


def test_a_block_that_holds_less_than_it_says_gives_what_it_holds() -> None:
    pieces = parts(count=20)
    pieces[3] = b"\x2a" + pieces[3][1:]
    seen = agree(AVRO, b"".join(pieces), 700)
    assert [s.value for s in seen if not s.violations] == rows(0, 120)
    assert [s.ordinal for s in seen if s.violations] == [60]


def test_a_block_of_very_many_equal_records_is_no_damage() -> None:
    out = io.BytesIO()
    fastavro.writer(out, SCHEMA, [{"id": 1, "text": ""}] * 50_000, codec="deflate", sync_interval=1 << 20)
    seen = read_whole(AVRO, out.getvalue())
    assert len(seen) == 50_000
    assert not any(s.violations for s in seen)


def test_a_count_without_end_is_damage_and_takes_no_time() -> None:
    empty = fastavro.parse_schema({"type": "record", "name": "e", "fields": []})
    out = io.BytesIO()
    fastavro.writer(out, empty, [], sync_marker=SYNC)
    data = out.getvalue() + b"\xff\xff\xff\xff\xff\xff\xff\x7f" + b"\x00" + SYNC
    assert [s.rules for s in agree(AVRO, data, 10)] == [("damage",)]


def test_a_value_that_no_type_holds_is_one_that_no_column_takes() -> None:
    fields = [
        {"name": "id", "type": "int"},
        {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    ]
    plain = [{"name": "id", "type": "int"}, {"name": "at", "type": ["null", "long"]}, {"name": "day", "type": "int"}]
    plain += [{"name": "tags", "type": {"type": "array", "items": "bytes"}}, {"name": "amount", "type": "bytes"}]
    base = {"id": 1, "at": 5, "day": 5, "tags": [b"a"], "amount": b"\x01"}
    odd: list[dict[str, Any]] = [
        base,
        base | {"at": 2**62},
        base | {"day": 2**31 - 1},
        base | {"tags": [b"\xff"]},
        base | {"at": None},
    ]
    payload = io.BytesIO()
    for record in odd:
        fastavro.schemaless_writer(payload, {"type": "record", "name": "r", "fields": plain}, record)
    head = io.BytesIO()
    fastavro.writer(head, {"type": "record", "name": "r", "fields": fields}, [], sync_marker=SYNC)
    body = payload.getvalue()
    assert len(body) < 64
    seen = agree(AVRO, head.getvalue() + bytes([2 * len(odd), 2 * len(body)]) + body + SYNC, 10)
    assert [s.rules for s in seen] == [()] * 5  # who reads the column rejects the record, nobody else
    assert [s.value["id"] for s in seen] == [1] * 5
    assert seen[1].value["at"] == Unheld("timestamp", "dates and times from year 1 to 9999", 2**62)
    assert seen[2].value["day"].rule == "timestamp"
    assert seen[3].value["tags"] == [Unheld("encoding", "UTF-8", b"\xff")]
    assert b"".join(s.raw for s in seen) == body  # as received


@given(seed=st.integers(0, 10**6), codec=st.sampled_from(CODECS), edits=st.integers(1, 4), chunk=st.integers(1, 3_000))
def test_no_edit_raises_or_loses_the_count(seed: int, codec: str, edits: int, chunk: int) -> None:
    rng = Random(seed)
    data = bytearray(b"".join(parts(codec, blocks=4, count=10)))
    for _ in range(edits):
        at = rng.randrange(len(data))
        kind = rng.randrange(3)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at:at] = rng.randbytes(rng.randrange(1, 40))
        else:
            del data[at : at + rng.randrange(1, 40)]
    agree(AVRO, bytes(data), chunk)


def test_a_file_of_many_pieces_is_read_once_to_its_end() -> None:
    with small_pieces(1 << 18):
        data = b"".join(parts("deflate", blocks=600, count=50))
        assert len(data) > 1 << 18
        assert [s.value for s in agree(AVRO, data, 100_000)] == rows(0, 30_000)


def test_the_schema_is_that_of_the_file() -> None:
    out = io.BytesIO()
    fastavro.writer(out, {"type": "record", "name": "other", "fields": [{"name": "n", "type": "int"}]}, [{"n": 1}])
    assert [s.value for s in agree(spec_of("avro", columns=["n"]), out.getvalue(), 10)] == [{"n": 1}]
    (lacking,) = agree(AVRO, out.getvalue(), 10)
    assert [(v.rule, v.expected) for v in lacking.violations] == [("header", "fields id")]
