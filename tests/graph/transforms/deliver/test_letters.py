"""Dead letters of refusals: one for each event, the newest refusal counts, and a delivery takes it back, whoever made it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lake.receipts.lanes import LaneId
from lake.receipts.receipts import DELIVERED, MERGE_AT, REFUSED, LaneReceipts, Receipt, lane_folder
from lake.tables.iceberg import DEAD_LETTERS
from tests.support.shop import Shop, event
from transforms.deliver.letters import refused_letters, settle_letters, withdraw_letters

TIME_US = 1_793_620_800_000_000  # 2026-11-02T12:00:00Z


class Answers:
    """Receipts as runs write them, each a second after the one before, and the letters that follow."""

    def __init__(self, folder: Path) -> None:
        shop = Shop(folder)
        shop.ingest([event(1, 12), event(2, 13)])
        self.lake = shop.lake()
        self.destination, self.contract = shop.project.destination("segment")
        self._clock = itertools.count(TIME_US, 1_000_000)

    def tell(self, run_id: str, event_id: str, outcome: str, reason: str | None = None) -> None:
        """What the destination said of an event; each event in a lane of its own."""
        receipt = Receipt(0, event_id, TIME_US, outcome, reason, None, b"d" * 16, None, next(self._clock))
        log = LaneId("rows", run_id, int(event_id[-1]))
        LaneReceipts(self.lake, self.destination.name, log).write(0, 1, [receipt], Counter())

    def settle(self) -> None:
        settle_letters(self.lake, self.destination, self.contract, "run")

    def withdraw(self, told: Callable[[Sequence[str]], None] | None = None) -> int:
        return withdraw_letters(self.lake, self.destination, self.contract, "run", told)

    def letters(self) -> dict[str, tuple[str, str]]:
        """Code and expectation of each event's letter; an event has one."""
        rows: list[dict[str, Any]] = self._table().to_pylist()
        assert len(rows) == len({row["event_id"] for row in rows})
        return {row["event_id"]: (row["code"], row["violations"][0]["expected"]) for row in rows}

    def _table(self) -> pa.Table:
        found: pa.Table = self.lake.load(DEAD_LETTERS).scan(row_filter="stage = 'deliver'").to_arrow()
        return found


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    return Answers(tmp_path)


def refused(why: str) -> tuple[str, str]:
    return "refused", f"taken by segment ({why}, no request)"


def test_refusals_get_a_letter_each_and_settling_again_changes_nothing(answers: Answers) -> None:
    answers.tell("a", "m-1", REFUSED, "too_large")
    answers.tell("a", "m-2", DELIVERED)
    for _ in range(2):
        answers.settle()
        assert answers.letters() == {"m-1": refused("too_large")}


def test_a_second_refusal_takes_the_place_of_the_first(answers: Answers) -> None:
    answers.tell("a", "m-1", REFUSED, "too_large")
    answers.settle()
    answers.tell("b", "m-1", REFUSED, "http_400")
    answers.settle()
    assert answers.letters() == {"m-1": refused("http_400")}


@pytest.mark.parametrize("why", ["timeout", "reset", "wrong_answer"])
def test_a_refusal_without_a_usable_answer_says_so(answers: Answers, why: str) -> None:
    answers.tell("a", "m-1", REFUSED, why)
    answers.settle()
    assert answers.letters() == {"m-1": ("refused", f"taken by segment ({why}, no usable answer)")}


def test_letters_of_what_was_delivered_since_are_taken_back_and_others_stay(answers: Answers) -> None:
    for event_id in ("m-1", "m-2"):
        answers.tell("a", event_id, REFUSED, "http_400")
    answers.settle()
    assert answers.withdraw() == 0
    answers.tell("killed before it could take letters back", "m-1", DELIVERED)
    assert answers.withdraw() == 1
    assert {event_id: code for event_id, (code, _) in answers.letters().items()} == {"m-1": "withdrawn", "m-2": "refused"}
    assert answers.withdraw() == 0


def test_letters_are_told_before_they_are_taken_back_and_again_where_that_was_as_far_as_it_came(answers: Answers) -> None:
    answers.tell("a", "m-1", REFUSED, "http_400")
    answers.settle()
    answers.tell("b", "m-1", DELIVERED)
    told: list[str] = []

    def die(ids: Sequence[str]) -> None:
        told.extend(ids)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answers.withdraw(die)
    assert answers.letters() == {"m-1": refused("http_400")}
    assert answers.withdraw(told.extend) == 1
    assert len(told) == 2 and len(set(told)) == 1


def test_a_refusal_after_a_delivery_keeps_its_letter(answers: Answers) -> None:
    answers.tell("a", "m-1", DELIVERED)
    answers.tell("b", "m-1", REFUSED, "http_400")
    answers.settle()
    assert answers.withdraw() == 0
    assert answers.letters() == {"m-1": refused("http_400")}


def test_a_worker_that_died_between_letters_and_mark_makes_no_second_one(answers: Answers) -> None:
    answers.tell("a", "m-1", REFUSED, "http_400")
    answers.settle()
    lane = LaneId("rows", "a", 1)
    mark = answers.lake.at_key(f"deliveries/segment/letters/{lane.rows_from}/{lane.version}/{lane.number}")
    assert answers.lake.storage.read(mark) == b"1"
    answers.lake.storage.delete(mark)
    answers.settle()
    assert answers.letters() == {"m-1": refused("http_400")}
    assert answers.lake.storage.read(mark) == b"1"


def test_refusals_in_a_merged_file_have_a_letter_each(answers: Answers) -> None:
    """Those before the mark are told already, those behind it are new, and the file is one."""
    lane = LaneId("rows", "a", 0)
    writer = LaneReceipts(answers.lake, "segment", lane)

    def write(place: int) -> None:
        what: tuple[str, str | None] = (REFUSED, "http_400") if place % 16 == 0 else (DELIVERED, None)
        row = Receipt(place, f"m-{place}", TIME_US, *what, None, b"d" * 16, None, TIME_US + place)
        writer.write(place, place + 1, [row], Counter())

    for place in range(20):
        write(place)
    answers.settle()
    assert set(answers.letters()) == {"m-0", "m-16"}
    for place in range(20, MERGE_AT):
        write(place)
    (merged,) = answers.lake.storage.names(lane_folder(answers.lake, "segment", lane))
    assert merged.endswith(f"-{MERGE_AT:020d}-4.parquet")
    answers.settle()
    assert set(answers.letters()) == {"m-0", "m-16", "m-32", "m-48"}


def test_two_destinations_that_refuse_one_event_have_a_letter_each(answers: Answers) -> None:
    answers.tell("a", "m-1", REFUSED, "http_400")
    answers.settle()
    other = replace(answers.destination, name="other")
    receipt = Receipt(0, "m-1", TIME_US, REFUSED, "http_413", 413, b"d" * 16, b"{}", TIME_US)
    LaneReceipts(answers.lake, "other", LaneId("rows", "a", 1)).write(0, 1, [receipt], Counter())
    settle_letters(answers.lake, other, answers.contract, "run")
    found = {name: refused_letters(answers.lake, name).column("event_id").to_pylist() for name in ("segment", "other", "third")}
    assert found == {"segment": ["m-1"], "other": ["m-1"], "third": []}
    row = answers.lake.load(DEAD_LETTERS).scan(row_filter="source = 'other'").to_arrow().to_pylist()[0]
    assert (row["raw"], row["position"], row["violations"][0]["expected"]) == (
        b"{}", "lane:rows:a:1:0", "taken by other (http_413, HTTP 413)",
    )  # fmt: skip


def test_letters_of_other_lanes_wait_for_those_who_work_on_them(answers: Answers) -> None:
    for event_id in ("m-1", "m-2"):
        answers.tell("a", event_id, REFUSED, "http_400")
    settle_letters(answers.lake, answers.destination, answers.contract, "run", [LaneId("rows", "a", 2)])
    assert set(answers.letters()) == {"m-2"}
    answers.settle()
    assert set(answers.letters()) == {"m-1", "m-2"}
