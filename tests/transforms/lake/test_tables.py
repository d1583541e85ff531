"""Tables: made once, widened, listed by range and shard; and committing among rivals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.exceptions import CommitFailedException

from tests.support.small_tables import DAY_S, NAME, NUM_SHARDS, SCHEMA, WIDER, make, put, row
from transforms.lake.location import NAMESPACES, Lake
from transforms.lake.tables import Layout, committed, ensure_table, published_files


def test_lake_and_table_are_made_once_by_many_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        lakes = list(pool.map(make, [tmp_path / "lake"] * 6))
    assert len({str(lake.catalog().load_table(NAME).metadata.table_uuid) for lake in lakes}) == 1
    assert {".".join(name) for name in lakes[0].catalog().list_namespaces()} == set(NAMESPACES)


def test_table_is_widened_once_by_many_at_once(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake")
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: make(lake.path, WIDER), range(6)))
    names = lake.catalog().load_table(NAME).schema().column_names
    assert sorted(names) == sorted({*WIDER.names, "_from", "_to", "_shard"})
    assert lake.catalog().load_table(NAME).schema().find_field("added").optional


def test_narrower_schema_leaves_the_table_as_it_is(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake", WIDER)
    before = lake.catalog().load_table(NAME).schema()
    make(lake.path, SCHEMA)
    assert lake.catalog().load_table(NAME).schema() == before


def test_plain_table_has_no_layout(tmp_path: Path) -> None:
    lake = Lake.at(str(tmp_path / "lake"))
    lake.create()
    table = ensure_table(lake, "ops.plain", pa.schema([pa.field("a", pa.string())]), None)
    assert table.schema().column_names == ["a"]


def test_published_files_tell_range_shard_and_rows(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake")
    assert published_files(lake.catalog().load_table(NAME)) == []
    put(lake, [row(f"e{n}", n * 3_600) for n in range(20)], DAY_S)
    files = published_files(lake.catalog().load_table(NAME))
    assert [(f.from_us, f.to_us, f.shard) for f in files] == [(0, DAY_S * 10**6, shard) for shard in range(NUM_SHARDS)]
    assert sum(f.rows for f in files) == 20
    first = files[0]
    assert first.overlaps(DAY_S * 10**6 - 1, DAY_S * 10**6, 0)
    assert not first.overlaps(DAY_S * 10**6, DAY_S * 10**6 + 1, 0)
    assert not first.overlaps(0, 1, 1)


def test_layout_names_grid_and_shards_and_switches_the_librarys_own_retries_off() -> None:
    assert Layout(grid_s=60, num_shards=8).properties() == {
        "commit.retry.num-retries": "0",
        "headrace.layout.grid-s": "60",
        "headrace.layout.num-shards": "8",
    }


def test_refused_commit_is_tried_again_and_another_error_is_not() -> None:
    refusals = [CommitFailedException("first"), CommitFailedException("second")]

    def commit() -> str:
        if refusals:
            raise refusals.pop()
        return "done"

    assert committed("t", commit) == "done"
    assert not refusals

    def broken() -> str:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        committed("t", broken)
