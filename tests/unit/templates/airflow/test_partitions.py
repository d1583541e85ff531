"""Partitions of an interval: by hour and day, over changes of clocks, and many of them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

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
