"""``headrace drift`` on a project and its real lake: what it looks at, what it finds, and how it ends."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from pyiceberg.types import StringType

from contracts.spec.project import BUILT_IN_DATASETS
from lake.tables.iceberg import HORIZON_PROPERTY
from tests.support.shop import CONTRACT, TABLE, Shop, event

SCHEDULES = """
schedules:
  name: shop
  start: 2026-11-02
  sources:
    web: {input: "drop/%Y-%m-%d/%H"}
  drift: hour
  backfill: {}
"""

PARAMETERS = ("-p", "source=web", "-p", "input=kafka://k:9093/w e")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A project, and all that is built of it; no lake yet."""
    made = Shop(tmp_path / "shop", SCHEDULES + "datasets: [datasets]")
    shutil.copytree(BUILT_IN_DATASETS, made.folder / "datasets")
    assert made.headrace("airflow", "build").exit_code == 0
    return made


@pytest.fixture
def filled(shop: Shop) -> Shop:
    """With a lake."""
    shop.ingest([event(n, 8) for n in range(5)])
    return shop


def drift(shop: Shop, *arguments: object) -> tuple[int, dict[str, Any]]:
    done = shop.headrace("drift", "--json", *arguments)
    assert done.exit_code in (0, 1, 3), (done.output, done.exception)
    return done.exit_code, json.loads(done.stdout)


def told(shop: Shop, *arguments: object) -> list[tuple[str, str, str]]:
    code, document = drift(shop, *arguments)
    assert (code == 1) == any(not one["pending"] for one in document["differences"])
    return [(one["what"], one["deployed"], one["repository"]) for one in document["differences"]]


def test_after_a_deploy_nothing_differs_and_what_was_not_looked_at_is_told(filled: Shop) -> None:
    code, document = drift(filled)
    assert (code, document["differences"], document["verdict"]) == (0, [], {"exit_code": 0, "reasons": []})
    assert {one["kind"] for one in document["compared"]} == {"dags", "tables"}
    assert {one["kind"] for one in document["not_compared"]} == {"jobs", "topics", "registry", "templates"}
    assert filled.headrace("drift").stdout.splitlines()[-1] == "no difference"


def test_it_changes_nothing(shop: Shop) -> None:
    (shop.folder / "airflow" / "pools.json").write_text("{}")

    def files() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in shop.folder.rglob("*") if path.is_file()}

    before = files()
    assert drift(shop)[0] == 1
    assert files() == before


# --- DAGs


def test_a_schedule_that_was_changed_and_not_built(shop: Shop) -> None:
    text = (shop.folder / "headrace.yaml").read_text()
    (shop.folder / "headrace.yaml").write_text(text.replace("drift: hour", "drift: day").replace("  backfill: {}\n", ""))
    found = told(shop, "--only", "dags")
    assert ("DAG shop.drift", "schedule.cron: 0 * * * *", "schedule.cron: 0 0 * * *") in found
    assert ("DAG shop.backfill.customer_event", "there", "in no schedule") in found


@pytest.mark.parametrize("damage", ["{", "[]", '{"dags": 1}', '{"dags": [1, {}]}', ""])
def test_a_description_that_is_damaged_is_one_that_has_no_dag(shop: Shop, damage: str) -> None:
    (shop.folder / "airflow" / "dags.json").write_text(damage)
    found = told(shop, "--only", "dags")
    assert ("DAG shop.ingest.web", "not there", "in the schedules") in found and "None" not in str(found)


def test_white_space_of_a_description_is_told_as_validate_tells_it(shop: Shop) -> None:
    path = shop.folder / "airflow" / "dags.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert shop.headrace("airflow", "validate").exit_code == 1
    assert told(shop, "--only", "dags") == [("file dags.json", "written otherwise", "as it is built")]
    path.write_bytes(b"\r\n".join(json.dumps(json.loads(path.read_text()), indent=2, ensure_ascii=False).encode().splitlines()))
    assert told(shop, "--only", "dags") == [], "a checkout with other ends of lines"


def test_a_dag_folder_that_was_not_brought_up_to_date(shop: Shop, tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    assert told(shop, "--only", "dags", "--dags-folder", dags) == [("DAGs shop.*", "no dags.json has them", "4 DAGs")]
    shutil.copytree(shop.folder / "airflow", dags / "shop")
    assert told(shop, "--only", "dags", "--dags-folder", dags) == []
    document = json.loads((dags / "shop" / "dags.json").read_text())
    document["dags"] = [dag for dag in document["dags"] if dag["dag_id"] != "shop.drift"]
    (dags / "shop" / "dags.json").write_text(json.dumps(document))
    assert told(shop, "--only", "dags", "--dags-folder", dags) == [("DAG shop.drift", "not there", "in the schedules")]
    shutil.copytree(shop.folder / "airflow", dags / "copy")
    assert "2 descriptions have them: copy/dags.json, shop/dags.json" in str(told(shop, "--only", "dags", "--dags-folder", dags))


def test_a_dag_that_cannot_be_made_is_a_difference(shop: Shop) -> None:
    (shop.folder / "sources" / "web.yaml").unlink()
    assert ("DAG shop.ingest.web", "a red DAG that says why") in {one[:2] for one in told(shop, "--only", "dags")}


# --- tables


def test_a_contract_that_went_on_is_pending_until_the_next_run(filled: Shop) -> None:
    path = filled.folder / "datasets" / CONTRACT.name
    document = yaml.safe_load(path.read_text())
    document["version"] = "1.99.0"
    document["schema"][0]["properties"].append({"name": "campaign", "logicalType": "string"})
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    code, found = drift(filled, "--only", "tables")
    ((what, pending),) = [(one["what"], one["pending"]) for one in found["differences"]]
    assert (code, what, pending) == (0, f"table {TABLE}", True)
    assert "campaign" in found["differences"][0]["repository"]
    assert drift(filled, "--only", "tables", "--strict")[0] == 1
    filled.ingest([event(9, 9)])
    assert told(filled, "--only", "tables", "--strict") == []


def test_tables_that_somebody_changed(filled: Shop) -> None:
    table = filled.lake().catalog().load_table(TABLE)
    with table.update_schema() as update:
        update.delete_column("referrer") if "referrer" in table.schema().column_names else update.delete_column("user_id")
        update.add_column("note", StringType())
    with table.transaction() as transaction:
        transaction.set_properties({HORIZON_PROPERTY: "0"})
    found = told(filled, "--only", "tables")
    assert [deployed.split(" ")[0] for _, deployed, _ in found] == ["columns", "horizon-s", "no"]


def test_a_table_of_a_contract_that_is_gone(filled: Shop) -> None:
    catalog = filled.lake().catalog()
    catalog.rename_table("late.customer_event", "late.invoice")
    assert told(filled, "--only", "tables") == [("table late.invoice", "there", "no contract for it")]


def test_shards_that_the_schedule_asks_for(filled: Shop) -> None:
    text = (filled.folder / "headrace.yaml").read_text()
    (filled.folder / "headrace.yaml").write_text(text.replace('/%H"}', '/%H", options: [--num-shards, "8"]}'))
    found = told(filled, "--only", "tables")
    assert found == [(f"table {name}", "num-shards 4", "num-shards 8") for name in ("late.customer_event", TABLE)]


def test_a_source_that_cannot_be_read_is_told_and_does_not_hide_the_others(filled: Shop) -> None:
    (filled.folder / "sources" / "broken.yaml").write_text("source: [")
    found = told(filled, "--only", "tables")
    assert [(what, deployed) for what, deployed, _ in found] == [("source broken", "not compared")]


# --- jobs, topics: what needs no cluster


def test_options_of_a_schedule_that_no_run_would_take(filled: Shop) -> None:
    text = (filled.folder / "headrace.yaml").read_text()
    (filled.folder / "headrace.yaml").write_text(text.replace('/%H"}', '/%H", options: [--num-shard, "8"]}'))
    assert [(what, deployed) for what, deployed, _ in told(filled, "--only", "tables")] == [("options of web", "no run takes them")]


def test_a_cluster_that_is_down_is_told_and_so_is_all_else(shop: Shop) -> None:
    (shop.folder / "airflow" / "pools.json").unlink()
    code, document = drift(shop, "--flink", "localhost:1")
    assert code == 3
    assert [(one["kind"], one["where"]) for one in document["not_compared"] if one["down"]] == [("jobs", "localhost:1")]
    assert [one["what"] for one in document["differences"]] == ["file pools.json"]
    assert "jobs: localhost:1: Flink at localhost:1 does not answer" in document["verdict"]["reasons"][0]
    shown = shop.headrace("drift", "--flink", "localhost:1")
    assert "DOWN: jobs of localhost:1" in shown.stdout


def test_airflow_and_a_registry_that_are_down(shop: Shop) -> None:
    code, document = drift(shop, "--airflow", "http://localhost:1", "--only", "dags")
    assert code == 3 and {one["where"] for one in document["compared"]} == {str(shop.folder / "airflow")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("operations.drift.of_registry._PATIENCE_S", 0.0)
        assert drift(shop, "--registry", "http://localhost:1", "--only", "registry")[0] == 3


def test_a_catalog_that_is_down_hides_nothing_else(filled: Shop) -> None:
    (filled.folder / "airflow" / "pools.json").unlink()
    with (filled.folder / "headrace.yaml").open("a") as file:
        file.write("catalog: postgresql+psycopg://me:hunter2@localhost:1/cdp\n")
    done = filled.headrace("drift", "--json")
    document = json.loads(done.stdout)
    assert done.exit_code == 3 and "hunter2" not in done.output
    assert [one["kind"] for one in document["not_compared"] if one["down"]] == ["tables"]
    assert [one["what"] for one in document["differences"]] == ["file pools.json"]


def test_a_broker_that_is_down_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operations.drift.of_kafka._DEADLINE_S", 0.5)
    text = (shop.folder / "headrace.yaml").read_text()
    (shop.folder / "headrace.yaml").write_text(text.replace('"drop/%Y-%m-%d/%H"', '"kafka://localhost:1/web"'))
    code, document = drift(shop, "--only", "topics")
    assert code == 3 and [one["where"] for one in document["not_compared"]] == ["localhost:1"]


def test_a_record_of_a_job_that_is_damaged_is_told(filled: Shop) -> None:
    (run,) = (filled.folder / "lake" / "_runs").iterdir()
    (run / "submission.json").write_text("{")
    code, document = drift(filled)
    assert code == 3 and "damaged" in document["verdict"]["reasons"][0]
    assert {one["kind"] for one in document["compared"]} == {"dags", "tables"}


# --- templates


@pytest.fixture
def templates(shop: Shop) -> Iterator[Path]:
    from click.testing import CliRunner

    from cli.main import main

    def build(*arguments: object) -> Result:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("cli.template._engine", lambda: (None, "none"))
            return CliRunner().invoke(main, ["template", "build", *map(str, arguments)])

    out = shop.folder / "build" / "templates"
    for arguments in (
        ("ingest", "--image", "registry.example.com/headrace:1", "--bucket", "gs://acme/t"),
        ("ingest", "--for", "kubernetes", "--image", "registry.example.com/headrace:1", *PARAMETERS),
        ("deliver", "--image", "headrace:1"),
    ):  # fmt: skip
        done = build(*arguments, "--out", out)
        assert done.exit_code == 0, done.output
    yield out


def test_templates_that_were_built_now_do_not_differ(shop: Shop, templates: Path) -> None:
    code, document = drift(shop, "--only", "templates")
    assert (code, document["differences"]) == (0, [])
    assert [(one["where"], one["things"]) for one in document["compared"]] == [
        (str(templates / "deliver"), 4), (str(templates / "ingest"), 4), (str(templates / "ingest"), 6)]  # fmt: skip


def test_templates_of_an_earlier_version(shop: Shop, templates: Path) -> None:
    deploy = templates / "ingest" / "deploy.sh"
    deploy.write_text(deploy.read_text().replace("ingest-0.1.0", "ingest-0.0.9"))
    metadata = json.loads((templates / "deliver" / "metadata.json").read_text())
    metadata["parameters"].pop(0)
    (templates / "deliver" / "metadata.json").write_text(json.dumps(metadata))
    cluster = templates / "ingest" / "cluster.yaml"
    cluster.write_text(cluster.read_text().replace("replicas: 2", "replicas: 3"))
    secrets = templates / "ingest" / "secrets.yaml"
    secrets.write_text(secrets.read_text().replace("REPLACE", "hunter2"))
    found = told(shop, "--only", "templates")
    assert [what for what, _, _ in found] == ["file cluster.yaml", "file deploy.sh", "file metadata.json"]
    assert "hunter2" not in str(found)
    _, document = drift(shop, "--only", "templates")
    remedies = {one["what"]: one["remedy"] for one in document["differences"]}
    assert "-p 'input=kafka://k:9093/w e'" in remedies["file cluster.yaml"]
    assert "--bucket gs://acme/t" in remedies["file deploy.sh"]


def test_a_config_map_holds_what_the_project_has(shop: Shop, templates: Path) -> None:
    _, document = drift(shop, "--only", "templates")
    assert [one["where"] for one in document["not_compared"]] == [str(templates / "ingest" / "project.yaml")]
    manifest = templates / "ingest" / "project.yaml"
    (config,) = yaml.safe_load_all(manifest.read_text())
    source = (shop.folder / "sources" / "web.yaml").read_text()
    config["data"] = {"headrace.yaml": "lake: /data/lake\n", "web.yaml": source}
    manifest.write_text(yaml.safe_dump(config))
    assert told(shop, "--only", "templates") == []
    config["data"]["web.yaml"] = yaml.safe_dump({**yaml.safe_load(source), "missing_event_id": "other"})
    manifest.write_text(yaml.safe_dump(config))
    ((what, deployed, _),) = told(shop, "--only", "templates")
    assert (what, deployed) == ("web.yaml of ConfigMap headrace-project", "missing_event_id: other")


@pytest.mark.parametrize(
    ("file", "text"),
    [("image-spec.json", "{"), ("image-spec.json", '{"image": "headrace:latest"}'), ("submit-ingest.yaml", "a: 1")],
)
def test_a_template_that_was_not_built_so(shop: Shop, templates: Path, file: str, text: str) -> None:
    (templates / "ingest" / file).write_text(text)
    assert (f"file {file}", "not as it was built") in {one[:2] for one in told(shop, "--only", "templates")}


def test_an_installation_without_manifests_does_not_compare_them(
    shop: Shop, templates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.drift_templates.FOLDER", tmp_path / "none")
    code, document = drift(shop, "--only", "templates")
    assert (code, document["differences"]) == (0, [])
    assert [one["where"] for one in document["not_compared"]] == [str(templates / "ingest")]


# --- wrong use, and output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--templates", "nowhere"), "no template was built there"),
        (("--dags-folder", "nowhere", "--offline", "--only", "templates"), "nothing to compare"),
        (("--only", "tables"), "no lake yet"),
        (("--only", "registry"), "nothing to compare"),
        (("--only", "everything"), "everything"),
        (("--registry", "x", "--only", "registry"), "registry"),
        (("--offline", "--flink", "a:1"), "--flink: not with --offline"),
        (("--offline", "--only", "jobs"), "nothing to compare"),
        (("--lake", "nowhere"), "no lake at"),
    ],
)
def test_wrong_use(shop: Shop, arguments: tuple[str, ...], words: str) -> None:
    done = shop.headrace("drift", *arguments)
    assert done.exit_code == 2, done.output
    assert words in done.stderr


def test_offline_asks_no_component(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_AIRFLOW_URL", "http://localhost:1")
    assert drift(shop)[0] == 3
    code, document = drift(shop, "--offline")
    assert code == 0 and {one["kind"] for one in document["compared"]} == {"dags"}


def test_github_shows_it_beside_the_file(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop.folder)
    (shop.folder / "airflow" / "pools.json").unlink()
    (line,) = shop.headrace("drift", "--offline", "--format", "github").stdout.splitlines()
    assert line.startswith("::error file=headrace.yaml,line=1,title=drift-dags::file pools.json of ")
    assert f"headrace airflow build --project {shop.folder}" in line


def test_commands_that_mend_it_mend_it(shop: Shop) -> None:
    (shop.folder / "airflow" / "dags.json").unlink()
    assert "headrace airflow build" in drift(shop, "--only", "dags")[1]["differences"][0]["remedy"]
    assert shop.headrace("airflow", "build").exit_code == 0
    assert told(shop, "--only", "dags") == []
