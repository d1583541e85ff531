"""What a gate holds while the partitions of its contract get another length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.gated import GatedShop, held_hours, holds, public_ids
from tests.support.shop import CONTRACT, HOUR_US, event

URL: dict[str, Any] = {"context": {"page": {"url": "https://shop.example/"}}}
OTHER = {"event_id": [{"metric": "nullValues", "mustBe": 0, "severity": "quarantine"}]}


def cut(shop: GatedShop, length: str) -> None:
    path = shop.folder / "datasets" / CONTRACT.name
    given = yaml.safe_load(path.read_text())
    given["customProperties"].append({"property": "partitions", "value": {"length": length}})
    path.write_text(yaml.safe_dump(given, sort_keys=False))


@pytest.mark.parametrize(("length", "beside"), [("1d", []), ("15m", ["m-4"])])
def test_what_was_held_stays_held_when_partitions_are_cut_anew_and_its_rule_is_gone(
    tmp_path: Path, length: str, beside: list[str]
) -> None:
    """Both edits of the contract at once; calogica/dbt-expectations#212 is of partitions that a check cuts in another way."""
    shop = GatedShop(tmp_path)
    shop.take("first.jsonl", [event(1, 8, **URL), event(2, 9), event(3, 10, **URL)])
    since = holds(shop.lake())[0].since
    shop.write_rules(OTHER)
    cut(shop, length)
    shop.take("more.jsonl", [event(4, 20, **URL)])
    assert public_ids(shop.lake()) == ["m-1", "m-3", *beside]
    assert [(hold.rules, hold.severity, hold.since) for hold in holds(shop.lake())] == [
        (("page_url_nullValues",), "quarantine", since)
    ]
    told = shop.headrace("quality", "release", "customer_event")
    assert told.exit_code == 2 and "to let it go give --by NAME" in told.output
    assert shop.headrace("quality", "release", "customer_event", "--by", "Ada").exit_code == 0
    assert public_ids(shop.lake()) == ["m-1", "m-2", "m-3", "m-4"]


def test_rules_that_still_hold_judge_what_is_cut_anew(tmp_path: Path) -> None:
    shop = GatedShop(tmp_path)
    shop.take("first.jsonl", [event(1, 9, **URL), event(2, 9), event(31, 9, **URL)])
    assert held_hours(shop.lake()) == [9]
    cut(shop, "15m")
    shop.take("more.jsonl", [event(4, 20, **URL)])
    assert public_ids(shop.lake()) == ["m-31", "m-4"]
    (hold,) = holds(shop.lake())
    assert hold.to_us - hold.from_us == HOUR_US // 4
    told = shop.headrace("quality", "status", "customer_event").output
    assert "1 of 2 (50 %) rows have no page_url" in told and "1 of 3" not in told, "of the cut that stands"
