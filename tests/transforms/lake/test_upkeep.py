"""Upkeep: compaction keeps rows and hash, cleaning takes only what nothing names, verifying finds what was changed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.lake_state import claimed, content_hash, scan, table_rows
from tests.support.small_tables import DAY_S, NAME, NUM_SHARDS, folds_of, make, put, row
from transforms.lake.location import Lake
from transforms.lake.tables import LEDGER, LEDGER_SCHEMA, ensure_table, published_files
from transforms.lake.upkeep import compact, folded_tables, list_tables, orphans


def filled(path: Path) -> Lake:
    """Rows of four hours, in ranges of a minute."""
    lake = make(path)
    put(lake, [row(f"e{n}", n * 700, position=n) for n in range(20)], 60)
    return lake


def age(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (time.time() - 100, time.time() - 100))


def test_compaction_merges_ranges_and_changes_no_row_and_no_hash(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake")
    rows, told = table_rows(lake, NAME), claimed(lake, NAME)
    assert compact(lake, NAME, to_s=3_600, run_id="c")[0] == 20
    hours = published_files(lake.catalog().load_table(NAME))
    assert {(f.to_us - f.from_us) // 10**6 for f in hours} == {60, 3_600}
    assert compact(lake, NAME, to_s=DAY_S, run_id="c") == (len(hours), NUM_SHARDS)
    assert (table_rows(lake, NAME), claimed(lake, NAME)) == (rows, told)
    assert content_hash(scan(lake, NAME)) == told[1]


def test_second_compaction_does_nothing(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake")
    compact(lake, NAME, to_s=DAY_S, run_id="c")
    snapshot = lake.catalog().load_table(NAME).current_snapshot()
    assert compact(lake, NAME, to_s=DAY_S, run_id="c") == (NUM_SHARDS, NUM_SHARDS)
    assert compact(lake, NAME, to_s=3_600, run_id="c") == (NUM_SHARDS, NUM_SHARDS)
    assert lake.catalog().load_table(NAME).current_snapshot() == snapshot


def test_orphans_are_old_files_that_no_snapshot_names(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake")
    compact(lake, NAME, to_s=DAY_S, run_id="c")  # the replaced files are named by an older snapshot: time travel needs them
    unpublished = folds_of(lake, [row("new", 5)], DAY_S)
    left = [Path(str(fold.path).removeprefix("file://")) for fold in unpublished]
    half, fresh = lake.temporary / "half", lake.temporary / "fresh"
    half.touch()
    fresh.touch()
    age(half, *lake.path.glob("warehouse/*/*/data/*"))
    assert sorted(orphans(lake, 50)) == sorted([*left, half])
    assert list(orphans(lake, 1_000)) == []


def test_a_file_that_is_committed_while_orphans_are_looked_for_is_none(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake")
    unpublished = folds_of(lake, [row("new", 5)], DAY_S)
    age(*lake.path.glob("warehouse/*/*/data/*"))
    put(lake, [row("new", 5)], DAY_S)
    found = {str(path) for path in orphans(lake, 50)}
    assert found == {str(fold.path).removeprefix("file://") for fold in unpublished}


def test_list_tells_files_rows_and_hash_and_verifies_them(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake")
    ensure_table(lake, LEDGER, LEDGER_SCHEMA, None)
    assert folded_tables(lake) == [NAME]
    ledger, table = sorted(list_tables(lake, verify=True), key=lambda t: t.table)
    assert (ledger.table, ledger.content_hash, ledger.verified) == (LEDGER, None, None)
    assert (table.files, table.rows, table.content_hash, table.verified) == (20, 20, claimed(lake, NAME)[1], True)
    assert next(t.verified for t in list_tables(lake) if t.table == NAME) is None


def test_verifying_finds_a_changed_file(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake")
    path = Path(published_files(lake.catalog().load_table(NAME))[0].path.removeprefix("file://"))
    rows = pq.read_table(path, partitioning=None)
    other = pa.array([b"0" * 16] * len(rows), pa.binary(16))
    pq.write_table(rows.set_column(rows.schema.get_field_index("_row_hash"), "_row_hash", other), path)
    assert [t.verified for t in list_tables(lake, verify=True)] == [False]
