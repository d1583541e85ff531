"""Landing and reading take memory by the block, whatever one record is: measured in a process of its own."""

from __future__ import annotations

import pytest

from tests.support.format_laws import peak_megabytes


@pytest.mark.parametrize(
    "make",
    [
        pytest.param("Repeated(b'', b'a' * (1 << 20), 200, b'')", id="plain", marks=pytest.mark.long),
        pytest.param("Repeated(b'{\"id\":\"', b'a' * (1 << 20), 200, b'\"}\\n{}')", id="a string"),
        pytest.param("Repeated(b'', b'{' * (1 << 20), 200, b'')", id="brackets", marks=pytest.mark.long),
        pytest.param("io.BytesIO(gzip_repeated(b'a' * (1 << 20), 200))", id="gzip"),
        pytest.param("io.BytesIO(zstd_repeated(b'a' * (1 << 20), 200))", id="zstd", marks=pytest.mark.long),
    ],
)
def test_a_json_line_of_200_megabytes_takes_little_memory(make: str) -> None:
    assert peak_megabytes("jsonl", make) < 120


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param("a", id="letters", marks=pytest.mark.long),
        pytest.param('"', id="quotes"),
        pytest.param(",", id="separators", marks=pytest.mark.long),
    ],
)
def test_a_csv_line_of_200_megabytes_takes_little_memory(piece: str) -> None:
    head = "id,name,notes\\n"
    assert peak_megabytes("csv", f"Repeated(b'{head}', b'{piece}' * (1 << 20), 200, b'\\n1,a,b\\n')") < 150


@pytest.mark.parametrize(
    "make",
    [
        pytest.param("Repeated(b'[', b'a' * (1 << 20), 64, b']')", id="no JSON", marks=pytest.mark.long),
        pytest.param("Repeated(b'[{}, \"', b'a' * (1 << 20), 64, b'\"]')", id="a string"),
        pytest.param("Repeated(b'', b' ' * (1 << 20), 64, b'[]')", id="blanks", marks=pytest.mark.long),
        pytest.param("io.BytesIO(gzip_repeated(b'\\\\\"' * (1 << 19), 64))", id="gzip"),
    ],
)
def test_an_element_of_64_megabytes_takes_little_memory(make: str) -> None:
    assert peak_megabytes("json_array", make) < 150


def test_a_header_that_never_ends_takes_little_memory() -> None:
    head = b"Obj\x01\x02\x16avro.schema" + b"\x80\x80\x80\x80\x08"  # of one value that says to be a gigabyte long
    assert peak_megabytes("avro", f"Repeated({head!r}, b'a' * (1 << 20), 400, b'')") < 250
