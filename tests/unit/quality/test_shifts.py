from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from contracts.spec.quality import QualityCalendar
from contracts.units import DAY_US, HOUR_US
from quality.baselines import Excused, Learning
from quality.history import CategoryCounts, LearningOptions, Quantiles, State
from quality.shifts import NEW, Shifts, category_shifts, population_stability, quantile_shifts

CALENDAR, OPTIONS = QualityCalendar(), LearningOptions()
MONDAY_US = 20_486 * DAY_US
HOURS, ROWS, SHARES = 4 * 168, 1_000, (0.05, 0.25, 0.5, 0.75, 0.95)
CHANCES = {"web": 0.5, "mobile": 0.3, "email": 0.15, "store": 0.05}


def counts_at(hour: int, counts: dict[str, int], **fields: object) -> CategoryCounts:
    told = {"rows": sum(counts.values()), "id": f"p{hour}", **fields}
    return CategoryCounts(at_us=MONDAY_US + hour * HOUR_US, counts=counts, **told)  # type: ignore[arg-type]


@cache
def categories() -> tuple[CategoryCounts, ...]:
    rng = np.random.default_rng(1)
    drawn = rng.multinomial(ROWS, list(CHANCES.values()), HOURS)
    return tuple(counts_at(hour, dict(zip(CHANCES, map(int, row), strict=True))) for hour, row in enumerate(drawn))


@cache
def quantiles(scale: float = 1.0) -> tuple[Quantiles, ...]:
    rng = np.random.default_rng(2)
    return tuple(quantiles_at(hour, np.quantile(scale * rng.lognormal(3.5, 0.8, ROWS), SHARES)) for hour in range(HOURS))


def quantiles_at(hour: int, values: object, rows: int = ROWS, **fields: object) -> Quantiles:
    told = tuple(float(value) for value in values)  # type: ignore[attr-defined]
    return Quantiles(at_us=MONDAY_US + hour * HOUR_US, rows=rows, id=f"p{hour}", shares=SHARES, values=told, **fields)  # type: ignore[arg-type]


def found(counts: dict[str, int], history: tuple[CategoryCounts, ...] | None = None) -> Shifts:
    told = category_shifts(history or categories(), counts_at(HOURS, counts), CALENDAR, OPTIONS)
    assert isinstance(told, Shifts)
    return told


def found_in(values: object, rows: int = ROWS) -> Shifts:
    told = quantile_shifts(quantiles(), quantiles_at(HOURS, values, rows), CALENDAR, OPTIONS)
    assert isinstance(told, Shifts)
    return told


def test_categories_as_they_were_are_no_shift() -> None:
    told = found({"web": 505, "mobile": 290, "email": 160, "store": 45})
    assert told.found == ()
    assert told.stability < 0.01


def test_a_new_category_is_named_as_new() -> None:
    told = found({"web": 400, "mobile": 240, "email": 120, "store": 40, "kiosk": 200})
    assert told.found[0].what == NEW
    assert told.found[0].observed == pytest.approx(0.2)
    assert told.stability > 0.1
    assert found({"web": 500, "mobile": 300, "email": 150, "store": 48, "kiosk": 2}).found == (), "two rows are no shift"


def test_a_category_that_is_gone_or_doubled_is_named() -> None:
    gone = found({"web": 650, "mobile": 0, "email": 200, "store": 150})
    assert {shift.what for shift in gone.found} >= {"mobile", "store"}
    assert gone.found[0].what == "mobile"


def test_few_rows_tell_little() -> None:
    assert found({"web": 2, "email": 3}).found == ()


def test_a_field_whose_values_are_always_new_raises_no_alarm_for_it() -> None:
    ids = tuple(counts_at(hour, {f"id-{hour}-{n}": 1 for n in range(50)}) for hour in range(HOURS))
    assert found({f"id-{HOURS}-{n}": 1 for n in range(50)}, ids).found == ()


def test_held_partitions_do_not_make_a_category_known() -> None:
    bad = tuple(counts_at(hour, {"web": 800, "kiosk": 200}, state=State.HELD, revision=1) for hour in range(HOURS - 48, HOURS))
    told = found({"web": 400, "mobile": 240, "email": 120, "store": 40, "kiosk": 200}, categories() + bad)
    assert told.found[0].what == NEW


def test_shifts_depend_on_the_set_alone() -> None:
    current = counts_at(HOURS, {"web": 300, "mobile": 500, "kiosk": 200})
    shuffled = [*categories(), *categories()[::5]]
    random.Random(1).shuffle(shuffled)
    assert category_shifts(shuffled, current, CALENDAR, OPTIONS) == category_shifts(categories(), current, CALENDAR, OPTIONS)


def test_a_cold_start_learns_and_an_empty_partition_is_excused() -> None:
    current = counts_at(20, {"web": 10})
    assert category_shifts(categories(), current, CALENDAR, OPTIONS) == Learning(20, 152)
    assert quantile_shifts(quantiles(), quantiles_at(20, SHARES), CALENDAR, OPTIONS) == Learning(20, 152)
    assert isinstance(category_shifts(categories(), replace(current, rows=0, counts={}), CALENDAR, OPTIONS), Excused)
    assert isinstance(quantile_shifts(quantiles(), quantiles_at(20, SHARES, 0), CALENDAR, OPTIONS), Excused)


def test_a_unit_change_moves_all_quantiles_and_usual_values_none() -> None:
    usual = np.exp(3.5 + 0.8 * np.array([-1.645, -0.674, 0.0, 0.674, 1.645]))
    assert found_in(usual).found == ()
    for factor in (100.0, 0.01, -1.0):
        assert len(found_in(factor * usual).found) == len(SHARES), factor


def test_a_unit_change_of_a_part_of_the_rows_moves_the_upper_quantiles() -> None:
    rng = np.random.default_rng(9)
    values = rng.lognormal(3.5, 0.8, ROWS)
    values[: ROWS // 4] *= 100
    assert "q0.95" in {shift.what for shift in found_in(np.quantile(values, SHARES)).found}


def test_quantiles_of_few_rows_may_be_anywhere() -> None:
    assert found_in([9.0, 15.0, 60.0, 70.0, 80.0], rows=5).found == ()


def test_quantiles_without_numbers_are_not_learnt_from() -> None:
    broken = tuple(replace(seen, values=(float("nan"),) * 5, revision=1) for seen in quantiles()[::50])
    told = quantile_shifts((*quantiles(), *broken), quantiles_at(HOURS, quantiles()[3].values), CALENDAR, OPTIONS)
    assert isinstance(told, Shifts)
    assert told.found == ()


def test_the_population_stability_index_is_that_of_its_formula() -> None:
    assert population_stability({"a": 99, "b": 99}, {"a": 99, "b": 99}) == 0.0
    assert population_stability({}, {}) == 0.0
    assert population_stability({"a": 49_999_999, "b": 49_999_999}, {"a": 60_000_000, "b": 40_000_000}) == pytest.approx(
        0.1 * np.log(1.2) - 0.1 * np.log(0.8), abs=1e-4
    )
