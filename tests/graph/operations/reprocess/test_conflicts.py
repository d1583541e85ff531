"""Records that lost against another row: a recipe helps them only if they lose no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lake.repairs import read_repairs
from lake.tables.letter_history import HISTORY
from operations.reprocess.options import ReprocessReport
from tests.support.lake_state import scan
from tests.support.repairs import open_letters, run, write_recipe
from tests.support.shop import TABLE, Shop, event

CONFLICT = "conflicting_duplicate"
ONE, OTHER = event(1, 8, event="a"), event(1, 8, event="b", type="track")  # in one cell the contents decide which of them wins
NOTHING_TO_DO: list[dict[str, Any]] = [
    {"steps": [{"map": {"path": "type", "values": {"nothing": "page"}}}]},
    {"steps": [{"remove": {"path": "type"}}], "when": [{"path": "type", "in": ["no such type"]}]},
    {"steps": [{"replace": {"path": "messageId", "pattern": "^x-", "with": "n-"}}]},
    {"steps": [{"remove": {"path": "type"}}]},  # makes a record of it that is rejected
]


def _mend(shop: Shop, name: str, **document: Any) -> ReprocessReport:
    write_recipe(shop.folder, name, **document)
    return run(shop.project, shop.lake(), recipe=shop.project.recipe(name))


def _shop(folder: Path, *lines: str) -> Shop:
    shop = Shop(folder)
    for line in lines:
        shop.ingest([line, event(5, 8)])
    assert [code for code, _ in open_letters(shop.lake())] == [CONFLICT]
    return shop


def _ids(shop: Shop) -> list[str]:
    found: list[str] = scan(shop.lake(), TABLE).column("event_id").to_pylist()
    return sorted(found)


def _acts(shop: Shop) -> list[str]:
    rows = shop.lake().load(HISTORY).scan(selected_fields=("attempt", "outcome")).to_arrow().to_pylist()
    return [row["outcome"] for row in sorted(rows, key=lambda row: row["attempt"])]


@pytest.mark.parametrize("recipe", NOTHING_TO_DO)
def test_a_recipe_that_makes_no_other_row_of_it_withdraws_no_letter(recipe: dict[str, Any], tmp_path: Path) -> None:
    shop = _shop(tmp_path / "shop", ONE, OTHER)
    before = shop.ledger()
    report = _mend(shop, "idle", **recipe)
    assert (report.count("recovered"), report.count("still_failing"), report.repaired, report.exit_code) == (0, 1, 0, 1)
    assert [code for code, _ in open_letters(shop.lake())] == [CONFLICT]
    assert shop.ledger() == before and before.balanced
    assert not read_repairs(shop.lake(), "web").listed, "nothing was repaired"


def test_a_recipe_for_other_codes_reads_no_conflict_and_uses_up_none_of_its_attempts(tmp_path: Path) -> None:
    """googleapis/nodejs-pubsub#1908: attempts that were not about a message brought it to its last one."""
    shop = _shop(tmp_path / "shop", ONE, OTHER)
    before = open_letters(shop.lake())
    report = _mend(shop, "other", codes=["not_in_enum"], steps=[{"remove": {"path": "type"}}])
    assert (report.selected, report.exit_code, report.aside) == (0, 0, {"converge": 1})
    assert open_letters(shop.lake()) == before


@pytest.mark.parametrize("loses", [OTHER, event(1, 9, event="b", type="track")], ids=["in its cell", "within the horizon"])
def test_another_row_that_loses_again_withdraws_no_letter_and_a_further_recipe_may_help(loses: str, tmp_path: Path) -> None:
    shop = _shop(tmp_path / "shop", ONE, loses)
    report = _mend(shop, "rename", steps=[{"replace": {"path": "event", "pattern": "^[ab]$", "with": "c"}}])
    assert (report.count("recovered"), report.count("still_failing"), report.exit_code) == (0, 1, 1)
    assert {code for code, _ in open_letters(shop.lake())} == {CONFLICT} and shop.ledger().balanced
    assert _ids(shop) == ["m-1", "m-5"] and _acts(shop) == ["still_failing"]


def test_a_repaired_row_that_is_a_copy_of_the_winner_has_no_letter(tmp_path: Path) -> None:
    shop = _shop(tmp_path / "shop", ONE, OTHER)
    swapped = [("event", {"a": "b", "b": "a"}), ("type", {"page": "track", "track": "page"})]
    steps = [{"map": {"path": path, "values": values}} for path, values in swapped]
    report = _mend(shop, "same", steps=steps)
    assert report.count("recovered") == 1 and not open_letters(shop.lake())
    assert shop.ledger().balanced and shop.ledger().duplicate == 2


@pytest.mark.parametrize("loses", [OTHER, event(1, 9, event="b", type="track")], ids=["in its cell", "within the horizon"])
def test_a_repaired_row_of_its_own_is_published(loses: str, tmp_path: Path) -> None:
    shop = _shop(tmp_path / "shop", ONE, loses)
    report = _mend(shop, "own", codes=CONFLICT, steps=[{"replace": {"path": "messageId", "with": "m-77"}}])
    assert (report.count("recovered"), report.exit_code) == (1, 0) and not open_letters(shop.lake())
    assert _ids(shop) == ["m-1", "m-5", "m-77"] and shop.ledger().balanced


def test_what_the_rules_of_today_filter_has_no_letter(tmp_path: Path) -> None:
    shop = _shop(tmp_path / "shop", ONE, OTHER)
    shop.write_spec({**shop.spec, "filter": [{"path": "event", "in": ["a", "b"]}]})
    report = _mend(shop, "idle", **NOTHING_TO_DO[0])
    assert report.count("recovered") == 1 and not open_letters(shop.lake())
    assert shop.ledger().balanced and shop.ledger().filtered == 1


def test_a_repair_of_a_conflict_comes_on_top_of_the_repair_that_made_the_record_acceptable(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    shop.ingest([event(1, 8, event="a"), event(1, 8, type="nothing", event="b"), event(2, 8, type="nothing")])
    page = {"codes": "not_in_enum", "steps": [{"map": {"path": "type", "values": {"nothing": "page"}}}]}
    assert _mend(shop, "page", **page).count("recovered") == 2
    assert [code for code, _ in open_letters(shop.lake())] == [CONFLICT]
    own = {"codes": CONFLICT, "steps": [{"replace": {"path": "messageId", "pattern": "^m-", "with": "n-"}}]}
    report = _mend(shop, "own", **own)
    assert (report.count("recovered"), report.exit_code, report.others) == (1, 0, {}) and not open_letters(shop.lake())
    assert _ids(shop) == ["m-1", "m-2", "n-1"] and shop.ledger().balanced
    assert shop.run("again", 8, 9).exit_code == 0
    shop.promote("again")
    assert _ids(shop) == ["m-1", "m-2", "n-1"] and shop.ledger().balanced, "a replay repairs it in the same way"


def test_attempts_are_bounded_by_the_history_where_a_letter_keeps_its_first_number(tmp_path: Path) -> None:
    shop = _shop(tmp_path / "shop", ONE, OTHER)
    write_recipe(shop.folder, "idle", **NOTHING_TO_DO[0])

    def read_again(max_attempts: int) -> ReprocessReport:
        return run(shop.project, shop.lake(), recipe=shop.project.recipe("idle"), max_attempts=max_attempts)

    assert read_again(2).count("given_up") == 1 and open_letters(shop.lake()) == [(CONFLICT, 1)]
    again = read_again(2)
    assert (again.selected, again.aside) == (0, {"given up": 1})
    assert read_again(3).count("given_up") == 1 and _acts(shop) == ["given_up"] * 2, "a larger bound allows one more"
