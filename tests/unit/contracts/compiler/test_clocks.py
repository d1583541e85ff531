"""Which times are believed: a file has no clock, a log may have none, and nothing a machine wrote leaves its bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.compiler.clocks import EARLIEST_US, LATEST_US, NO_TIME_US, record_times_us
from contracts.compiler.rows import FinishedColumns, RowFinisher
from contracts.compiler.timestamps import MAX_US, MIN_US
from contracts.spec.model import Column, ColumnType, Contract, EventTimeRule
from contracts.spec.source import ClockBounds
from contracts.units import DAY_US, HOUR_US, SECOND_US

NOW = 1_793_613_600_000_000
OLD = NOW - 900 * DAY_US
ANY_TIME = st.none() | st.integers(MIN_US, MAX_US) | st.integers(NOW - 60 * DAY_US, NOW + DAY_US)
NAMES = ("original", "sent", "received")
SKEWED = Contract(
    name="event", version="1.0.0", kind="event", event_id="id", window_time=("original",), received_at="received",
    event_time=EventTimeRule("estimate", "original", "sent"), order=("received",),
    columns=(
        Column(name="id", type=ColumnType.STRING),
        *(Column(name=n, type=ColumnType.TIMESTAMP, transport=n != "original") for n in (*NAMES, "estimate")),
    ),
)  # fmt: skip
PLAIN = replace(SKEWED, event_time=None)


def finish(
    contract: Contract, received_at: int, *, from_log: bool, clock: ClockBounds | None = None, **row: int | None
) -> FinishedColumns:
    checked = {"id": ["1"], **{name: [row.get(name)] for name in NAMES}}
    if contract.event_time is None:
        checked["estimate"] = [None]
    return RowFinisher(contract, clock).finish(checked, [received_at], from_log=from_log)


@settings(deadline=None)
@given(
    st.sampled_from((SKEWED, PLAIN)), st.integers(MIN_US, MAX_US), ANY_TIME,
    st.integers(0, 2 * NOW), st.integers(0, 2 * NOW),
)  # fmt: skip
def test_history_of_two_files_has_one_window_time_and_one_fingerprint(
    contract: Contract, original: int, sent: int | None, one: int, other: int
) -> None:
    first, second = (finish(contract, mtime, from_log=False, original=original, sent=sent) for mtime in (one, other))
    assert first["_window_time"] == second["_window_time"]
    assert first["_fingerprint"] == second["_fingerprint"]


@settings(deadline=None)
@given(st.sampled_from((SKEWED, PLAIN)), st.booleans(), ANY_TIME, ANY_TIME, ANY_TIME, st.integers(0, LATEST_US))
def test_no_time_of_a_row_is_absurd(
    contract: Contract, from_log: bool, original: int | None, sent: int | None, received: int | None, stand_in: int
) -> None:
    columns = finish(contract, stand_in, from_log=from_log, original=original, sent=sent, received=received)
    for name in ("_window_time", "estimate"):
        assert columns[name] == [None] or EARLIEST_US <= columns[name][0] <= LATEST_US
    if columns["_window_time"] != [original] and original is not None:
        assert columns["_time_corrected"] == [True]


@pytest.mark.parametrize(
    "sent", [-62_135_596_800 * SECOND_US, 5 * SECOND_US, 2_147_483_647 * SECOND_US, MAX_US], ids=["go-zero", "1970", "2038", "9999"]
)
def test_an_absurd_sent_at_makes_no_event_time(sent: int) -> None:
    columns = finish(SKEWED, NOW, from_log=True, original=NOW - 5, sent=sent, received=NOW)
    assert (columns["estimate"], columns["_window_time"], columns["_time_corrected"]) == ([None], [NOW - 5], [True])


def test_history_in_a_file_keeps_its_time_and_has_no_estimate_by_the_files_time() -> None:
    columns = finish(SKEWED, NOW, from_log=False, original=OLD, sent=OLD + 5)
    assert (columns["estimate"], columns["_window_time"], columns["_time_corrected"]) == ([None], [OLD], [False])


def test_without_a_skew_model_an_old_time_is_believed_of_a_log_too() -> None:
    assert finish(PLAIN, NOW, from_log=True, original=OLD)["_window_time"] == [OLD]
    assert finish(PLAIN, NOW, from_log=True, original=NOW + 2 * HOUR_US)["_window_time"] == [NOW]


def test_bounds_of_the_source_win() -> None:
    believing, strict = ClockBounds(None, None), ClockBounds(HOUR_US, HOUR_US)
    for time in (OLD, NOW + 900 * DAY_US):
        assert finish(SKEWED, NOW, from_log=True, clock=believing, original=time)["_window_time"] == [time]
    for contract in (SKEWED, PLAIN):
        assert finish(contract, NOW, from_log=True, clock=strict, original=NOW - 2 * HOUR_US)["_window_time"] == [NOW]


def test_a_message_without_a_time_has_the_records_own() -> None:
    columns = finish(SKEWED, NO_TIME_US, from_log=True, original=NOW - 5, sent=NOW)
    assert columns["_window_time"] == columns["_received_at"] == columns["received"] == [NOW - 5]
    assert (columns["estimate"], columns["_time_corrected"]) == ([None], [True])
    assert finish(SKEWED, NO_TIME_US, from_log=True, sent=NOW)["_window_time"] == [NOW]
    assert finish(SKEWED, NO_TIME_US, from_log=True)["_window_time"] == [NO_TIME_US]
    assert finish(SKEWED, NO_TIME_US, from_log=True, original=NOW - 5, received=NOW)["_received_at"] == [NOW]


def test_an_absurd_received_at_is_no_clock() -> None:
    columns = finish(SKEWED, NOW, from_log=True, original=NOW - 5, received=MAX_US)
    assert (columns["_window_time"], columns["_received_at"], columns["received"]) == ([NOW - 5], [NOW], [MAX_US])


@pytest.mark.parametrize(
    "ms", [-1, 0, -(2**63), 2**63 - 1, NOW // SECOND_US, NOW, NOW * 1_000, (LATEST_US + 1) // 1_000,
     3_787_000_000_000, 2_524_608_000_000],
    ids=["none", "zero", "least", "most", "seconds", "microseconds", "nanoseconds", "2100", "2090", "2050"],
)  # fmt: skip
def test_a_record_time_of_another_unit_or_of_no_present_is_none(ms: int) -> None:
    assert record_times_us(np.array([ms, NOW // 1_000])).tolist() == [NO_TIME_US, NOW]
