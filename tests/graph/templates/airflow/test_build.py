"""``headrace airflow``: what is wrong in a project is told before Airflow meets it."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main

SCHEDULES = "schedules:\n  name: shop\n  start: 2026-11-01\n  sources:\n    app: {input: drop/%Y-%m-%d/%H}\n"


def _airflow(project: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["airflow", *words, "--project", str(project)])


def test_dags_that_would_find_no_lake_are_not_built(tmp_path: Path) -> None:
    (tmp_path / "headrace.yaml").write_text(SCHEDULES)
    done = _airflow(tmp_path, "build")
    assert done.exit_code == 2 and "no lake" in done.output and "lake: lake" in done.output
    assert not (tmp_path / "airflow").exists()


def test_where_no_project_is_found_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["airflow", "validate"])
    assert done.exit_code == 2 and "no headrace.yaml" in done.output and "--project DIR" in done.output


def test_a_dag_that_cannot_be_made_is_shown_with_why(tmp_path: Path) -> None:
    (tmp_path / "headrace.yaml").write_text(f"lake: lake\n{SCHEDULES}")
    shown = _airflow(tmp_path, "show")
    assert "cannot be made" in shown.output and "by hand" not in shown.output and "\\n" not in shown.output
    one = _airflow(tmp_path, "show", "shop.ingest.app")
    assert one.exit_code == 0 and "app" in one.output and "task" not in one.output
