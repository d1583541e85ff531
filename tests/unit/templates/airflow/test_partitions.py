"""Partitions of an interval: by hour and day, over changes of clocks, and many of them."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from templates.airflow.partitions import MOST_TASKS, absolute, landed, names, packed

HOUR, DAY = 3_600, 86_400


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_an_hour_is_one_folder_and_a_day_is_24() -> None:
    assert names("%Y-%m-%d/%H", _utc("2026-11-01T00:00"), _utc("2026-11-01T01:00"), HOUR, "UTC") == ["2026-11-01/00"]
    day = names("%Y-%m-%d/%H", _utc("2026-11-01T00:00"), _utc("2026-11-02T00:00"), HOUR, "UTC")
    assert day[0] == "2026-11-01/00" and day[-1] == "2026-11-01/23" and len(day) == 24


def test_a_folder_without_a_time_in_its_name_is_one() -> None:
    assert names("drop", _utc("2026-11-01T00:00"), _utc("2026-11-02T00:00"), HOUR, "UTC") == ["drop"]


def test_the_hour_that_a_change_of_clocks_repeats_is_one_folder() -> None:
    """2026-10-25 in Berlin has 25 hours, and 02 twice."""
    day = names("%d/%H", _utc("2026-10-24T22:00"), _utc("2026-10-25T23:00"), HOUR, "Europe/Berlin")
    assert day == [f"25/{hour:02}" for hour in range(24)]


def test_the_hour_that_a_change_of_clocks_leaves_out_has_no_folder() -> None:
    day = names("%d/%H", _utc("2026-03-28T23:00"), _utc("2026-03-29T22:00"), HOUR, "Europe/Berlin")
    assert "29/02" not in day and len(day) == 23


@pytest.mark.parametrize(
    ("start", "end"),
    [("2026-10-24T22:00", "2026-10-25T23:00"), ("2026-03-28T23:00", "2026-03-29T22:00"), ("2026-06-01T22:00", "2026-06-02T22:00")],
)
def test_a_day_is_one_folder_whatever_its_length(start: str, end: str) -> None:
    assert len(names("%Y-%m-%d", _utc(start), _utc(end), DAY, "Europe/Berlin")) == 1


def test_zones_with_half_hours_lose_no_folder() -> None:
    day = names("%d/%H", _utc("2026-10-31T18:30"), _utc("2026-11-01T18:30"), HOUR, "Asia/Kolkata")
    assert day == [f"01/{hour:02}" for hour in range(24)]


def test_a_day_is_read_when_it_is_over_wherever_in_the_day_the_schedule_begins() -> None:
    """By 03:00 the day that has just begun is not whole; the one before is."""
    assert names("%d", _utc("2026-11-01T03:00"), _utc("2026-11-02T03:00"), DAY, "UTC") == ["01"]
    assert names("%d", _utc("2026-11-06T03:00"), _utc("2026-11-09T03:00"), DAY, "UTC") == ["06", "07", "08"]  # over a weekend
    assert names("%H", _utc("2026-11-01T00:30"), _utc("2026-11-01T02:30"), HOUR, "UTC") == ["00", "01"]


def test_an_interval_in_which_no_partition_ends_reads_the_one_it_lies_in() -> None:
    """A folder of the day that is read every hour, for what has come since."""
    assert names("%d", _utc("2026-11-01T03:00"), _utc("2026-11-01T04:00"), DAY, "UTC") == ["01"]
    assert names("%d", _utc("2026-11-01T23:00"), _utc("2026-11-02T00:00"), DAY, "UTC") == ["01"]
    assert names("%H", _utc("2026-11-01T03:15"), _utc("2026-11-01T03:30"), HOUR, "UTC") == ["03"]


_ZONES = ("UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "Africa/Cairo", "Asia/Beirut", "Asia/Kolkata",
          "America/Havana", "Atlantic/Azores", "Asia/Kathmandu")  # fmt: skip

_MOMENTS = st.integers(0, 480_000).map(lambda minutes: _utc("2026-01-01T00:00") + timedelta(minutes=minutes))


@given(
    zone=st.sampled_from(_ZONES),
    first=_MOMENTS,
    lengths=st.lists(st.integers(1, 80 * 60), min_size=1, max_size=12),
)
@example(zone="Europe/Berlin", first=_utc("2026-10-24T01:00"), lengths=[1_440, 1_500, 1_440])
@example(zone="America/Havana", first=_utc("2026-10-31T04:00"), lengths=[1_440, 60, 1_440])
@example(zone="Asia/Beirut", first=_utc("2026-03-27T22:00"), lengths=[1_440, 1_380, 1_440])
def test_of_runs_one_after_the_other_each_day_that_ends_is_read_once_and_none_before_its_end(
    zone: str, first: datetime, lengths: list[int]
) -> None:
    moments = [first]
    for minutes in lengths:
        moments.append(moments[-1] + timedelta(minutes=minutes))
    ends = {day: _over(day, zone) for day in (moments[0].date() + timedelta(days=n) for n in range(-2, 90))}
    read = [names("%Y-%m-%d", start, end, DAY, zone) for start, end in pairwise(moments)]
    for (start, end), days in zip(pairwise(moments), read, strict=True):
        assert days
        due = [day.isoformat() for day, over in ends.items() if start < over <= end]
        assert days == due or (not due and days == [start.astimezone(ZoneInfo(zone)).date().isoformat()])


def _over(day: date, zone: str) -> datetime:
    """When a day is over, found by looking: the first minute of which the date is later."""
    at = datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=8)
    while at.astimezone(ZoneInfo(zone)).date() <= day:
        at += timedelta(minutes=15)
    return at


@given(
    zone=st.sampled_from(_ZONES),
    first=_MOMENTS,
    lengths=st.lists(st.integers(1, 400), min_size=1, max_size=12),
)
def test_of_runs_one_after_the_other_no_hour_is_left_out_and_none_is_read_before_its_end(
    zone: str, first: datetime, lengths: list[int]
) -> None:
    moments = [first]
    for minutes in lengths:
        moments.append(moments[-1] + timedelta(minutes=minutes))
    for start, end in pairwise(moments):
        found = names("%Y-%m-%dT%H", start, end, HOUR, zone)
        local = [start + timedelta(minutes=n) for n in range(1, int((end - start).total_seconds() // 60) + 1)]
        floored = [at.replace(second=0, microsecond=0).astimezone(ZoneInfo(zone)) for at in local]
        over = [(at.astimezone(UTC) - timedelta(minutes=1)).astimezone(ZoneInfo(zone)) for at in floored if at.minute == 0]
        due = list(dict.fromkeys(f"{at:%Y-%m-%dT%H}" for at in over))
        assert found == due or (not due and found == [f"{start.astimezone(ZoneInfo(zone)):%Y-%m-%dT%H}"])


def test_400_days_by_the_hour_are_few_tasks_and_every_folder_once() -> None:
    folders = names("%Y-%m-%d/%H", _utc("2025-01-01T00:00"), _utc("2026-02-05T00:00"), HOUR, "UTC")
    tasks = packed(folders)
    assert len(folders) == 9_600 and len(tasks) <= MOST_TASKS
    assert [folder for task in tasks for folder in task] == folders


def test_few_folders_have_a_task_each() -> None:
    assert packed(["a", "b"]) == [["a"], ["b"]]
    assert packed([]) == []


def test_a_folder_is_landed_when_it_is_there_and_its_marker_is(tmp_path: Path) -> None:
    assert not landed("drop", "", str(tmp_path))
    (tmp_path / "drop").mkdir()
    assert landed("drop", "", str(tmp_path)) and not landed("drop", "_SUCCESS", str(tmp_path))
    (tmp_path / "drop" / "_SUCCESS").touch()
    assert landed("drop", "_SUCCESS", str(tmp_path))
    assert landed("s3://bucket/drop", "_SUCCESS", str(tmp_path))  # only headrace can look


def test_paths_are_relative_to_the_project_and_addresses_are_not() -> None:
    assert absolute("drop", "/project") == "/project/drop"
    assert absolute("/data/drop", "/project") == "/data/drop"
    assert absolute("gs://bucket/drop", "/project") == "gs://bucket/drop"
