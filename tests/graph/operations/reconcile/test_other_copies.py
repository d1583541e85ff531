"""Copies of one id at times of their own: reconcile reads settled rows, and compares by id."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from lake.receipts.lanes import LaneId
from lake.receipts.receipts import DELIVERED, LaneReceipts, Receipt
from lake.tables.sweep import Swept
from operations.reconcile import reconcile as module
from operations.reconcile.options import ReconcileOptions
from operations.reconcile.reconcile import reconcile
from pipelines.ingest.graph import IngestGraph
from tests.support.shop import DAY, HOUR_US, Shop

DESTINATION = """
destination: cdp
dataset: customer_event
version: 1
type: segment
endpoint: http://127.0.0.1:9/v1/batch
credentials: {write_key: env:K}
consent: []
columns: {event_id: messageId, event_type: type, anonymous_id: anonymousId, original_timestamp: timestamp, properties: properties}
"""
HOUR_MS = HOUR_US // 1_000


def line(event_id: str, time: str, version: int) -> str:
    """A line of the web source."""
    event = {"messageId": event_id, "type": "page", "anonymousId": "a", "originalTimestamp": f"2026-11-02T{time}:00Z"}
    return json.dumps({**event, "properties": {"version": version}})


def sent(time: str, version: int) -> dict[str, Any]:
    """What such a line is sent as."""
    return {"type": "page", "anonymousId": "a", "timestamp": f"2026-11-02T{time}:00.000Z", "properties": {"version": version}}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Settled: ``twice`` at 8:05, its copy of 10:30 dropped, ``once`` at 8:10. Not yet: ``once`` again at 9:30, and ``new``."""
    shop = Shop(tmp_path_factory.mktemp("copies") / "shop", "destinations: [destinations]")
    (shop.folder / "destinations").mkdir()
    (shop.folder / "destinations" / "cdp.yaml").write_text(DESTINATION)
    shop.ingest([line("twice", "08:05", 1), line("twice", "10:30", 2), line("once", "08:10", 1)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IngestGraph, "gate", lambda _: (Swept(0, 0, None), None))
        shop.ingest([line("once", "09:30", 2), line("new", "08:20", 1)])
    receipts = [
        Receipt(at, event_id, DAY + hour * HOUR_US, DELIVERED, None, 200, None, None, at)
        for at, (event_id, hour) in enumerate([("twice", 10), ("once", 9)])
    ]
    LaneReceipts(shop.lake(), "cdp", LaneId("topic", "T", 0)).write(0, len(receipts), receipts, Counter())
    return shop


def compared(shop: Shop, there: Sequence[tuple[str, Mapping[str, Any]]], first: int, last: int) -> dict[str, Any]:
    """The document of the hours [first, last), with these events at the destination."""
    export = shop.folder / "export.jsonl"
    events = [{"messageId": name, "event": {**event, "messageId": name}} for name, event in there]
    export.write_text("".join(json.dumps(event) + "\n" for event in events))
    start_ms = DAY // 1_000
    options = ReconcileOptions(
        destination="cdp", start=start_ms + first * HOUR_MS, end=start_ms + last * HOUR_MS, settle=60, export=(str(export),)
    )
    return reconcile(options, shop.project, shop.lake(), lambda _: None)


def classes(document: Mapping[str, Any]) -> dict[str, int]:
    assert document["adds_up"]
    return {name: count for name, count in document["classes"].items() if count}


def test_rows_are_those_of_the_settled_snapshot(shop: Shop) -> None:
    document = compared(shop, [("twice", sent("08:05", 1)), ("once", sent("08:10", 1))], 8, 9)
    assert (document["rows"], document["ids"]) == (2, 2)
    assert classes(document) == {"delivered": 2} and document["verdict"]["exit_code"] == 0


def test_an_unsettled_row_is_neither_missing_nor_extra(shop: Shop) -> None:
    there = [("twice", sent("08:05", 1)), ("once", sent("08:10", 1)), ("new", sent("08:20", 1))]
    document = compared(shop, there, 8, 9)
    assert classes(document) == {"delivered": 2}
    assert document["export"]["of_other_ranges"] == 1


@pytest.mark.parametrize("with_own", [False, True])
def test_a_dropped_copy_of_a_published_id_is_no_difference(shop: Shop, with_own: bool) -> None:
    own = [("twice", sent("08:05", 1))] if with_own else []
    document = compared(shop, [*own, ("twice", sent("10:30", 2)), ("once", sent("08:10", 1))], 8, 9)
    assert classes(document) == {"delivered": 1, "other_copy": 1}
    (cause,) = document["causes"]["other_copy"]
    assert (cause["cause"], cause["ids"], cause["delivered_by_us"]) == ("within_horizon", 1, 1)
    assert document["ids_at_destination"] == 2 and document["verdict"] == {"exit_code": 0, "reasons": []}


def test_a_copy_that_no_sweep_has_seen_is_no_difference(shop: Shop) -> None:
    document = compared(shop, [("twice", sent("08:05", 1)), ("once", sent("09:30", 2))], 8, 9)
    assert classes(document) == {"delivered": 1, "other_copy": 1}


def test_a_dropped_copy_belongs_to_its_own_range_too(shop: Shop) -> None:
    document = compared(shop, [("twice", sent("10:30", 2))], 10, 11)
    assert document["ids"] == 0 and classes(document) == {"other_copy": 1}
    assert document["export"]["of_other_ranges"] == 0 and document["verdict"]["exit_code"] == 0


@pytest.mark.parametrize("with_copy", [False, True])
def test_content_that_is_no_copy_stays_a_difference(shop: Shop, with_copy: bool) -> None:
    copy = [("twice", sent("10:30", 2))] if with_copy else []
    document = compared(shop, [*copy, ("twice", sent("10:30", 3)), ("once", sent("08:10", 1))], 8, 9)
    assert classes(document) == {"delivered": 1, "different": 1} and document["verdict"]["exit_code"] == 1


def test_a_copy_whose_receipt_lies_elsewhere_in_the_horizon_was_sent(shop: Shop) -> None:
    """Else it would be told as never sent."""
    document = compared(shop, [("once", sent("08:10", 1))], 8, 9)
    assert classes(document) == {"delivered": 1, "missing": 1}
    assert document["causes"]["missing"][0]["cause"] == "sent_other_version"


def test_with_the_current_snapshot_these_would_fail(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "settled_snapshot", lambda table: table.current_snapshot())
    document = compared(shop, [("twice", sent("08:05", 1)), ("once", sent("08:10", 1))], 8, 9)
    assert document["classes"]["missing"] == 1
