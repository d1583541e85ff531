"""Files that are exchanged by name: what other readers find in the manifests and summaries."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table

from lake.location import Lake
from lake.tables.data_files import read_rows, write_rows
from lake.tables.exchange import exchange_files
from lake.tables.iceberg import RUN_PROPERTY, Layout, PublishedFile, ensure_table, published_files
from lake.tables.swap import CommitLabels, replace_files
from lake.tables.transactions import RefTransaction
from tests.support.small_tables import NAME, SCHEMA, make, put, row, some_rows

HOUR_S = 3_600


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = make(tmp_path / "lake")
    for hour in range(3):
        put(lake, [row(f"h{hour}-{i}", hour * HOUR_S + 5, position=10 * hour + i) for i in range(4)], HOUR_S)
    return lake


def rewritten(table: Table, file: PublishedFile) -> str:
    return write_rows(table, read_rows(file.path).slice(0, 1), file.from_us, file.to_us, file.shard)


def test_summaries_add_up_over_files_that_go_and_come(lake: Lake) -> None:
    table = lake.load(NAME)
    first, *others = published_files(table)
    with RefTransaction(table) as transaction:
        exchange_files(table, transaction, [first], [rewritten(table, first)], {RUN_PROPERTY: "r"}, "main")
    table = lake.load(NAME)
    files = published_files(table)
    assert {file.path for file in others} < {file.path for file in files}
    snapshot = table.current_snapshot()
    assert snapshot and snapshot.summary
    told = snapshot.summary.additional_properties
    assert int(told["total-data-files"]) == len(files)
    assert int(told["total-records"]) == sum(file.rows for file in files) == table.scan().to_arrow().num_rows
    assert int(told["total-files-size"]) == sum(file.size_bytes for file in files)


def test_an_exchange_on_a_state_that_has_moved_on_is_refused(lake: Lake) -> None:
    stale = lake.load(NAME)
    first = published_files(stale)[0]
    new = rewritten(stale, first)
    put(lake, [row("later", 9 * HOUR_S, position=99)], HOUR_S)
    for gone in ([first], []):  # also where nothing goes
        with pytest.raises(CommitFailedException), RefTransaction(stale) as transaction:
            exchange_files(stale, transaction, gone, [new], {RUN_PROPERTY: "r"}, "main")


def test_manifests_have_counts_of_all_columns_and_bounds_of_those_that_follow_the_files(tmp_path: Path) -> None:
    """Without counts DuckDB takes a column for one without nulls (duckdb-iceberg#782)."""
    lake = Lake.at(str(tmp_path / "lake"))
    lake.create()
    ensure_table(lake, NAME, SCHEMA, Layout())
    put(lake, some_rows(1, 30, ids=20), HOUR_S)
    table = lake.load(NAME)
    names = {field.field_id: field.name for field in table.schema().fields}
    for task in table.scan().plan_files():
        file = task.file
        assert {names.get(id_) for id_ in file.value_counts} >= set(SCHEMA.names)
        assert {names.get(id_) for id_ in file.null_value_counts} >= set(SCHEMA.names)
        assert {names.get(id_) for id_ in file.lower_bounds} == {"_from", "_to", "_shard", "_window_time", "_revision"} | (
            {"_received_at"} & set(SCHEMA.names)
        )


def test_a_swap_that_changes_nothing_leaves_a_state_with_its_labels(tmp_path: Path) -> None:
    """Also of a table that never had a row."""
    lake = make(tmp_path / "lake")
    table = lake.load(NAME)
    snapshot_id = replace_files(table, [], [], CommitLabels("r", properties={"said": "so"}, after="tag"), "main")
    table = lake.load(NAME)
    snapshot = table.current_snapshot()
    assert snapshot and snapshot.summary and snapshot.snapshot_id == snapshot_id == table.metadata.refs["tag"].snapshot_id
    assert snapshot.summary.additional_properties["said"] == "so"
