"""What was observed of partitions, and which of it may be learnt from.

A history is a set: order and repetition of its observations do not matter, and of two observations of one partition the newer
revision counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from contracts.spec.quality import QualityCalendar
from contracts.units import DAY_US, HOUR_US
from quality.seasons import IGNORED, slots_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class State(StrEnum):
    """What became of a partition. Only published ones are learnt from, and accepted ones that are the new normal.

    published: readers see it. held: a rule failed, whatever its severity, and nobody overruled it. accepted: a person overruled.
    declared: a person said before that it is no example, such as a backfill.
    """

    PUBLISHED = "published"
    HELD = "held"
    ACCEPTED = "accepted"
    DECLARED = "declared"


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What every observation says of its partition.

    at_us: where the partition begins. rows: that were looked at. id: of the partition or the run, told with the expectation.
    new_normal: a person said that things are so from here on; what was before is then moved to the new level. revision: of two
    observations of one partition the higher one counts, such as the time of judgement.
    """

    at_us: int
    rows: int
    id: str
    state: State = State.PUBLISHED
    new_normal: bool = False
    revision: int = 0

    @property
    def learnt(self) -> bool:
        """Whether it may be learnt from."""
        return self.state is State.PUBLISHED or (self.state is State.ACCEPTED and self.new_normal)

    def order(self) -> tuple[object, ...]:
        """Of two observations of one partition the one with the higher order counts; equal ones say the same."""
        return (self.revision, self.state.value, self.new_normal, self.rows, self.id)


@dataclass(frozen=True, kw_only=True)
class Observation(Observed):
    """A figure of a partition. value: a count of rows, a share of them from 0 to 1, or a number; NaN where there was none."""

    value: float

    def order(self) -> tuple[object, ...]:
        """As of any, and by the value."""
        return (*super().order(), -math.inf if math.isnan(self.value) else self.value)


@dataclass(frozen=True, kw_only=True)
class CategoryCounts(Observed):
    """Rows of a partition by the value of a field. rows: their sum, nulls and values that are not told apart among them."""

    counts: Mapping[str, int] = field(default_factory=dict)

    def order(self) -> tuple[object, ...]:
        """As of any, and by the counts."""
        return (*super().order(), tuple(sorted(self.counts.items())))


@dataclass(frozen=True, kw_only=True)
class Quantiles(Observed):
    """Values of a field at some shares of its rows, in order. rows: that have a number."""

    shares: tuple[float, ...]
    values: tuple[float, ...]

    def order(self) -> tuple[object, ...]:
        """As of any, and by the values."""
        return (*super().order(), self.shares, self.values)


ObservedT = TypeVar("ObservedT", bound=Observed)


@dataclass(frozen=True, kw_only=True)
class LearningOptions:
    """How it is learnt.

    partition_us: length of a partition. weeks: how far back. sensitivity: robust standard deviations from what is expected to what
    is out of bounds. least_change: below this nothing is told, however sure it is; None for what suits the figure
    (``LEAST_CHANGE``).
    """

    partition_us: int = HOUR_US
    weeks: int = 8
    sensitivity: float = 4.5
    least_change: float | None = None

    def __post_init__(self) -> None:
        if self.partition_us <= 0 or self.weeks < 1 or not self.sensitivity > 0:
            raise ValueError("a baseline needs partitions with a length, a week of history at least, and a sensitivity above 0")

    @property
    def per_day(self) -> float:
        """Partitions of a day; below one where a partition is longer."""
        return DAY_US / self.partition_us


def learnt_from(history: Iterable[ObservedT], at_us: int, calendar: QualityCalendar, options: LearningOptions) -> list[ObservedT]:
    """What may be learnt from for a partition that begins at ``at_us``: whole partitions before it, in the order of time."""
    newest: dict[int, ObservedT] = {}
    since, until = at_us - options.weeks * 7 * DAY_US, at_us - options.partition_us
    for seen in history:
        if since <= seen.at_us <= until:
            known = newest.get(seen.at_us)
            if known is None or seen.order() > known.order():
                newest[seen.at_us] = seen
    kept = [newest[at] for at in sorted(newest) if newest[at].learnt]
    return _without_ignored(kept, calendar, options)


def _without_ignored(kept: list[ObservedT], calendar: QualityCalendar, options: LearningOptions) -> list[ObservedT]:
    if not calendar.days:
        return kept
    times = times_of(kept)
    slots = slots_of(times, calendar, options.partition_us)
    ignored = set(times[slots == IGNORED].tolist())
    return those_with(kept, lambda seen: seen.at_us not in ignored)


def failing_before(
    history: Iterable[ObservedT], kept: Sequence[ObservedT], at_us: int, calendar: QualityCalendar, options: LearningOptions
) -> list[ObservedT]:
    """What was held since the last partition that may be learnt from, in the order of time: what goes wrong may go on.

    It is evidence, not an example. The first partition that is right again ends it.
    """
    since, until = kept[-1].at_us if kept else at_us, at_us - options.partition_us
    newest: dict[int, ObservedT] = {}
    for seen in history:
        if since < seen.at_us <= until:
            known = newest.get(seen.at_us)
            if known is None or seen.order() > known.order():
                newest[seen.at_us] = seen
    return _without_ignored([newest[at] for at in sorted(newest) if newest[at].state is State.HELD], calendar, options)


def those_with(kept: Iterable[ObservedT], wanted: Callable[[ObservedT], bool]) -> list[ObservedT]:
    """Those that are wanted; where one that is called the new normal is not, the next one begins the new level."""
    found: list[ObservedT] = []
    begins = False
    for seen in kept:
        begins = begins or seen.new_normal
        if wanted(seen):
            found.append(replace(seen, new_normal=True) if begins and not seen.new_normal else seen)
            begins = False
    return found


def times_of(kept: Sequence[Observed]) -> Ints:
    """When the partitions begin."""
    return np.array([seen.at_us for seen in kept], dtype=np.int64)


def rows_of(kept: Sequence[Observed]) -> Floats:
    """Rows of the partitions."""
    return np.array([seen.rows for seen in kept], dtype=np.float64)


def ids_of(kept: Sequence[Observed]) -> tuple[str, ...]:
    """Whose partitions or runs they are, each once, sorted."""
    return tuple(sorted({seen.id for seen in kept}))


def segments_of(kept: Sequence[Observed]) -> Ints:
    """Which stretch of one level each partition lies in: from 0, and one more at each that is called the new normal."""
    return np.cumsum([seen.new_normal and number > 0 for number, seen in enumerate(kept)], dtype=np.int64)
