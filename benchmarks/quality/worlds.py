"""Simulated datasets: 60 days of hourly partitions, with what is wrong in them known.

A dataset has rows of some sources with a day, a week, growth, a holiday and noise; a field that may be null, a field of categories,
and an amount. A *shape* says how its data behave, a *fault* what goes wrong from when to when.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from contracts.spec.quality import DeclaredDays, QualityCalendar
from contracts.units import DAY_US, HOUR_US
from quality.seasons import local_us

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DAYS, JUDGED_FROM, PER_DAY = 60, 30, 24
HOURS = DAYS * PER_DAY
CATEGORIES, NEW = ("web", "mobile", "email", "store", "other"), "kiosk"
SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
MOST_VALUES = 2_000  # of a partition that its quantiles are told from, as a sample
_FIRST_DAY = date(2026, 2, 16)  # a Monday; Europe's clocks change on 29 March, day 41


class Kind(StrEnum):
    """What goes wrong."""

    VOLUME = "volume −30 %"
    NULLS = "a key from 5 to 40 % null"
    CATEGORY = "a new category at 20 %"
    UNIT = "a unit change ×100"
    DUPLICATED = "a duplicated hour"
    STOPPED = "a source that stops"
    DRIFT = "a slow drift"


HOURS_LONG = {
    Kind.VOLUME: 6,
    Kind.NULLS: 4,
    Kind.CATEGORY: 4,
    Kind.UNIT: 3,
    Kind.DUPLICATED: 1,
    Kind.STOPPED: 12,
    Kind.DRIFT: 14 * 24,
}
SHOWN_BY = {
    Kind.VOLUME: "volume", Kind.DUPLICATED: "volume", Kind.STOPPED: "volume", Kind.NULLS: "null share", Kind.CATEGORY: "categories",
    Kind.UNIT: "amount", Kind.DRIFT: "amount",
}  # fmt: skip
_DRIFT_A_DAY = 0.015


@dataclass(frozen=True)
class Fault:
    """kind: what goes wrong in hours [begins, ends)."""

    kind: Kind
    begins: int
    ends: int


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How data behave.

    rows: an hour and source, on average. growth: a day. noise: of an hour, as a share. day_noise: of a day. weekend: as a share of
    a weekday. zone: whose clock the day follows. told: whether the calendar knows it. holiday: day of the zone that is as a Sunday,
    or None. burst: share of the hours in which a source has several times its rows. outage: hours of day 35 without rows.
    """

    name: str
    rows: Mapping[str, float] = field(default_factory=lambda: {"web": 2_000.0, "app": 400.0, "crm": 60.0})
    growth: float = 0.005
    noise: float = 0.05
    day_noise: float = 0.02
    weekend: float = 0.6
    zone: str = "UTC"
    told: bool = True
    holiday: int | None = 44
    burst: float = 0.0
    outage: int = 0

    @property
    def calendar(self) -> QualityCalendar:
        """What is declared."""
        days: tuple[DeclaredDays, ...] = ()
        if self.holiday is not None:
            day = _FIRST_DAY + timedelta(days=self.holiday)
            days = (DeclaredDays(day, day, "sunday", "holiday"),)
        return QualityCalendar(self.zone if self.told else "UTC", days)


@dataclass(frozen=True)
class World:
    """What is observed of each hour. at_us: where it begins. rows: by source. quantiles: of the amount; means: of it."""

    shape: Shape
    faults: tuple[Fault, ...]
    at_us: Ints
    rows: Mapping[str, Ints]
    nulls: Ints
    categories: Ints
    quantiles: Floats
    means: Floats

    @property
    def total(self) -> Ints:
        """Rows of all sources."""
        return np.sum(list(self.rows.values()), axis=0)  # type: ignore[no-any-return]


def simulate(shape: Shape, faults: tuple[Fault, ...], seed: int) -> World:
    """A dataset of a shape with faults in it, the same for the same seed."""
    rng = np.random.default_rng(seed)
    at_us = (_FIRST_DAY - date(1970, 1, 1)).days * DAY_US + np.arange(HOURS) * HOUR_US
    rows = _rows(shape, faults, at_us, rng)
    total = np.sum(list(rows.values()), axis=0)
    night = 0.5 - 0.5 * np.sin((np.arange(HOURS) % PER_DAY - 9) / PER_DAY * 2 * np.pi)
    nulls = rng.binomial(total, np.where(_during(faults, Kind.NULLS), 0.4, 0.05 + 0.01 * night))
    categories = np.array([rng.multinomial(count, chances) for count, chances in zip(total, _chances(faults, night), strict=True)])
    quantiles, means = _amounts(faults, total, rng)
    return World(shape, faults, at_us, rows, nulls, categories, quantiles, means)


def _during(faults: tuple[Fault, ...], kind: Kind) -> npt.NDArray[np.bool_]:
    """The hours in which something is wrong."""
    hours = np.zeros(HOURS, dtype=bool)
    for fault in faults:
        if fault.kind is kind:
            hours[fault.begins : fault.ends] = True
    return hours


def _rows(shape: Shape, faults: tuple[Fault, ...], at_us: Ints, rng: np.random.Generator) -> dict[str, Ints]:
    local = local_us(at_us, QualityCalendar(shape.zone))
    hour, weekday = local // HOUR_US % 24, (local // DAY_US + 3) % 7
    days = np.arange(HOURS) / PER_DAY
    if shape.holiday is not None:
        weekday = np.where((local - at_us[0]) // DAY_US == shape.holiday, 6, weekday)
    day = 1 + 0.7 * np.sin((hour - 9) / 24 * 2 * np.pi)
    week = np.where(weekday == 6, 0.9 * shape.weekend, np.where(weekday == 5, shape.weekend, 1.0 - 0.03 * weekday))
    usual = day * week * np.exp(shape.growth * days)
    whole_days = rng.normal(0, shape.day_noise, DAYS)[np.floor(days).astype(int)]
    rows = {}
    for number, (source, base) in enumerate(shape.rows.items()):
        rate = base * usual * np.exp(rng.normal(0, shape.noise, HOURS) + whole_days)
        if shape.burst:
            rate = rate * np.where(rng.random(HOURS) < shape.burst, rng.lognormal(1.0, 0.5, HOURS), 1.0)
        rate[_during(faults, Kind.VOLUME)] *= 0.7
        if number == 1:
            rate[_during(faults, Kind.STOPPED)] = 0.0
        if shape.outage:
            rate[35 * PER_DAY + 9 : 35 * PER_DAY + 9 + shape.outage] = 0.0
        rows[source] = rng.poisson(rate) * np.where(_during(faults, Kind.DUPLICATED), 2, 1)
    return rows


def _chances(faults: tuple[Fault, ...], night: Floats) -> Floats:
    """Chances of categories by hour; at night there is more of mobile."""
    base = np.array([0.45, 0.3, 0.15, 0.07, 0.03, 0.0]) + np.outer(night - 0.5, [-0.06, 0.06, 0.0, 0.0, 0.0, 0.0])
    wrong = _during(faults, Kind.CATEGORY)
    base[wrong] *= 0.8
    base[wrong, -1] = 0.2
    chances: Floats = base / base.sum(axis=1, keepdims=True)
    return chances


def _amounts(faults: tuple[Fault, ...], total: Ints, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Quantiles and means of the amount; NaN where there are no rows."""
    unit, drift = _during(faults, Kind.UNIT), np.zeros(HOURS)
    for fault in faults:
        if fault.kind is Kind.DRIFT:
            drift[fault.begins : fault.ends] = _DRIFT_A_DAY * np.arange(fault.ends - fault.begins) / PER_DAY
    usual = 3.5 + 0.02 * rng.normal(0, 1, HOURS) + drift + np.where(unit, np.log(100), 0.0)
    quantiles, means = np.full((HOURS, len(SHARES)), np.nan), np.full(HOURS, np.nan)
    for hour, count in enumerate(np.minimum(total, MOST_VALUES).tolist()):
        if count:
            values = np.exp(usual[hour] + 0.8 * rng.standard_normal(count))
            quantiles[hour], means[hour] = np.quantile(values, SHARES), values.mean()
    return quantiles, means


def placed_faults(seed: int) -> tuple[Fault, ...]:
    """Each kind but the drift once, at hours of the judged month that the seed draws, two days or more apart."""
    rng = np.random.default_rng(seed + 1_000_003)
    kinds = [kind for kind in Kind if kind is not Kind.DRIFT]
    rng.shuffle(kinds)
    room = (HOURS - JUDGED_FROM * PER_DAY) // len(kinds)
    faults = []
    for number, kind in enumerate(kinds):
        begins = JUDGED_FROM * PER_DAY + number * room + int(rng.integers(0, room - 48 - HOURS_LONG[kind]))
        faults.append(Fault(kind, begins, begins + HOURS_LONG[kind]))
    return tuple(faults)


def drifting(seed: int) -> tuple[Fault, ...]:
    """A drift alone, which begins in the first week of the judged month."""
    begins = JUDGED_FROM * PER_DAY + int(np.random.default_rng(seed + 2_000_003).integers(0, 7 * PER_DAY))
    return (Fault(Kind.DRIFT, begins, begins + HOURS_LONG[Kind.DRIFT]),)
