"""Transactions that move several branches: none of them may lose what a rival committed to one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.update import AssertRefSnapshotId
from pyiceberg.table.update.snapshot import ManageSnapshots

from lake.location import Lake
from lake.tables.data_files import read_rows, write_rows
from lake.tables.exchange import exchange_files
from lake.tables.iceberg import RUN_PROPERTY, PublishedFile, published_files
from lake.tables.transactions import RefTransaction
from tests.support.processes import ROOT
from tests.support.small_tables import NAME, make, put, row

HOUR_S = 3_600
_BESIDE = re.compile(r"\.transaction\(\)|\.manage_snapshots\(\)|(?<!Ref)Transaction\(\w")
_NO_CODE = {"tests", "docs", "requirements"}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = make(tmp_path / "lake")
    put(lake, [row("first", 5)], HOUR_S)
    return lake


def move_both(stale: Table, file: PublishedFile) -> None:
    """As a fold whose rows go into main and among the dropped ones."""
    new = [write_rows(stale, read_rows(file.path), file.from_us, file.to_us, file.shard) for _ in range(2)]
    with RefTransaction(stale) as transaction:
        exchange_files(stale, transaction, [], new[:1], {RUN_PROPERTY: "r"}, "dropped")
        exchange_files(stale, transaction, [file], new[1:], {RUN_PROPERTY: "r"}, "main")


def test_a_branch_that_is_moved_second_keeps_what_a_rival_committed_to_it(lake: Lake) -> None:
    stale = lake.load(NAME)
    file = published_files(stale)[0]
    put(lake, [row("rival", 9 * HOUR_S, position=99)], HOUR_S)
    with pytest.raises(CommitFailedException, match="main has changed"):
        move_both(stale, file)
    assert sorted(lake.load(NAME).scan().to_arrow().column("event_id").to_pylist()) == ["first", "rival"]


def test_a_branch_that_was_to_be_new_and_is_there_refuses_the_commit(lake: Lake) -> None:
    stale = lake.load(NAME)
    file = published_files(stale)[0]
    move_both(lake.load(NAME), file)
    with pytest.raises(CommitFailedException, match="dropped was created concurrently"):
        move_both(stale, file)


def test_a_branch_that_is_moved_twice_is_asserted_where_it_was_loaded(lake: Lake) -> None:
    table = lake.load(NAME)
    move_both(table, published_files(table)[0])
    assert {"main", "dropped"} <= lake.load(NAME).metadata.refs.keys()


def test_a_branch_that_is_set_to_where_it_was_keeps_what_a_rival_committed_to_it(lake: Lake) -> None:
    stale = lake.load(NAME)
    head = stale.metadata.current_snapshot_id
    assert head
    with RefTransaction(stale) as transaction, ManageSnapshots(transaction) as manage:
        manage.create_branch(head, "audit")
    stale = lake.load(NAME)
    put(replace(lake, branch="audit"), [row("rival", 9 * HOUR_S, position=99)], HOUR_S)
    moved = lake.load(NAME).metadata.refs["audit"]
    assert moved.snapshot_id != head
    refused = pytest.raises(CommitFailedException, match="audit has changed")
    with refused, RefTransaction(stale) as transaction, ManageSnapshots(transaction) as manage:
        manage.create_tag(head, "first").create_branch(head, "audit")
    assert lake.load(NAME).metadata.refs["audit"] == moved


def test_a_branch_that_is_only_read_refuses_the_commit_where_it_has_moved_on(lake: Lake) -> None:
    stale = lake.load(NAME)
    file = published_files(stale)[0]
    new = write_rows(stale, read_rows(file.path), file.from_us, file.to_us, file.shard)
    put(lake, [row("rival", 9 * HOUR_S, position=99)], HOUR_S)
    with pytest.raises(CommitFailedException, match="main has changed"), RefTransaction(stale, reads=("main",)) as transaction:
        exchange_files(stale, transaction, [], [new], {RUN_PROPERTY: "r"}, "dropped")


def test_a_fold_asserts_both_of_its_branches_whichever_it_changes(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    asserted: set[str] = set()
    commit = Table._do_commit

    def seen(table: Table, updates: Any, requirements: Any) -> None:
        asserted.update(one.ref for one in requirements if isinstance(one, AssertRefSnapshotId))
        commit(table, updates, requirements)

    monkeypatch.setattr(Table, "_do_commit", seen)
    put(lake, [row("second", 9 * HOUR_S, position=1)], HOUR_S)
    assert asserted == {"main", "dropped"}


def test_of_several_tags_that_go_each_is_asserted(lake: Lake) -> None:
    table = lake.load(NAME)
    head = table.metadata.current_snapshot_id
    assert head
    with RefTransaction(table) as transaction, ManageSnapshots(transaction) as manage:
        manage.create_tag(head, "a").create_tag(head, "b")
    stale = lake.load(NAME)
    with RefTransaction(lake.load(NAME)) as transaction, ManageSnapshots(transaction) as manage:
        manage.remove_tag("b")
    refused = pytest.raises(CommitFailedException, match="b is missing")
    with refused, RefTransaction(stale) as transaction, ManageSnapshots(transaction) as manage:
        manage.remove_tag("a").remove_tag("b")
    assert "a" in lake.load(NAME).metadata.refs


def test_no_other_kind_of_transaction_is_begun() -> None:
    folders = [found.parent for found in ROOT.glob("*/__init__.py") if found.parent.name not in _NO_CODE]
    assert len(folders) > 8
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in folders
        for path in folder.rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if _BESIDE.search(line)
    ]
    assert found == [], "use lake.tables.transactions.RefTransaction"
