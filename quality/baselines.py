"""What history says of a figure of a partition: pure functions of a set of observations, without clock, reading nothing.

``expectation`` is for one figure: rows, a share of rows, a number. What it says depends on the set of observations before the
partition; late observations change what is said of later partitions only. How a band comes about: docs/concepts/baselines.md.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from contracts.spec.quality import QualityCalendar
from contracts.units import DAY_US
from quality.history import (
    Floats,
    Ints,
    LearningOptions,
    Observation,
    Observed,
    failing_before,
    ids_of,
    learnt_from,
    rows_of,
    segments_of,
    those_with,
    times_of,
)
from quality.levels import Series, expected_levels, level_band
from quality.seasons import slots_of, why_ignored
from quality.tails import LONG_SPANS, SPANS
from quality.volume import count_band, expected_rates


class Figure(StrEnum):
    """What a figure is. count: rows; share: of rows, 0 to 1; number: any other."""

    COUNT = "count"
    SHARE = "share"
    NUMBER = "number"


LEAST_CHANGE = {Figure.COUNT: 0.1, Figure.SHARE: 0.01, Figure.NUMBER: 0.05}
_WEEKS_NEEDED = {Figure.COUNT: 2, Figure.SHARE: 1, Figure.NUMBER: 1}
_LEAST_NEEDED = 14
_LONGEST = max(*SPANS, *LONG_SPANS)
_CHANCE_OF_SHARE = 0.25  # variance of one row on the scale of the arcsine
_CHANCE_UNKNOWN = 1e-12
_MOST_SPREAD, _LEAST_UNIT, _LARGEST = 1e3, 1e-100, 300.0  # so that no figure is beyond floating point


@dataclass(frozen=True)
class Band:
    """What a figure may be, bounds included.

    centre: what is expected. used: ids of what it was learnt from. span_low, span_high: how many partitions together set the
    bound: with 24 the last 24 as a whole would be out of bounds, whether or not the partition alone is.
    """

    low: float
    high: float
    centre: float
    used: tuple[str, ...]
    span_low: int = 1
    span_high: int = 1

    def holds(self, value: float) -> bool:
        """Whether a value lies within. NaN does not."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Learning:
    """There is no history yet that one could judge by. have, need: partitions."""

    have: int
    need: int


@dataclass(frozen=True)
class Excused:
    """It is not judged. reason: the partition lies in days that are declared as no example, or has no rows to tell a figure by."""

    reason: str


@dataclass(frozen=True)
class Place:
    """Where the partition to judge lies among those that are learnt from, which are in the order of time.

    ages: days from them to it. slots, slot: places in the week. recent: how many of the last ones lead up to it.
    failing: how many of the last are no examples, but what was held just before.
    """

    ages: Floats
    slots: Ints
    slot: int
    segments: Ints
    recent: int
    failing: int
    per_day: int
    used: tuple[str, ...]


def expectation(
    history: Sequence[Observation],
    at_us: int,
    calendar: QualityCalendar,
    options: LearningOptions,
    *,
    figure: Figure = Figure.COUNT,
    rows: int = 0,
) -> Band | Learning | Excused:
    """What a figure of a partition may be.

    Args:
        history: observations of this figure, in any order and repeated; those of the partition and after it do not count.
            Of volumes, absent partitions are observations too, with value 0.
        at_us: where the partition begins.
        calendar: whose clock and holidays.
        options: how it is learnt.
        figure: what the figure is.
        rows: of the partition, which a share or a number needs: few rows tell little.

    Guarantees: depends on the set of observations alone. Held, accepted and declared partitions are not learnt from, but for those
    that were accepted as the new normal.
    """
    reason = why_ignored(at_us, calendar)
    if reason is not None:
        return Excused(reason)
    counted = figure is Figure.COUNT
    if not counted and rows <= 0:
        return Excused("the partition has no rows")
    known = learnt_from(history, at_us, calendar, options)
    kept = those_with(known, lambda seen: math.isfinite(seen.value) and (counted or seen.rows > 0))
    if counted:
        kept = _since_there_are_rows(kept)
    need = needed(figure, options)
    if len(kept) < need:
        return Learning(len(kept), need)
    failing = failing_before(history, kept, at_us, calendar, options)
    failing = those_with(failing, lambda seen: math.isfinite(seen.value) and (counted or seen.rows > 0))
    place = place_of(kept, failing, at_us, calendar, options)
    values = np.array([seen.value for seen in (*kept, *failing)])
    if counted:
        return _count(values, place, options)
    weights = rows_of((*kept, *failing))
    if figure is Figure.SHARE:
        return share_expectation(values, weights, float(rows), place, options)
    return number_expectation(values, weights, float(rows), place, options)


def _since_there_are_rows(kept: list[Observation]) -> list[Observation]:
    """Without the stretches that a person ended by a new normal and that had no rows at all: they tell nothing of the week."""
    rows: dict[int, float] = {}
    segments = segments_of(kept).tolist()
    for segment, seen in zip(segments, kept, strict=True):
        rows[segment] = rows.get(segment, 0.0) + seen.value
    last = max(segments, default=0)
    return [seen for segment, seen in zip(segments, kept, strict=True) if segment == last or rows[segment] > 0]


def needed(figure: Figure, options: LearningOptions) -> int:
    """Partitions that must be known before a figure is judged: nine tenths of two weeks for volumes, of one else; 14 at least."""
    return max(_LEAST_NEEDED, math.ceil(_WEEKS_NEEDED[figure] * 7 * options.per_day * 0.9))


def place_of(
    kept: Sequence[Observed], failing: Sequence[Observed], at_us: int, calendar: QualityCalendar, options: LearningOptions
) -> Place:
    """Where a partition lies among those that are learnt from, and those that were held just before it."""
    times = times_of((*kept, *failing))
    return Place(
        ages=(at_us - times) / DAY_US,
        slots=slots_of(times, calendar, options.partition_us),
        slot=int(slots_of(np.array([at_us]), calendar, options.partition_us)[0]),
        segments=segments_of((*kept, *failing)),
        recent=_recent(times.tolist(), at_us, options.partition_us),
        failing=len(failing),
        per_day=max(1, math.ceil(options.per_day)),
        used=ids_of(kept),
    )


def _recent(times: Sequence[int], at_us: int, partition_us: int) -> int:
    """How many of the last partitions lead up to ``at_us``; of the stretch that they make at most half may be missing."""
    found = 0
    for seen in reversed(times[-_LONGEST:]):
        if at_us - seen > 2 * (found + 1) * partition_us:
            break
        found += 1
    return found


def _least(figure: Figure, options: LearningOptions) -> float:
    return LEAST_CHANGE[figure] if options.least_change is None else options.least_change


def _count(values: Floats, place: Place, options: LearningOptions) -> Band:
    rates = expected_rates(values, place.ages, place.slots, place.slot, place.segments, place.per_day, place.failing)
    band = count_band(values, rates, place.recent, place.failing, options.sensitivity, _least(Figure.COUNT, options))
    return Band(band.low, band.high, band.centre, place.used, band.span_low, band.span_high)


def share_expectation(values: Floats, weights: Floats, rows: float, place: Place, options: LearningOptions) -> Band:
    """What a share of ``rows`` rows may be. values: shares of the history; weights: of how many rows."""
    series = Series(values, weights, place.ages, place.slots, place.segments, _CHANCE_OF_SHARE, True, place.per_day, place.failing)
    least = _least(Figure.SHARE, options)
    band = level_band(series, expected_levels(series, place.slot), rows, place.recent, options.sensitivity, least)
    return Band(max(band.low, 0.0), min(band.high, 1.0), band.centre, place.used, band.span_low, band.span_high)


def number_expectation(
    values: Floats,
    weights: Floats,
    rows: float,
    place: Place,
    options: LearningOptions,
    spread: Floats | None = None,
) -> Band:
    """What a number may be that is told by ``rows`` rows.

    Args:
        values: of the history.
        weights: by how many rows each is told.
        rows: by how many the one to judge is.
        place: where it lies.
        options: how it is learnt; the least change is a share of the number.
        spread: the deviation that one row has by chance, for each value of the history; None if unknown.
    """
    known = slice(len(values) - place.failing)
    unit = _unit(values[known])
    there = np.arcsinh(values / unit)
    on_scale = 0.0 if spread is None else float(np.median((spread / np.hypot(values, unit))[known]))
    by_chance = max(min(on_scale, _MOST_SPREAD) ** 2, _CHANCE_UNKNOWN)
    series = Series(there, weights, place.ages, place.slots, place.segments, by_chance, False, place.per_day, place.failing)
    least = _least(Figure.NUMBER, options)
    band = level_band(series, expected_levels(series, place.slot), rows, place.recent, options.sensitivity, least)
    low, high, centre = (unit * math.sinh(min(max(each, -_LARGEST), _LARGEST)) for each in (band.low, band.high, band.centre))
    most = sys.float_info.max
    return Band(max(low, -most), min(high, most), centre, place.used, band.span_low, band.span_high)


def _unit(values: Floats) -> float:
    """Where the scale of a number turns from linear to logarithmic: a tenth of what is usual."""
    sizes = np.abs(values)
    usual = float(np.median(sizes)) or float(np.median(sizes[sizes > 0], axis=None) if (sizes > 0).any() else 1.0)
    return max(usual / 10, _LEAST_UNIT)
