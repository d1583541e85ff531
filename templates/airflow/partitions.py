"""Partitions of an interval: which folders hold it. Knows no Airflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

MOST_TASKS = 256  # of one run; more folders share tasks. Airflow's own limit is core.max_map_length
_HOUR_S, _DAY = 3_600, timedelta(days=1)


def names(pattern: str, start: datetime, end: datetime, partition_s: int, timezone: str) -> list[str]:
    """Folders of the partitions that end in ``(start, end]``, in order, each once; of the one it lies in, where none does.

    So a run reads a folder when its time is over, and of runs one after the other each folder that was complete is read by one,
    wherever in an hour or a day they begin.

    Days begin where the date changes in the time zone, whatever their length. Hours are counted in UTC and named in the time zone:
    the one that a change of clocks repeats has one folder, the one that it leaves out has none.
    """
    zone = ZoneInfo(timezone)
    first, last = start.astimezone(UTC), end.astimezone(UTC)
    begins = [at for at, ends in _partitions(first, zone, partition_s, last) if ends <= last] or [_begin(first, zone, partition_s)]
    return list(dict.fromkeys(at.astimezone(zone).strftime(pattern) for at in begins))


def _partitions(first: datetime, zone: ZoneInfo, partition_s: int, last: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Beginnings and ends, from the partition that a moment lies in to the one that another lies in."""
    at = _begin(first, zone, partition_s)
    while at < last:
        following = at + timedelta(hours=1) if partition_s <= _HOUR_S else _midnight(at.astimezone(zone).date() + _DAY, zone)
        yield at, following
        at = following


def _begin(moment: datetime, zone: ZoneInfo, partition_s: int) -> datetime:
    """Of the partition that a moment lies in."""
    local = moment.astimezone(zone)
    if partition_s > _HOUR_S:
        return _midnight(local.date(), zone)
    return moment - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first moment of a day, also of one whose clocks go on from midnight at once."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def packed(folders: Sequence[str], most: int = MOST_TASKS) -> list[list[str]]:
    """Folders by task: one each, or as many as it takes to need no more than ``most`` tasks."""
    size = -(-len(folders) // most) or 1
    return [list(folders[first : first + size]) for first in range(0, len(folders), size)]


def landed(folder: str, marker: str, project: str) -> bool:
    """Whether a folder of this machine is there and, where a marker is named, complete. Addresses of stores always are."""
    if "://" in folder:
        return True
    path = Path(project) / folder
    return (path / marker).exists() if marker else path.exists()


def absolute(folder: str, project: str) -> str:
    """A path is relative to the project; an address is not."""
    return folder if "://" in folder else str(Path(project).absolute() / folder)
