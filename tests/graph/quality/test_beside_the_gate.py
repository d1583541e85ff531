"""Rows that a job of a version before commits to main, beside the gate: they are taken in, and none of them is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from lake.location import AUDIT, Lake
from lake.tables import exchange, gate
from lake.tables import publish as publishing
from lake.tables.audit import begin_audit
from lake.tables.expire import expire_snapshots
from lake.tables.gate import adopt
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
