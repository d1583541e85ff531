"""A row that is gone from the table behind the ledger's back fails the run that accounts for it, in words."""

from __future__ import annotations

import json
from pathlib import Path

from pyiceberg.expressions import EqualTo

from tests.support.shop import TABLE, WEB, Shop, event

LINES = [event(1, 9), event(1, 9), event(2, 9), event(3, 10)]


def test_a_published_row_that_is_gone_is_lost_and_fails_the_run(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    path = shop.write_lines("events.jsonl", LINES)
    ingest = ("ingest", "web", "--input", path, "--json")
    assert shop.headrace(*ingest).exit_code == 0
    assert (shop.ledger().out, shop.ledger().duplicate) == (3, 1)
    shop.lake().load(TABLE).delete(EqualTo("event_id", "m-3"))
    result = shop.headrace(*ingest)
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    ledger, (reason,) = document["ledger"]["web"], document["verdict"]["reasons"]
    assert (ledger["out"], ledger["duplicate"], ledger["lost"], ledger["pending"]) == (2, 1, 1, 0)
    assert reason.startswith("1 accepted records have neither a published nor a dropped row")
    shown = shop.headrace("status")
    assert "neither a published nor a dropped row" in " ".join(shown.output.split())


def test_what_a_replay_rebuilds_is_no_longer_lost(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.ingest(LINES)
    shop.lake().load(TABLE).delete(EqualTo("event_id", "m-3"))
    assert shop.ledger().lost == 1
    assert shop.run("mend", 8, 12).exit_code == 0
    shop.promote("mend")
    assert shop.ledger().balanced and (shop.ledger().out, shop.ledger().duplicate) == (3, 1)


def test_what_the_horizon_drops_in_a_replay_is_accounted_for_once_it_is_promoted(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    wrong = {"type": "nothing", "kind": "page"}
    untimed = {"originalTimestamp": "2001-01-01T00:00:00Z"}  # not believed: each copy lies where it was received
    shop.ingest(
        [
            event(1, 9), event(1, 10, **wrong), event(2, 10),
            event(3, 9, **untimed, receivedAt="2026-11-02T09:00:00Z"),
            event(3, 9, **untimed, **wrong, receivedAt="2026-11-02T10:00:00Z"),
        ]
    )  # fmt: skip
    assert (shop.ledger().out, shop.ledger().dead_letter) == (3, 2)
    shop.write_spec({**WEB, "columns": {**WEB["columns"], "event_type": ["kind", "type"]}})
    assert shop.run("mend", 8, 12).exit_code == 0
    shop.promote("mend")
    entry = shop.ledger()
    assert entry.balanced and (entry.out, entry.duplicate, entry.codes) == (3, 1, {"conflicting_duplicate": 1})
