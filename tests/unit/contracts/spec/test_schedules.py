"""``schedules`` of headrace.yaml: what is taken, and what is said of the rest."""

from datetime import date
from pathlib import Path

import pytest

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from contracts.spec.schedules import cron_problem, longest_gap_s


def _project(tmp_path: Path, text: str) -> Project:
    (tmp_path / "headrace.yaml").write_text(f"schedules:\n  start: 2026-11-01\n{text}")
    return Project.load(tmp_path)


@pytest.mark.parametrize("text", ["hour", "day", "0 * * * *", "*/15 * * * *", "0 4 1-7 * 1-5", "5,35 0-6/2 * * 0"])
def test_cron_expressions_of_five_fields_are_taken(text: str) -> None:
    assert cron_problem(text) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("minute", "neither hour, day"),
        ("@daily", "neither hour, day"),
        ("0 * * *", "neither hour, day"),
        ("60 * * * *", "'60' is no minute"),
        ("0 24 * * *", "'24' is no hour"),
        ("0 0 0 * *", "'0' is no day of month"),
        ("0 6-2 * * *", "'6-2' is no hour"),
        ("*/0 * * * *", "'*/0' is no minute"),
        ("0 0 * * 8", "'8' is no day of week"),
    ],
)
def test_what_is_none_is_said_with_its_field(text: str, told: str) -> None:
    assert told in str(cron_problem(text))


def test_words_become_what_a_scheduler_reads(tmp_path: Path) -> None:
    project = _project(
        tmp_path,
        "  timezone: Europe/Berlin\n"
        "  sources:\n    web: {input: drop/%d, wait: 30m, partition: day}\n"
        "  backfill: {size: 2G, ceiling: 1T, hours: '20:00-06:00', maxMemory: 4G, maxCpu: 2h, workers: 2}\n"
        "  upkeep: {}\n",
    )
    schedules = project.schedules
    assert schedules is not None and schedules.backfill is not None and schedules.upkeep is not None
    assert schedules.start == date(2026, 11, 1)
    assert (schedules.sources["web"].every, schedules.sources["web"].wait_s) == ("0 * * * *", 1_800)
    assert schedules.sources["web"].partition_s == 86_400
    assert (schedules.backfill.size_bytes, schedules.backfill.ceiling_bytes) == (2 << 30, 1 << 40)
    assert (schedules.backfill.max_memory, schedules.backfill.max_cpu, schedules.backfill.workers) == ("4G", "2h", 2)
    assert schedules.upkeep.every == "0 0 * * *"


@pytest.mark.parametrize("folder", ["My Shop (2)", "ünïcode", "_", "42"])
def test_a_project_without_a_name_gets_one_that_airflow_takes(tmp_path: Path, folder: str) -> None:
    place = tmp_path / folder
    place.mkdir()
    schedules = _project(place, "").schedules
    assert schedules is not None
    assert schedules.name.replace("-", "").replace("_", "").isascii() and schedules.name


@pytest.mark.parametrize(
    ("name", "partition_s"),
    [("drop/%Y-%m-%d/%H", 3_600), ("drop/%Y%m%d", 86_400), ("drop/%Y/%-d", 86_400), ("drop/%d/%-I%p", 3_600), ("drop/%%H", 3_600),
     ("drop/crm", 3_600), ("drop/%Y-%m", 86_400), ("kafka://h:1/t", 3_600)],
)  # fmt: skip
def test_a_folder_holds_what_its_name_tells(tmp_path: Path, name: str, partition_s: int) -> None:
    schedules = _project(tmp_path, f"  sources:\n    web: {{input: '{name}'}}\n").schedules
    assert schedules is not None and schedules.sources["web"].partition_s == partition_s


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("  sources:\n    web: {input: x, every: often}\n", "schedules.sources.web.every: 'often' is neither hour"),
        ("  sources:\n    web: {input: x, wait: soon}\n", "'soon' is no duration"),
        ("  sources:\n    web: {input: 'gs://b/x', wait: 30m}\n", "only for folders of this machine"),
        ("  sources:\n    web: {input: 'kafka://h:1/t', marker: _OK}\n", "wait and marker are of folders"),
        ("  sources:\n    web: {}\n", "input: missing"),
        ("  sources:\n    web: {input: drop/%d/%H, partition: day}\n", "drop/%d/%H names hours"),
        ("  sources:\n    web: {input: drop/%F, partition: hour}\n", "drop/%F names days"),
        ("  streams:\n    web: {input: drop}\n", "'drop' is no kafka://HOST:PORT/TOPIC"),
        ("  timezone: Mars/Olympus\n", "'Mars/Olympus' is no time zone"),
        ("  backfill: {size: lots}\n", "'lots' is no size"),
        ("  backfill: {hours: always}\n", "'always' is no time of day"),
        ("  backfill: {maxMemory: much}\n", "'much' is no size"),
        ("  backfill: {maxCpu: 2}\n", "no duration such as"),
        ("  backfill: {workers: 0}\n", "workers"),
        ("  backfill: {topics: {customer_event: again}}\n", "'again' is no kafka://HOST:PORT/TOPIC"),
        (  # as in KanishJebaMathewM/Truxify#7435, a replay would reach other readers than those it is for
            "  streams:\n    web: {input: kafka://k:9092/web}\n  backfill: {topics: {customer_event: kafka://k:9092/web}}\n",
            "kafka://k:9092/web is what is read; rows would go round in a circle",
        ),
        ("  crons: {}\n", "no key 'crons'"),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        _project(tmp_path, text)
    assert told in str(error.value)
    assert "headrace.yaml:" in str(error.value)


@pytest.mark.parametrize(
    ("cron", "gap_s"),
    [
        ("hour", 3_600),
        ("day", 86_400),
        ("*/15 * * * *", 900),
        ("0,10 * * * *", 3_000),
        ("0 6-18/4 * * *", 12 * 3_600),
        ("30 4 * * 1-5", 3 * 86_400),
        ("0 0 * * 0", 7 * 86_400),
        ("0 0 * * 7", 7 * 86_400),
        ("0 0 1 * *", 31 * 86_400),
        ("0 0 1 * 1", 7 * 86_400),  # either: a Monday or the first
        ("0 0 29 2 *", 1_461 * 86_400),
        ("5/20 * * * *", 1_200),
    ],
)
def test_the_longest_time_between_two_runs(cron: str, gap_s: int) -> None:
    assert longest_gap_s(cron) == gap_s


def test_a_zone_whose_clocks_change_by_half_an_hour_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="part of an hour"):
        _project(tmp_path, "  timezone: Australia/Lord_Howe\n").schedules  # noqa: B018 - it is read here at the latest


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Africa/Cairo", "America/St_Johns", "Asia/Kathmandu", "America/Santiago"])
def test_a_zone_of_half_hours_whose_clocks_change_by_hours_is_taken(tmp_path: Path, zone: str) -> None:
    schedules = _project(tmp_path, f"  timezone: {zone}\n").schedules
    assert schedules is not None and schedules.timezone == zone
