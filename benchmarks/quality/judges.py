"""Who judges: the baselines of this project, and others as their documentation says that they work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.worlds import CATEGORIES, HOURS, JUDGED_FROM, MOST_VALUES, NEW, PER_DAY, SHARES, SHOWN_BY, Floats, World
from quality.baselines import Band, Figure, expectation
from quality.history import CategoryCounts, LearningOptions, Observation, Quantiles, State
from quality.shifts import Shifts, category_shifts, quantile_shifts

Alarms = Mapping[str, list[int]]
_DATASET = "all sources"


@dataclass(frozen=True)
class Judge:
    """name: of the tool, with what is set. judged: the hours in which each rule raises an alarm."""

    name: str
    judged: Callable[[World], Alarms]


class _Histories:
    """What is known of each rule, an hour at a time; an hour in which any rule failed is held for all."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._counts: dict[str, list[Observation]] = {source: [] for source in (_DATASET, *world.rows)}
        self._nulls: list[Observation] = []
        self._categories: list[CategoryCounts] = []
        self._quantiles: list[Quantiles] = []
        self._calendar, self._options = world.shape.calendar, LearningOptions()

    def failed(self, hour: int) -> list[str]:
        """The rules that an hour breaks."""
        at_us, rows = int(self._world.at_us[hour]), int(self._world.total[hour])
        found = []
        for source, known in self._counts.items():
            counted = expectation(known, at_us, self._calendar, self._options)
            if isinstance(counted, Band) and not counted.holds(self._rows(source, hour)):
                found.append(f"volume of {source}")
        shared = expectation(self._nulls, at_us, self._calendar, self._options, figure=Figure.SHARE, rows=rows)
        if isinstance(shared, Band) and not shared.holds(self._world.nulls[hour] / rows):
            found.append("null share")
        if rows:
            categories = category_shifts(self._categories, self._category_counts(hour), self._calendar, self._options)
            if isinstance(categories, Shifts) and categories.found:
                found.append("categories")
            quantiles = quantile_shifts(self._quantiles, self._quantiles_of(hour), self._calendar, self._options)
            if isinstance(quantiles, Shifts) and quantiles.found:
                found.append("amount")
        return found

    def add(self, hour: int, state: State) -> None:
        """An hour is known from now on."""
        for source, known in self._counts.items():
            known.append(self._observation(hour, self._rows(source, hour), state))
        rows = int(self._world.total[hour])
        if rows:
            self._nulls.append(self._observation(hour, float(self._world.nulls[hour] / rows), state))
            self._categories.append(self._category_counts(hour, state))
            self._quantiles.append(self._quantiles_of(hour, state))

    def _rows(self, source: str, hour: int) -> float:
        return float(self._world.total[hour] if source == _DATASET else self._world.rows[source][hour])

    def _observation(self, hour: int, value: float, state: State) -> Observation:
        rows = int(self._world.total[hour])
        return Observation(at_us=int(self._world.at_us[hour]), rows=rows, id=str(hour), value=value, state=state)

    def _category_counts(self, hour: int, state: State = State.PUBLISHED) -> CategoryCounts:
        told = zip((*CATEGORIES, NEW), self._world.categories[hour].tolist(), strict=True)
        counts = {category: count for category, count in told if count}
        at_us, rows = int(self._world.at_us[hour]), int(self._world.total[hour])
        return CategoryCounts(at_us=at_us, rows=rows, id=str(hour), counts=counts, state=state)

    def _quantiles_of(self, hour: int, state: State = State.PUBLISHED) -> Quantiles:
        values = tuple(self._world.quantiles[hour].tolist())
        at_us, rows = int(self._world.at_us[hour]), min(int(self._world.total[hour]), MOST_VALUES)
        return Quantiles(at_us=at_us, rows=rows, id=str(hour), shares=SHARES, values=values, state=state)


def ours(world: World) -> Alarms:
    """The baselines: each hour in its turn, held if any rule failed, and nobody ever accepts."""
    return ours_in(world, range(JUDGED_FROM * PER_DAY, HOURS))


def ours_while_wrong(world: World) -> Alarms:
    """The baselines as ``ours``, only while something is wrong and nothing has told it yet: for recall, at a tenth of the time."""
    alarms: Alarms = {}
    for fault in world.faults:
        found = ours_in(world, range(fault.begins, fault.ends), until=SHOWN_BY[fault.kind])
        alarms = {rule: [*alarms.get(rule, []), *found.get(rule, [])] for rule in alarms.keys() | found.keys()}
    return alarms


def ours_in(world: World, judged: range, *, until: str = "") -> Alarms:
    """The alarms of some hours. until: a rule that begins so ends it by its alarm; before the hours what is wrong is held."""
    histories, alarms = _Histories(world), dict[str, list[int]]()
    for hour in range(judged.stop):
        wrong = any(fault.begins <= hour < fault.ends for fault in world.faults)
        failed = histories.failed(hour) if hour in judged else []
        for rule in failed:
            alarms.setdefault(rule, []).append(hour)
        if until and any(rule.startswith(until) for rule in failed):
            break
        held = bool(failed) or (bool(until) and wrong and hour not in judged)
        histories.add(hour, State.HELD if held else State.PUBLISHED)
    return alarms


def figures_of(world: World) -> dict[str, Floats]:
    """The metrics that others monitor of the same rules: rows, percentage of nulls, rows by category, mean of the amount."""
    total = world.total.astype(float)
    figures = {f"volume of {_DATASET}": total} | {f"volume of {name}": rows.astype(float) for name, rows in world.rows.items()}
    with np.errstate(invalid="ignore", divide="ignore"):
        figures["null share"] = world.nulls / total
    figures["amount"] = world.means
    for number, category in enumerate((*CATEGORIES, NEW)):
        figures[f"categories: {category}"] = world.categories[:, number].astype(float)
    return figures


def _by_figure(world: World, alarm: Callable[[Floats, int], bool]) -> Alarms:
    """The alarms of a judge that looks at each metric alone. A rule with several metrics raises an alarm if one of them does."""
    alarms: dict[str, list[int]] = {}
    for name, values in figures_of(world).items():
        hours = alarms.setdefault(name.partition(":")[0], [])
        hours += [hour for hour in range(JUDGED_FROM * PER_DAY, HOURS) if not np.isnan(values[hour]) and alarm(values, hour)]
    return {name: sorted(set(hours)) for name, hours in alarms.items()}


def z_scores(training_days: int, season: str, *, itself: bool = True, least: int = 7) -> Callable[[World], Alarms]:
    """As the package elementary documents: mean and standard deviation of a training window, 3 of them.

    Args:
        training_days: training_period; it has 14 unless told otherwise.
        season: none, hour_of_day or hour_of_week: only these hours are the training set.
        itself: whether the value is part of its training set, as it is unless told otherwise.
        least: min_training_set_size.
    """
    step = {"none": 1, "hour_of_day": PER_DAY, "hour_of_week": 7 * PER_DAY}[season]

    def alarm(values: Floats, hour: int) -> bool:
        places = range(hour - (0 if itself else step), max(hour - training_days * PER_DAY - 1, -1), -step)
        seen = values[list(places)]
        seen = seen[~np.isnan(seen)]
        if len(seen) < least:
            return False
        spread = float(np.std(seen, ddof=1))
        return spread > 0 and abs(values[hour] - float(np.mean(seen))) > 3 * spread

    return lambda world: _by_figure(world, alarm)


def least_and_most(world: World) -> Alarms:
    """As the profiler of Great Expectations 0.18 did: between the least and the most of 30 days before. 1.x has no profiler."""
    days = JUDGED_FROM * PER_DAY
    return _by_figure(world, lambda values, hour: not _within(values[hour], values[hour - days : hour]))


def _within(value: float, seen: Floats) -> bool:
    return bool(np.nanmin(seen) <= value <= np.nanmax(seen))


def mean_and_deviations(world: World) -> Alarms:
    """As users of Great Expectations 1.x give parameters at run time: mean of the last 24 values, 3 standard deviations."""

    def alarm(values: Floats, hour: int) -> bool:
        seen = values[hour - PER_DAY : hour]
        return bool(abs(values[hour] - np.nanmean(seen)) > 3 * np.nanstd(seen, ddof=1))

    return _by_figure(world, alarm)


OURS, OURS_WHILE_WRONG = Judge("headrace", ours), Judge("headrace", ours_while_wrong)
PEERS = (
    Judge("z-scores, 14 days", z_scores(14, "none")),
    Judge("z-scores, 28 days, hour_of_day", z_scores(28, "hour_of_day")),
    Judge("z-scores, 56 days, hour_of_week, itself left out", z_scores(56, "hour_of_week", itself=False, least=4)),
    Judge("least and most of 30 days", least_and_most),
    Judge("mean ± 3 deviations of 24 hours", mean_and_deviations),
)
