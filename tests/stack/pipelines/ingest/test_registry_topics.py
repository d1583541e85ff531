"""Messages that name a schema of a real registry: three versions, Avro and JSON, as one table; and again without the registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from cli.main import main
from contracts.registry.answers import IncompatibleError, MissingError
from contracts.spec.project import BUILT_IN_DATASETS
from devstack.stack import Stack
from lake.location import Lake
from tests.support import wire
from tests.support.kafka import Broker, Record
from tests.support.lake_state import claimed, content_hash, scan

TABLE = "validated.customer_event"
NOWHERE = "http://127.0.0.1:1"
EVENTS = 60


@pytest.fixture
def broker(stack: Stack) -> Broker:
    return Broker(stack.kafka_bootstrap)


def headrace(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def ingest(uri: str, lake: Path, project: Path, *options: object) -> Result:
    return headrace(
        "ingest", "shop", "--input", uri, "--until", "now", "--lake", lake, "--project", project, "--max-rejected", "100%",
        "--commit-every", "1s", "--late-panes", "1s", "--allowed-lateness", "30d", "--json", *options,
    )  # fmt: skip


def ledger(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.output
    entry: dict[str, Any] = json.loads(done.stdout)["ledger"]["shop"]
    assert entry["pending"] == 0
    return entry


def content(lake: Path) -> str:
    rows = scan(Lake.at(str(lake)), TABLE)
    assert claimed(Lake.at(str(lake)), TABLE) == (len(rows), content_hash(rows))
    return content_hash(rows)


def replayed(lake: Path, project: Path, name: str) -> str:
    """The content hash after a replay of everything."""
    done = headrace(
        "replay", "run", name, "--dataset", "customer_event", "--source", "shop", "--start", "2025-06-01T00:00:00Z", "--end",
        "2025-06-02T00:00:00Z", "--approved-by", "tests", "--reason", "long ago", "--lake", lake, "--project", project, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["rows"] == EVENTS
    done = headrace("replay", "promote", name, "--lake", lake, "--project", project)
    assert done.exit_code == 0, done.output
    return content(lake)


def test_three_versions_in_two_formats_are_one_table_and_stay_it_without_the_registry(
    broker: Broker, registry_url: str, tmp_path: Path
) -> None:
    shop = wire.project(tmp_path / "shop", registry_url)
    away = wire.project(tmp_path / "away", NOWHERE)
    found = wire.events(EVENTS)
    with broker.topic(2, prefix="mixed") as mixed, broker.topic(2, prefix="newest") as newest:
        ids, plain = wire.register(registry_url, mixed)
        assert wire.register(registry_url, newest)[0] == ids  # one content, one id
        broker.send(mixed, wire.mixed(found, ids, plain))
        broker.send(newest, wire.newest(found, ids))
        bad = [Record(wire.framed(2_000_000, b"x"), partition=0), Record(b"\7none", partition=0), Record(b"\0\0", partition=1)]
        broker.send(mixed, bad)
        assert ledger(ingest(broker.uri(newest), tmp_path / "b", shop))["out"] == EVENTS
        entry = ledger(ingest(broker.uri(mixed), tmp_path / "a", shop))
        assert (entry["out"], entry["codes"]) == (EVENTS, {"malformed": 2, "unknown_schema_version": 1})
        expected = content(tmp_path / "b")
        assert content(tmp_path / "a") == expected
        assert replayed(tmp_path / "a", away, "again") == expected
        broker.send(mixed, wire.mixed(found, ids, plain))  # with what the lake has, the registry is not needed to go on either
        assert ledger(ingest(broker.uri(mixed), tmp_path / "a", away))["duplicate"] == EVENTS
        assert content(tmp_path / "a") == expected
        check = headrace("lake", "check", "--lake", tmp_path / "a", "--project", shop, "--verify")
        assert check.exit_code == 0, check.output


def test_a_run_that_needs_a_registry_that_is_down_rejects_nothing_and_may_be_run_again(
    broker: Broker, registry_url: str, tmp_path: Path
) -> None:
    away, shop = wire.project(tmp_path / "away", NOWHERE), wire.project(tmp_path / "shop", registry_url)
    with broker.topic(2) as topic:
        ids, plain = wire.register(registry_url, topic)
        broker.send(topic, wire.mixed(wire.events(8), ids, plain))
        done = ingest(broker.uri(topic), tmp_path / "lake", away)
        assert done.exit_code == 3, done.output
        assert done.stderr.splitlines()[-1] == f"headrace: registry {NOWHERE}: cannot be reached"
        entry = ledger(ingest(broker.uri(topic), tmp_path / "lake", shop))
        assert (entry["records_in"], entry["out"]) == (8, 8)


def test_the_registry_rejects_what_is_incompatible_and_finds_schemas_by_its_own_numbers(registry_url: str) -> None:
    asked = wire.client(registry_url)
    ids, _ = wire.register(registry_url, "laws")
    wider = {**wire.VERSIONS[2], "fields": [*wire.VERSIONS[2]["fields"], {"name": "must", "type": "string"}]}
    assert asked.misfits("laws-value", json.dumps(wider), "AVRO", "BACKWARD_TRANSITIVE")
    with pytest.raises(IncompatibleError, match="must"):
        asked.register("laws-value", json.dumps(wider), "AVRO")
    assert asked.misfits("laws-value", json.dumps(wire.VERSIONS[2]), "AVRO", "BACKWARD_TRANSITIVE") == []
    assert [one.number for one in asked.versions("laws-value")] == [1, 2, 3]
    assert asked.compatibility("laws-value") == "BACKWARD_TRANSITIVE"
    assert asked.versions("nothing-value") == [] and asked.compatibility("nothing-value") is None
    assert asked.subjects_of(f"id-{ids[1]}")["laws-value"] == 2
    assert asked.schema("global-1").type in ("AVRO", "JSON")
    for key in ("id-2000000", "global-2000000", "guid-550e8400-e29b-41d4-a716-446655440000"):
        with pytest.raises(MissingError):
            asked.schema(key)


def test_a_contract_is_registered_and_a_change_that_breaks_it_is_refused_in_words(registry_url: str, tmp_path: Path) -> None:
    subject = f"{tmp_path.name}-value"
    (tmp_path / "datasets").mkdir()
    text = (BUILT_IN_DATASETS / "customer_event.v1.yaml").read_text("utf-8")
    contract = tmp_path / "datasets" / "customer_event.v1.yaml"
    contract.write_text(text)
    (tmp_path / "headrace.yaml").write_text("datasets: [datasets]\n")
    command = ("contract", "register", "customer_event", "--registry", registry_url, "--subject", subject, "--project", tmp_path)
    done = headrace(*command)
    assert done.exit_code == 0 and "version 1, held to BACKWARD_TRANSITIVE" in done.stdout, done.output
    document = yaml.safe_load(text)
    (column,) = [entry for entry in document["schema"][0]["properties"] if entry["name"] == "user_agent"]
    column["required"] = True
    contract.write_text(yaml.safe_dump(document))
    for more in (("--dry-run",), ()):
        done = headrace(*command, *more)
        assert done.exit_code == 1 and "the registry does not take this" in done.stderr, done.output
        assert "does not say why" not in done.stderr
