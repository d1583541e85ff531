"""What the gate would hold of a replay is what it holds once that is promoted; asking it changes nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ConfigurationError
from lake.location import Lake
from lake.runs.replays import replay_of
from operations.replay.gate import ReplayVerdict, replay_verdict
from quality.store import judgements
from tests.support.gated import GatedShop, Rules, held_hours, holds, public_ids
from tests.support.shop import HOUR_US, TABLE, Shop, event

STOP: Rules = {"page_url": [{"metric": "nullValues", "mustBe": 0, "severity": "stop"}]}


def line(number: int, hour: int, **more: Any) -> str:
    return event(number, hour, context={"page": {"url": "https://shop"}, **more})


LINES = [line(1, 8, locale="en"), line(2, 9), line(3, 10, locale="de")]


def worsened(shop: Shop) -> None:
    """Another mapping, by which hour 9 has no page."""
    shop.write_spec({**shop.spec, "columns": {**shop.spec["columns"], "page_url": "context.locale"}})


def hours(verdict: ReplayVerdict) -> list[int]:
    return [hold.from_us % (24 * HOUR_US) // HOUR_US for hold in verdict.held]


def everything(lake: Lake) -> tuple[Any, ...]:
    metadata = lake.catalog().load_table(TABLE).metadata
    refs = {name: ref.snapshot_id for name, ref in metadata.refs.items()}
    return (
        refs,
        metadata.properties,
        holds(lake),
        len(list(judgements(lake, dataset="customer_event"))),
        lake.storage.names(lake.root),
    )


def test_what_would_be_held_is_told_and_is_what_is_held(tmp_path: Path) -> None:
    shop = GatedShop(tmp_path)
    shop.take("a", LINES)
    worsened(shop)
    shop.run("worse", 8, 11)
    before = everything(shop.lake())
    verdict = replay_verdict(shop.lake(), shop.project, "worse")
    assert everything(shop.lake()) == before, "nothing is written"
    assert (hours(verdict), verdict.stopped, verdict.exit_code) == ([9], 0, 1)
    (rule,) = verdict.held[0].rules
    assert verdict.needs == [f"the gate would hold 1 partition ({rule})"]

    shown = shop.headrace("replay", "gate", "worse")
    assert shown.exit_code == 1 and "2026-11-02T09:00:00Z" in shown.output and "--allow-held publishes the rest" in shown.output
    told = json.loads(shop.headrace("replay", "gate", "worse", "--json").output)
    assert [(one["from"], one["severity"], one["rows"]) for one in told["held"]] == [("2026-11-02T09:00:00Z", "quarantine", 1)]

    alone = shop.headrace("replay", "promote", "worse", "--approved-by", "Ada", "--reason", "known")
    assert alone.exit_code == 2 and "with --allow-held" in alone.output
    done = shop.headrace("replay", "promote", "worse", "--allow-held", "--approved-by", "Ada", "--reason", "known", "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["held"] == 1
    assert "holds 1 of its partitions" in done.stderr
    assert held_hours(shop.lake()) == [9] == hours(verdict)
    begun = next(e for e in replay_of(shop.lake(), "worse").events if e.step == "promoting")
    assert begun.details == {"approved_by": "Ada", "reason": "known"}
    with pytest.raises(ConfigurationError, match="is promoted, and only one that is finished can be judged"):
        replay_verdict(shop.lake(), shop.project, "worse")


def test_a_replay_that_mends_what_is_held_would_be_held_nowhere(tmp_path: Path) -> None:
    shop = GatedShop(tmp_path)
    mapped = shop.spec
    worsened(shop)
    assert shop.take("a", LINES).exit_code == 1 and held_hours(shop.lake()) == [9]
    shop.write_spec(mapped)
    shop.run("mend", 9, 10)
    verdict = replay_verdict(shop.lake(), shop.project, "mend")
    assert (verdict.held, verdict.stopped, verdict.exit_code) == ((), 0, 0)
    assert shop.headrace("replay", "gate", "mend").exit_code == 0
    assert shop.promote("mend").held == 0 and public_ids(shop.lake()) == ["m-1", "m-2", "m-3"]


def test_rows_that_came_after_the_gate_was_asked_are_judged_by_the_promotion(tmp_path: Path) -> None:
    """What was audited is not what is published, where a branch has moved on (apache/iceberg#8424)."""
    shop = GatedShop(tmp_path)
    shop.take("a", LINES)
    shop.run("same", 8, 11)
    assert replay_verdict(shop.lake(), shop.project, "same").exit_code == 0
    assert shop.take("b", [event(4, 9)]).exit_code == 1
    assert shop.promote("same").held == 1
    assert public_ids(shop.lake()) == ["m-1", "m-2", "m-3"]


def test_a_stop_before_the_range_of_a_replay_is_told_with_what_waits_behind_it(tmp_path: Path) -> None:
    shop = GatedShop(tmp_path, STOP)
    mapped = shop.spec
    worsened(shop)
    assert shop.take("a", LINES).exit_code == 1
    shop.write_spec(mapped)
    shop.run("later", 10, 11)
    verdict = replay_verdict(shop.lake(), shop.project, "later")
    assert (hours(verdict), verdict.stopped, verdict.exit_code) == ([9], 1, 1)
    assert verdict.needs[1] == "1 partition would wait behind a rule of severity stop"
    shop.promote("later")
    assert public_ids(shop.lake()) == ["m-1"]


def test_a_first_gating_rule_is_asked_before_there_is_an_audit_branch(tmp_path: Path) -> None:
    shop = GatedShop(tmp_path, {})
    shop.take("a", LINES)
    worsened(shop)
    shop.write_rules({"page_url": [{"metric": "nullValues", "mustBe": 0, "severity": "quarantine"}]})
    shop.run("first", 8, 11)
    verdict = replay_verdict(shop.lake(), shop.project, "first")
    assert hours(verdict) == [9]
    assert shop.promote("first").held == 1 and held_hours(shop.lake()) == [9]


def test_a_dataset_without_a_gate_says_so(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.ingest(LINES)
    shop.run("a", 8, 9)
    shown = shop.headrace("replay", "gate", "a")
    assert shown.exit_code == 0 and "customer_event has no gate: nothing would be held" in shown.output
