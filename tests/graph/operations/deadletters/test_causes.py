"""Top causes: counts, times, trend, an example without a value, a remedy; and tickets that name nobody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.codes import Code
from contracts.units import DAY_US, HOUR_US
from operations.deadletters.causes import GROUPED_BY, Causes, Sort, count_causes
from operations.deadletters.remedies import _BY_CODE, remedy_of
from operations.deadletters.selection import LetterSelection
from operations.deadletters.tickets import tickets
from tests.support.letters import CASES, EVENTS, MARK, PEOPLE, SPECS, LetterShop, event
from tests.support.shop import RECEIVED_S

RECEIVED_US = RECEIVED_S * 1_000_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LetterShop]:
    """A letter of every code; of one cause three, an hour later."""
    shop = LetterShop(tmp_path_factory.mktemp("letters"))
    for source in SPECS:
        shop.ingest(source, [shop.write(case) for case in CASES.values() if case.source == source])
    path = shop.folder / "drop" / "more.jsonl"
    path.write_bytes(b"".join(event(n, userId=70077) + b"\n" for n in range(10, 13)))
    os.utime(path, (RECEIVED_S + 3_600, RECEIVED_S + 3_600))
    shop.ingest(EVENTS, [path])
    yield shop


def causes(shop: LetterShop, limit: int = 100, by: tuple[str, ...] = GROUPED_BY, **fields: Any) -> Causes:
    return count_causes(shop.lake(), shop.project, LetterSelection(**fields), by=by, limit=limit, now_us=RECEIVED_US + DAY_US)


def test_every_cause_is_told_with_an_example_and_a_remedy(shop: LetterShop) -> None:
    found = causes(shop)
    assert found.letters == sum(cause.letters for cause in found.causes) == len(CASES) + 3
    assert {cause.what["code"] for cause in found.causes} == {str(code) for code in CASES}
    for cause in found.causes:
        case = CASES[Code(cause.what["code"])]
        assert cause.what["rule"] == case.rule and cause.what["source"] == case.source and cause.expected
        assert cause.what["path"] == case.path or case.code is Code.UNKNOWN_FIELD
        assert cause.remedy and cause.example and (cause.example["shape"] is None) == (case.stage == "converge")
    assert MARK not in str(found) and "70077" not in str(found) and "nick" not in str(found)


def test_every_code_has_a_remedy() -> None:
    assert set(_BY_CODE) == {*map(str, Code), "late"}


def test_late_rows_have_a_command_that_reads_late_rows(tmp_path: Path) -> None:
    shop = LetterShop(tmp_path / "shop")
    remedy = remedy_of({"dead_letter_id": "0" * 32, "code": "late", "source": EVENTS}, shop.project)
    assert remedy.command == f"headrace deadletter reprocess --source {EVENTS} --late --dry-run"


def test_the_most_frequent_comes_first_with_its_times_and_hours(shop: LetterShop) -> None:
    found = causes(shop, limit=1)
    (first,) = found.causes
    assert (first.what["code"], first.letters, first.before) == ("wrong_type", 4, None)
    assert (first.first_us, first.last_us) == (RECEIVED_US, RECEIVED_US + HOUR_US)
    assert found.bucket_us == HOUR_US and first.buckets[-2:] == (1, 3) and sum(first.buckets) == 4
    assert (found.others, found.other_letters) == (len(CASES) - 1, len(CASES) - 1)
    assert first.example and first.example["shape"] == "whole number, 5 digits"


def test_what_grows_and_what_came_last_can_come_first(shop: LetterShop) -> None:
    def first(sort: Sort, **fields: Any) -> str:
        selection = LetterSelection(codes=("wrong_type", "too_deep", "conflicting_duplicate"), **fields)
        return count_causes(shop.lake(), shop.project, selection, sort=sort, limit=1).causes[0].what["code"]

    assert first(Sort.LETTERS) == first(Sort.LAST) == first(Sort.GROWTH, since_us=RECEIVED_US) == "wrong_type"
    assert first(Sort.LAST, until_us=RECEIVED_US) == "conflicting_duplicate"
    early = {"since_us": RECEIVED_US - 1, "until_us": RECEIVED_US + HOUR_US}
    assert first(Sort.GROWTH, **early) == "too_deep"  # of one letter each, by name


def test_a_span_is_set_against_the_one_before(shop: LetterShop) -> None:
    span = {"since_us": RECEIVED_US + 1, "until_us": RECEIVED_US + HOUR_US + 1}
    found = causes(shop, **span)
    assert (found.letters, found.before) == (3, len(CASES) - 1)  # the conflict is of the time of its event
    (cause,) = found.causes
    assert (cause.letters, cause.before) == (3, 1)
    nothing = causes(shop, since_us=RECEIVED_US + 2 * HOUR_US)
    assert (nothing.letters, nothing.causes) == (0, ()) and nothing.before == len(CASES) + 3


@pytest.mark.parametrize("by", [("code",), ("source",), ("path", "source"), ("stage",), ("dataset", "rule")])
def test_counts_by_less_add_up_to_the_same(shop: LetterShop, by: tuple[str, ...]) -> None:
    found, whole = causes(shop, by=by), causes(shop)
    assert sum(cause.letters for cause in found.causes) == found.letters == whole.letters
    expected: dict[tuple[str, ...], int] = {}
    for cause in whole.causes:
        key = tuple(cause.what[name] for name in by)
        expected[key] = expected.get(key, 0) + cause.letters
    assert {tuple(cause.what[name] for name in by): cause.letters for cause in found.causes} == expected


def test_a_span_of_years_is_shown_in_few_stretches(shop: LetterShop) -> None:
    found = causes(shop, since_us=RECEIVED_US - 4_000 * DAY_US, until_us=RECEIVED_US + DAY_US)
    assert all(len(cause.buckets) <= 49 and sum(cause.buckets) == cause.letters for cause in found.causes)


def test_a_ticket_goes_to_the_owner_and_names_no_value(shop: LetterShop) -> None:
    found = tickets(shop.lake(), shop.project, LetterSelection(), limit=100)
    assert {ticket.source for ticket in found} == set(SPECS)
    for ticket in found:
        assert ticket.to == "Customer data <customer-data@example.com>"
        assert MARK not in ticket.subject + ticket.text and "nick" not in ticket.text and "70077" not in ticket.text
    (people,) = [ticket for ticket in found if ticket.source == PEOPLE]
    assert people.subject == "people: 2 records rejected (bad_pattern, unknown_field)"
    assert r"1. phone: expected ^\+[1-9][0-9]{6,14}$" in people.text


def test_of_a_source_that_the_project_does_not_know_a_letter_is_shown_first(shop: LetterShop, tmp_path: Path) -> None:
    other = LetterShop(tmp_path)
    for name in SPECS:
        (other.folder / "sources" / f"{name}.yaml").unlink()
    found = count_causes(shop.lake(), other.project, LetterSelection(codes=("bad_timestamp",)))
    (cause,) = found.causes
    assert cause.remedy and cause.example
    assert cause.remedy.command == f"headrace deadletter show {cause.example['dead_letter_id']}"
    assert replace(found, causes=()).letters == 1
