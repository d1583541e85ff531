"""Who does not go by the gate: a job of a version before, which commits to main; somebody who deletes a branch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from contracts.errors import ConfigurationError
from lake.location import AUDIT, Lake
from lake.tables import exchange, gate
from lake.tables import publish as publishing
from lake.tables.adopt import adopt
from lake.tables.audit import begin_anew, begin_audit
from lake.tables.expire import expire_snapshots
from lake.tables.iceberg import dropped_branch, settled_refs
from lake.upkeep import maintain
from tests.support.gated_table import HOUR_S, judging, pairs_at, passed
from tests.support.lake_state import claimed, content_hash, scan
from tests.support.small_tables import NAME, make, put, row


@pytest.fixture(autouse=True)
def _judge() -> Iterator[None]:
    with judging():
        yield


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A gated table with a published row."""
    lake = make(tmp_path / "lake", horizon_s=600)
    begin_audit(lake, NAME, HOUR_S, "begin")
    put(lake, [at("a", 60)], HOUR_S)
    passed(lake)
    return lake


def at(name: str, second: int, content: str = "x") -> dict[str, Any]:
    """A row of a place of its own."""
    return row(name, second, content=content, position=second)


def put_beside(lake: Lake, rows: list[dict[str, Any]]) -> None:
    """What a job does that knows of no gate."""
    with (
        mock.patch.object(publishing, "load_to_write", lambda lake, name: (lake, lake.load(name))),
        mock.patch.object(exchange, "_note_heads", lambda *_: None),
    ):
        put(lake, rows, HOUR_S)


def both(lake: Lake) -> set[tuple[str, int]]:
    """What readers see, which is what the audit branch has; its totals are right."""
    rows = scan(lake, NAME)
    assert claimed(lake, NAME) == (len(rows), content_hash(rows))
    assert pairs_at(lake, "main") == pairs_at(lake, AUDIT) == pairs_at(lake, "settled")
    return pairs_at(lake, "main")


def test_rows_that_came_to_main_stay_there_though_jobs_commit_to_the_audit_branch_after_them(lake: Lake) -> None:
    put_beside(lake, [at("old", 120)])
    put(lake, [at("b", 180)], HOUR_S)
    passed(lake)
    assert both(lake) == {("a", 1), ("old", 2), ("b", 3)}
    put(lake, [at("c", 240)], HOUR_S)
    put_beside(lake, [at("older", 7_300)])
    passed(lake)
    assert both(lake) == {("a", 1), ("old", 2), ("b", 3), ("c", 4), ("older", 121)}


def test_rows_that_come_to_main_while_a_pass_judges_are_taken_in_by_it(lake: Lake) -> None:
    put(lake, [at("b", 180)], HOUR_S)
    publish, late = gate.publish_candidate, [[at("old", 120)]]

    def beaten(*given: Any) -> bool | None:
        if late:
            put_beside(lake, late.pop())
        return publish(*given)

    with mock.patch("quality.gate.publish_candidate", beaten):
        passed(lake)
    assert both(lake) == {("a", 1), ("old", 2), ("b", 3)}


def test_what_main_keeps_of_a_held_partition_is_not_taken_for_rows_that_came(lake: Lake) -> None:
    put(lake, [at("a2", 120, "bad"), at("b", 4_000)], HOUR_S)
    passed(lake)
    put_beside(lake, [at("old", 4_100)])
    expire_snapshots(lake, NAME, keep_s=0)
    assert adopt(lake, NAME, "event_id", "again") == 1, "the row that came, and nothing else"
    assert adopt(lake, NAME, "event_id", "again") == 0
    passed(lake)
    assert pairs_at(lake, "main") == {("a", 1), ("b", 66), ("old", 68)}
    assert pairs_at(lake, AUDIT) == {("a", 1), ("a2", 2), ("b", 66), ("old", 68)}


def test_the_branch_of_dropped_rows_is_found_again_too_or_said_to_be_lost(lake: Lake) -> None:
    beside = dropped_branch(AUDIT)
    put(lake, [at("a", 200), at("b", 240, "bad"), at("b", 300, "bad")], HOUR_S)
    passed(lake)
    dropped = pairs_at(lake, beside)
    assert dropped
    with lake.catalog().load_table(NAME).manage_snapshots() as manage:
        manage.remove_branch(beside)
    put(lake, [at("c", 4_000)], HOUR_S)
    assert pairs_at(lake, beside) == dropped
    with lake.catalog().load_table(NAME).manage_snapshots() as manage:
        manage.remove_branch(beside)
        for tag in settled_refs(AUDIT):
            manage.remove_tag(tag)
    expire_snapshots(lake, NAME, keep_s=0)
    with pytest.raises(ConfigurationError, match="its audit branch was deleted, and its snapshots have expired"):
        put(lake, [at("d", 4_100)], HOUR_S)
    assert begin_anew(lake, NAME) == [(0, HOUR_S * 10**6)]
    put(lake, [at("d", 4_100)], HOUR_S)
    passed(lake)
    assert both(lake) == {("a", 1), ("d", 68)}


def test_upkeep_beside_a_stream_merges_files_of_the_audit_branch_and_main_follows(lake: Lake) -> None:
    for number in range(4):
        put(lake, [at(f"e{number}", 120 + 60 * number)], 60)
    done = maintain(lake, NAME, closed_before_us=7_200 * 10**6, run_id="m", keep_snapshots_s=3_600)
    assert done.files_after < done.files_before
    assert pairs_at(lake, "main") == {("a", 1)}
    passed(lake)
    assert len(both(lake)) == 5
