"""Changes of clocks: schedules by the hour and by the day lose no hour, and have none twice."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.support.airflow import Json, in_airflow

CHANGES = [  # zone, first day, day after the last: both changes; at midnight in Santiago, Cairo and Beirut
    ("Europe/Berlin", "2026-03-27", "2026-03-31"),
    ("Europe/Berlin", "2026-10-23", "2026-10-27"),
    ("America/New_York", "2026-03-06", "2026-03-10"),
    ("America/New_York", "2026-10-30", "2026-11-03"),
    ("America/Santiago", "2026-04-03", "2026-04-07"),
    ("America/Santiago", "2026-09-04", "2026-09-08"),
    ("Africa/Cairo", "2026-04-22", "2026-04-26"),
    ("Africa/Cairo", "2026-10-28", "2026-11-01"),
    ("Asia/Beirut", "2026-03-27", "2026-03-31"),
    ("Asia/Beirut", "2026-10-23", "2026-10-27"),
    ("Asia/Kolkata", "2026-03-27", "2026-03-31"),
]
PATTERNS = {"hour": "%Y-%m-%d/%H", "day": "%Y-%m-%d", "days of hours": "%Y-%m-%d/%H"}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield in_airflow("clocks", tmp_path_factory.mktemp("airflow"), *(word for change in CHANGES for word in change))


@pytest.mark.parametrize("timetable", ["CronDataIntervalTimetable", "BackfillTimetable"])
@pytest.mark.parametrize("kind", PATTERNS)
@pytest.mark.parametrize("change", CHANGES, ids=" ".join)
def test_every_hour_is_in_one_interval_and_every_folder_is_read(told: Json, change: Any, kind: str, timetable: str) -> None:
    zone, first, last = change
    runs = told[f"{zone} {first} {kind} {timetable}"]
    moments = [datetime.fromisoformat(run[0]) for run in runs] + [datetime.fromisoformat(runs[-1][1])]
    assert [run[1] for run in runs[:-1]] == [run[0] for run in runs[1:]]
    assert moments == sorted(set(moments))
    begins, ends = (datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)) for day in (first, last))
    assert moments[0] == begins and moments[-1] == ends
    local = [moment.astimezone(ZoneInfo(zone)).strftime(PATTERNS[kind]) for moment in _half_hours(begins, ends)]
    read = Counter(folder for run in runs for folder in run[2])
    assert set(read) == set(local)
    twice = {folder for folder, number in Counter(local).items() if number > 2}  # the hour that is repeated
    assert {folder for folder, number in read.items() if number > 1} == (twice if kind == "hour" else set())


@pytest.mark.parametrize("kind", ["day at three", "day on weekdays"])
@pytest.mark.parametrize("change", CHANGES, ids=" ".join)
def test_by_a_schedule_that_is_not_at_midnight_each_day_is_read_once_when_it_is_over(told: Json, change: Any, kind: str) -> None:
    zone, first, _ = change
    runs = told[f"{zone} {first} {kind} CronDataIntervalTimetable"]
    read = [folder for run in runs for folder in run[2]]
    days = [(datetime.fromisoformat(read[0]) + timedelta(days=number)).strftime("%Y-%m-%d") for number in range(len(read))]
    assert read == days and len(runs) > 1  # over a weekend, too
    for _, end, folders in runs:
        assert all(folder < datetime.fromisoformat(end).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d") for folder in folders)


@pytest.mark.parametrize("kind", ["hours at seven and nine", "hours within working time"])
@pytest.mark.parametrize("change", CHANGES, ids=" ".join)
def test_by_a_schedule_with_gaps_every_hour_is_read(told: Json, change: Any, kind: str) -> None:
    """Where clocks change, runs come at other times than one thinks (apache/airflow#7999); none leaves an hour out (#38774)."""
    zone, first, _ = change
    runs = told[f"{zone} {first} {kind} CronDataIntervalTimetable"]
    start, end = datetime.fromisoformat(runs[0][0]), datetime.fromisoformat(runs[-1][1]) - timedelta(hours=1)
    wanted = {moment.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d/%H") for moment in _half_hours(start, end)}
    assert wanted <= {folder for run in runs for folder in run[2]}


def _half_hours(begins: datetime, ends: datetime) -> Iterator[datetime]:
    at = begins.astimezone(UTC)
    while at < ends:
        yield at
        at += timedelta(minutes=30)
