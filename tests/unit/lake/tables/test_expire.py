"""Expiry and cleaning: what nothing needs goes, what a reader, a rival or a branch needs stays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.table.update.snapshot import ExpireSnapshots

from lake.location import Lake
from lake.tables.expire import expire_snapshots, orphans
from lake.tables.publish import publish
from lake.upkeep import compact
from tests.support.lake_state import claimed, content_hash, scan, table_rows
from tests.support.small_tables import DAY_S, NAME, folds_of, make, put, row


def filled(path: Path) -> Lake:
    """Rows of four hours, in ranges of a minute, then of a day: two commits."""
    lake = make(path)
    put(lake, [row(f"e{n}", n * 700, position=n) for n in range(20)], 60)
    compact(lake, NAME, to_s=DAY_S, run_id="c")
    return lake


def age(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (time.time() - 100, time.time() - 100))


def files(lake: Lake) -> set[Path]:
    """Every file of the tables."""
    return {path for path in lake.path.glob("warehouse/**/*") if path.is_file()}


def orphan_paths(lake: Lake, older_than_s: float) -> list[Path]:
    return [Path(file.location) for file in orphans(lake, older_than_s)]


def needed(lake: Lake) -> set[Path]:
    """What the table needs, asked of pyiceberg itself."""
    table = lake.catalog().load_table(NAME)
    uris = {table.metadata_location, *(entry.metadata_file for entry in table.metadata.metadata_log)}
    for snapshot in table.snapshots():
        uris |= {snapshot.manifest_list, *(m.manifest_path for m in snapshot.manifests(table.io))}
        uris |= {task.file.file_path for task in table.scan(snapshot_id=snapshot.snapshot_id).plan_files()}
    return {Path(uri.removeprefix("file://")) for uri in uris}


def test_expiry_leaves_exactly_what_the_table_needs(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake")
    rows, told, before = table_rows(lake, NAME), claimed(lake, NAME), files(lake)
    old = len(lake.catalog().load_table(NAME).snapshots()) - 1
    expired = expire_snapshots(lake, NAME, keep_s=0)
    assert (expired.snapshots, expired.files) == (old, len(before - files(lake)))
    assert expired.size_bytes > 0
    assert len(lake.catalog().load_table(NAME).snapshots()) == 1
    assert files(lake) == needed(lake)
    assert (table_rows(lake, NAME), claimed(lake, NAME), content_hash(scan(lake, NAME))) == (rows, told, told[1])
    assert expire_snapshots(lake, NAME, keep_s=0).snapshots == 0


def test_young_snapshots_and_too_few_of_them_stay(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake")
    before = files(lake)
    count = len(lake.catalog().load_table(NAME).snapshots())
    assert expire_snapshots(lake, NAME, keep_s=3_600).snapshots == 0
    assert expire_snapshots(lake, NAME, keep_s=0, at_least=count).snapshots == 0
    assert files(lake) == before


def test_branches_and_tags_stay_whole(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake")
    put(lake, [row("a", 1, content="first")], 60)
    table = lake.catalog().load_table(NAME)
    first = table.current_snapshot()
    assert first is not None
    table.manage_snapshots().create_tag(first.snapshot_id, "kept").commit()
    put(lake, [row("a", 2, rank=-0, content="first"), row("b", 3)], 60)
    put(lake, [row("c", 3)], 60)
    expire_snapshots(lake, NAME, keep_s=0)
    table = lake.catalog().load_table(NAME)
    assert len(table.snapshots()) == 2
    assert table.scan(snapshot_id=first.snapshot_id).to_arrow().column("event_id").to_pylist() == ["a"]
    assert files(lake) == needed(lake)


def test_files_that_a_rival_has_written_and_not_committed_stay(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake")
    waiting = folds_of(lake, [row("new", 5)], DAY_S)
    expire_snapshots(lake, NAME, keep_s=0)
    publish(lake, NAME, waiting, key="event_id", run_id="rival")
    assert len(table_rows(lake, NAME)) == 21
    assert content_hash(scan(lake, NAME)) == claimed(lake, NAME)[1]


def test_rival_that_moves_a_reference_meanwhile_makes_expiry_look_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = filled(tmp_path / "lake")
    table = lake.catalog().load_table(NAME)
    current = table.current_snapshot()
    assert current is not None
    earlier = next(s.snapshot_id for s in table.snapshots() if s.snapshot_id == current.parent_snapshot_id)
    original: Callable[[Any], None] = ExpireSnapshots.commit
    rivals = [lambda: table.manage_snapshots().rollback_to_snapshot(earlier).commit()]

    def commit(expiry: Any) -> None:
        if rivals:
            rivals.pop()()
        original(expiry)

    monkeypatch.setattr(ExpireSnapshots, "commit", commit)
    expire_snapshots(lake, NAME, keep_s=0)
    now = lake.catalog().load_table(NAME).current_snapshot()
    assert now is not None
    assert now.snapshot_id == earlier
    assert files(lake) == needed(lake)


def test_many_at_once_expire_each_snapshot_once(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake")
    for n in range(4):
        put(lake, [row(f"x{n}", n)], 60)
    old = len(lake.catalog().load_table(NAME).snapshots()) - 1
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: expire_snapshots(lake, NAME, keep_s=0), range(4)))
    assert sum(e.snapshots for e in found) == old
    assert content_hash(scan(lake, NAME)) == claimed(lake, NAME)[1]
    assert needed(lake) <= files(lake)


def test_orphans_are_old_files_that_no_snapshot_names(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake")  # the replaced files are named by an older snapshot: time travel needs them
    unpublished = folds_of(lake, [row("new", 5)], DAY_S)
    left = [Path(str(fold.path).removeprefix("file://")) for fold in unpublished]
    half, fresh = lake.temporary / "half", lake.temporary / "fresh"
    half.touch()
    fresh.touch()
    age(half, *lake.path.glob("warehouse/*/*/*/*"))
    assert sorted(orphan_paths(lake, 50)) == sorted([*left, half])
    assert list(orphans(lake, 1_000)) == []


def test_metadata_of_a_commit_that_was_refused_is_an_orphan(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake")
    folder = Path(lake.catalog().load_table(NAME).location().removeprefix("file://")) / "metadata"
    refused = [folder / name for name in ("00009-refused.metadata.json", "snap-1-0-refused.avro", "refused-m0.avro")]
    for path in refused:
        path.touch()
    age(*lake.path.glob("warehouse/*/*/*/*"))
    assert sorted(orphan_paths(lake, 50)) == sorted(refused)


def test_files_of_an_expiry_that_was_killed_are_orphans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = filled(tmp_path / "lake")

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            expire_snapshots(lake, NAME, keep_s=0)
    age(*lake.path.glob("warehouse/*/*/*/*"))
    assert set(orphan_paths(lake, 50)) == files(lake) - needed(lake) != set()


def test_a_file_that_is_committed_while_orphans_are_looked_for_is_none(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake")
    put(lake, [row(f"e{n}", n * 700, position=n) for n in range(20)], 60)
    unpublished = folds_of(lake, [row("new", 5)], DAY_S)
    age(*lake.path.glob("warehouse/*/*/data/*"))
    put(lake, [row("new", 5)], DAY_S)
    found = {file.location for file in orphans(lake, 50)}
    assert found == {str(fold.path).removeprefix("file://") for fold in unpublished}
