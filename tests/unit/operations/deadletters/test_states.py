"""Where letters stand, by the lines of their history alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from lake.location import Lake
from lake.tables.iceberg import WITHDRAWN
from lake.tables.letter_history import Act, ActOutcome, HistoryLine, append_history, history_of, history_table
from operations.deadletters.states import STATES, read_states

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
LETTER = f"{7:032x}"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake.at(str(tmp_path))
    made.create()
    return made


def tell(lake: Lake, outcome: ActOutcome, act: Act = Act.REPROCESSED, attempt: int = 1, at: datetime = NOW) -> None:
    line = HistoryLine(
        dead_letter_id=LETTER, source="web", raw_file="f", position=3, dataset="thing", attempt=attempt, act=act, outcome=outcome,
        by="ada", code="malformed",
    )  # fmt: skip
    append_history(lake, history_table([line], at))


def state(lake: Lake, code: str = "malformed") -> str | None:
    rows = pa.table({"dead_letter_id": [LETTER], "code": [code]})
    (place,) = read_states(lake).of(rows).tolist()
    return str(STATES[place]) if place < len(STATES) else None


def test_a_letter_that_is_closed_while_it_is_read_again_is_recovered_once_it_is_gone(lake: Lake) -> None:
    tell(lake, ActOutcome.RECOVERED)
    tell(lake, ActOutcome.CLOSED, Act.CLOSED, at=NOW + timedelta(seconds=1))
    assert (state(lake), state(lake, WITHDRAWN)) == ("closed", "recovered")
    rows = pa.table({"dead_letter_id": [LETTER], "code": [WITHDRAWN]})
    assert read_states(lake).codes(rows).column("code").to_pylist() == ["malformed"]


def test_what_came_back_after_it_was_recovered_is_open(lake: Lake) -> None:
    tell(lake, ActOutcome.GIVEN_UP)
    tell(lake, ActOutcome.RECOVERED, attempt=2, at=NOW + timedelta(seconds=1))
    assert (state(lake), state(lake, WITHDRAWN)) == ("open", "recovered")


@pytest.mark.parametrize("behind", [timedelta(0), timedelta(seconds=1), timedelta(hours=3)])
def test_the_line_that_was_written_last_counts_whatever_the_clock_says(lake: Lake, behind: timedelta) -> None:
    tell(lake, ActOutcome.CLOSED, Act.CLOSED)
    tell(lake, ActOutcome.STILL_FAILING, attempt=2, at=NOW - behind)
    assert state(lake) == "open"
    tell(lake, ActOutcome.GIVEN_UP, attempt=3, at=NOW - behind)
    assert state(lake) == "given_up"
    assert [line["attempt"] for line in history_of(lake, [LETTER])] == [1, 2, 3]


def test_an_export_changes_nothing_of_where_a_letter_stands(lake: Lake) -> None:
    tell(lake, ActOutcome.CLOSED, Act.CLOSED)
    tell(lake, ActOutcome.EXPORTED, Act.EXPORTED, at=NOW + timedelta(seconds=1))
    assert state(lake) == "closed"
