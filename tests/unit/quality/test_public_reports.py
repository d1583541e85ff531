"""What users of other tools reported about their alarms, tried on baselines; each names the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from contracts.spec.quality import QualityCalendar
from contracts.units import DAY_US, HOUR_US, datetime_to_us
from quality.baselines import Band, Figure, Learning, expectation
from quality.history import LearningOptions, Observation, State

CALENDAR, OPTIONS = QualityCalendar(), LearningOptions()
MONDAY_US = (date(2026, 2, 2) - date(1970, 1, 1)).days * DAY_US
WEEK = 168


def observed(value: float, hour: int, **fields: object) -> Observation:
    return Observation(at_us=MONDAY_US + hour * HOUR_US, value=value, rows=100, id=f"p{hour}", **fields)  # type: ignore[arg-type]


def made(hours: int, rate: Callable[[int], float], seed: int = 1) -> list[Observation]:
    rng = np.random.default_rng(seed)
    return [observed(float(rng.poisson(rate(hour) * np.exp(rng.normal(0, 0.05)))), hour) for hour in range(hours)]


def band(history: list[Observation], hour: int, calendar: QualityCalendar = CALENDAR, **options: float) -> Band:
    found = expectation(history, MONDAY_US + hour * HOUR_US, calendar, LearningOptions(**options))  # type: ignore[arg-type]
    assert isinstance(found, Band), found
    return found


def by_hour(hour: int) -> float:
    return 20.0 if hour % 24 < 6 else 2_000.0


def test_what_is_low_for_the_evening_is_told_though_nights_are_lower() -> None:
    """elementary-data/elementary#962: without the hour of day the bounds were too wide for most hours."""
    history = made(4 * WEEK, by_hour)
    assert not band(history, 4 * WEEK + 20).holds(1_000)
    assert band(history, 4 * WEEK + 4).holds(20)
    assert not band(history, 4 * WEEK + 4).holds(200)


def test_weekends_raise_no_alarm_and_do_not_hide_one() -> None:
    """re-data/re-data#392: all weekends were anomalies, and a wider threshold made weekdays blind."""
    history = made(6 * WEEK, lambda hour: 50.0 if hour // 24 % 7 >= 5 else 1_000.0)
    at = len(history)
    assert band(history, at + 5 * 24 + 9).holds(50)
    assert not band(history, at + 5 * 24 + 9).holds(500)
    assert not band(history, at + 9).holds(600)


@pytest.mark.parametrize("state", [State.HELD, State.PUBLISHED])
def test_an_incident_that_comes_again_is_told_again(state: State) -> None:
    """elementary-data/elementary#980 and #1589: the first incident made the bounds so wide that the second was within."""
    history = made(5 * WEEK, by_hour)
    for hour in range(5 * WEEK - 5 * 24 + 9, 5 * WEEK - 5 * 24 + 15):
        history[hour] = replace(history[hour], value=0.0, state=state)
    assert not band(history, 5 * WEEK + 9).holds(0.0)
    assert not band(history, 5 * WEEK + 9).holds(1_000.0)


def test_a_value_does_not_move_what_is_expected_of_itself() -> None:
    """elementary-data/elementary#1491 and #1560: the value under test was part of its training set."""
    history = made(3 * WEEK, by_hour)
    for value in (0.0, 1e9):
        assert band([*history, observed(value, 3 * WEEK)], 3 * WEEK) == band(history, 3 * WEEK)


def test_a_partition_that_was_seen_half_done_moves_nothing_and_is_replaced() -> None:
    """elementary-data/elementary#911, opensearch-project/anomaly-detection#1108: the newest bucket is not full yet."""
    history = made(4 * WEEK, by_hour)
    whole = band(history, 4 * WEEK + 12)
    half = replace(history[-1], value=0.3 * history[-1].value)
    assert band([*history[:-1], half], 4 * WEEK + 12).centre == pytest.approx(whole.centre, rel=0.02)
    assert band([*history[:-1], half, replace(history[-1], revision=1)], 4 * WEEK + 12) == whole


def test_a_first_run_learns_and_any_sensitivity_is_obeyed_later() -> None:
    """elementary-data/elementary#1118: the first runs were errors; #1227: with 0.00001 nothing ever failed."""
    history = made(3 * WEEK, by_hour)
    for hours in (0, 1, 24):
        assert isinstance(expectation(history[:hours], MONDAY_US + hours * HOUR_US, CALENDAR, OPTIONS), Learning)
    found = band(history, 3 * WEEK + 12, sensitivity=0.00001)
    assert not found.holds(2_000 * 1.3)
    assert not found.holds(2_000 * 0.7)


@pytest.mark.parametrize("figure", list(Figure))
def test_a_figure_without_variance_is_judged(figure: Figure) -> None:
    """fivetran/great_expectations#12144, twitter/AnomalyDetection#36, business-science/anomalize#12: deviation 0, or error."""
    history = [observed(1.0 if figure is Figure.SHARE else 7.0, hour) for hour in range(3 * WEEK)]
    at_us = MONDAY_US + 3 * WEEK * HOUR_US
    found = expectation(history, at_us, CALENDAR, OPTIONS, figure=figure, rows=500)
    assert isinstance(found, Band)
    assert found.holds(history[0].value)
    assert not found.holds(0.5 if figure is Figure.SHARE else 70.0)
    assert np.isfinite([found.low, found.high]).all()


def test_a_short_series_of_days_is_no_error() -> None:
    """awslabs/deequ#345: three weeks of days made the fit of Holt-Winters fail."""
    days = [258, 245, 142, 471, 560, 724, 758, 647, 623, 292, 337, 415, 430, 567, 686, 692, 477, 453, 697, 708]
    options = LearningOptions(partition_us=DAY_US)
    history = [
        Observation(at_us=MONDAY_US + day * DAY_US, value=float(value), rows=value, id="r") for day, value in enumerate(days)
    ]
    for count in range(len(days) + 1):
        found = expectation(history[:count], MONDAY_US + count * DAY_US, CALENDAR, options)
        if isinstance(found, Band):
            assert 0 <= found.low <= found.centre <= found.high < np.inf
    assert isinstance(found, Band)
    assert not found.holds(100_000)


def test_clocks_that_change_raise_no_alarm_where_the_zone_is_declared() -> None:
    """elastic/ml-cpp#2690: what people do moved by an hour, and alarms came for days."""
    berlin = ZoneInfo("Europe/Berlin")

    def rate(hour: int) -> float:
        local = datetime.fromtimestamp((MONDAY_US + hour * HOUR_US) / 1e6, UTC).astimezone(berlin)
        return by_hour(local.hour)

    change = (datetime_to_us(datetime(2026, 3, 29, 1, tzinfo=UTC)) - MONDAY_US) // HOUR_US
    history = made(change + 96, rate)
    zoned = QualityCalendar("Europe/Berlin")
    alarms = {
        calendar.zone: [h for h in range(change, change + 96) if not band(history, h, calendar).holds(history[h].value)]
        for calendar in (zoned, CALENDAR)
    }
    assert alarms["Europe/Berlin"] == []
    assert alarms["UTC"], "without it there is one"


def test_a_source_that_comes_once_a_day_is_missed_in_its_hour() -> None:
    """elastic/ml-cpp#696: most buckets are empty, and the one that should not be was not missed."""
    history = made(5 * WEEK, lambda hour: 50.0 if hour % 24 == 2 else 0.0)
    at = 5 * WEEK
    assert not band(history, at + 2).holds(0.0)
    assert band(history, at + 2).holds(50.0)
    assert band(history, at + 3).holds(0.0)
    assert not band(history, at + 3).holds(50.0)


def test_no_rows_are_a_count_of_zero() -> None:
    """opensearch-project/project-website#4006: nothing in a bucket paused detection, and the recovery was the anomaly."""
    history = made(4 * WEEK, by_hour)
    out = [observed(0.0, hour, state=State.HELD) for hour in range(4 * WEEK, 4 * WEEK + 12)]
    assert not band(history, 4 * WEEK).holds(0.0)
    assert not band(history + out, 4 * WEEK + 12).holds(0.0)
    assert band(history + out, 4 * WEEK + 12).holds(2_000.0), "the recovery is none"


def test_a_source_that_begins_is_learnt_from_when_it_is_called_normal() -> None:
    """getsentry/sentry#80546: zeros before the first row are no data."""
    history = [observed(0.0, hour) for hour in range(3 * WEEK)]
    assert not band(history, 3 * WEEK).holds(1_000.0)
    begun = [replace(seen, at_us=seen.at_us + 3 * WEEK * HOUR_US) for seen in made(2 * WEEK, by_hour)]
    begun[0] = replace(begun[0], state=State.ACCEPTED, new_normal=True)
    at_us = MONDAY_US + (3 * WEEK + 24) * HOUR_US
    assert isinstance(expectation([*history, *begun], at_us, CALENDAR, OPTIONS), Learning)
    assert band([*history, *begun], 5 * WEEK + 12).centre == pytest.approx(2_000.0, rel=0.1)


def test_what_is_no_number_is_neither_learnt_nor_right() -> None:
    """netdata/netdata#21149: NaN passed all comparisons."""
    history = made(3 * WEEK, by_hour)
    broken = [*history[:-9], *(replace(seen, value=float("nan")) for seen in history[-9:])]
    assert band(broken, 3 * WEEK) == band(history[:-9], 3 * WEEK)
    assert not band(history, 3 * WEEK).holds(float("nan"))


def test_a_backfill_that_nobody_declared_does_not_move_the_level() -> None:
    """elementary-data/elementary#1589: one spike changed all of the training."""
    history = made(6 * WEEK, by_hour)
    for hour in range(4 * WEEK, 4 * WEEK + 72):
        history[hour] = replace(history[hour], value=20 * history[hour].value)
    assert band(history, 6 * WEEK + 12).centre == pytest.approx(2_000.0, rel=0.1)
    assert not band(history, 6 * WEEK + 12).holds(800.0)
