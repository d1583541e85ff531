"""Jobs as the lake has them on record, against a cluster: by which contract, source and version each works."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.spec.project import BUILT_IN_DATASETS
from lake.runs.submission import Attempt, record_ending, record_submission
from tests.support.flink_stub import A, B, StubCluster, StubJob, serving
from tests.support.shop import CONTRACT, Shop, event

AT = datetime(2026, 11, 2, tzinfo=UTC)


@pytest.fixture
def cluster() -> Iterator[StubCluster]:
    with serving(StubCluster()) as made:
        yield made


@pytest.fixture
def shop(tmp_path: Path, cluster: StubCluster) -> Shop:
    """Its one run is on record as a job that goes on, and does."""
    made = Shop(tmp_path / "shop", "datasets: [datasets]")
    shutil.copytree(BUILT_IN_DATASETS, made.folder / "datasets")
    run_id = made.ingest([event(n, 8) for n in range(5)]).run_id
    argv = ["ingest", "web", "--input=kafka://localhost:1/web"]
    record_submission(made.lake(), run_id, argv, run_id, cluster.address, Attempt(A, AT))
    cluster.jobs.append(StubJob(A, run_id))
    return made


def drift(shop: Shop, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = shop.headrace("drift", "--only", "jobs", "--json", *arguments)
    assert done.exit_code in (0, 1, 3), (done.output, done.exception)
    return done.exit_code, json.loads(done.stdout)


def told(shop: Shop) -> list[tuple[str, str]]:
    return [(one["deployed"], one["repository"]) for one in drift(shop)[1]["differences"]]


def change_contract(shop: Shop, **column: str) -> None:
    path = shop.folder / "datasets" / CONTRACT.name
    document = yaml.safe_load(path.read_text())
    document["version"] = "1.99.0"
    document["schema"][0]["properties"].append({"logicalType": "string", **column})
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def test_a_job_that_works_by_the_repository_does_not_differ(shop: Shop) -> None:
    assert told(shop) == []


def test_a_job_by_an_earlier_contract(shop: Shop) -> None:
    change_contract(shop, name="campaign")
    ((deployed, repository),) = told(shop)
    assert deployed == "works by an earlier state" and "campaign" in repository


def test_words_of_a_contract_and_who_reads_it_are_no_reason_to_start_a_job_anew(shop: Shop) -> None:
    path = shop.folder / "datasets" / CONTRACT.name
    document = yaml.safe_load(path.read_text())
    document["schema"][0]["properties"][0]["description"] = "in other words"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    with (shop.folder / "headrace.yaml").open("a") as file:
        file.write("consumers: {customer_event: [{name: analytics}]}\n")
    assert told(shop) == []


def test_a_job_of_another_version_and_by_an_earlier_source(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write_spec({**shop.spec, "filter": [{"path": "type", "in": ["bot"]}]})
    ((deployed, repository),) = told(shop)
    assert deployed == "works by an earlier state" and "filter" in repository
    monkeypatch.setattr("operations.drift.of_flink.VERSION", "9.9.9")
    assert ("headrace 0.1.0", "headrace 9.9.9") in told(shop)


def test_a_key_that_another_version_knows_is_no_change_of_the_source(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    (kept,) = (shop.folder / "lake" / "_specs" / "source" / "web").iterdir()
    document = json.loads(kept.read_text())
    dropped = next(key for key, value in document.items() if not isinstance(value, dict) and key != "dataset")
    kept.write_text(json.dumps({key: value for key, value in document.items() if key != dropped} | {"other_key": 1}))
    note = next((shop.folder / "lake" / "_runs").glob("*-web-*/started.json"))
    note.write_text(note.read_text().replace(kept.stem, "0123456789ab"))
    kept.rename(kept.with_name("0123456789ab.json"))
    assert [deployed for deployed, _ in told(shop)] == ["works by an earlier state"]
    monkeypatch.setattr("operations.drift.of_flink.VERSION", "9.9.9")
    assert told(shop) == [("headrace 0.1.0", "headrace 9.9.9")]


def test_a_source_that_cannot_be_read_is_told_of_its_job(shop: Shop) -> None:
    (shop.folder / "sources" / "web.yaml").write_text("source: web\n")
    ((_, repository),) = told(shop)
    assert "cannot be read" in repository


def test_a_run_that_was_ended_is_not_missed(shop: Shop, cluster: StubCluster) -> None:
    cluster.jobs[0].state = "CANCELED"
    ((deployed, _),) = told(shop)
    assert deployed.endswith("its job is CANCELED")
    record_ending(shop.lake(), cluster.jobs[0].name, "cancelled")
    done = shop.headrace("drift", "--only", "jobs")
    assert done.exit_code == 2 and "no run of the lake that goes on" in done.stderr


def test_another_cluster_is_named_and_one_that_fails_is_down(shop: Shop, cluster: StubCluster) -> None:
    with serving(StubCluster(jobs=[StubJob(B, "WordCount")])) as other:
        code, document = drift(shop, "--flink", other.address)
        assert (code, document["differences"]) == (0, [])
        assert f"--flink {cluster.address}" in document["not_compared"][0]["why"]
    cluster.broken = 503
    code, document = drift(shop)
    assert (code, document["differences"]) == (3, []) and document["not_compared"][0]["where"] == cluster.address
