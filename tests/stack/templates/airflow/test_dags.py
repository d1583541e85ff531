"""DAGs of a project as Airflow's processor and scheduler see them: all kinds, the conventions, what is broken."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.main import main
from templates.airflow.description import STATE, state_of
from templates.build.dags.conventions import RUNBOOKS
from tests.support.airflow import ROOT, Json, in_airflow

SCHEDULES = """
lake: lake
schedules:
  name: shop
  start: 2026-11-01
  runbooks: https://example.com/runbooks
  reports: reports
  reports_url: https://example.com/reports
  sources:
    web: {input: drop/web/%Y-%m-%d/%H}
    orders: {input: drop/orders/%Y-%m-%d, partition: day, every: day, wait: 30m, missing: skip}
    crm: {input: drop/crm, every: 15 4 * * *}
  streams:
    mobile: {input: "kafka://localhost:29092/mobile-events", workers: 2}
  destinations:
    cdp: {reconcile: day}
  upkeep: {}
  checks: "*/15 * * * *"
  drift: day
  backfill: {hours: "20:00-06:00"}
"""
DOCS = ROOT / "docs"
IMPORT_LIMIT_S = 1.0


def _project(folder: Path) -> Path:
    for part in ("sources", "destinations"):
        shutil.copytree(ROOT / "examples" / "webshop" / part, folder / part)
    (folder / "headrace.yaml").write_text(SCHEDULES)
    return folder


def _built(folder: Path, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["airflow", "build", "--project", str(folder), "--json"])
    assert done.exit_code == code, done.output
    return str(folder / "airflow")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A project that is right; one whose source was deleted since; one with a broken source; one whose description is damaged."""
    home = tmp_path_factory.mktemp("projects")
    found = {name: _built(_project(home / name)) for name in ("right", "deleted", "damaged", "newer")}
    (home / "deleted" / "sources" / "web.yaml").unlink()
    (home / "damaged" / "airflow" / "dags.json").write_text("{")
    document = json.loads((home / "newer" / "airflow" / "dags.json").read_text())
    (home / "newer" / "airflow" / "dags.json").write_text(json.dumps({**document, "format": 2}))
    broken = _project(home / "broken")
    (broken / "sources" / "web.yaml").write_text("source: web\n")
    return {**found, "broken": _built(broken, code=1)}


@pytest.fixture(scope="module")
def bags(folders: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    found = in_airflow("bag", tmp_path_factory.mktemp("airflow"), *folders.values())
    yield {name: found[folder] for name, folder in folders.items()}


def test_every_kind_of_dag_is_made(bags: Json) -> None:
    bag = bags["right"]
    assert bag["errors"] == {}
    assert set(bag["dags"]) == {
        "shop.ingest.web", "shop.ingest.orders", "shop.ingest.crm", "shop.deploy.mobile", "shop.upgrade.mobile", "shop.deliver.cdp",
        "shop.reconcile.cdp", "shop.upkeep", "shop.checks", "shop.drift", "shop.backfill.customer_event", "shop.backfill.order",
        "shop.backfill.contact", "shop.rollback.customer_event", "shop.rollback.order", "shop.rollback.contact",
    }  # fmt: skip
    assert not any("broken" in dag["tags"] for dag in bag["dags"].values())


def test_all_dags_keep_the_conventions(bags: Json) -> None:
    for name, dag in bags["right"]["dags"].items():
        assert name.startswith("shop.") and {"headrace", "shop", name.split(".")[1]} <= set(dag["tags"]), name
        assert dag["max_active_runs"] == 1 and dag["dagrun_timeout_s"] > 0, name
        assert dag["catchup"] is name.startswith("shop.ingest."), name
        page = RUNBOOKS[name.split(".")[1]]
        assert f"https://example.com/runbooks/{page}.html" in dag["doc_md"], name
        assert (DOCS / "runbooks" / f"{page}.md").is_file(), name
        assert "\n\nOwner: " in dag["doc_md"] and "\n\nRunbook: " in dag["doc_md"], name  # else one line in Airflow's page
        for task in dag["tasks"].values():
            assert task["owner"] != "airflow" and task["backoff"] and task["delay_s"] == 60, (name, task)
            assert task["timeout_s"] or task["class"] == "ApproveOperator", (name, task)


def test_a_dag_says_of_which_description_it_was_made(bags: Json, folders: dict[str, str]) -> None:
    described = json.loads((Path(folders["right"]) / "dags.json").read_text())["dags"]
    states = {dag["dag_id"]: f"{STATE}{state_of(dag)}" for dag in described}
    assert {name: dag["doc_md"].splitlines()[-1] for name, dag in bags["right"]["dags"].items()} == states
    assert len(set(states.values())) == len(states)


def test_a_graph_says_what_its_tasks_run_and_what_is_for_failures(bags: Json) -> None:
    dags = bags["right"]["dags"]
    shown = {name: task["shown"] for name, task in dags["shop.backfill.order"]["tasks"].items()}
    assert (shown["run"], shown["diff"], shown["plan"]) == ("headrace replay run", "headrace replay diff", "PlanOperator")
    assert dags["shop.upkeep"]["tasks"]["compact"]["shown"] == "headrace lake compact"
    assert dags["shop.upgrade.mobile"]["labels"] == {"moves take_back": "where one failed"}


def test_owners_come_from_contracts(bags: Json) -> None:
    dag = bags["right"]["dags"]["shop.ingest.web"]
    assert dag["owner_links"] == {"Customer data": "mailto:customer-data@example.com"}
    assert {task["owner"] for task in dag["tasks"].values()} == {"Customer data"}


def test_a_partition_is_a_mapped_task_and_links_are_there(bags: Json) -> None:
    tasks = bags["right"]["dags"]["shop.ingest.web"]["tasks"]
    assert tasks["ingest"]["mapped"] and tasks["ingest"]["after"] == ["partitions"] and tasks["publish"]["after"] == ["ingest"]
    assert {"Report", "Flink job", "Runbook"} <= set(tasks["ingest"]["links"])


def test_a_backfill_can_be_asked_for_and_never_starts_by_itself(bags: Json) -> None:
    dag = bags["right"]["dags"]["shop.backfill.order"]
    assert dag["periodic"] and not dag["starts_by_itself"]
    assert {task["pool"] for task in dag["tasks"].values()} == {"shop.backfill"}
    assert bags["right"]["dags"]["shop.ingest.web"]["starts_by_itself"]


def test_reading_all_dags_costs_less_than_a_second(bags: Json) -> None:
    assert bags["right"]["seconds"] < IMPORT_LIMIT_S


@pytest.mark.parametrize("kind", ["deleted", "broken"])
def test_a_source_that_is_gone_or_wrong_is_one_red_dag_and_the_others_run(bags: Json, kind: str) -> None:
    bag = bags[kind]
    assert bag["errors"] == {}
    red = {name for name, dag in bag["dags"].items() if "broken" in dag["tags"]}
    assert red == {"shop.ingest.web"}
    assert list(bag["dags"]["shop.ingest.web"]["tasks"]) == ["broken"]
    assert "web.yaml" in bag["dags"]["shop.ingest.web"]["doc_md"]
    assert set(bag["dags"]) == set(bags["right"]["dags"])


@pytest.mark.parametrize(("kind", "told"), [("damaged", "cannot be read"), ("newer", "format 2, this version reads 1")])
def test_a_description_that_cannot_be_read_is_a_red_dag_that_says_so(bags: Json, kind: str, told: str) -> None:
    (name,) = bags[kind]["dags"]
    assert name == f"headrace.{kind}" and told in bags[kind]["dags"][name]["doc_md"]
