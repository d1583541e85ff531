"""The history of letters: a line an act and attempt, whoever writes at the same time."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lake.location import Lake
from lake.tables.letter_history import Act, ActOutcome, HistoryLine, append_history, history_of, history_table, last_acts


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake.at(str(tmp_path / "lake"))
    made.create()
    return made


def lines(*positions: int, attempt: int = 2, outcome: ActOutcome = ActOutcome.STILL_FAILING, **more: Any) -> pa.Table:
    told = [
        HistoryLine(
            dead_letter_id=f"letter-{n}", source="web", raw_file="file", position=n, dataset="d", attempt=attempt,
            act=Act.REPROCESSED, outcome=outcome, by="ada", **more,
        )
        for n in positions
    ]  # fmt: skip
    return history_table(told, datetime.now(UTC))


def test_a_line_stands_once(lake: Lake) -> None:
    assert history_of(lake, ["letter-1"]) == []
    assert append_history(lake, lines(1, 2)) == 2
    assert append_history(lake, lines(2, 3)) == 1
    assert append_history(lake, lines(2, attempt=3, outcome=ActOutcome.RECOVERED)) == 1
    assert [(line["attempt"], line["outcome"]) for line in history_of(lake, ["letter-2"])] == [
        (2, "still_failing"),
        (3, "recovered"),
    ]
    assert append_history(lake, lines()) == 0


def test_of_rivals_one_is_heard(lake: Lake) -> None:
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(append_history(lake, lines(1, 2, 3)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [0, 0, 0, 3]


def test_the_newest_attempt_is_told(lake: Lake) -> None:
    append_history(lake, lines(1, 2))
    append_history(lake, lines(1, attempt=3, outcome=ActOutcome.GIVEN_UP))
    places = pa.table({"source": ["web"], "raw_file": ["file"], "position": [1]})
    assert last_acts(lake, places, Act.REPROCESSED) == {"letter-1": (3, "given_up")}
    assert last_acts(lake, places, Act.CLOSED) == {}
