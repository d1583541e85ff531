"""Where a partition lies in its week: by the clock of the calendar's zone, holidays as the weekday that they are treated as."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from contracts.spec.quality import QualityCalendar
from contracts.units import DAY_US, HOUR_US, SECOND_US, us_to_datetime

IGNORED = -1
_MONDAY = 3  # 1970-01-01 was the fourth day of its week
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_EPOCH_DAY = date(1970, 1, 1).toordinal()

Ints = npt.NDArray[np.int64]


@lru_cache(maxsize=65_536)
def _offset_us(zone: str, hour: int) -> int:
    """What a clock of the zone shows more than UTC in an hour since 1970."""
    offset = us_to_datetime(hour * HOUR_US).astimezone(ZoneInfo(zone)).utcoffset()
    assert offset is not None
    return int(offset.total_seconds()) * SECOND_US


@lru_cache(maxsize=64)
def _declared(calendar: QualityCalendar) -> dict[int, int]:
    """Declared days as days since 1970, with the weekday that they count as. Of two that say something of a day the last counts."""
    told: dict[int, int] = {}
    for days in calendar.days:
        weekday = IGNORED if days.treat_as == "ignore" else _WEEKDAYS.index(days.treat_as)
        for ordinal in range(days.first.toordinal(), days.last.toordinal() + 1):
            told[ordinal - _EPOCH_DAY] = weekday
    return told


def local_us(at_us: Ints, calendar: QualityCalendar) -> Ints:
    """What clocks of the calendar's zone show, as if it were UTC. An hour that comes twice is shown twice."""
    if calendar.zone == "UTC" or not len(at_us):
        return at_us
    hours, places = np.unique(at_us // HOUR_US, return_inverse=True)
    offsets = np.array([_offset_us(calendar.zone, hour) for hour in hours.tolist()], dtype=np.int64)
    return at_us + offsets[places]


def slots_of(at_us: Ints, calendar: QualityCalendar, partition_us: int) -> Ints:
    """The place of each partition in its week, from 0; ``IGNORED`` for partitions of days that count for nothing."""
    local = local_us(at_us, calendar)
    days, of_day = local // DAY_US, local % DAY_US
    weekdays = (days + _MONDAY) % 7
    if calendar.days:
        told = _declared(calendar)
        weekdays = np.array(
            [told.get(day, weekday) for day, weekday in zip(days.tolist(), weekdays.tolist(), strict=True)], np.int64
        )
    slots = (weekdays * DAY_US + of_day) // partition_us
    return np.where(weekdays == IGNORED, IGNORED, slots)


def why_ignored(at_us: int, calendar: QualityCalendar) -> str | None:
    """The reason of the days that are declared to count for nothing and that a partition lies in; None for others."""
    day = int(local_us(np.array([at_us], dtype=np.int64), calendar)[0]) // DAY_US
    if _declared(calendar).get(day) != IGNORED:
        return None
    for days in reversed(calendar.days):
        if days.first.toordinal() <= day + _EPOCH_DAY <= days.last.toordinal():
            return days.reason or f"{days.first} to {days.last} is declared as no example"
    return None
