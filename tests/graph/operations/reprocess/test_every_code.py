"""Every dead-letter code, from files and from logs: mended, it is reprocessed, and the lake is as one of the mended input."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.codes import Code
from lake.ledger.ledger import LedgerEntry
from lake.location import Lake
from tests.support.letters import CASES, DATASETS, EVENTS, PEOPLE, SALES, LetterCase, LetterShop
from tests.support.repairs import (
    MENDED_SPECS,
    NOT_IN_PLACE,
    RECIPES,
    land_and_judge,
    ledger,
    mend_spec,
    open_letters,
    payloads_of,
    recipe_for,
    run,
    totals,
)
from tests.support.shop import RECEIVED_S

Feed = Callable[[LetterShop, Lake, str, list[LetterCase], bool], None]


def from_files(shop: LetterShop, lake: Lake, source: str, cases: list[LetterCase], repaired: bool) -> None:
    """One file with all records, as files of equal bytes are landed once."""
    path = shop.folder / f"{source}-{repaired}.jsonl"
    path.write_bytes(b"".join(payload + b"\n" for payload in payloads_of(cases, repaired=repaired)))
    os.utime(path, (RECEIVED_S, RECEIVED_S))
    shop.ingest(source, [path], lake.root.rsplit("/", 1)[-1])


def from_log(shop: LetterShop, lake: Lake, source: str, cases: list[LetterCase], repaired: bool) -> None:
    land_and_judge(shop, lake, source, payloads_of(cases, repaired=repaired))


def test_every_code_is_mended_somehow() -> None:
    assert set(Code) == {*RECIPES, *MENDED_SPECS, *NOT_IN_PLACE}


@pytest.mark.parametrize("source", [EVENTS, *(pytest.param(name, marks=pytest.mark.long) for name in (PEOPLE, SALES))])
@pytest.mark.parametrize("feed", [from_files, pytest.param(from_log, marks=pytest.mark.long)])
def test_recipes_give_what_repaired_input_gives(feed: Feed, source: str, tmp_path: Path) -> None:
    """Code after code: each run takes the letters of its code, and those alone."""
    shop = LetterShop(tmp_path)
    streams = feed is from_log
    cases = [case for case in CASES.values() if case.source == source and case.code in RECIPES and (case.streams or not streams)]
    feed(shop, shop.lake(), source, cases, False)
    feed(shop, shop.lake("fresh"), source, cases, True)
    left = {str(case.code) for case in cases}
    assert {code for code, _ in open_letters(shop.lake())} == left
    for case in cases:
        before = ledger(shop.project, shop.lake(), source)
        report = run(shop.project, shop.lake(), codes=[case.code], recipe=recipe_for(shop, case))
        assert (report.exit_code, report.count("recovered"), report.repaired) == (0, 1, 1), (case.code, report.document())
        left.remove(str(case.code))
        assert {code for code, _ in open_letters(shop.lake())} == left
        after = ledger(shop.project, shop.lake(), source)
        assert after.balanced and after.dead_letter == before.dead_letter - 1 and case.code not in after.codes
        assert run(shop.project, shop.lake(), codes=[case.code], recipe=recipe_for(shop, case)).selected == 0
    assert totals(shop.lake(), DATASETS[source]) == totals(shop.lake("fresh"), DATASETS[source])
    assert ledger(shop.project, shop.lake(), source) == ledger(shop.project, shop.lake("fresh"), source)


@pytest.mark.parametrize(
    "code", [c if c is Code.HEADER_MISMATCH else pytest.param(c, marks=pytest.mark.long) for c in MENDED_SPECS]
)
def test_a_mended_source_spec_needs_no_recipe(code: Code, tmp_path: Path) -> None:
    """And is judged in place: the bytes are not landed again."""
    shop, case = LetterShop(tmp_path), CASES[code]
    source = case.source
    shop.ingest(source, [shop.write(case)])
    assert run(shop.project, shop.lake()).count("still_failing") == 1
    mend_spec(shop, code)
    report = run(shop.project, shop.lake())
    assert (report.exit_code, report.count("recovered"), report.repaired) == (0, 1, 0)
    assert open_letters(shop.lake()) == []
    shop.ingest(source, [shop.write(case)], "fresh")
    assert totals(shop.lake(), DATASETS[source]) == totals(shop.lake("fresh"), DATASETS[source])
    assert ledger(shop.project, shop.lake(), source) == ledger(shop.project, shop.lake("fresh"), source)


@pytest.mark.long
@pytest.mark.parametrize("code", [Code.RAGGED_ROW, Code.DAMAGED_INPUT])
def test_what_cannot_be_mended_in_place_still_fails_until_it_is_given_up(code: Code, tmp_path: Path) -> None:
    shop, case = LetterShop(tmp_path), CASES[code]
    shop.ingest(case.source, [shop.write(case)])
    before = ledger(shop.project, shop.lake(), case.source)
    for attempt in (2, 3):
        report = run(shop.project, shop.lake(), max_attempts=3)
        assert report.count("still_failing" if attempt == 2 else "given_up") == 1 and report.exit_code == 1
        assert open_letters(shop.lake()) == [(str(code), attempt)]
    assert run(shop.project, shop.lake(), max_attempts=3).aside == {"given up": 1}
    assert ledger(shop.project, shop.lake(), case.source) == before
    assert isinstance(before, LedgerEntry) and before.balanced
