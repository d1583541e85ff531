"""A gated dataset from its files to what readers see: held partitions, what is hidden meanwhile, and what people do about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ConfigurationError
from lake.acts import acts
from lake.ledger.ledger import LedgerEntry
from lake.location import AUDIT, Lake
from lake.tables.expire import expire_snapshots
from lake.tables.iceberg import LEDGER
from lake.tables.publish import table_totals
from lake.upkeep import compact
from operations.check.check import check_lake
from operations.quality.gates import gates
from operations.repair import take_out_lost
from operations.replay.promote import rollback
from quality import sql_process
from quality.acceptances import acceptances
from quality.history import State
from quality.store import judgements
from quality.stored import StoredHistory
from tests.support.gated import NO_NULL_URL, GatedShop, audit_ids, held_hours, holds, public_ids, whole_ledger
from tests.support.shop import TABLE, WEB, event

URL: dict[str, Any] = {"context": {"page": {"url": "https://shop.example/"}}}
BAD = event(2, 9)  # without a URL
_ACCEPT = ("quality", "accept", "customer_event")


def good(number: int, hour: int) -> str:
    """An event that breaks no rule."""
    return event(number, hour, **URL)


@pytest.fixture
def shop(tmp_path: Path) -> GatedShop:
    """Three hours, the one in the middle held."""
    shop = GatedShop(tmp_path)
    report = shop.take("first.jsonl", [good(1, 8), BAD, good(3, 10)])
    assert report.exit_code == 1
    assert report.reasons == [
        "the gate holds 1 partition of customer_event (page_url_nullValues): headrace quality status customer_event"
    ]
    return shop


def test_a_bad_partition_is_held_and_later_ones_are_published(shop: GatedShop) -> None:
    lake = shop.lake()
    assert public_ids(lake) == ["m-1", "m-3"]
    assert audit_ids(lake) == ["m-1", "m-2", "m-3"]
    assert held_hours(lake) == [9]
    assert whole_ledger(shop, lake) == LedgerEntry(records_in=3, out=2, held=1)


def test_the_next_run_is_a_success_that_tells_of_what_is_still_held(shop: GatedShop) -> None:
    report = shop.take("second.jsonl", [good(4, 11)])
    assert report.exit_code == 0
    assert "holds 1 partition" in report.warnings[0]
    assert report.manifest["gates"]["customer_event"]["held"][0]["rules"] == ("page_url_nullValues",)
    assert public_ids(shop.lake()) == ["m-1", "m-3", "m-4"]


def test_the_last_good_state_stays_visible_where_bad_rows_come_later(shop: GatedShop) -> None:
    lake = shop.lake()
    report = shop.take("second.jsonl", [good(4, 10), event(5, 10), good(6, 12)])
    assert report.exit_code == 1
    assert public_ids(lake) == ["m-1", "m-3", "m-6"]
    assert held_hours(lake) == [9, 10]
    assert whole_ledger(shop, lake) == LedgerEntry(records_in=6, out=3, held=3)


def test_a_held_copy_hides_nothing_and_is_a_copy_again_once_it_is_released(shop: GatedShop) -> None:
    lake = shop.lake()
    shop.take("again.jsonl", [good(2, 12)])
    assert public_ids(lake) == ["m-1", "m-2", "m-3"]
    assert audit_ids(lake) == ["m-1", "m-2", "m-2", "m-3"]
    assert whole_ledger(shop, lake) == LedgerEntry(records_in=4, out=3, held=1)
    accepted = shop.headrace(*_ACCEPT, "--all", "--by", "Ada", "--reason", "as it was", "--release")
    assert accepted.exit_code == 0, accepted.output
    assert public_ids(lake) == audit_ids(lake) == ["m-1", "m-2", "m-3"]
    letter = {"conflicting_duplicate": 1}
    assert whole_ledger(shop, lake) == LedgerEntry(records_in=4, out=3, dead_letter=1, codes=letter)


def test_an_acceptance_is_of_what_was_judged_and_not_of_what_comes_later(shop: GatedShop) -> None:
    lake = shop.lake()
    told = shop.headrace(
        "quality", "accept", "customer_event", "--partition", "2026-11-02T09:30:00Z", "--by", "Ada", "--reason", "ok"
    )
    assert told.exit_code == 0, told.output
    again = shop.headrace(*_ACCEPT, "--all", "--by", "Bob", "--reason", "no")
    assert "already, by Ada" in again.output
    shop.take("more.jsonl", [event(7, 9)])
    assert held_hours(lake) == [9]
    assert shop.headrace("quality", "release", "customer_event").exit_code == 1
    assert public_ids(lake) == ["m-1", "m-3"]


def test_nothing_is_accepted_that_nobody_has_seen(shop: GatedShop) -> None:
    (state,) = gates(shop.lake())
    looked = state.held[0].hold.since
    shop.take("more.jsonl", [event(7, 9)])
    refused = shop.headrace(*_ACCEPT, "--all", "--by", "Ada", "--reason", "ok", "--as-of", looked)
    assert refused.exit_code == 2 and "after you looked; nothing was accepted" in refused.output
    (state,) = gates(shop.lake())
    assert state.held[0].accepted is None and not [act for act in acts(shop.lake()) if act.command == "quality accept"]
    assert shop.headrace(*_ACCEPT, "--all", "--by", "Ada", "--reason", "ok", "--as-of", state.held[0].hold.since).exit_code == 0


def test_what_is_accepted_for_other_rows_is_not_learnt_from(shop: GatedShop) -> None:
    """The verdicts of a gate are kept with the rows that they are of."""
    shop.headrace(*_ACCEPT, "--all", "--by", "Ada", "--reason", "ok", "--new-normal", "--release")
    shop.take("more.jsonl", [event(7, 9)])
    lake = shop.lake()
    contents = {each.content for each in judgements(lake, dataset="customer_event")}
    assert None not in contents and len(contents) > 2
    (state,) = gates(lake)
    hold, history = state.held[0].hold, StoredHistory(lake, "customer_event", acceptances(lake, "customer_event"))
    known = {past.partition.from_us: past for past in history.past("page_url_nullValues", hold.to_us)}
    past = known[hold.from_us]
    assert (past.state, past.new_normal) == (State.HELD, False)


def test_one_process_answers_the_queries_of_all_partitions_of_a_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    really = sql_process._started
    monkeypatch.setattr(sql_process, "_started", lambda: started.append(1) or really())
    query = "SELECT count(*) FROM ${table} WHERE page_url IS NULL"
    asking = GatedShop(tmp_path, {"": [{"type": "sql", "name": "urls", "query": query, "mustBe": 0, "severity": "quarantine"}]})
    report = asking.take("first.jsonl", [good(1, 8), BAD, good(3, 10)])
    assert report.exit_code == 1 and held_hours(asking.lake()) == [9]
    assert started == [1]


def test_an_accepted_partition_is_published_by_the_next_run(shop: GatedShop) -> None:
    shop.headrace(*_ACCEPT, "--all", "--by", "Ada", "--reason", "ok")
    report = shop.take("more.jsonl", [good(7, 12)])
    assert report.exit_code == 0
    assert not report.warnings
    assert public_ids(shop.lake()) == ["m-1", "m-2", "m-3", "m-7"]


def test_a_dry_run_of_release_changes_nothing(shop: GatedShop) -> None:
    lake = shop.lake()
    before = lake.catalog().load_table(TABLE).metadata_location
    shop.headrace(*_ACCEPT, "--all", "--by", "Ada", "--reason", "ok")
    told = json.loads(shop.headrace("quality", "release", "customer_event", "--dry-run", "--json").output)
    assert told["pending"] == 1
    assert told["held"] == []
    assert lake.catalog().load_table(TABLE).metadata_location == before


def test_rules_that_were_mended_let_a_partition_through(shop: GatedShop) -> None:
    shop.write_rules({"page_url": [{"metric": "nullValues", "mustBeLessThan": 5, "severity": "quarantine"}]})
    report = shop.take("more.jsonl", [good(7, 12)])
    assert report.exit_code == 0
    assert public_ids(shop.lake()) == ["m-1", "m-2", "m-3", "m-7"]
    assert report.manifest["gates"]["customer_event"]["released"] == [["2026-11-02T09:00:00Z", "2026-11-02T10:00:00Z"]]


def test_a_rule_that_is_taken_away_lets_nothing_go(shop: GatedShop) -> None:
    """Nor one that only warns now: what it held stays so, whatever comes, until a person says so by name."""
    lake = shop.lake()
    other = {"event_id": [{"metric": "nullValues", "mustBe": 0, "severity": "quarantine"}]}
    for number, rules in enumerate([{}, other, {**other, "page_url": [{**NO_NULL_URL["page_url"][0], "severity": "warn"}]}]):
        shop.write_rules(rules)
        report = shop.take(f"{number}.jsonl", [good(10 + number, 9)])
        assert report.exit_code == 0
        assert public_ids(lake) == ["m-1", "m-3"]
        assert [hold.content.partition("-")[0] for hold in holds(lake)] == [str(2 + number)], "what can be accepted is what is held"
    told = shop.headrace("quality", "release", "customer_event")
    assert told.exit_code == 2
    assert "held by page_url_nullValues, which the contract has no more" in told.output
    assert shop.headrace("quality", "release", "customer_event", "--by", "Ada").exit_code == 0
    assert held_hours(lake) == []


def test_a_stop_keeps_what_was_held_after_it(tmp_path: Path) -> None:
    most = {"metric": "rowCount", "mustBeLessThan": 3, "severity": "stop", "name": "most"}
    shop = GatedShop(tmp_path, {**NO_NULL_URL, "": [most]})
    shop.take("first.jsonl", [good(1, 7), BAD])
    report = shop.take("second.jsonl", [good(n, 8) for n in (3, 4, 5)])
    assert report.gate is not None
    assert (report.gate.stopped, report.gate.released) == (1, ())
    assert held_hours(shop.lake()) == [8, 9]
    assert public_ids(shop.lake()) == ["m-1"]


def test_a_stop_publishes_nothing_that_was_judged_after_it(tmp_path: Path) -> None:
    shop = GatedShop(tmp_path, {"page_url": [{"metric": "nullValues", "mustBe": 0, "severity": "stop"}]})
    report = shop.take("first.jsonl", [good(1, 8), BAD, good(3, 10), good(4, 11)])
    assert report.exit_code == 1
    assert "2 after it were not judged" in report.reasons[0]
    assert public_ids(shop.lake()) == ["m-1"]
    assert whole_ledger(shop, shop.lake()) == LedgerEntry(records_in=4, out=1, held=3)
    assert shop.take("second.jsonl", [good(5, 12)]).exit_code == 1, "it stops the next run too"
    assert shop.take("third.jsonl", [good(6, 8)]).exit_code == 1
    assert public_ids(shop.lake()) == ["m-1", "m-6"], "what comes before it goes on"
    shop.headrace(*_ACCEPT, "--all", "--by", "Ada", "--reason", "ok", "--release")
    assert public_ids(shop.lake()) == [f"m-{n}" for n in range(1, 7)]


def test_a_warning_holds_nothing(tmp_path: Path) -> None:
    rules = {"page_url": [{"metric": "nullValues", "mustBe": 0, "severity": "warn"}]}
    shop = GatedShop(tmp_path, {**rules, "event_id": [{"metric": "nullValues", "mustBe": 0, "severity": "quarantine"}]})
    assert shop.take("first.jsonl", [good(1, 8), BAD]).exit_code == 0
    assert public_ids(shop.lake()) == ["m-1", "m-2"]
    found = {(each.verdict.rule, str(each.verdict.verdict)) for each in judgements(shop.lake())}
    assert ("page_url_nullValues", "failed") in found


def test_a_dataset_without_a_gate_has_no_audit_branch_and_no_more_commits(tmp_path: Path) -> None:
    shop = GatedShop(tmp_path, {"page_url": [{"metric": "nullValues", "mustBe": 0, "severity": "warn"}]})
    report = shop.take("first.jsonl", [good(1, 8), BAD])
    table = shop.lake().catalog().load_table(TABLE)
    assert report.gate is None
    assert "gates" not in report.manifest
    assert len(table.snapshots()) == 1
    assert sorted(table.metadata.refs) == ["main", "settled"]
    assert not [key for key in table.properties if key.startswith("headrace.gate")]


def test_a_dataset_that_becomes_gated_begins_at_main_and_one_that_is_no_more_keeps_what_is_held(tmp_path: Path) -> None:
    shop = GatedShop(tmp_path, {})
    lake = shop.lake()
    shop.take("first.jsonl", [good(1, 8), event(5, 10)])
    assert AUDIT not in lake.catalog().load_table(TABLE).metadata.refs
    shop.write_rules({"page_url": [{"metric": "nullValues", "mustBe": 0, "severity": "quarantine"}]})
    shop.take("second.jsonl", [BAD, good(3, 8)])
    assert public_ids(lake) == ["m-1", "m-3", "m-5"], "what was published before stays so"
    assert held_hours(lake) == [9]
    shop.write_rules({})
    shop.take("third.jsonl", [event(6, 12)])
    assert public_ids(lake) == ["m-1", "m-3", "m-5", "m-6"]
    assert held_hours(lake) == [9]
    assert shop.headrace("quality", "release", "customer_event").exit_code == 2
    assert shop.headrace("quality", "release", "customer_event", "--by", "Ada").exit_code == 0
    assert public_ids(lake) == ["m-1", "m-2", "m-3", "m-5", "m-6"]
    table = lake.catalog().load_table(TABLE)
    assert sorted(table.metadata.refs) == ["main", "settled"]
    assert not [key for key in table.properties if key.startswith("headrace.gate")]
    shop.take("fourth.jsonl", [event(8, 12)])
    assert public_ids(lake)[-1] == "m-8"
    assert whole_ledger(shop, lake) == LedgerEntry(records_in=6, out=6)


def test_a_job_that_was_started_before_the_gate_takes_the_audit_branch(shop: GatedShop) -> None:
    lake = shop.lake()
    shop.write_rules({})  # as it knew the contract
    shop.take("second.jsonl", [event(5, 9)])
    assert public_ids(lake) == ["m-1", "m-3"], "into a held partition"
    assert audit_ids(lake) == ["m-1", "m-2", "m-3", "m-5"]


def test_a_deleted_audit_branch_is_found_again(shop: GatedShop) -> None:
    lake = shop.lake()
    _delete_audit(lake)
    assert any(f.what == "audit branches" for f in check_lake(lake, shop.project).findings)
    shop.take("second.jsonl", [good(4, 11)])
    assert public_ids(lake) == ["m-1", "m-3", "m-4"]
    assert held_hours(lake) == [9]
    assert whole_ledger(shop, lake) == LedgerEntry(records_in=4, out=3, held=1)


def test_a_deleted_audit_branch_that_has_expired_is_refused_and_repaired_with_a_replay(shop: GatedShop) -> None:
    lake = shop.lake()
    _delete_audit(lake)
    expire_snapshots(lake, TABLE, keep_s=0)
    with pytest.raises(ConfigurationError, match="its audit branch was deleted, and its snapshots have expired"):
        shop.take("second.jsonl", [good(4, 11)])
    assert public_ids(lake) == ["m-1", "m-3"]
    done = list(take_out_lost(lake, shop.project, "repair"))
    assert [(d.table, d.ranges) for d in done] == [(TABLE, (holds_range(9),))]
    assert holds(lake) == []
    entry = shop.ledger()
    assert (entry.out, entry.lost) == (2, 1)
    shop.run("again", 9, 10)
    assert shop.promote("again").held == 1
    assert held_hours(lake) == [9]
    assert whole_ledger(shop, lake) == LedgerEntry(records_in=3, out=2, held=1)


def test_expiry_takes_nothing_that_is_held_and_nothing_that_was_published_from_there(shop: GatedShop) -> None:
    lake = shop.lake()
    shop.take("second.jsonl", [good(4, 10), event(5, 10)])
    before = public_ids(lake), audit_ids(lake), held_hours(lake)
    expire_snapshots(lake, TABLE, keep_s=0)
    assert (public_ids(lake), audit_ids(lake), held_hours(lake)) == before
    shop.headrace(*_ACCEPT, "--all", "--by", "Ada", "--reason", "ok", "--release")
    expire_snapshots(lake, TABLE, keep_s=0)
    assert check_lake(lake, shop.project, verify=True).sound
    assert whole_ledger(shop, lake) == LedgerEntry(records_in=5, out=5)


def test_a_rule_that_cannot_be_run_holds_as_one_that_fails(tmp_path: Path) -> None:
    query = "SELECT error('boom') FROM ${table}"
    shop = GatedShop(tmp_path, {"": [{"type": "sql", "name": "broken", "query": query, "mustBe": 0, "severity": "quarantine"}]})
    assert shop.take("first.jsonl", [good(1, 8)]).exit_code == 1
    assert public_ids(shop.lake()) == []
    assert "holds 1 partition" in shop.headrace("status").output


def holds_range(hour: int) -> tuple[int, int]:
    """The window times of an hour."""
    start = 1_793_577_600_000_000 + hour * 3_600_000_000
    return start, start + 3_600_000_000


def _delete_audit(lake: Lake) -> None:
    table = lake.catalog().load_table(TABLE)
    with table.manage_snapshots() as manage:
        for ref in table.metadata.refs:
            if ref.startswith(AUDIT):
                manage.remove_branch(ref) if ref in (AUDIT, f"{AUDIT}.dropped") else manage.remove_tag(ref)


def test_a_replay_rests_on_the_audit_branch_and_passes_the_gate(shop: GatedShop) -> None:
    lake = shop.lake()
    before = shop.state()
    shop.write_spec({**WEB, "filter": [{"path": "messageId", "in": ["m-2", "m-3"]}]})
    shop.run("mend", 8, 11)
    assert public_ids(lake) == ["m-1", "m-3"], "nothing is read of it before it is promoted"
    done = shop.promote("mend")
    assert (done.added, done.removed, done.changed, done.held) == (0, 1, 0, 0)
    assert public_ids(lake) == audit_ids(lake) == ["m-1"]
    assert whole_ledger(shop, lake) == LedgerEntry(records_in=3, out=1, filtered=2)
    back = rollback("mend", shop.project, lake)
    assert (back.added, back.removed, back.held) == (1, 0, 1)
    assert public_ids(lake) == ["m-1", "m-3"]
    assert held_hours(lake) == [9]
    assert shop.state() == before
    assert whole_ledger(shop, lake) == LedgerEntry(records_in=3, out=2, held=1)


def test_a_replay_with_bad_rows_leaves_what_readers_see(tmp_path: Path) -> None:
    shop = GatedShop(tmp_path)
    lake = shop.lake()
    mapped = shop.spec
    shop.take("first.jsonl", [good(1, 8), good(2, 9)])
    broken = {**mapped, "columns": {**mapped["columns"], "page_url": "context.page.missing"}}
    shop.write_spec(broken)
    shop.run("worse", 8, 10)
    done = shop.promote("worse")
    assert (done.added, done.removed, done.changed, done.held) == (0, 0, 0, 2)
    assert public_ids(lake) == ["m-1", "m-2"]
    assert held_hours(lake) == [8, 9]
    assert shop.headrace("replay", "list", "worse").exit_code == 0


def test_compaction_goes_by_partitions_and_main_follows(tmp_path: Path) -> None:
    shop = GatedShop(tmp_path)
    lake = shop.lake()
    for number in range(3):
        shop.take(
            f"{number}.jsonl", [good(10 * number + n, 8 + n % 2) for n in range(8)] + ([BAD] if number == 2 else []), window=900
        )
    before = public_ids(lake), table_totals(lake.load(TABLE)), held_hours(lake)
    files = len(list(lake.catalog().load_table(TABLE).scan().plan_files()))
    compact(lake, TABLE, to_s=86_400, run_id="compact")
    assert (public_ids(lake), table_totals(lake.load(TABLE)), held_hours(lake)) == before
    assert len(list(lake.catalog().load_table(TABLE).scan().plan_files())) < files
    whole_ledger(shop, lake)


def test_the_ledger_and_the_letters_of_a_gated_dataset_are_on_main(shop: GatedShop) -> None:
    lake = shop.lake()
    assert sorted(lake.catalog().load_table(LEDGER).metadata.refs) == ["main"]
    (state,) = gates(lake)
    assert state.behind == 1
    assert [(held.rows, held.public_rows) for held in state.held] == [(1, 0)]
    why = shop.headrace("lake", "why", "m-2")
    assert "held" in why.output
