"""Small files that say to hold much, and files that were edited: in little memory and time, whatever they say."""

from __future__ import annotations

import bz2
import io
import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from contracts.spec.source import FormatName

MOST_MEGABYTES, MOST_SECONDS = 600, 10
SYNC = b"0123456789abcdef"


def long(number: int) -> bytes:
    """A zig-zag varint."""
    number = number << 1 if number >= 0 else (-number << 1) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def text(value: bytes) -> bytes:
    return long(len(value)) + value


def avro(schema: object, *blocks: tuple[int, bytes], codec: str = "null") -> bytes:
    """A container by hand, so that it may lie."""
    fields = {"type": "record", "name": "r", "fields": [{"name": "id", "type": schema}]} if schema else {}
    meta = long(2) + text(b"avro.schema") + text(json.dumps(fields).encode()) + text(b"avro.codec") + text(codec.encode()) + long(0)
    return b"Obj\x01" + meta + SYNC + b"".join(long(count) + text(data) + SYNC for count, data in blocks)


def deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(data) + packer.flush()


def parquet(table: pa.Table, **options: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


RECORD_OF_INT = {"type": "array", "items": {"type": "record", "name": "i", "fields": [{"name": "n", "type": "int"}]}}
ITSELF = ["null", {"type": "record", "name": "n", "fields": [{"name": "x", "type": ["null", "n"]}]}]
MIB = 1 << 20
BOMBS: dict[str, tuple[FormatName, Callable[[], bytes]]] = {
    "zstd of one line": ("jsonl", lambda: zstandard.compress(bytes(1 << 31 >> 1))),
    "zstd of blanks": ("jsonl", lambda: zstandard.compress(b" " * (700 * MIB))),
    "zstd of lines": ("jsonl", lambda: zstandard.compress(b"7\n" * (150 * MIB))),
    "zstd that asks for a window of 2 GB": ("jsonl", lambda: b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x03\x00\x10x" * 9_000),
    "zstd of a CSV": ("csv", lambda: zstandard.compress(b"id\n" + b"a\n" * (150 * MIB))),
    "zstd of a CSV's header": ("csv", lambda: zstandard.compress(b"id," * (200 * MIB))),
    "zstd of an array": ("json_array", lambda: zstandard.compress(b"[" + b"1," * (150 * MIB))),
    "zstd of a string in an array": ("json_array", lambda: zstandard.compress(b'["' + b"a" * (500 * MIB))),
    "zstd of brackets": ("json_array", lambda: zstandard.compress(b"[" * (300 * MIB))),
    "gzip of lines": ("jsonl", lambda: zlib.compress(b"{}\n" * (25 * MIB), 9, wbits=31)),
    "gzip of members of a byte": ("json_array", lambda: zlib.compress(b"1", wbits=31) * 3_000),
    "avro: records of nothing": ("avro", lambda: avro("null", (1 << 40, b""))),
    "avro: records of nothing, many blocks": ("avro", lambda: avro("null", *[(1 << 23, b"")] * 2_000)),
    "avro: an array of nothing": ("avro", lambda: avro({"type": "array", "items": "null"}, (1, long(1 << 40) + b"\x00"))),
    "avro: a text without end": ("avro", lambda: avro("string", (1, long(1 << 50) + b"x"))),
    "avro: a text of less than nothing": ("avro", lambda: avro("string", (1, long(-(1 << 50)) + b"x"))),
    "avro: deflate of records": ("avro", lambda: avro("int", (60 * MIB, deflate(bytes(60 * MIB))), codec="deflate")),
    "avro: deflate of more than a block may": ("avro", lambda: avro("int", (1 << 24, deflate(bytes(900 * MIB))), codec="deflate")),
    "avro: bzip2 of zeros": ("avro", lambda: avro("int", *[(1, bz2.compress(bytes(100 * MIB)))] * 20, codec="bzip2")),
    "avro: zstandard of zeros": ("avro", lambda: avro("int", (1, zstandard.compress(bytes(1_000 * MIB))), codec="zstandard")),
    "avro: snappy that lies": ("avro", lambda: avro("int", (1, b"\xff\xff\xff\xff\x0f" + bytes(64)), codec="snappy")),
    "avro: records of many records": (
        "avro",
        lambda: avro(RECORD_OF_INT, *[(1, deflate(long(MIB) + bytes(MIB + 1)))] * 50, codec="deflate"),
    ),
    "avro: one block of records of many records": (
        "avro",
        lambda: avro(RECORD_OF_INT, (50, deflate((long(900_000) + bytes(900_001)) * 50)), codec="deflate"),
    ),
    "avro: a type that holds itself": ("avro", lambda: avro(ITSELF, (1, b"\x02" * 70_000 + b"\x00"))),
    "avro: a schema without end": (
        "avro",
        lambda: avro(json.loads('{"type":"array","items":' * 400 + '"int"' + "}" * 400), (1, b"\x00")),
    ),
    "parquet: rows of null": ("parquet", lambda: parquet(pa.table({"id": pa.nulls(40_000_000, pa.int32())}))),
    "parquet: one long text": ("parquet", lambda: parquet(pa.table({"id": pa.array(["a" * (300 * MIB)])}), compression="zstd")),
    "parquet: one long text in a dictionary": (
        "parquet",
        lambda: parquet(
            pa.table({"id": pa.DictionaryArray.from_arrays(pa.array([0] * 80_000, pa.int32()), pa.array(["a" * MIB]))}),
            compression="zstd",
            dictionary_pagesize_limit=8 * MIB,
        ),
    ),
    "parquet: one long text in many rows": (
        "parquet",
        lambda: parquet(
            pa.table({"id": pa.repeat("a" * (MIB // 2), 3_000)}),
            compression="zstd",
            dictionary_pagesize_limit=8 * MIB,
            store_schema=False,
        ),
    ),
    "parquet: a page of zeros": (
        "parquet",
        lambda: parquet(
            pa.table({"id": pa.repeat(0, 150_000_000)}),
            compression="zstd",
            use_dictionary=False,
            data_page_size=1 << 30,
            row_group_size=1 << 30,
        ),
    ),
}  # fmt: skip

_READ = """
import re, sys
from pathlib import Path
from tests.support.format_laws import spec_of
from lake.formats import Bookmark, format_for
from lake.raw.files import scan_chunks
spec = spec_of(sys.argv[1])
file = Path(sys.argv[2]).open("rb")
scan_chunks(spec, file, 64 << 20)
records = failed = 0
for block in format_for(spec).blocks(file, Bookmark()):
    parsed = block.parse()
    records += len(parsed.records)
    failed += len(parsed.failed)
kilobytes = int(re.search("VmHWM:[^0-9]*([0-9]+)", Path("/proc/self/status").read_text())[1])  # of this program alone
print(kilobytes / 1024, records, failed)
"""


@pytest.mark.long
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_little_memory_and_time(name: str, tmp_path: Path) -> None:
    format, make = BOMBS[name]
    path = tmp_path / "bomb"
    path.write_bytes(make())
    started = time.monotonic()
    done = run(_READ, format, str(path))
    took = time.monotonic() - started
    assert done.returncode == 0, done.stderr[-600:]
    megabytes, records, failed = map(float, done.stdout.split())
    told = f"{name}: {path.stat().st_size} bytes, {megabytes:.0f} MB, {took:.1f} s, {records:.0f} records, {failed:.0f} failed"
    print(told)
    assert megabytes < MOST_MEGABYTES, told
    assert took < MOST_SECONDS, told


_FUZZ = """
import io, resource, sys
from random import Random
from tests.support.format_laws import read_whole, spec_of
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
format, seed = sys.argv[1], int(sys.argv[3])
base = open(sys.argv[2], "rb").read()
for number in range(150):
    rng = Random(f"{seed}:{number}")
    data = bytearray(base)
    for _ in range(rng.randrange(1, 6)):
        if not data:
            break
        at, kind = rng.randrange(len(data)), rng.randrange(4)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + 1] = rng.choice([b"\\xff" * 9, b"\\x7f" * 4, b"\\x80" * 9 + b"\\x01", rng.randbytes(8)])
        elif kind == 2:
            del data[at : at + rng.randrange(1, 40)]
        else:
            data[at:at] = data[: rng.randrange(len(data))]
    read_whole(spec_of(format), bytes(data))
"""
FUZZED: dict[str, tuple[FormatName, Callable[[], bytes]]] = {
    "avro": ("avro", lambda: avro(RECORD_OF_INT, *[(3, (long(2) + b"\x02\x04\x00") * 3)] * 20)),
    "avro (deflate)": ("avro", lambda: avro("string", *[(2, deflate(text(b"ab") + text(b"c" * 50)))] * 20, codec="deflate")),
    "avro (snappy)": ("avro", lambda: avro("string", *[(1, snappy(text(b"ab" * 90)))] * 20, codec="snappy")),
    "avro (recursive)": ("avro", lambda: avro(ITSELF, *[(1, b"\x02\x02\x02\x00")] * 20)),
    "parquet": (
        "parquet",
        lambda: parquet(pa.table({"id": [str(i % 7) for i in range(500)], "n": [{"x": [i]} for i in range(500)]})),
    ),
    "parquet (plain)": (
        "parquet",
        lambda: parquet(pa.table({"id": [str(i) for i in range(500)]}), use_dictionary=False, compression="none"),
    ),
    "gzip": ("jsonl", lambda: zlib.compress(b'{"id":1}\n' * 500, wbits=31)),
    "zstd": ("json_array", lambda: zstandard.compress(b"[" + b'{"id":1},' * 500 + b"{}]")),
}


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", FUZZED)
def test_no_edit_of_a_binary_file_ends_the_process_under_a_limit_of_memory(name: str, seed: int, tmp_path: Path) -> None:
    format, make = FUZZED[name]
    (tmp_path / "base").write_bytes(make())
    done = run(_FUZZ, format, str(tmp_path / "base"), str(seed))
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-800:]}"


def snappy(data: bytes) -> bytes:
    return bytes(pa.Codec("snappy").compress(data, asbytes=True)) + zlib.crc32(data).to_bytes(4, "big")


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, check=False)
