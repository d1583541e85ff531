from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from contracts.spec.quality import DeclaredDays, QualityCalendar
from contracts.units import DAY_US, HOUR_US
from quality.baselines import Band, Excused, Figure, Learning, expectation, needed
from quality.history import LearningOptions, Observation, State

CALENDAR, OPTIONS = QualityCalendar(), LearningOptions()
MONDAY = date(2026, 2, 2)
MONDAY_US = (MONDAY - date(1970, 1, 1)).days * DAY_US
WEEKS = 6


def usual(hour: int, base: float = 1_000.0, growth: float = 0.0) -> float:
    """Rows of an hour: less at night and on Saturday and Sunday."""
    of_day = 1 + 0.7 * np.sin((hour % 24 - 9) / 24 * 2 * np.pi)
    return float(base * of_day * (0.5 if hour // 24 % 7 >= 5 else 1.0) * np.exp(growth * hour / 24))


def observed(value: float, hour: int, **fields: object) -> Observation:
    told = {"rows": 1_000, "id": f"p{hour}", **fields}
    return Observation(at_us=MONDAY_US + hour * HOUR_US, value=value, **told)  # type: ignore[arg-type]


def counted(
    weeks: float = WEEKS, base: float = 1_000.0, noise: float = 0.05, growth: float = 0.0, seed: int = 1
) -> list[Observation]:
    rng = np.random.default_rng(seed)
    hours = range(int(weeks * 168))
    return [observed(float(rng.poisson(usual(h, base, growth) * np.exp(rng.normal(0, noise)))), h) for h in hours]


def band(history: list[Observation], hour: int | None = None, **options: object) -> Band:
    at = len(history) if hour is None else hour
    found = expectation(history, MONDAY_US + at * HOUR_US, CALENDAR, OPTIONS, **options)  # type: ignore[arg-type]
    assert isinstance(found, Band), found
    return found


@pytest.mark.parametrize("growth", [0.0, 0.01, 0.03, -0.02])
def test_rows_are_expected_by_hour_weekday_and_growth(growth: float) -> None:
    history = counted(growth=growth)
    for hour in (WEEKS * 168, WEEKS * 168 + 14):
        found = band(history, hour)
        assert found.centre == pytest.approx(usual(hour, growth=growth), rel=0.06)
        assert found.low < found.centre < found.high
        assert not found.holds(0.6 * found.centre)
        assert not found.holds(2 * found.centre)


def test_what_is_said_depends_on_the_set_of_observations_alone() -> None:
    history = counted()
    corrected = replace(history[-30], value=0.0, revision=7)
    shuffled = [*history, *history[::3], corrected]
    random.Random(3).shuffle(shuffled)
    assert band(shuffled, len(history)) == band([*history, corrected], len(history))


def test_observations_of_the_partition_and_after_it_change_nothing() -> None:
    history = counted()
    at = len(history) - 40
    assert band(history, at) == band(history[:at], at)
    late = replace(history[at - 5], value=3.0, revision=1)
    assert band([*history, late], at - 5) == band(history, at - 5)
    assert band([*history, late], at) != band(history, at)


def test_held_accepted_and_declared_partitions_are_not_learnt_from() -> None:
    history = counted()
    bad = [
        replace(seen, value=0.0, state=(State.HELD, State.ACCEPTED, State.DECLARED)[number % 3])
        for number, seen in enumerate(history[-72:])
    ]
    kept = history[:-72]
    assert band(kept + bad, len(history)).centre == pytest.approx(usual(len(history)), rel=0.06)
    assert "p1000" not in band([*kept, *bad], len(history)).used
    assert band([*kept, *bad], len(history)) == band(kept, len(history))


def test_bad_partitions_that_were_published_do_not_move_it_much() -> None:
    history = counted()
    for hour in range(len(history) - 30, len(history) - 6):
        history[hour] = replace(history[hour], value=0.0)
    found = band(history)
    assert found.centre == pytest.approx(usual(len(history)), rel=0.1)
    assert not found.holds(0.5 * found.centre)


def test_what_a_person_calls_the_new_normal_is_the_new_level_from_then_on() -> None:
    history = counted()
    shift = len(history) - 24
    for hour in range(shift, len(history)):
        state = State.ACCEPTED if hour == shift else State.PUBLISHED
        history[hour] = replace(history[hour], value=0.4 * history[hour].value, state=state, new_normal=hour == shift)
    assert band(history).centre == pytest.approx(0.4 * usual(len(history)), rel=0.1)
    assert band(history, shift + 1).holds(0.4 * usual(shift + 1)), "from the first partition after it"
    forgotten = [replace(seen, new_normal=False) for seen in history]
    assert band(forgotten).centre == pytest.approx(usual(len(history)), rel=0.1), "without a person it stays what it was"


def test_a_new_normal_that_tells_no_figure_begins_with_the_next_partition() -> None:
    history = [observed(35.0 + hour % 3, hour) for hour in range(WEEKS * 168)]
    shift = len(history) - 48
    for hour in range(shift, len(history)):
        history[hour] = replace(history[hour], value=70.0 + hour % 3)
    history[shift] = replace(history[shift], value=float("nan"), state=State.ACCEPTED, new_normal=True)
    assert band(history, figure=Figure.NUMBER, rows=100).centre == pytest.approx(71.0, rel=0.03)


def test_a_cold_start_says_that_it_learns() -> None:
    need = needed(Figure.COUNT, OPTIONS)
    history = counted()
    at_us = MONDAY_US + (need - 1) * HOUR_US
    assert expectation(history, at_us, CALENDAR, OPTIONS) == Learning(need - 1, need)
    assert expectation([], at_us, CALENDAR, OPTIONS) == Learning(0, need)
    assert isinstance(expectation(history, at_us + HOUR_US, CALENDAR, OPTIONS), Band)


def test_small_counts_have_bands_as_wide_as_chance_makes_them() -> None:
    history = counted(base=5.0, noise=0.0)
    found = band(history, len(history) + 15)
    assert found.centre == pytest.approx(usual(15, 5.0), rel=0.4)
    assert found.holds(0.0) or found.low <= 1.0
    assert found.holds(20.0)
    assert not found.holds(60.0)


def test_a_small_source_that_stops_is_told_after_some_hours() -> None:
    history = counted(base=5.0, noise=0.0)
    first = len(history)
    for hour in range(first, first + 24):
        if not band(history, hour).holds(0.0):
            break
        history.append(observed(0.0, hour))
    assert 2 <= hour - first <= 14
    assert band(history, hour).span_low > 1


def test_a_loss_that_an_hour_hides_is_told_after_some() -> None:
    history = counted(noise=0.12)
    first = len(history) + 9
    history = [*history, *(observed(usual(hour), hour) for hour in range(len(history), first))]
    found = []
    for hour in range(first, first + 12):
        value = 0.7 * usual(hour)
        found.append(band(history, hour).holds(value))
        history.append(observed(value, hour))
    assert found[0], "one hour is within the noise"
    assert not all(found)


def test_an_hour_that_is_as_expected_is_never_out_of_its_band() -> None:
    history = counted()
    for hour in range(len(history) - 8, len(history)):
        history[hour] = replace(history[hour], value=0.75 * usual(hour))
    assert band(history).holds(usual(len(history)))


def test_a_figure_that_never_varied_has_a_band_all_the_same() -> None:
    for value in (0.0, 1.0, 500.0):
        history = [observed(value, hour) for hour in range(WEEKS * 168)]
        found = band(history)
        assert found.holds(value), value
        assert not found.holds(value * 2 + 30), value
    history = [observed(0.0, hour) for hour in range(WEEKS * 168)]
    shares = band(history, figure=Figure.SHARE, rows=1_000)
    assert shares.holds(0.0)
    assert shares.holds(0.005), "less than the least change"
    assert not shares.holds(0.05)
    numbers = band([observed(42.0, hour) for hour in range(WEEKS * 168)], figure=Figure.NUMBER, rows=1_000)
    assert numbers.holds(42.0)
    assert numbers.holds(43.0)
    assert not numbers.holds(50.0)
    assert not numbers.holds(-42.0)


def test_nothing_without_a_value_is_learnt_or_held() -> None:
    history = counted()
    gaps = [replace(seen, value=float("nan"), revision=1) if seen.at_us % 7 == 0 else seen for seen in history]
    found = band([*history, *gaps], len(history))
    assert np.isfinite([found.low, found.high, found.centre]).all()
    assert not found.holds(float("nan"))
    assert isinstance(
        expectation([replace(s, value=float("inf")) for s in history], MONDAY_US + 999 * HOUR_US, CALENDAR, OPTIONS), Learning
    )


def test_a_share_is_as_sure_as_it_has_rows() -> None:
    rng = np.random.default_rng(5)
    history = [observed(rng.binomial(400, 0.05) / 400, hour, rows=400) for hour in range(WEEKS * 168)]
    few, many = band(history, figure=Figure.SHARE, rows=10), band(history, figure=Figure.SHARE, rows=4_000)
    assert few.centre == pytest.approx(0.05, abs=0.01)
    assert few.holds(0.4), "four of ten may be chance"
    assert not many.holds(0.09)
    assert isinstance(expectation(history, MONDAY_US + 999 * HOUR_US, CALENDAR, OPTIONS, figure=Figure.SHARE, rows=0), Excused)


def test_a_share_with_a_day_of_its_own_is_expected_by_the_hour() -> None:
    rng = np.random.default_rng(5)
    chance = [0.3 + 0.2 * np.sin(hour / 24 * 2 * np.pi) for hour in range(24)]
    history = [observed(rng.binomial(500, chance[hour % 24]) / 500, hour, rows=500) for hour in range(WEEKS * 168)]
    assert band(history, WEEKS * 168 + 6, figure=Figure.SHARE, rows=500).centre == pytest.approx(0.5, abs=0.02)
    assert band(history, WEEKS * 168 + 18, figure=Figure.SHARE, rows=500).centre == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_may_be_negative_and_is_held_by_its_size(sign: int) -> None:
    rng = np.random.default_rng(2)
    history = [observed(sign * 35 * float(np.exp(rng.normal(0, 0.05))), hour) for hour in range(WEEKS * 168)]
    found = band(history, figure=Figure.NUMBER, rows=1_000)
    assert found.holds(sign * 36)
    assert not found.holds(sign * 3_500)
    assert not found.holds(sign * 0.35)
    assert not found.holds(-sign * 35)


def test_a_slow_drift_is_held_against_weeks() -> None:
    rng = np.random.default_rng(2)
    history = [observed(35 * float(np.exp(rng.normal(0, 0.03))), hour) for hour in range(WEEKS * 168)]
    first = len(history)
    for hour in range(first, first + 14 * 24):
        value = 35 * float(np.exp(rng.normal(0, 0.03) + 0.01 * (hour - first) / 24))
        if not band(history, hour, figure=Figure.NUMBER, rows=1_000).holds(value):
            break
        history.append(observed(value, hour))
    assert 24 < hour - first < 14 * 24 - 1


def test_a_drift_that_was_published_does_not_widen_its_own_bounds() -> None:
    rng = np.random.default_rng(8)
    drift = [max(0.0, 0.015 * (hour - 4 * 168) / 24) for hour in range(4 * 168 + 10 * 24)]
    history = [observed(35 * float(np.exp(rng.normal(0, 0.06) + shift)), hour) for hour, shift in enumerate(drift)]
    found = band(history, figure=Figure.NUMBER, rows=1_000)
    assert found.span_high > 1
    assert not found.holds(35 * float(np.exp(drift[-1])))


def judged(history: list[Observation], values: list[float], **options: object) -> list[bool]:
    """Whether each of some values that follow is within its band; those that are not are held."""
    found = []
    for value in values:
        found.append(band(history, **options).holds(value))
        history = [*history, observed(value, len(history), state=State.PUBLISHED if found[-1] else State.HELD)]
    return found


def test_what_goes_on_being_wrong_is_told_each_time_until_it_is_right() -> None:
    rng = np.random.default_rng(2)
    history = [observed(35 * float(np.exp(rng.normal(0, 0.04))), hour) for hour in range(WEEKS * 168)]
    off = [35 * float(np.exp(rng.normal(0, 0.01) + 0.12)) for _ in range(12)]
    found = judged(history, [*off, 35.0, 35.5], figure=Figure.NUMBER, rows=1_000)
    first = found.index(False)
    assert first > 0, "one alone is within its bounds"
    assert not any(found[first : len(off)])
    assert found[len(off) :] == [True, True]


def test_an_hour_that_was_far_off_does_not_hold_what_comes_after_it() -> None:
    rng = np.random.default_rng(2)
    numbers = [observed(35 * float(np.exp(rng.normal(0, 0.04))), hour) for hour in range(WEEKS * 168)]
    for high in (35 * 1.07, 35 * 0.93):
        assert judged(numbers, [3_500.0, 3_500.0, 3_500.0, high], figure=Figure.NUMBER, rows=1_000)[-1]
    rows = counted()
    low = [0.9 * usual(len(rows) + hour) for hour in range(4)]
    assert judged(rows, [0.0, 0.0, 0.0, low[3]]) == [False, False, False, True]


def test_a_share_that_is_as_expected_is_never_out_of_its_band() -> None:
    rng = np.random.default_rng(3)
    history = [observed(rng.binomial(400, 0.5) / 400, hour, rows=400) for hour in range(WEEKS * 168)]
    for side in (-0.06, 0.06):
        before = [*history[:-20], *(replace(seen, value=0.5 + side) for seen in history[-20:])]
        found = band(before, figure=Figure.SHARE, rows=400)
        assert found.holds(0.5)
        assert not found.holds(0.5 + side), "the last day as a whole is off"


def test_holidays_are_as_the_day_they_are_treated_as() -> None:
    history = counted()
    wednesday = MONDAY + timedelta(days=WEEKS * 7 + 2)
    at = WEEKS * 168 + 2 * 24 + 12
    calendar = QualityCalendar(days=(DeclaredDays(wednesday, wednesday, "sunday", "holiday"),))
    found = expectation(history, MONDAY_US + at * HOUR_US, calendar, OPTIONS)
    assert isinstance(found, Band)
    assert found.centre == pytest.approx(0.5 * usual(at), rel=0.1)
    ignored = QualityCalendar(days=(DeclaredDays(wednesday, wednesday, "ignore", "stocktaking"),))
    assert expectation(history, MONDAY_US + at * HOUR_US, ignored, OPTIONS) == Excused("stocktaking")


def test_days_of_a_backfill_are_not_learnt_from() -> None:
    history = counted()
    for hour in range(3 * 168, 3 * 168 + 72):
        history[hour] = replace(history[hour], value=20 * history[hour].value)
    first = MONDAY + timedelta(days=21)
    calendar = QualityCalendar(days=(DeclaredDays(first, first + timedelta(days=2), "ignore", "backfill"),))
    found = expectation(history, MONDAY_US + len(history) * HOUR_US, calendar, OPTIONS)
    clean = expectation(
        [s for s in history if not 504 <= int(s.id[1:]) < 576], MONDAY_US + len(history) * HOUR_US, CALENDAR, OPTIONS
    )
    assert found == clean


@pytest.mark.parametrize("partition_us", [DAY_US, DAY_US // 96, 6 * HOUR_US])
def test_partitions_may_be_longer_or_shorter(partition_us: int) -> None:
    rng = np.random.default_rng(4)
    hours = partition_us / HOUR_US
    options = LearningOptions(partition_us=partition_us)
    starts = range(MONDAY_US, MONDAY_US + 4 * 7 * DAY_US, partition_us)
    history = [
        Observation(at_us=at, rows=1, id="r", value=float(rng.poisson(hours * usual((at - MONDAY_US) // HOUR_US, 400))))
        for at in starts
    ]
    found = expectation(history, starts.stop, CALENDAR, options)
    assert isinstance(found, Band)
    assert found.centre == pytest.approx(hours * usual(0, 400), rel=0.15)


def test_options_that_make_no_sense_are_refused() -> None:
    for wrong in ({"partition_us": 0}, {"weeks": 0}, {"sensitivity": 0.0}, {"sensitivity": float("nan")}):
        with pytest.raises(ValueError, match="a baseline needs"):
            LearningOptions(**wrong)  # type: ignore[arg-type]
