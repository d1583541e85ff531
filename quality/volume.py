"""How many rows a partition should have: level × place in the week, and how far it may be off.

1. Profile: rows of each hour of the week as a multiple of their week's level, the mean of the middle half over the weeks.
2. Level: of each day, rows over profile; its growth by the median of all slopes between two days (Theil–Sen); the level of a day is
   the median of the 14 days before it, carried on by the growth. So a bad day, or six, move nothing.
3. Noise: chance alone makes a Poisson count. What differs beyond that is a share of the count (negative binomial). The transform
   2/φ · asinh(φ √(n + 3/8)) makes deviations alike from 3 rows an hour to 3 million.
4. The sums of the last 1, 4, 12 and 24 partitions each have bounds of their own, from the same sums in history; so a loss that an
   hour hides shows after some. The band of a partition is what keeps all of them within bounds. Yet a partition that is as expected
   is never out of its band, whatever came before it.

Sources: F. J. Anscombe, "The transformation of Poisson, binomial and negative-binomial data" (Biometrika 1948); H. Theil (1950) and
P. K. Sen (1968) for the slope; alternating row and column effects: J. Tukey's median polish (1977).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quality.history import Floats, Ints
from quality.tails import EVIDENCE, SPANS, Bounds, bounds_of, midmeans, sums_of

_ANSCOMBE = 0.375
_LEVEL_DAYS = 14
_GUARD = 72
_SWEEPS = 2
_MIDMEAN = 1.2  # variance of a mean of the middle half over that of a mean, of a normal
_RATIO = 1e6  # levels of two stretches differ by no more


@dataclass(frozen=True)
class Rates:
    """What was expected. past: of each partition of the history. now: of the one to judge.

    leverage: the share of a partition in what was expected of itself.
    """

    past: Floats
    now: float
    leverage: float


def expected_rates(values: Floats, ages: Floats, slots: Ints, slot: int, segments: Ints, per_day: int, failing: int = 0) -> Rates:
    """Rows that were expected, and that are.

    Args:
        values: rows of each partition, in the order of time.
        ages: days from its beginning to that of the partition to judge.
        slots: its place in the week.
        slot: that of the partition to judge.
        segments: the stretch of one level that it lies in.
        per_day: places of a day.
        failing: how many of the last are no examples.
    """
    count, known = 7 * per_day, len(values) - failing
    later = slots[known:], ages[known:]
    values, ages, slots, segments = values[:known], ages[:known], slots[:known], segments[:known]
    moved, factors, profile = _polish(values, (ages // 7).astype(np.int64), slots, segments, count)
    levels, slope = _levels(moved, profile[slots], ages)
    leverage = 0.0
    for _ in range(2):
        trend = np.maximum(np.exp(np.minimum(levels.past - slope * ages, 50.0)), 1e-9)
        profile, leverage = _shrunk(moved / trend, slots, count, per_day)
        levels, slope = _levels(moved, profile[slots], ages)
    past = np.exp(levels.past - slope * ages) * profile[slots] / factors
    since = np.exp(levels.now - slope * later[1]) * profile[later[0]]
    return Rates(np.concatenate((past, since)), float(np.exp(levels.now) * profile[slot]), leverage)


@dataclass(frozen=True)
class _Levels:
    past: Floats  # logarithms, without growth
    now: float


def _polish(values: Floats, weeks: Ints, slots: Ints, segments: Ints, count: int) -> tuple[Floats, Floats, Floats]:
    """Values moved to the level of the last stretch, the factors that moved them, and the first profile: row and column effects."""
    codes = segments * (int(weeks.max()) + 1) + int(weeks.max()) - weeks  # in the order of stretches, then of time
    groups = (np.cumsum(np.bincount(codes) > 0) - 1)[codes]
    profile = np.ones(count)
    levels = np.ones(int(groups.max()) + 1)
    for _ in range(_SWEEPS):
        weight = np.bincount(groups, profile[slots])
        levels = np.maximum(np.bincount(groups, values), 0.5) / np.maximum(weight, 1e-9)
        profile = _filled(midmeans(values / levels[groups], slots, count))
        profile = profile / max(float(profile[slots].mean()), 1e-9)
    factors = np.ones(len(values))
    for segment in range(int(segments.max()), 0, -1):
        first = groups[segments == segment].min()
        factors[segments < segment] *= np.clip(levels[first] / levels[first - 1], 1 / _RATIO, _RATIO)
    return values * factors, factors, profile


def _shrunk(ratios: Floats, slots: Ints, count: int, per_day: int) -> tuple[Floats, float]:
    """The profile, and the share of a partition in it.

    What an hour of the week has is hour × weekday, as far as the weeks do not agree that it differs from that: weekday by weekday,
    since a Saturday may have hours of its own.
    """
    profile = _filled(midmeans(ratios, slots, count))
    sizes = np.bincount(slots, minlength=count).astype(np.float64)
    weeks = max(float(np.median(sizes[sizes > 0])), 1.0)
    if per_day < 2 or weeks < 2:
        return profile, 1 / weeks
    grid = profile.reshape(7, per_day)
    of_day = grid.mean(axis=1, keepdims=True)
    of_hour = np.ones(per_day)
    for _ in range(_SWEEPS):
        of_hour = np.median(grid / np.maximum(of_day, 1e-9), axis=0)
        of_day = (grid.sum(axis=1) / max(float(of_hour.sum()), 1e-9))[:, None]
    base = np.maximum(of_hour * of_day, 1e-3 * max(float(grid.mean()), 1e-9))
    off = ratios / base.ravel()[slots]
    within = np.bincount(slots, (off - (grid / base).ravel()[slots]) ** 2, minlength=count) / np.maximum(sizes - 1, 1)
    chance = _MIDMEAN * (within / np.maximum(sizes, 1)).reshape(7, per_day).mean(axis=1)
    told = ((grid / base - 1) ** 2).mean(axis=1)
    agreed = np.clip(1 - chance / np.maximum(told, 1e-12), 0.0, 1.0)[:, None]
    return (base + agreed * (grid - base)).ravel(), float(agreed.mean()) / weeks


def _filled(profile: Floats) -> Floats:
    """A profile in which a place that was never seen has what its day's places have in the middle."""
    missing = np.isnan(profile)
    if missing.any():
        profile[missing] = float(np.median(profile[~missing]))
    return profile


def _levels(values: Floats, profile: Floats, ages: Floats) -> tuple[_Levels, float]:
    """The level that each partition is held against: of the days before its own."""
    days = np.floor(ages - 1e-9).astype(np.int64)
    days = np.maximum(days, 0)
    weight = np.bincount(days, profile)
    rows = np.bincount(days, values)
    whole = weight > 0.25 * np.median(weight[weight > 0]) if (weight > 0).any() else weight > 0
    places = np.flatnonzero(whole)
    if not len(places):
        return _Levels(np.zeros(len(values)), 0.0), 0.0
    logs = np.log(np.maximum(rows[places], 0.5) / weight[places])
    slope = _growth(places.astype(np.float64), logs)
    flat = logs + slope * (places + 0.5)
    by_day = _trailing(places, flat, len(weight))
    return _Levels(by_day[days + 1], float(by_day[0])), slope


def _trailing(places: Ints, flat: Floats, count: int) -> Floats:
    """Of each day, the one to judge and then back, the median of the days before it; of all where too few are known."""
    known = np.full(count + _LEVEL_DAYS, np.nan)
    known[places] = flat
    before = np.sort(np.lib.stride_tricks.sliding_window_view(known, _LEVEL_DAYS)[: count + 1], axis=1)  # nan comes last
    sizes = np.count_nonzero(~np.isnan(before), axis=1)
    rows = np.arange(len(before))
    medians = (before[rows, np.maximum(sizes - 1, 0) // 2] + before[rows, sizes // 2]) / 2
    return np.where(sizes >= _LEVEL_DAYS // 2, medians, float(np.median(flat)))


def _growth(days: Floats, logs: Floats) -> float:
    """Growth of a logarithm a day, by the median of the slopes of all pairs of days a week apart or more; 0 below three weeks."""
    if len(days) < 15 or np.ptp(days) < 20:
        return 0.0
    left, right = np.triu_indices(len(days), 1)
    apart = days[right] - days[left]
    far = apart >= 7
    return float(-np.median((logs[right] - logs[left])[far] / apart[far]))


def _stabilised(counts: Floats | float, noise: float) -> Floats:
    """Counts on a scale on which chance and noise make deviations of one size."""
    roots = np.sqrt(np.asarray(counts, dtype=np.float64) + _ANSCOMBE)
    return 2 * roots if noise * float(np.max(roots, initial=0.0)) < 1e-6 else 2 / noise * np.arcsinh(noise * roots)


def _count_at(place: float, noise: float) -> float:
    """The count that lies there on the scale of ``_stabilised``."""
    if place <= 0:
        return -_ANSCOMBE
    root = place / 2 if noise * place < 1e-6 else float(np.sinh(min(noise * place / 2, 300.0))) / noise
    return root * root - _ANSCOMBE


def _noise(counts: Floats, expected: Floats, stretch: float) -> float:
    """What differs beyond chance, as a share of the count: from the busier half, where chance matters less."""
    busy = expected >= np.median(expected)
    off = 2 * (np.sqrt(counts[busy] + _ANSCOMBE) - np.sqrt(expected[busy] + _ANSCOMBE))
    spread = (float(np.median(np.abs(off))) / 0.6745 * stretch) ** 2
    return float(np.sqrt(max(spread - 1.0, 0.0) / max(float(np.median(expected[busy])), 1e-9)))


@dataclass(frozen=True)
class CountBand:
    """low, high: of the count. span_low, span_high: partitions whose sum sets the bound, the one to judge among them."""

    low: float
    high: float
    centre: float
    span_low: int
    span_high: int


def count_band(values: Floats, rates: Rates, recent: int, failing: int, sensitivity: float, least_change: float) -> CountBand:
    """What keeps all sums within their bounds.

    Args:
        values: rows of each partition, in the order of time.
        rates: what was expected.
        recent: how many of the last ones follow each other up to the partition to judge.
        failing: how many of the last are no examples.
        sensitivity: robust standard deviations.
        least_change: as a share of what is expected.
    """
    stretch = float(np.sqrt((1 + rates.leverage) / max(1 - rates.leverage, 0.25)))
    low, high, span_low, span_high = -np.inf, np.inf, 1, 1
    near_low = near_high = rates.now
    known = len(values) - failing
    for span in SPANS:
        if span > 1 and (span - 1 > recent or known < 4 * span):
            continue
        counts, expected = sums_of(values[:known], span), sums_of(rates.past[:known], span)
        noise = _noise(counts, expected, stretch)
        deviations = _stabilised(counts, noise) - _stabilised(expected, noise)
        bounds = bounds_of(deviations, span, sensitivity, stretch, _GUARD)
        others = span - 1
        seen = float(values[len(values) - others :].sum())
        due = float(rates.past[len(values) - others :].sum()) + rates.now
        place = float(_stabilised(due, noise))
        here_low, here_high = _count_at(place - bounds.low, noise) - seen, _count_at(place + bounds.high, noise) - seen
        if span == 1:
            near_low, near_high = _near(place, noise, bounds)
            values = np.concatenate((values[:known], _evidence(values[known:], rates.past[known:], noise, bounds)))
        if here_low > low:
            low, span_low = here_low, span
        if here_high < high:
            high, span_high = here_high, span
    low = min(low, near_low, rates.now * (1 - least_change))
    high = max(high, near_high, rates.now * (1 + least_change))
    return CountBand(max(low, 0.0), high, rates.now, span_low, span_high)


def _evidence(values: Floats, expected: Floats, noise: float, bounds: Bounds) -> Floats:
    """Held partitions, brought nearer: an hour that was far off is no reason to hold what is right after it."""
    places = _stabilised(expected, noise)
    least = [_count_at(place - EVIDENCE * bounds.near_low, noise) for place in places.tolist()]
    most = [_count_at(place + EVIDENCE * bounds.near_high, noise) for place in places.tolist()]
    return np.clip(values, least, most) if len(values) else values


def _near(place: float, noise: float, bounds: Bounds) -> tuple[float, float]:
    """What is as expected."""
    return _count_at(place - bounds.near_low, noise), _count_at(place + bounds.near_high, noise)
