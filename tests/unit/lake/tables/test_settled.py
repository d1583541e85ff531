"""What consumers read of a table with a horizon: the newest state that a sweep has ended in."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lake.location import Lake
from lake.runs.manifest import RunSummary, published_table
from lake.tables.iceberg import settled_age_s, settled_snapshot
from lake.tables.sweep import stay_settled, sweep
from lake.upkeep import compact, list_tables
from operations import streams
from tests.support.lake_state import claimed
from tests.support.small_tables import NAME, make, put, row

HORIZON_S = 86_400


def swept(lake: Lake) -> None:
    sweep(lake, NAME, key="event_id", run_id="sweep")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A settled table of two rows, and a copy of one of them that no sweep has seen."""
    made = make(tmp_path / "lake", horizon_s=HORIZON_S)
    put(made, [row("a", 0), row("b", 60)], 60)
    swept(made)
    put(made, [row("a", 600, content="y", position=1)], 60, run_id="later")
    return made


def test_a_manifest_tells_the_settled_snapshot(lake: Lake) -> None:
    told = published_table(lake, NAME)
    settled = lake.load(NAME).metadata.snapshot_by_name("settled")
    assert settled and told.snapshot_id == settled.snapshot_id
    assert told.rows == 2 and claimed(lake, NAME)[0] == 3
    swept(lake)
    again = published_table(lake, NAME)
    head = lake.load(NAME).current_snapshot()
    assert head and again.snapshot_id == head.snapshot_id != told.snapshot_id
    assert (again.rows, again.content_hash) == (told.rows, told.content_hash)


def test_without_a_horizon_or_a_sweep_the_current_snapshot_is_read(tmp_path: Path) -> None:
    for name, horizon_s in (("none", 0), ("never", HORIZON_S)):
        made = make(tmp_path / name, horizon_s=horizon_s)
        assert settled_snapshot(made.load(NAME)) is None and settled_age_s(made.load(NAME), time.time()) is None
        put(made, [row("a", 0)], 60)
        put(made, [row("a", 600)], 60)
        table = made.load(NAME)
        assert settled_snapshot(table) == table.current_snapshot()
        assert published_table(made, NAME).rows == 2
        assert (settled_age_s(table, time.time()) is None) == (horizon_s == 0)


def test_the_age_is_that_of_the_oldest_commit_that_is_not_settled(lake: Lake) -> None:
    first = lake.load(NAME).current_snapshot()
    put(lake, [row("c", 660)], 60, run_id="later still")
    assert first
    now_s = first.timestamp_ms / 1_000 + 400
    assert settled_age_s(lake.load(NAME), now_s) == pytest.approx(400)
    (told,) = list_tables(lake)
    assert told.settled_age_s
    swept(lake)
    assert settled_age_s(lake.load(NAME), now_s) == 0
    assert [t.settled_age_s for t in list_tables(lake)] == [0]


def test_a_compaction_of_a_settled_table_leaves_it_settled(lake: Lake) -> None:
    swept(lake)
    assert compact(lake, NAME, to_s=86_400, run_id="compact")[0] > 2
    table = lake.load(NAME)
    assert settled_snapshot(table) == table.current_snapshot()
    assert table.metadata.snapshot_by_name("settled.dropped") == table.metadata.snapshot_by_name("dropped")


def test_a_compaction_settles_nothing_that_it_found_unsettled(lake: Lake) -> None:
    settled = settled_snapshot(lake.load(NAME))
    compact(lake, NAME, to_s=86_400, run_id="compact")
    stay_settled(lake, NAME, "compact")
    table = lake.load(NAME)
    assert settled_snapshot(table) == settled != table.current_snapshot()


@pytest.mark.parametrize(
    ("state", "settled_s", "late"),
    [("running", 301.0, True), (streams.SUBMITTED, 301.0, True), ("running", 299.0, False), ("running", None, False),
     ("stopped", 9_000.0, False), ("finished", 9_000.0, False)],
)  # fmt: skip
def test_a_stream_is_late_when_its_rows_wait_five_minutes_to_be_settled(state: str, settled_s: float | None, late: bool) -> None:
    run = RunSummary("run-1", state, "2026-11-02T10:00:00Z", {"source": "web", "pipeline": "ingest"})
    problems = streams._problems(run, NAME, settled_s)
    assert bool(problems) == late
    assert all("301 s to be settled" in problem for problem in problems)
