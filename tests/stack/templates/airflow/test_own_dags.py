"""DAGs of a user's own, as examples/webshop/dags has them: they keep the conventions, and run on events of their asset."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.main import main
from tests.support.airflow import Json, in_airflow
from tests.support.pages import DOCS, blocks_of
from tests.support.shop import TABLE, WEBSHOP, Shop, event

DAGS = WEBSHOP / "dags"
NIGHT, MORNING = ({"start": f"2026-11-02T{hour:02}:00:00Z", "end": f"2026-11-02T{hour + 3:02}:00:00Z"} for hour in (0, 9))


def _told(span: Json, *run_ids: str, content_hash: str) -> dict[str, Any]:
    return {**span, "run_ids": list(run_ids), "tables": {TABLE: {"rows": 1, "content_hash": content_hash}}}


def _run(home: Path, project: Path, dag_id: str, events: Sequence[Json] = (), passed: str = "") -> Any:
    given = {"HEADRACE_AIRFLOW_PROJECT": str(project), "WEBSHOP_PYTHON": sys.executable, "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS)}
    home.mkdir()
    return in_airflow("own_dag", home, str(DAGS), dag_id, json.dumps(events), "2026-11-02T00:00:00+00:00", passed, **given)


def test_the_guide_shows_them_as_they_are() -> None:
    shown = [block.text for block in blocks_of(DOCS / "guides" / "airflow.md") if block.language == "python"]
    assert len(shown) == 2 and all(any(text in path.read_text() for path in DAGS.glob("*.py")) for text in shown)


def test_they_keep_the_conventions() -> None:
    done = CliRunner().invoke(main, ["airflow", "validate", "--project", str(WEBSHOP), "--dags", str(DAGS), "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["findings"] == []


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Two days of page views, of which the first has a visitor more; and an event that is none."""
    made = Shop(tmp_path_factory.mktemp("shop") / "project")
    lines = [event(number, hour, anonymousId=f"a-{number % 3}") for number, hour in enumerate((0, 1, 9, 10, 11))]
    lines += [line.replace("2026-11-02", "2026-11-01").replace("m-", "n-") for line in lines]
    made.ingest([*lines, event(9, 10, type="track", event="Signed Up"), event(8, 23, anonymousId="b").replace("11-02", "11-01")])
    return made


def test_a_dag_on_a_dataset_counts_the_days_of_all_events_anew(shop: Shop, tmp_path: Path) -> None:
    events = [_told(NIGHT, "run-1", content_hash="1f"), _told(MORNING, "run-2", "run-3", content_hash="2f")]
    done = _run(tmp_path / "airflow", shop.folder, "webshop.page_views", events)
    assert done["states"] == {"changed": "success", "count": "success"}
    assert done["returned"]["changed"]["end"] == MORNING["end"], "an event that came while the run was awaited is lost"
    days = {path.name: json.loads(path.read_text()) for path in (shop.folder / "summaries" / "page_views").iterdir()}
    assert {day: (told["page_views"], told["visitors"]) for day, told in days.items()} == {
        "2026-11-01.json": (6, 4), "2026-11-02.json": (5, 3),
    }  # fmt: skip
    assert days["2026-11-02.json"]["run_ids"] == ["run-1", "run-2", "run-3"] and days["2026-11-02.json"]["content_hash"] == "2f"


@pytest.mark.long
def test_a_dag_of_commands_judges_its_interval(shop: Shop, tmp_path: Path) -> None:
    """The stream that it waits for first is no part of this: test_operators.py has the sensor."""
    done = _run(tmp_path / "airflow", shop.folder, "webshop.morning", passed="fresh")
    assert done["states"] == {"fresh": "success", "judge": "success"}, done
