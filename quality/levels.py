"""What a share or a number should be: a level that stays, moved by the hour of the day and the day of the week.

The level is that of the whole history, the mean of the middle half of its days: a slow drift is held against weeks, not against
yesterday. Hour and weekday count as far as weeks agree on them (shrinkage by W. James and C. Stein, 1961): where they differ by
chance alone they count for nothing. Chance makes a share binomial, on the scale of 2 asin √p (F. J. Anscombe, 1948), and a quantile
as uncertain as its neighbours are far (F. Mosteller, 1946). What differs beyond that is learnt from history, and so are the bounds
of the means of the last 1, 4, 24 and 72 partitions. Bounds of the longer ones come from what is
older than two weeks, so that a drift does not widen its own bounds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from quality.history import Floats, Ints
from quality.tails import EVIDENCE, LONG_SPANS, bounds_of, midmeans, sums_of

_ANSCOMBE = 0.375
_GUARD_DAYS = 14


@dataclass(frozen=True)
class Series:
    """A figure by partition, in the order of time. weights: rows behind it. chance: variance of one row on the scale.

    failing: how many of the last are no examples.
    counted: whether it is a share of the rows, of which sums are exact; else a number, already on its scale.
    """

    values: Floats
    weights: Floats
    ages: Floats
    slots: Ints
    segments: Ints
    chance: float
    counted: bool
    per_day: int
    failing: int = 0

    @property
    def known(self) -> Series:
        """Those that are examples."""
        if not self.failing:
            return self
        many = slice(len(self.values) - self.failing)
        return replace(
            self,
            values=self.values[many],
            weights=self.weights[many],
            ages=self.ages[many],
            slots=self.slots[many],
            segments=self.segments[many],
            failing=0,
        )

    def on_scale(self, means: Floats, weights: Floats) -> Floats:
        """Means of some rows on the scale on which their variance is ``chance`` over the rows."""
        return _arcsine(means, weights) if self.counted else means


def _arcsine(shares: Floats, rows: Floats) -> Floats:
    corrected = (shares * rows + _ANSCOMBE) / (rows + 2 * _ANSCOMBE)
    angles: Floats = np.arcsin(np.sqrt(np.clip(corrected, 0.0, 1.0)))
    return angles


def _share_at(angle: float, rows: float) -> float:
    corrected = np.sin(min(max(angle, 0.0), np.pi / 2)) ** 2
    return float((corrected * (rows + 2 * _ANSCOMBE) - _ANSCOMBE) / rows)


def _plain(shares: Floats) -> Floats:
    angles: Floats = np.arcsin(np.sqrt(np.clip(shares, 0.0, 1.0)))
    return angles


@dataclass(frozen=True)
class Levels:
    """What was expected of each partition of the history, and is of the one to judge; shares and numbers as they are."""

    past: Floats
    now: float


def expected_levels(series: Series, slot: int) -> Levels:
    """The level of the last stretch, moved by hour and weekday; what is before it is moved there first."""
    known = series.known
    days = np.floor(np.maximum(known.ages - 1e-9, 0.0)).astype(np.int64)
    moved = _moved(known)
    by_day = _of_groups(known, moved, days)
    by_day = by_day[~np.isnan(by_day)]
    base = float(midmeans(by_day, np.zeros(len(by_day), dtype=np.int64), 1)[0])
    hours = _effects(known, moved, known.slots % series.per_day, days // 7, series.per_day, base)
    weekdays = _effects(known, moved, known.slots // series.per_day, days // 7, 7, base)
    past = base + hours[series.slots % series.per_day] + weekdays[series.slots // series.per_day]
    now = base + hours[slot % series.per_day] + weekdays[slot // series.per_day]
    past[: len(moved)] += _angles(known) - moved
    return Levels(_back(series, past), float(_back(series, np.array([now]))[0]))


def _angles(series: Series) -> Floats:
    return _plain(series.values) if series.counted else series.values


def _back(series: Series, angles: Floats) -> Floats:
    return np.sin(np.clip(angles, 0.0, np.pi / 2)) ** 2 if series.counted else angles


def _of_groups(series: Series, moved: Floats, groups: Ints) -> Floats:
    """Means of groups of partitions on the scale; NaN for those without rows."""
    weights = np.bincount(groups, series.weights)
    with np.errstate(invalid="ignore"):
        means = np.bincount(groups, series.weights * _back(series, moved)) / np.where(weights > 0, weights, np.nan)
    return _plain(means) if series.counted else means


def _moved(series: Series) -> Floats:
    """The figures on the scale, those before the last stretch moved to its level."""
    angles = _angles(series).copy()
    for segment in range(int(series.segments.max()), 0, -1):
        after, before = series.segments == segment, series.segments < segment
        angles[before] += np.median(angles[after]) - np.median(angles[series.segments == segment - 1])
    return np.clip(angles, 0.0, np.pi / 2) if series.counted else angles


def _effects(series: Series, moved: Floats, kinds: Ints, weeks: Ints, count: int, base: float) -> Floats:
    """By how much each kind of partition is off the level, as far as weeks agree."""
    total = int(weeks.max()) + 1
    if total < 2 or count < 2:
        return np.zeros(count)
    means = _of_groups(series, moved, kinds * total + weeks)
    cells = np.flatnonzero(~np.isnan(means))
    means, of_kind = means[cells], cells // total
    effects = midmeans(means, of_kind, count) - base
    seen = ~np.isnan(effects)
    sizes = np.bincount(of_kind, minlength=count)
    off = means - (effects + base)[of_kind]
    within = np.bincount(of_kind, off * off, minlength=count) / np.maximum(sizes - 1, 1) / np.maximum(sizes, 1)
    effects[~seen] = 0.0
    effects[seen] -= np.median(effects[seen])
    told = float(np.mean(effects[seen] ** 2))
    agreed = max(0.0, 1.0 - float(np.mean(within[seen])) / told) if told > 0 else 0.0
    return agreed * effects


@dataclass(frozen=True)
class LevelBand:
    """low, high: of the figure. span_low, span_high: partitions whose mean sets the bound, the one to judge among them."""

    low: float
    high: float
    centre: float
    span_low: int
    span_high: int


def level_band(series: Series, levels: Levels, rows: float, recent: int, sensitivity: float, least_change: float) -> LevelBand:
    """What keeps the means of all spans within their bounds.

    Args:
        series: the history.
        levels: what was expected.
        rows: of the partition to judge.
        recent: how many of the last partitions follow each other up to it.
        sensitivity: robust standard deviations.
        least_change: in units of the figure, or of its scale where it is a number.
    """
    low, high, span_low, span_high = -np.inf, np.inf, 1, 1
    near_low = near_high = levels.now
    weights, values, known = series.weights, series.values, series.known
    for span in LONG_SPANS:
        if span > 1 and (span - 1 > recent or len(known.weights) < 4 * span):
            continue
        total = sums_of(known.weights, span)
        seen_means = sums_of(known.weights * known.values, span) / total
        due_means = sums_of(known.weights * levels.past[: len(known.values)], span) / total
        unit = np.sqrt(series.chance / total)
        off = (series.on_scale(seen_means, total) - series.on_scale(due_means, total)) / unit
        beyond = _beyond(off, total)
        bounds = bounds_of(off / np.sqrt(1 + beyond * total), span, sensitivity, 1.0, _GUARD_DAYS * series.per_day)
        others = slice(len(weights) - span + 1, None)
        all_rows = float(weights[others].sum()) + rows
        seen = float((weights * values)[others].sum())
        due = (float((weights * levels.past)[others].sum()) + rows * levels.now) / all_rows
        one = float(np.sqrt(series.chance / all_rows * (1 + beyond * all_rows)))
        here_low, here_high = (_figure(series, due, side * one, all_rows, seen, rows) for side in (-bounds.low, bounds.high))
        if span == 1:
            near_low, near_high = (
                _figure(series, due, side * one, all_rows, seen, rows) for side in (-bounds.near_low, bounds.near_high)
            )
            far = EVIDENCE * bounds.near_low, EVIDENCE * bounds.near_high
            values = np.concatenate((known.values, _evidence(series, levels, far, beyond)))
        if here_low > low:
            low, span_low = here_low, span
        if here_high < high:
            high, span_high = here_high, span
    low = min(low, near_low, levels.now - least_change)
    high = max(high, near_high, levels.now + least_change)
    return LevelBand(low, high, levels.now, span_low, span_high)


def _evidence(series: Series, levels: Levels, far: tuple[float, float], beyond: float) -> Floats:
    """Held partitions, brought nearer: one that was far off is no reason to hold what is right after it."""
    many = len(series.values) - series.failing
    found = []
    for value, weight, due in zip(series.values[many:], series.weights[many:], levels.past[many:], strict=True):
        one = float(np.sqrt(series.chance / weight * (1 + beyond * weight)))
        least, most = (_figure(series, float(due), side * one, float(weight), 0.0, float(weight)) for side in (-far[0], far[1]))
        found.append(min(max(float(value), least), most))
    return np.array(found)


def _figure(series: Series, due: float, off: float, all_rows: float, seen: float, rows: float) -> float:
    """The figure of the partition to judge with which the mean of the span is so far off."""
    if not series.counted:
        return ((due + off) * all_rows - seen) / rows
    angle = float(_arcsine(np.array([due]), np.array([all_rows]))[0]) + off
    if angle <= 0:
        return -1.0
    if angle >= np.pi / 2:
        return 2.0
    return (_share_at(angle, all_rows) * all_rows - seen) / rows


def _beyond(off: Floats, rows: Floats) -> float:
    """Variance beyond chance as a share of the variance of one row: from the larger half, where chance matters less."""
    large = rows >= np.median(rows)
    spread = (float(np.median(np.abs(off[large]))) / 0.6745) ** 2
    return max(spread - 1.0, 0.0) / float(np.median(rows[large]))
