from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.compiler.exact import Unheld
from tests.support.format_laws import agree, is_damaged, read_whole, small_pieces, spec_of

PARQUET = spec_of("parquet")


@pytest.fixture(autouse=True, scope="module")
def _blocks_of_seven_rows() -> Iterator[None]:
    with small_pieces(70):
        yield


def file_of(table: pa.Table, group: int = 10, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=group, **options)
    return out.getvalue()


def numbered(rows: int) -> pa.Table:
    return pa.table({"id": list(range(rows)), "text": [f"row {i}" for i in range(rows)]})


def break_group(data: bytes, number: int) -> bytes:
    """The same file with noise where the first column of a row group lies."""
    column = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(number).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    return data[:start] + b"\xff" * column.total_compressed_size + data[start + column.total_compressed_size :]


@given(rows=st.integers(0, 60), group=st.integers(1, 30), chunk=st.integers(1, 2_000))
def test_rows_come_in_any_chunks_also_within_a_row_group(rows: int, group: int, chunk: int) -> None:
    table = numbered(rows)
    assert [s.value for s in agree(PARQUET, file_of(table, group), chunk)] == table.to_pylist()


def test_a_file_of_nothing_has_no_records() -> None:
    assert agree(PARQUET, b"", 10) == []
    assert agree(PARQUET, file_of(numbered(0)), 10) == []


@pytest.mark.parametrize("cut", [1, 4, 8, 100])
def test_a_file_that_is_cut_is_one_damage(cut: int) -> None:
    data = file_of(numbered(100))[:-cut]
    seen = agree(PARQUET, data, 10)
    assert [s.rules for s in seen] == [("damage",)]
    assert seen[0].raw == data
    assert is_damaged(PARQUET, data)


@pytest.mark.parametrize(
    "data", [b"PAR1", b"PAR1PAR1", b"not parquet", b"PAR1" + b"\xff" * 40 + b"\x10\x00\x00\x00PAR1", b"\x00" * 300]
)
def test_what_is_no_parquet_is_one_damage(data: bytes) -> None:
    assert [s.rules for s in agree(PARQUET, data, 10)] == [("damage",)]


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_a_broken_row_group_is_damage_for_its_rows_and_the_others_are_read(compression: str) -> None:
    data = break_group(file_of(numbered(50), compression=compression), 2)
    seen = agree(PARQUET, data, 10)
    assert [s.ordinal for s in seen if s.rules == ("damage",)] == list(range(20, 30))
    assert [s.value["id"] for s in seen if not s.violations] == [*range(20), *range(30, 50)]


def test_values_of_every_type_are_plain() -> None:
    table = pa.table(
        {
            "m": pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64())),
            "ns": pa.array([1_793_613_600_000_000_999], pa.timestamp("ns", "UTC")),
            "d": pa.array([b"\xff"], pa.binary()),
            "l": [[{"x": 1}]],
            "e": pa.array(["one"]).dictionary_encode(),
        }
    )
    (seen,) = agree(spec_of("parquet", columns=table.column_names), file_of(table), 10)
    assert seen.value == {"m": {"a": 2}, "ns": datetime(2026, 11, 2, 10, tzinfo=UTC), "d": b"\xff", "l": [{"x": 1}], "e": "one"}
    assert json.loads(seen.raw)["ns"] == "2026-11-02T10:00:00Z"


def test_a_date_that_no_type_holds_is_a_value_that_no_column_takes() -> None:
    table = pa.table(
        {"id": [1, 2, 3], "at": pa.array([0, 2**62, 5], pa.timestamp("us", "UTC")), "d": pa.array([0, 1, 2**31 - 1], pa.date32())}
    )
    seen = agree(PARQUET, file_of(table), 10)
    assert [s.rules for s in seen] == [(), (), ()]  # who reads the column rejects the record, nobody else
    unheld = [[name for name, value in s.value.items() if isinstance(value, Unheld)] for s in seen]
    assert unheld == [[], ["at"], ["d"]]
    assert (seen[1].value["at"].rule, seen[1].value["at"].stored) == ("timestamp", 2**62)


@given(seed=st.integers(0, 10**6))
def test_no_edit_raises(seed: int) -> None:
    rng = Random(seed)
    data = bytearray(file_of(numbered(40), compression="zstd"))
    for _ in range(rng.randrange(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    agree(PARQUET, bytes(data), 100)


def test_a_row_group_of_many_rows_becomes_objects_piece_by_piece() -> None:
    with small_pieces(81_920):
        data = file_of(numbered(30_000), 30_000)
        seen = read_whole(PARQUET, data)
    assert [s.value["id"] for s in seen] == list(range(30_000))
