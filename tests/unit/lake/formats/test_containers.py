"""Other kinds of files than the source says: each is one damaged record that names it, behind any compression, in every format."""

from __future__ import annotations

import bz2
import io
import lzma
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import fastavro
import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from contracts.spec.source import FORMAT_NAMES, FormatName
from lake.formats.containers import what_it_is
from tests.support.compressed import gz
from tests.support.format_laws import agree, is_damaged, spec_of

ROWS = b"".join(b'{"id":"%d"}\n' % i for i in range(100))
TABLE = pa.table({"id": ["a", "b"]})


def zipped(name: str, content: bytes = ROWS) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


def tarred(format: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for number in range(3):
            member = tarfile.TarInfo(f"events-{number}.jsonl")
            member.size = len(ROWS)
            archive.addfile(member, io.BytesIO(ROWS))
    return out.getvalue()


def written(write: Callable[[io.BytesIO], object]) -> bytes:
    out = io.BytesIO()
    write(out)
    return out.getvalue()


def sqlite() -> bytes:
    with sqlite3.connect(":memory:") as database:
        database.execute("create table t (id text)")
        return database.serialize()


AVRO_SCHEMA = {"type": "record", "name": "r", "fields": [{"name": "id", "type": "string"}]}
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in, to go on</body></html>\n"
KINDS: dict[str, tuple[bytes, str]] = {
    "zip": (zipped("contacts.csv"), "a ZIP archive"),
    "empty zip": (written(lambda out: zipfile.ZipFile(out, "w").close()), "an empty ZIP archive"),
    "xlsx": (zipped("[Content_Types].xml"), "Excel workbook (XLSX)"),
    "xlsx of another writer": (zipped("xl/workbook.xml"), "Excel workbook (XLSX)"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504), "Excel workbook (XLS)"),
    "tar (pax)": (tarred(tarfile.PAX_FORMAT), "a TAR archive"),
    "tar (gnu)": (tarred(tarfile.GNU_FORMAT), "a TAR archive"),
    "tar (ustar)": (tarred(tarfile.USTAR_FORMAT), "a TAR archive"),
    "bzip2": (bz2.compress(ROWS), "bzip2"),
    "empty bzip2": (bz2.compress(b""), "bzip2"),
    "xz": (lzma.compress(ROWS), "xz"),
    "7z": (b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(90), "7z"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "PDF"),
    "page": (PAGE, "page (HTML)"),
    "page with a mark": (b"\xef\xbb\xbf\r\n  <html lang=en>" + PAGE, "page (HTML)"),
    "s3 error": (b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>', "XML"),
    "s3 error, short": (b"<Error><Code>NoSuchKey</Code></Error>", "XML"),
    "sqlite": (sqlite(), "SQLite"),
    "orc": (written(lambda out: pyarrow.orc.write_table(TABLE, out)), "ORC"),
    "arrow": (written(lambda out: pyarrow.feather.write_feather(TABLE, out)), "Arrow"),
    "avro": (written(lambda out: fastavro.writer(out, AVRO_SCHEMA, [{"id": "a"}])), "an Avro file"),
    "parquet": (written(lambda out: pq.write_table(TABLE, out)), "a Parquet file"),
}
PACKINGS: dict[str, Callable[[bytes], bytes]] = {"plain": bytes, "gzip": gz, "zstd": zstandard.compress}


@pytest.mark.parametrize("format", FORMAT_NAMES)
@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_another_kind_of_file_is_one_damage_that_names_it(kind: str, packing: str, format: FormatName) -> None:
    if kind == format and packing != "gzip":
        return
    if kind == format:  # a gzip around Avro is read; around Parquet it is no Parquet, and has no records
        assert not is_damaged(spec_of(format), KINDS[kind][0])
        return
    data, name = PACKINGS[packing](KINDS[kind][0]), KINDS[kind][1]
    seen = agree(spec_of(format), data, 100)
    assert [s.rules for s in seen] == [("damage",)]
    assert name in seen[0].violations[0].expected
    assert is_damaged(spec_of(format), data)


def test_what_is_compressed_twice_is_told() -> None:
    (seen,) = agree(spec_of("jsonl"), gz(gz(ROWS)), 100)
    assert "gzip within another compression" in seen.violations[0].expected


@pytest.mark.parametrize(
    "text",
    [b"ORCID,name\n", b"PAR1,PAR2\n", b"GIF8,x\n", b"PK,id\n", b"BZh9,id\n", b"Rar,id\n", b"<id>,name\n", b"Obj,id\n", b"%PDF,x\n"],
)
def test_headers_that_begin_like_a_kind_of_file_are_headers(text: bytes) -> None:
    assert what_it_is(text, "csv") is None


@given(st.text(max_size=600).filter(lambda text: not text.lstrip("\ufeff \n\r\t").startswith("<")))
def test_no_text_of_people_is_taken_for_an_archive(text: str) -> None:
    assert what_it_is(("id," + text).encode(), "csv") is None


def test_a_file_of_real_size_is_told_by_its_head_alone(tmp_path: Path) -> None:
    assert what_it_is(tarred(tarfile.PAX_FORMAT)[:512], "jsonl") == "a TAR archive"
    assert what_it_is(ROWS[:512], "jsonl") is None


@pytest.mark.parametrize("text", [b"name,mail\n", b"name;mail", b"\x00\x01\x02 nothing of this", b"name\tmail\r\n\r\n"])
def test_a_csv_of_one_line_that_is_no_header_of_the_source_says_so(text: bytes) -> None:
    (seen,) = agree(spec_of("csv"), text, 10)
    assert seen.rules == ("header",)
    assert seen.raw.strip() == text.strip()


def test_a_csv_of_its_header_alone_holds_no_record() -> None:
    assert agree(spec_of("csv"), b"id,name\r\n", 10) == []
