"""Dead letters of refusals: one for each event, the newest refusal counts, and a delivery takes it back, whoever made it."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.support.shop import Shop, event
from transforms.deliver.letters import settle_letters, withdraw_letters
from transforms.deliver.receipts import DELIVERED, REFUSED, LaneReceipts, Receipt
from transforms.lake.segments import LogId
from transforms.lake.tables import DEAD_LETTERS

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
        log = LogId("rows", run_id, int(event_id[-1]))
        LaneReceipts(self.lake, self.destination.name, log).write(0, 1, [receipt], Counter())

    def settle(self) -> None:
        settle_letters(self.lake, self.destination, self.contract, "run")

    def withdraw(self) -> int:
        return withdraw_letters(self.lake, self.destination, self.contract, "run")

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


def test_letters_of_what_was_delivered_since_are_taken_back_and_others_stay(answers: Answers) -> None:
    for event_id in ("m-1", "m-2"):
        answers.tell("a", event_id, REFUSED, "http_400")
    answers.settle()
    assert answers.withdraw() == 0
    answers.tell("killed before it could take letters back", "m-1", DELIVERED)
    assert answers.withdraw() == 1
    assert {event_id: code for event_id, (code, _) in answers.letters().items()} == {"m-1": "withdrawn", "m-2": "refused"}
    assert answers.withdraw() == 0


def test_a_refusal_after_a_delivery_keeps_its_letter(answers: Answers) -> None:
    answers.tell("a", "m-1", DELIVERED)
    answers.tell("b", "m-1", REFUSED, "http_400")
    answers.settle()
    assert answers.withdraw() == 0
    assert answers.letters() == {"m-1": refused("http_400")}
