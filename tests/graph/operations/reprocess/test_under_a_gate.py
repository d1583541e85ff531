"""What is reprocessed of a gated dataset goes the way of everything else: the audit branch, the gate, and only then main."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake.ledger.ledger import LedgerEntry
from operations.reprocess.options import ReprocessOptions
from operations.reprocess.recipes import tried_recipe
from operations.reprocess.run import reprocess
from tests.support.gated import GatedShop, audit_ids, held_hours, public_ids, whole_ledger
from tests.support.repairs import open_letters, write_recipe
from tests.support.shop import TABLE, event

URL = {"context": {"page": {"url": "https://shop.example/"}}}
ALL = ["m-1", "m-2", "m-3"]


@pytest.fixture
def shop(tmp_path: Path) -> GatedShop:
    """Two rejected records that a recipe mends; one of them lacks what the gate wants."""
    shop = GatedShop(tmp_path)
    shop.take("first.jsonl", [event(1, 8, **URL), event(2, 9, type="nothing"), event(3, 10, type="nothing", **URL)])
    steps = [{"map": {"path": "type", "values": {"nothing": "page"}}}]
    write_recipe(shop.folder, "page", steps=steps, examples=[{"in": {"type": "nothing"}, "out": {"type": "page"}}])
    return shop


def main_head(shop: GatedShop) -> int | None:
    """The snapshot that readers see."""
    head = shop.lake().catalog().load_table(TABLE).current_snapshot()
    return head.snapshot_id if head else None


def test_what_is_repaired_is_judged_and_held_and_repaired_again_by_a_replay(shop: GatedShop) -> None:
    lake, project = shop.lake(), shop.project
    heads: dict[str, int | None] = {"before": main_head(shop)}
    options = ReprocessOptions(recipe=tried_recipe(project, "page"), reason="a test")
    report = reprocess(options, project, lake, lambda _: None, lambda step: heads.update({step: main_head(shop)}))
    assert report.exit_code == 1
    assert report.reasons == [
        "the gate holds 1 partition of customer_event (page_url_nullValues): headrace quality status customer_event"
    ]
    assert len(report.document()["gates"]["customer_event"]["held"]) == 1
    assert len({head for step, head in heads.items() if step not in ("settled", "manifest")}) == 1, (
        "no step but the gate writes main"
    )
    expected = LedgerEntry(records_in=3, out=2, held=1)
    assert (public_ids(lake), audit_ids(lake), held_hours(lake)) == (["m-1", "m-3"], ALL, [9])
    assert whole_ledger(shop, lake) == expected
    assert report.ledger["web"] == LedgerEntry(records_in=2, out=1, held=1)
    assert open_letters(lake) == []
    assert shop.run("again", 8, 11).exit_code == 0
    assert shop.promote("again").held == 1
    assert (public_ids(lake), audit_ids(lake), held_hours(lake)) == (["m-1", "m-3"], ALL, [9])
    assert whole_ledger(shop, lake) == expected
