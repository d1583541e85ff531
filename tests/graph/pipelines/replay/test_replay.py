"""The law of replay: what is promoted equals what a fresh lake would hold; what is rolled back equals what was there."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.errors import ConfigurationError
from lake.runs.replays import Step, add_event, replay_of
from lake.tables.data_files import read_rows
from lake.tables.iceberg import published_files
from lake.tables.publish import fold_range, publish
from lake.upkeep import list_tables
from operations.replay.promote import discard, promote, rollback
from pipelines.replay.plan import make_plan
from pipelines.replay.run import resume_replay, run_replay
from tests.support.shop import DAY, HOUR_US, LINES, TABLE, WEB, Shop, event, strict


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """With two files: hours 8 to 11, repeats, and records that the contract refuses."""
    shop = Shop(tmp_path)
    shop.ingest(LINES[:90])
    shop.ingest(LINES[60:])
    return shop


def test_a_replay_without_a_change_changes_nothing(shop: Shop) -> None:
    before = shop.state()
    report = shop.run("same", 8, 12)
    assert report.exit_code == 0
    assert shop.state() == before
    done = shop.promote("same")
    assert (done.added, done.removed, done.changed) == (0, 0, 0)
    assert shop.state() == before
    assert all(t.verified is not False for t in list_tables(shop.lake(), verify=True))


@pytest.mark.parametrize("window", [3_600, 86_400])
def test_what_is_promoted_is_what_a_fresh_lake_would_hold_and_a_rollback_undoes_it(tmp_path: Path, window: int) -> None:
    shop = Shop(tmp_path)
    shop.ingest(LINES[:90], window=window)
    shop.ingest(LINES[60:], window=window)
    before, ledger = shop.state(), shop.ledger()
    shop.write_spec(strict(shop.spec))
    shop.ingest(LINES, "fresh")
    shop.run("mend", 8, 12)
    assert shop.state() == before, "the live table is untouched"
    done = shop.promote("mend")
    assert (done.added, done.removed, done.changed) == (0, 3, 0)
    assert shop.state() == shop.state("fresh")
    now, fresh = shop.ledger(), shop.ledger("fresh")
    assert (now.out, now.filtered, now.balanced) == (fresh.out, 3, True)
    assert now.dead_letter == ledger.dead_letter
    assert all(t.verified is not False for t in list_tables(shop.lake(), verify=True))
    back = rollback("mend", shop.project, shop.lake())
    assert (back.added, back.removed, back.changed) == (3, 0, 0)
    assert shop.state() == before
    assert shop.ledger() == ledger
    assert all(t.verified is not False for t in list_tables(shop.lake(), verify=True))


def test_records_that_were_all_refused_come_and_go_again(tmp_path: Path) -> None:
    """Nothing was ever published: on a branch the table gets rows before it has any."""
    lines, shop = [event(n, 8) for n in range(5)], Shop(tmp_path)
    shop.write_spec({**shop.spec, "columns": {**shop.spec["columns"], "event_type": "messageId"}})
    shop.ingest(lines)
    before, ledger = shop.state(), shop.ledger()
    assert before[0] == 0 and ledger.dead_letter == len(lines)
    shop.write_spec(WEB)
    shop.ingest(lines, "fresh")
    shop.run("mend", 8, 9)
    assert shop.state() == before
    assert shop.promote("mend").added == len(lines)
    assert shop.state() == shop.state("fresh")
    rollback("mend", shop.project, shop.lake())
    assert (shop.state(), shop.ledger()) == (before, ledger)
    assert all(t.verified is not False for t in list_tables(shop.lake(), verify=True))


def test_records_that_are_all_refused_now_become_the_first_dead_letters(tmp_path: Path) -> None:
    lines, shop = [event(n, 8) for n in range(5)], Shop(tmp_path)
    shop.ingest(lines)
    assert shop.ledger().dead_letter == 0
    shop.write_spec({**shop.spec, "columns": {**shop.spec["columns"], "event_type": "messageId"}})
    shop.run("break", 8, 9)
    assert shop.promote("break").removed == len(lines)
    assert shop.ledger().dead_letter == len(lines) and shop.state()[0] == 0


def test_only_the_range_changes(shop: Shop) -> None:
    before = shop.state()
    shop.write_spec(strict(shop.spec))
    shop.run("part", 8, 9)  # m-4 and m-44 are of hour 8, m-5 of hour 9
    done = shop.promote("part")
    assert (done.added, done.removed, done.changed) == (0, 2, 0)
    assert shop.state()[0] == before[0] - 2


def test_live_commits_during_a_replay_survive_it_and_its_rollback(shop: Shop) -> None:
    before = shop.state()
    shop.write_spec(strict(shop.spec))
    shop.run("mend", 8, 12)
    later = [event(n, 8 + n % 4) for n in range(200, 220)]
    shop.ingest(later)
    done = shop.promote("mend")
    assert done.removed == 3
    assert shop.state()[0] == before[0] - 3 + 20
    shop.ingest([event(n, 8 + n % 4) for n in range(220, 230)])
    rollback("mend", shop.project, shop.lake())
    assert shop.state()[0] == before[0] + 30
    assert shop.ledger().balanced
    assert all(t.verified is not False for t in list_tables(shop.lake(), verify=True))


def test_suppressed_ids_never_come_back(shop: Shop) -> None:
    shop.write_spec(strict(shop.spec))
    shop.run("mend", 8, 12)
    shop.promote("mend")
    rows = shop.state()[0]
    folder = shop.folder / "policies" / "suppressions"
    folder.mkdir(parents=True)
    digest = hashlib.sha256(b"m-44").hexdigest()
    (folder / "erased.yaml").write_text(yaml.safe_dump({"dataset": "customer_event", "column": "event_id", "sha256": [digest]}))
    rollback("mend", shop.project, shop.lake())
    assert shop.state()[0] == rows + 2, "three were filtered by the replay, one of them was erased since"
    assert shop.ledger().balanced and (shop.ledger().erased, shop.ledger().filtered) == (1, 0)
    shop.write_spec(shop.spec)
    shop.run("again", 8, 12)
    assert shop.promote("again").added == 0
    assert shop.state()[0] == rows + 2
    assert shop.ledger().balanced and (shop.ledger().erased, shop.ledger().filtered) == (0, 1)
    (folder / "more.yaml").write_text(
        yaml.safe_dump({"dataset": "customer_event", "column": "event_id", "sha256": [hashlib.sha256(b"m-45").hexdigest()]})
    )
    rollback("again", shop.project, shop.lake())
    assert shop.ledger().balanced and shop.ledger().erased == 2, "of ids that were suppressed the rollback brings no row back"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_paused_replay_goes_on_where_it_stopped(workers: int, shop: Shop) -> None:
    lake = shop.lake()
    slices: list[int] = []

    def pause_at_first(state: Any) -> None:
        if state.step == "ingest" and state.done == 0 and not slices:
            slices.append(1)
            add_event(lake, "slow", Step.PAUSE_ASKED, {})

    report = run_replay(shop.options("slow", 8, 12, slice_bytes=100, max_parallel=workers), shop.project, lake, pause_at_first)
    assert report.paused
    assert replay_of(lake, "slow").step is Step.PAUSED
    with pytest.raises(ConfigurationError, match="only one that is finished"):
        promote("slow", shop.project, lake)
    before = shop.state()
    assert not resume_replay("slow", {}, shop.project, lake, lambda _: None).paused
    promote("slow", shop.project, lake)
    assert shop.state() == before


def test_overlapping_replays_are_refused_until_one_is_done(shop: Shop) -> None:
    shop.run("one", 8, 10)
    with pytest.raises(ConfigurationError, match="one rebuilds some of the same windows"):
        shop.run("two", 9, 11)
    shop.run("apart", 10, 11)
    discard("one", shop.lake())
    shop.run("two", 8, 10)
    shop.promote("two")
    shop.promote("apart")
    with pytest.raises(ConfigurationError, match="only one that is finished"):
        shop.promote("one")


def test_above_the_limits_an_approval_is_needed(shop: Shop) -> None:
    (shop.folder / "headrace.yaml").write_text("lake: lake\nsources: [sources]\nreplay: {maxRows: 10}\n")
    with pytest.raises(ConfigurationError, match=r"more than maxRows 10.*--approved-by"):
        shop.run("big", 8, 12)
    shop.run("big", 8, 12, approved_by="ada", reason="a bug in the mapping")
    assert replay_of(shop.lake(), "big").spec["approved_by"] == "ada"


def test_by_received_time_the_windows_of_what_was_received_are_rebuilt(shop: Shop) -> None:
    options = shop.options("wave", 0, 24, by="received-time")
    plan = make_plan(options, shop.project, shop.lake())
    assert plan.ranges == ((DAY + 8 * HOUR_US, DAY + 12 * HOUR_US),)
    assert plan.windows == 4
    assert make_plan(shop.options("none", 24, 48, by="received-time"), shop.project, shop.lake()).ranges == ()


def test_a_fold_in_flight_does_not_bring_back_what_a_promotion_took_away(shop: Shop) -> None:
    lake = shop.lake()
    shop.ingest([event(200, 8)], "other")
    other = shop.lake("other").load(TABLE)
    new = read_rows(published_files(other)[0].path)
    shard = published_files(other)[0].shard
    shop.write_spec(strict(shop.spec))
    shop.run("mend", 8, 12)
    table = lake.load(TABLE)
    from_us = DAY + 8 * HOUR_US
    fold = fold_range(table, published_files(table), new, key="event_id", from_us=from_us, to_us=from_us + HOUR_US, shard=shard)
    shop.promote("mend")
    rows = shop.state()[0]
    publish(lake, TABLE, [fold], key="event_id", run_id="in flight")
    assert shop.state()[0] == rows + 1
    assert all(t.verified is not False for t in list_tables(lake, verify=True))


def test_a_run_that_ends_after_the_replay_was_promoted_does_not_change_its_state(shop: Shop) -> None:
    shop.run("mend", 8, 12)

    def promote_meanwhile(state: Any) -> None:
        if state.step == "account":
            shop.promote("mend")

    with pytest.raises(ConfigurationError, match="is promoted by now"):
        run_replay(shop.options("mend", 8, 12), shop.project, shop.lake(), promote_meanwhile)
    assert replay_of(shop.lake(), "mend").step is Step.PROMOTED
