"""Partitions of an interval: which folders hold it. Knows no Airflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

MOST_TASKS = 256  # of one run; more folders share tasks. Airflow's own limit is core.max_map_length


def names(pattern: str, start: datetime, end: datetime, partition_s: int, timezone: str) -> list[str]:
    """Folders of ``[start, end)``, in order, each once.

    Moments are counted in UTC and named in the time zone: the hour that a change of clocks repeats has one folder, the one that it
    leaves out has none, and a day of 23 or 25 hours is one folder.
    """
    zone = ZoneInfo(timezone)
    return list(dict.fromkeys(moment.astimezone(zone).strftime(pattern) for moment in _moments(start, end, partition_s, zone)))


def _moments(start: datetime, end: datetime, partition_s: int, zone: ZoneInfo) -> Iterator[datetime]:
    """Every beginning of a partition, and the start itself. By the hour: no day of any zone begins within one."""
    step = timedelta(seconds=min(partition_s, 3_600))
    at = start.astimezone(UTC)
    while at < end:
        yield at
        at += step


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
