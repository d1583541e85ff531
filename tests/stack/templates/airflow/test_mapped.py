"""Folders of one interval, a task each: what Airflow runs and tells where some fail, where nothing has changed or nothing landed.

Long: it makes Airflow's database.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from contracts.spec.project import Project
from templates.build.airflow import build
from tests.support.airflow import SCRIPTS, Json, in_airflow
from tests.support.gated import GatedShop

pytestmark = pytest.mark.long
HOLD = {
    "from": "2026-11-05T04:00:00Z", "to": "2026-11-05T05:00:00Z", "rules": ["r"], "severity": "quarantine", "run_id": "another",
}  # fmt: skip
DAYS = {  # by day, what its folders 00, 01 and 02 come to: exit code and content hash
    "2026-11-01": [(0, "a1"), (0, "a2"), (0, "a3")],
    "2026-11-02": [(0, "b1"), (1, "b2"), (0, "b3")],
    "2026-11-03": [(0, "b3"), (0, "b3"), (0, "b3")],
    "2026-11-04": [(1, "c1"), (2, "c1"), (1, "c1")],
    "2026-11-05": [],
    "2026-11-06": [],
}
MENDED = "2026-11-02, again"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("mapped")
    shop = GatedShop(folder / "shop")
    settings = yaml.safe_load((shop.folder / "headrace.yaml").read_text())
    web = {"input": "drop/%Y-%m-%d/%H", "every": "day", "missing": "skip", "retries": 0}
    source = shop.project.source_names[0]
    settings["schedules"] = {"name": "s", "start": "2026-11-01", "sources": {source: web}}
    (shop.folder / "headrace.yaml").write_text(yaml.safe_dump(settings))
    for day, hours in DAYS.items():
        for hour, (code, content) in enumerate(hours):
            place = shop.folder / "drop" / day / f"{hour:02}"
            place.mkdir(parents=True)
            held = [HOLD] if day == "2026-11-04" else []
            said = {"code": code, "content": content, "run_id": f"{day}T{hour:02}", "held": held}
            (place / "said").write_text(json.dumps([said, {**said, "code": 0, "content": "b4"}]))
    dags = folder / "dags"
    dags.mkdir()
    for name, text in build(Project.load(shop.folder), dags).files.items():
        (dags / name).write_text(text)
    fake = f"{sys.executable} {SCRIPTS / 'folders_headrace.py'}"
    days = [*DAYS, "2026-11-02"]
    ends = [f"{day[:-2]}{int(day[-2:]) + 1:02}T00:00:00+00:00" for day in days]  # a run by hand is of the interval before
    found = in_airflow(
        "mapped", folder, str(dags), f"s.ingest.{source}", *ends, HEADRACE_COMMAND=fake, STATE=str(folder / "state")
    )  # fmt: skip
    yield dict(zip([*DAYS, MENDED], found, strict=True))


def _states(told: Json, day: str) -> dict[str, str]:
    return {name: state for name, state in told[day]["states"].items() if name in ("publish", "watcher", "gate")}


def _hashes(told: Json, day: str) -> list[str]:
    return [event["tables"]["validated.x"]["content_hash"] for event in told[day]["events"]]


def test_what_all_folders_brought_is_one_event(told: Json) -> None:
    assert told["2026-11-01"]["run"] == "success"
    assert _states(told, "2026-11-01") == {"publish": "success", "watcher": "skipped", "gate": "success"}
    assert _hashes(told, "2026-11-01") == ["a3"]


def test_what_some_folders_brought_is_told_and_the_run_is_red(told: Json) -> None:
    assert told["2026-11-02"]["run"] == "failed" and told["2026-11-02"]["states"]["ingest1"] == "failed"
    assert _states(told, "2026-11-02") == {"publish": "success", "watcher": "failed", "gate": "success"}
    assert _hashes(told, "2026-11-02") == ["a3", "b3"]
    assert told["2026-11-02"]["events"][-1]["run_ids"] == ["2026-11-02T00", "2026-11-02T02"]


def test_where_nothing_has_changed_nothing_is_told_and_the_run_is_green(told: Json) -> None:
    assert told["2026-11-03"]["run"] == "success"
    assert _states(told, "2026-11-03") == {"publish": "skipped", "watcher": "skipped", "gate": "success"}
    assert _hashes(told, "2026-11-03") == ["a3", "b3"]


def test_where_all_folders_failed_nothing_is_told_and_the_gate_is_asked(told: Json) -> None:
    assert told["2026-11-04"]["run"] == "failed"
    assert _states(told, "2026-11-04") == {"publish": "upstream_failed", "watcher": "failed", "gate": "success"}
    assert _hashes(told, "2026-11-04") == ["a3", "b3"]


def test_where_nothing_landed_what_is_held_of_the_interval_is_red(told: Json) -> None:
    assert told["2026-11-05"]["run"] == "failed"
    assert _states(told, "2026-11-05") == {"publish": "skipped", "watcher": "skipped", "gate": "failed"}


def test_where_nothing_landed_and_nothing_of_the_interval_is_held_the_run_is_green(told: Json) -> None:
    assert told["2026-11-06"]["run"] == "success"
    assert _states(told, "2026-11-06") == {"publish": "skipped", "watcher": "skipped", "gate": "success"}


def test_a_run_that_is_cleared_once_its_folder_is_mended_tells_the_rest(told: Json) -> None:
    """A task that was skipped, or had succeeded with what there was, runs again with it (astronomer/astronomer-cosmos#2698)."""
    assert told[MENDED]["run"] == "success"
    assert _states(told, MENDED) == {"publish": "success", "watcher": "skipped", "gate": "success"}
    assert _hashes(told, MENDED) == ["a3", "b3", "b4"]
    assert told[MENDED]["events"][-1]["run_ids"] == [f"2026-11-02T{hour:02}" for hour in range(3)]
