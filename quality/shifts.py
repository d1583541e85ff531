"""Whether the values of a field are distributed as they were: shares of categories, and quantiles of numbers.

Each category that is worth it is a share of the rows, and so is all that was never seen before; each quantile is a number. So what
shifted is named, and how sure it is follows from how many rows tell it. The more is followed the wider are the bands (C. E.
Bonferroni), so that a field with many values raises no more alarms than one with few.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from contracts.spec.quality import QualityCalendar
from quality.baselines import (
    Band,
    Excused,
    Figure,
    Learning,
    Place,
    needed,
    number_expectation,
    place_of,
    share_expectation,
)
from quality.history import CategoryCounts, Floats, LearningOptions, Quantiles, failing_before, learnt_from, rows_of, those_with
from quality.seasons import why_ignored

NEW = "values never seen before"
_MOST_FOLLOWED = 8
_LEAST_SHARE = 0.005


@dataclass(frozen=True)
class Shift:
    """One thing that is not as it was. what: a category, ``NEW``, or a quantile such as ``q0.5``; observed: its share or value."""

    what: str
    observed: float
    band: Band


@dataclass(frozen=True)
class Shifts:
    """What was found, the surest first. followed: how many things were looked at. stability: the population stability index.

    used: ids of what it was learnt from.
    """

    found: tuple[Shift, ...]
    followed: int
    stability: float
    used: tuple[str, ...]


def category_shifts(
    history: Sequence[CategoryCounts], current: CategoryCounts, calendar: QualityCalendar, options: LearningOptions
) -> Shifts | Learning | Excused:
    """Which categories have another share than they had.

    Args:
        history: observations of this field, in any order and repeated.
        current: the partition to judge; that it may be in the history does not matter.
        calendar: whose clock and holidays.
        options: how it is learnt.

    Guarantees: as of ``quality.baselines.expectation``.
    """
    excused = _excused(current, calendar)
    if excused is not None:
        return excused
    kept = those_with(learnt_from(history, current.at_us, calendar, options), lambda seen: seen.rows > 0)
    need = needed(Figure.SHARE, options)
    if len(kept) < need:
        return Learning(len(kept), need)
    failing = [seen for seen in failing_before(history, kept, current.at_us, calendar, options) if seen.rows > 0]
    place, known = place_of(kept, failing, current.at_us, calendar, options), [*kept, *failing]
    rows = rows_of(known)
    total, partitions = _totals(kept)
    followed = _followed(total, current)
    stricter = _stricter(options, len(followed) + 1)
    found = []
    for category in followed:
        values = np.array([seen.counts.get(category, 0) for seen in known]) / rows
        found += _shift(category, current.counts.get(category, 0) / current.rows, values, rows, current, place, stricter)
    new_to_it = {category for category, seen in partitions.items() if seen == 1}
    new_to_it |= {category for seen in failing for category in seen.counts if category not in total}
    values = np.array([sum(seen.counts[c] for c in seen.counts.keys() & new_to_it) for seen in known]) / rows
    new = sum(count for category, count in current.counts.items() if category not in total)
    found += _shift(NEW, new / current.rows, values, rows, current, place, stricter)
    return Shifts(_ordered(found), len(followed) + 1, population_stability(total, current.counts), place.used)


def _excused(current: CategoryCounts | Quantiles, calendar: QualityCalendar) -> Excused | None:
    reason = why_ignored(current.at_us, calendar)
    if reason is None and current.rows <= 0:
        reason = "the partition has no rows"
    return None if reason is None else Excused(reason)


def _totals(kept: Sequence[CategoryCounts]) -> tuple[dict[str, int], dict[str, int]]:
    """Rows of each category, and partitions that have it."""
    total, partitions = dict[str, int](), dict[str, int]()
    for seen in kept:
        for category, count in seen.counts.items():
            if count:
                total[category] = total.get(category, 0) + count
                partitions[category] = partitions.get(category, 0) + 1
    return total, partitions


def _followed(total: Mapping[str, int], current: CategoryCounts) -> list[str]:
    """The known categories with the most rows, in history and in the partition; those of hardly any rows are not worth it."""
    rows = max(sum(total.values()), 1)
    known = sorted(total, key=lambda category: (-total[category], category))
    often = [category for category in known[:_MOST_FOLLOWED] if total[category] >= _LEAST_SHARE * rows]
    now = sorted(current.counts.keys() & total.keys(), key=lambda category: (-current.counts[category], category))
    return often + [
        category
        for category in now[:_MOST_FOLLOWED]
        if category not in often and current.counts[category] >= _LEAST_SHARE * current.rows
    ]


def _stricter(options: LearningOptions, looks: int) -> LearningOptions:
    """Options with which ``looks`` looks together find by chance what one would."""
    return replace(options, sensitivity=math.sqrt(options.sensitivity**2 + 2 * math.log(looks)))


def _shift(
    what: str, observed: float, values: Floats, weights: Floats, current: CategoryCounts, place: Place, options: LearningOptions
) -> list[Shift]:
    band = share_expectation(values, weights, float(current.rows), place, options)
    return [] if band.holds(observed) else [Shift(what, observed, band)]


def _ordered(found: Sequence[Shift]) -> tuple[Shift, ...]:
    """The farthest from what is expected first."""
    return tuple(sorted(found, key=lambda shift: (-abs(shift.observed - shift.band.centre), shift.what)))


def population_stability(expected: Mapping[str, int], observed: Mapping[str, int]) -> float:
    """The population stability index of two counts by category; half a row is added to each, so that none is empty.

    Source: divergence of H. Jeffreys (1946), as credit scoring uses it: below 0.1 little has changed, above 0.25 much has. It does
    not know how many rows there are, so it is told, not judged by.
    """
    categories = sorted(expected.keys() | observed.keys())
    if not categories:
        return 0.0
    before = np.array([expected.get(category, 0) + 0.5 for category in categories])
    after = np.array([observed.get(category, 0) + 0.5 for category in categories])
    before, after = before / before.sum(), after / after.sum()
    return float(np.sum((after - before) * np.log(after / before)))


def quantile_shifts(
    history: Sequence[Quantiles], current: Quantiles, calendar: QualityCalendar, options: LearningOptions
) -> Shifts | Learning | Excused:
    """Which quantiles of a numeric field are not where they were.

    Args:
        history: observations of this field, in any order and repeated; those of other shares than ``current`` do not count.
        current: the partition to judge.
        calendar: whose clock and holidays.
        options: how it is learnt.

    Guarantees: as of ``quality.baselines.expectation``.
    """
    excused = _excused(current, calendar)
    if excused is not None:
        return excused
    kept = those_with(
        learnt_from(history, current.at_us, calendar, options),
        lambda seen: _is_told(seen, current),
    )
    need = needed(Figure.NUMBER, options)
    if len(kept) < need:
        return Learning(len(kept), need)
    failing = [seen for seen in failing_before(history, kept, current.at_us, calendar, options) if _is_told(seen, current)]
    place, known = place_of(kept, failing, current.at_us, calendar, options), [*kept, *failing]
    rows = rows_of(known)
    table = np.array([seen.values for seen in known])
    stricter = _stricter(options, len(current.shares))
    found = []
    for number, (share, observed) in enumerate(zip(current.shares, current.values, strict=True)):
        spread = math.sqrt(share * (1 - share)) * _sparsity(table, current.shares, number)
        band = number_expectation(table[:, number], rows, float(current.rows), place, stricter, spread)
        if not band.holds(observed):
            found.append(Shift(f"q{share:g}", observed, band))
    return Shifts(_ordered(found), len(current.shares), 0.0, place.used)


def _is_told(seen: Quantiles, current: Quantiles) -> bool:
    """Whether quantiles can be held against those of a partition."""
    return seen.rows > 0 and seen.shares == current.shares and all(map(math.isfinite, seen.values))


def _sparsity(table: Floats, shares: Sequence[float], number: int) -> Floats:
    """How far values lie apart around a quantile, from its neighbours."""
    below, above = max(number - 1, 0), min(number + 1, len(shares) - 1)
    if below == above:
        return np.zeros(len(table))
    return (table[:, above] - table[:, below]) / (shares[above] - shares[below])
