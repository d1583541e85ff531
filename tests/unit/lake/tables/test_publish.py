"""Publishing folds: no update is lost and the totals are exact, whoever else publishes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from contracts.errors import ConfigurationError, LayoutMismatchError
from lake.location import Lake
from lake.tables.data_files import read_columns, read_rows, with_schema
from lake.tables.iceberg import Layout, ensure_table, published_files
from lake.tables.ipc import decode_rows
from lake.tables.publish import RangeFold, publish, read_positions
from lake.upkeep import compact
from tests.support.lake_state import claimed, content_hash, scan
from tests.support.small_tables import (
    DAY_S,
    NAME,
    NUM_SHARDS,
    SCHEMA,
    WIDER,
    assert_holds,
    folds_of,
    make,
    put,
    row,
    some_rows,
)


def test_stale_folds_of_short_ranges_meet_in_a_long_one_that_came_meanwhile(tmp_path: Path) -> None:
    """Both hours take in the day that a rival published after they were folded; together they are one range."""
    lake = make(tmp_path / "lake")
    hours = [row(f"h{hour}-{i}", hour * 3_600 + 5, position=i) for hour in (1, 5, 9) for i in range(4)]
    day = [row(f"d{i}", i * 4_000, position=i) for i in range(12)]
    stale = folds_of(lake, hours, 3_600)
    put(lake, day, DAY_S)
    publish(lake, NAME, stale, key="event_id", run_id="late")
    assert_holds(lake, hours + day)


def test_stale_fold_takes_in_what_came_meanwhile_and_keeps_its_positions_and_losers(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake")
    ours, theirs = row("e", 5, rank=3, content="x", position=1), row("e", 5, rank=1, content="y", position=2)
    stale = folds_of(lake, [ours], 3_600)
    put(lake, [theirs], 3_600)
    (fold,) = publish(lake, NAME, stale, key="event_id", run_id="late")
    assert_holds(lake, [ours, theirs])
    assert read_positions(fold)["_position"].to_pylist() == [1]
    assert len(fold.losers) == 1


def test_publishing_the_same_again_commits_nothing_and_gives_the_same_positions(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake")
    rows = some_rows(1, 30, ids=20)
    first = put(lake, rows, DAY_S)
    snapshot = lake.catalog().load_table(NAME).current_snapshot()
    files = sorted(lake.path.glob("warehouse/**/*"))
    again = put(lake, rows, DAY_S)
    assert lake.catalog().load_table(NAME).current_snapshot() == snapshot
    assert sorted(lake.path.glob("warehouse/**/*")) == files
    assert [read_positions(f)["_position"].to_pylist() for f in again] == [
        read_positions(f)["_position"].to_pylist() for f in first
    ]
    lost = [[place for data in f.beaten or () for place in decode_rows(data).to_pylist()] for f in (*first, *again)]
    assert lost[: len(first)] == lost[len(first) :], "a winner that is read again has not lost"
    assert not any(f.displaced for f in (*first, *again))


def test_folds_that_were_committed_before_a_failure_are_not_committed_twice(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake")
    folds = folds_of(lake, [row("e", 5)], DAY_S)
    publish(lake, NAME, folds, key="event_id", run_id="one")
    publish(lake, NAME, folds, key="event_id", run_id="again")
    assert len(list(lake.catalog().load_table(NAME).snapshots())) == 1
    assert_holds(lake, [row("e", 5)])


def test_rivals_with_the_same_rows_never_write_the_same_file(tmp_path: Path) -> None:
    """A published file never changes, not even for one with equal rows and another run's id in its dead letters."""
    lake = make(tmp_path / "lake")
    one, two = (folds_of(lake, [row("e", 5)], DAY_S) for _ in range(2))
    assert {f.path for f in one}.isdisjoint({f.path for f in two})
    publish(lake, NAME, one, key="event_id", run_id="one")
    publish(lake, NAME, two, key="event_id", run_id="two")
    assert [f.path for f in published_files(lake.catalog().load_table(NAME))] == [one[0].path]


def test_of_equal_rows_of_two_sources_the_same_is_published_in_either_order(tmp_path: Path) -> None:
    rows = [row("e", 5) | {"_source": source} for source in ("mobile", "web")]
    published = []
    for order in (rows, rows[::-1]):
        lake = make(tmp_path / order[0]["_source"])
        for each in order:
            put(lake, [each], DAY_S)
        published.append(scan(lake, NAME)["_source"].to_pylist())
    assert published == [["mobile"], ["mobile"]]


def test_another_layout_is_refused_as_wrong_use(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake")
    for layout in (Layout(num_shards=NUM_SHARDS + 1), Layout(grid_s=120, num_shards=NUM_SHARDS)):
        with pytest.raises(LayoutMismatchError, match="ingest raw/ again into another lake") as refused:
            ensure_table(lake, NAME, SCHEMA, layout)
        assert refused.value.exit_code == ConfigurationError.exit_code == 2


def test_new_optional_column_is_null_in_old_rows_and_kept_in_new_ones(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake")
    put(lake, [row("a", 5), row("b", 5_000)], 3_600)
    make(lake.path, WIDER)
    assert dict(zip(*(scan(lake, NAME)[c].to_pylist() for c in ("event_id", "added")), strict=True)) == {"a": None, "b": None}
    put(lake, [row("c", 6, added=7)], 3_600, WIDER)
    assert dict(zip(*(scan(lake, NAME)[c].to_pylist() for c in ("event_id", "added")), strict=True)) == {
        "a": None,
        "b": None,
        "c": 7,
    }
    assert_holds(lake, [row("a", 5), row("b", 5_000), row("c", 6)])


def test_writer_with_an_older_contract_and_compaction_keep_a_newer_column(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake")
    put(lake, [row("a", 5)], 60)
    make(lake.path, WIDER)
    put(lake, [row("b", 3_605, added=7), row("c", 3_605, added=8)], 60, WIDER)
    put(lake, [row("d", 3_606)], 60, SCHEMA)
    expected = {"a": None, "b": 7, "c": 8, "d": None}
    assert dict(zip(*(scan(lake, NAME)[c].to_pylist() for c in ("event_id", "added")), strict=True)) == expected
    compact(lake, NAME, to_s=DAY_S, run_id="compaction")
    assert dict(zip(*(scan(lake, NAME)[c].to_pylist() for c in ("event_id", "added")), strict=True)) == expected
    assert claimed(lake, NAME) == (4, content_hash(scan(lake, NAME)))


def test_a_commit_to_another_branch_meanwhile_is_a_lost_race_and_no_error(tmp_path: Path) -> None:
    """A replay commits to its branch while a stream commits to main: their snapshots share the table's sequence numbers."""
    lake = make(tmp_path / "lake")
    put(lake, [row("a", 1)], DAY_S)
    head = lake.catalog().load_table(NAME).current_snapshot()
    assert head
    with lake.catalog().load_table(NAME).manage_snapshots() as snapshots:
        snapshots.create_branch(head.snapshot_id, "other")
    rivals = [[row("b", 2)]]

    def rival(_folds: Sequence[RangeFold]) -> None:
        if rivals:
            put(replace(lake, branch="other"), rivals.pop(), DAY_S)

    publish(lake, NAME, folds_of(lake, [row("c", 3)], DAY_S), key="event_id", run_id="live", before=rival)
    ids = {name: set(read_ids(replace(lake, branch=name))) for name in (None, "other")}
    assert ids == {None: {"a", "c"}, "other": {"a", "b"}}


def read_ids(lake: Lake) -> list[str]:
    """Ids of the published rows."""
    return [
        event_id for file in published_files(lake.load(NAME)) for event_id in read_rows(file.path).column("event_id").to_pylist()
    ]


def test_columns_of_a_file_that_is_older_than_one_of_them_are_read_with_nulls(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake")
    put(lake, [row("a", 1)], DAY_S)
    make(lake, WIDER)
    (file,) = published_files(lake.load(NAME))
    schema = pa.schema([WIDER.field(name) for name in ("event_id", "added")])
    assert with_schema(read_columns(file.path, schema.names), schema).to_pylist() == [{"event_id": "a", "added": None}]
