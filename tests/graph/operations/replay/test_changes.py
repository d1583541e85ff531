"""What a promotion and its rollback tell those who read the dataset, beyond the windows that were replayed."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from operations.replay.promote import Promotion, rollback
from tests.support.lake_state import scan
from tests.support.shop import TABLE, Shop, event, strict

Place = tuple[str, int]


def changes(shop: Shop, done: Promotion) -> dict[str, set[Place]]:
    """Event ids and hours of the rows in the files, by kind of change."""
    found: dict[str, set[Place]] = {}
    for path in (shop.lake().path / done.changes).glob("*.parquet"):
        for row in pq.read_table(path).to_pylist():
            found.setdefault(row["_change"], set()).add((row["event_id"], row["_window_time"].hour))
    assert {kind: len(places) for kind, places in found.items()} == {
        kind: count for kind in ("added", "removed", "changed") if (count := getattr(done, kind))
    }
    return found


def published(shop: Shop) -> set[Place]:
    return {(row["event_id"], row["_window_time"].hour) for row in scan(shop.lake(), TABLE).to_pylist()}


def test_copies_that_come_and_go_behind_the_windows_are_changes_too(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.ingest([event(4, 9), event(4, 20), event(4, 22), event(7, 9), event(7, 21)])
    assert published(shop) == {("m-4", 9), ("m-7", 9)}
    shop.write_spec(strict(shop.spec))  # m-4 is filtered
    shop.run("mend", 8, 10)
    done = shop.promote("mend")
    assert published(shop) == {("m-4", 20), ("m-7", 9)}
    assert changes(shop, done) == {"removed": {("m-4", 9)}, "added": {("m-4", 20)}}
    undone = rollback("mend", shop.project, shop.lake())
    assert published(shop) == {("m-4", 9), ("m-7", 9)}
    assert changes(shop, undone) == {"added": {("m-4", 9)}, "removed": {("m-4", 20)}}


@pytest.mark.parametrize("late", [event(4, 11), event(4, 22)], ids=["before", "behind"])
def test_what_a_live_job_adds_meanwhile_is_no_change_of_the_promotion(tmp_path: Path, late: str) -> None:
    shop = Shop(tmp_path)
    shop.ingest([event(4, 9), event(4, 20), event(7, 9)])
    shop.write_spec(strict(shop.spec))
    shop.run("mend", 8, 10)
    shop.write_spec(shop.spec)
    shop.ingest([late, event(8, 12)])
    done = shop.promote("mend")
    first = 11 if late == event(4, 11) else 20
    assert published(shop) == {("m-4", first), ("m-7", 9), ("m-8", 12)}
    assert changes(shop, done) == {"removed": {("m-4", 9)}, "added": {("m-4", first)}}
