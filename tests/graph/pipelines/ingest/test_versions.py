"""Three versions of a payload in one source: the table is that of data always in the newest, at once or after a replay."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lake.upkeep import list_tables
from tests.support.shop import TABLE, WEB, Shop

UPCASTS = [
    {"from": 1, "to": 2, "steps": [
        {"rename": {"path": "user", "to": "userId"}},
        {"split": {"path": "name", "at": ":", "into": ["type", "event"]}},
        {"default": {"path": "context.locale", "value": "de-DE"}},
    ]},
    {"from": 2, "to": "3.0", "steps": [
        {"unit": {"path": "properties.seconds", "to": "properties.ms", "factor": "1000"}},
        {"map": {"path": "context.library.name", "values": {"js": "analytics.js"}, "otherwise": "keep"}},
        {"widen": {"path": "userId", "type": "text"}},
        {"join": {"paths": ["context.campaign.a", "context.campaign.b"], "with": "-", "into": "context.campaign.name"}},
        {"remove": {"path": "context.debug"}},
    ]},
]  # fmt: skip
RULE = {"path": "schemaVersion", "accepted": [1, 2, "3.*"], "upcasts": UPCASTS}
NEWEST_ONLY = {key: value for key, value in WEB.items() if key not in ("schema_version", "filter")}
ALL = {**NEWEST_ONLY, "schema_version": RULE, "revision": 2}


def newest(number: int) -> dict[str, Any]:
    return {
        "messageId": f"m-{number}", "type": "track", "event": "Order Paid", "userId": str(number % 7),
        "originalTimestamp": f"2026-11-02T{8 + number % 4:02d}:{number % 60:02d}:00Z",
        "context": {"locale": "de-DE", "library": {"name": "analytics.js"}, "campaign": {"name": "x-y"}},
        "properties": {"ms": 1500 + number}, "schemaVersion": "3.0",
    }  # fmt: skip


def second(number: int) -> dict[str, Any]:
    event = newest(number) | {"userId": number % 7, "properties": {"seconds": (1500 + number) / 1000}, "schemaVersion": 2}
    library = {"name": "js" if number % 2 else "analytics.js"}
    return event | {"context": {"locale": "de-DE", "library": library, "campaign": {"a": "x", "b": "y"}, "debug": {"n": number}}}


def first(number: int) -> dict[str, Any]:
    event = second(number)
    del event["type"], event["context"]["locale"]
    event["user"], event["name"] = event.pop("userId"), f"track:{event.pop('event')}"
    return event | {"schemaVersion": 1}


def lines(*events: dict[str, Any]) -> list[str]:
    return [json.dumps(event) for event in events]


MIXED = [(first, second, newest)[n % 3](n) for n in range(90)]
ALWAYS_NEWEST = [newest(n) for n in range(90)]


def without_version(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != "schemaVersion"}


def test_mixed_versions_make_the_table_of_the_newest(tmp_path: Path) -> None:
    shop = Shop(tmp_path, spec=ALL)
    shuffled = Random(3).sample(MIXED, len(MIXED))
    shop.ingest(lines(*shuffled[:40]), "mixed")
    report = shop.ingest(lines(*shuffled[40:]), "mixed")
    shop.ingest(lines(*ALWAYS_NEWEST), "newest")
    assert report.exit_code == 0
    assert shop.state("mixed") == shop.state("newest")
    assert shop.state("mixed")[0] == 90


def test_versions_that_were_not_known_yet_are_letters_until_the_spec_knows_them_and_a_replay_reads_them(tmp_path: Path) -> None:
    only_newest = {**NEWEST_ONLY, "schema_version": {"path": "schemaVersion", "accepted": ["3.*"]}}
    shop = Shop(tmp_path, spec=only_newest)
    report = shop.ingest(lines(*MIXED, newest(1) | {"schemaVersion": "4.0"}))
    assert report.ledger.dead_letter == 61
    shop.write_spec(ALL)
    shop.ingest(lines(*ALWAYS_NEWEST), "newest")
    shop.run("versions", 8, 12)
    shop.promote("versions")
    assert shop.state() == shop.state("newest")
    assert shop.ledger().dead_letter == 1
    (table,) = (t for t in list_tables(shop.lake()) if t.table == TABLE)
    assert table.revisions == ("1.0.0, spec revision 2",)


@pytest.mark.parametrize("newer_first", [False, True])
def test_of_two_readings_the_higher_revision_stands_in_any_order_and_is_no_conflict(tmp_path: Path, newer_first: bool) -> None:
    """A copy of each event is sent again, and read by a spec of another revision."""
    shop = Shop(tmp_path, spec=ALL)
    older = {**ALL, "revision": 1, "columns": {key: value for key, value in WEB["columns"].items() if key != "locale"}}
    for number, spec in enumerate((ALL, older) if newer_first else (older, ALL)):
        shop.write_spec(spec)
        shop.ingest([f"{line}{' ' * number}" for line in lines(*MIXED)])
    shop.write_spec(ALL)
    shop.ingest(lines(*ALWAYS_NEWEST), "newest")
    assert shop.state() == shop.state("newest")
    ledger = shop.ledger()
    assert (ledger.out, ledger.duplicate, ledger.dead_letter, ledger.balanced) == (90, 90, 0, True)


def test_a_table_says_by_which_revisions_its_rows_were_read(tmp_path: Path) -> None:
    shop = Shop(tmp_path, spec=ALL)
    shop.ingest(lines(*MIXED[:30]))
    shop.write_spec({**ALL, "revision": 7})
    shop.ingest(lines(*MIXED[30:]))
    told = shop.headrace("lake", "files")
    assert "validated.customer_event: rows of several revisions" in told.output
    assert "spec revision 2; " in told.output
    shop.run("all", 8, 12)
    shop.promote("all")
    assert "several revisions" not in shop.headrace("lake", "files").output
    assert all(t.verified is not False for t in list_tables(shop.lake(), verify=True))


def test_a_failed_step_is_a_letter_that_names_it(tmp_path: Path) -> None:
    shop = Shop(tmp_path, spec=ALL)
    report = shop.ingest(lines(first(1) | {"name": 7}, first(2)))
    assert (report.ledger.out, report.ledger.dead_letter) == (1, 1)
    listed = shop.headrace("deadletter", "list", "--json")
    assert "upcast_failed" in listed.output
    assert "1 to 2, step 2, split: a text" in listed.output
