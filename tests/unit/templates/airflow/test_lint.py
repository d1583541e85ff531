"""Conventions for DAGs of a user's own."""

from pathlib import Path

from templates.build.airflow_lint import lint_dags

GOOD = """\
from datetime import datetime, timedelta
from airflow.sdk import DAG, task

with DAG(
    "team.export.customers",
    schedule="0 4 * * *", start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1, dagrun_timeout=timedelta(hours=2),
    tags=["export"], doc_md="What, and its runbook",
    default_args={"owner": "t", "retries": 2, "execution_timeout": timedelta(hours=1)},
):
    @task
    def export():
        import pandas
        open("x").read()
"""


def _codes(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "dag.py").write_text(text)
    return [finding.code for finding in lint_dags(tmp_path)]


def test_a_dag_that_keeps_them_has_no_findings(tmp_path: Path) -> None:
    assert _codes(tmp_path, GOOD) == []


def test_what_a_dag_does_not_say_is_named(tmp_path: Path) -> None:
    found = _codes(tmp_path, "from airflow.sdk import DAG\nwith DAG(schedule=None): pass\n")
    assert set(found) == {"dag-id", "catchup", "max-active-runs", "dagrun-timeout", "tags", "doc-md", "default-args"}


def test_defaults_of_tasks_are_looked_into(tmp_path: Path) -> None:
    found = _codes(tmp_path, GOOD.replace('"retries": 2, ', "").replace('"execution_timeout": timedelta(hours=1)', '"x": 1'))
    assert found == ["execution-timeout", "retries"]


def test_work_at_the_top_is_found_and_work_in_tasks_is_not(tmp_path: Path) -> None:
    text = (
        GOOD
        + '\nimport requests\nfrom airflow.sdk import Variable\nROWS = [requests.get(u) for u in ("a",)]\nX = Variable.get("x")\n'
    )
    text += 'Y = {}.get("y")\nZ = (lambda: open("z"))\n'
    assert _codes(tmp_path, text) == ["slow-import", "top-level-work", "top-level-work"]


def test_a_start_that_moves_is_found(tmp_path: Path) -> None:
    assert _codes(tmp_path, GOOD.replace("start_date=datetime(2026, 1, 1)", "start_date=datetime.now()")) == ["moving-start"]


def test_a_finding_is_suppressed_on_its_line_by_its_code(tmp_path: Path) -> None:
    assert _codes(tmp_path, "import pandas  # headrace: ignore[slow-import]\n") == []
    assert _codes(tmp_path, "import pandas  # headrace: ignore[top-level-work]\n") == ["slow-import"]


def test_a_decorated_dag_has_its_name_from_the_function(tmp_path: Path) -> None:
    text = GOOD.partition("\nwith DAG(")[0] + "\nfrom airflow.sdk import dag\n@dag(schedule=None)\ndef team_export(): pass\n"
    assert "dag-id" not in _codes(tmp_path, text) and "catchup" in _codes(tmp_path, text)


def test_a_file_that_is_no_python_is_a_finding(tmp_path: Path) -> None:
    assert _codes(tmp_path, "def (:\n") == ["syntax"]
