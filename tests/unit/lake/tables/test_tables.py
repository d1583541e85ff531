"""Tables: made once, widened, listed by range and shard; and committing among rivals."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.exceptions import BadRequestError, CommitFailedException, ServerError
from pyiceberg.manifest import ManifestFile

from contracts.errors import ComponentDownError, ConfigurationError
from lake.location import NAMESPACES, Lake
from lake.tables.iceberg import UPKEEP_PROPERTIES, Layout, _ReadOnce, committed, ensure_table, published_files
from tests.support.small_tables import DAY_S, NAME, NUM_SHARDS, SCHEMA, WIDER, make, put, row


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


def test_layout_names_grid_shards_and_horizon_and_switches_the_librarys_own_retries_off() -> None:
    assert Layout(grid_s=60, num_shards=8, horizon_s=None, derived=True).properties() == {
        "commit.retry.num-retries": "0",
        "headrace.layout.grid-s": "60 (lake format 2)",
        "headrace.layout.num-shards": "8",
        "headrace.layout.horizon-s": "unlimited",
        "headrace.layout.derived-ids": "horizon",
    }


def test_refused_commit_is_tried_again_and_another_error_is_not() -> None:
    outrun = "Cannot add snapshot with sequence number 3 older than last sequence number 4"
    refusals = [
        CommitFailedException("first"),
        ValueError(outrun),
        BadRequestError(f"ValidationException: {outrun}"),
        BadRequestError("Malformed request: Commit validation failed. Please contact support. [ErrorCode: 2010]"),
    ]

    def commit() -> str:
        if refusals:
            raise refusals.pop()
        return "done"

    assert committed("t", commit) == "done"
    assert not refusals

    for error in (KeyError("a bug"), BadRequestError("ValidationException: no such column")):

        def broken(error: Exception = error) -> str:
            raise error

        with pytest.raises(type(error)):
            committed("t", broken)


def test_rivals_that_were_refused_take_turns(tmp_path: Path) -> None:
    """What they do again is dear, and in vain where another commits meanwhile."""
    state, at_work, most = 0, 0, 0
    counts, all_there = threading.Lock(), threading.Barrier(6)
    attempts: Counter[int] = Counter()

    def rival(number: int) -> None:
        def commit() -> None:
            nonlocal state, at_work, most
            attempts[number] += 1
            seen = state
            if attempts[number] == 1:
                all_there.wait(10)
            with counts:
                at_work += attempts[number] > 1
                most = max(most, at_work)
            time.sleep(0.05)
            with counts:
                at_work -= attempts[number] > 1
                if state != seen:
                    raise CommitFailedException("another was faster")
                state += 1

        committed("t", commit, tmp_path)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(rival, range(6)))
    assert (state, most) == (6, 1)
    assert sorted(attempts.values()) == [1, 2, 2, 2, 2, 2]


def test_who_cannot_have_a_turn_goes_on_without(tmp_path: Path) -> None:
    for folder in (tmp_path / "not there", None):
        refusals = [CommitFailedException("first"), CommitFailedException("second")]

        def commit(refusals: list[CommitFailedException] = refusals) -> str:
            if refusals:
                raise refusals.pop()
            return "done"

        assert committed("t", commit, folder) == "done"


def test_a_catalog_that_takes_one_snapshot_a_commit_is_told_at_once() -> None:
    words = "Failed to commit to the table, requirement failed: Adding multiple snapshots in a single update is not supported."

    for kind in (CommitFailedException, BadRequestError):

        def commit(kind: type[Exception] = kind) -> None:
            raise kind(f"{kind.__name__}: {words}")

        with pytest.raises(ConfigurationError, match="no more than one snapshot"):
            committed("t", commit)


@pytest.mark.parametrize(
    ("error", "told"),
    [(CommitFailedException("branch main has changed"), "main has changed"), (ServerError("at ada:s3cr3t@host"), "(ServerError)")],
)
def test_what_a_catalog_refused_is_told_and_what_it_quotes_in_trouble_is_not(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lake.tables.iceberg._COMMIT_DEADLINE_S", -1.0)

    def commit() -> None:
        raise error

    with pytest.raises(ComponentDownError) as raised:
        committed("t", commit)
    assert told in str(raised.value) and "s3cr3t" not in str(raised.value)


def test_each_manifest_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = make(tmp_path / "lake")
    read: list[str] = []
    original = ManifestFile.fetch_manifest_entry

    def reading(manifest: ManifestFile, *args: Any, **options: Any) -> Any:
        read.append(manifest.manifest_path)
        return original(manifest, *args, **options)

    put(lake, [row("a", 0)], 60)
    put(lake, [row("b", 60)], 60)
    table = lake.catalog().load_table(NAME)
    first = published_files(table)
    monkeypatch.setattr(ManifestFile, "fetch_manifest_entry", reading)
    assert published_files(table) == first
    assert read == []
    put(lake, [row("c", 120)], 60)
    assert len(published_files(lake.catalog().load_table(NAME))) == 3


def test_what_was_read_is_forgotten_when_it_is_too_much() -> None:
    known: _ReadOnce[int] = _ReadOnce(6)
    asked: list[str] = []

    def get(path: str) -> tuple[int, ...]:
        def read() -> tuple[int, ...]:
            asked.append(path)
            return (1, 2)

        return known.get(path, read)

    assert [get(path) for path in "abacab"] == [(1, 2)] * 6
    assert asked == list("abcb"), "two fit; the one that was used longest ago goes"


def test_table_of_an_older_version_gets_the_upkeep_properties(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake")
    with lake.catalog().load_table(NAME).transaction() as transaction:
        transaction.remove_properties(*UPKEEP_PROPERTIES)
    with lake.catalog().load_table(NAME).transaction() as transaction:
        transaction.set_properties({"write.metadata.previous-versions-max": "7"})
    make(lake.path)
    properties = lake.catalog().load_table(NAME).properties
    wanted = {**UPKEEP_PROPERTIES, "write.metadata.previous-versions-max": "7"}
    assert {name: properties[name] for name in UPKEEP_PROPERTIES} == wanted, "what an operator has set stays"
