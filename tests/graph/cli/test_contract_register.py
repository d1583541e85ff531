"""``headrace contract register``: what the registry gets, what it is held to, and what is told where it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import fastavro
import pytest
import yaml
from click.testing import CliRunner, Result

from cli.main import main
from contracts.spec.project import BUILT_IN_DATASETS
from tests.support.processes import PROJECT
from tests.support.schema_registry import SchemaRegistry, schema_registry

SUBJECT = "headrace.validated.customer_event-value"


@pytest.fixture
def server() -> Iterator[SchemaRegistry]:
    with schema_registry() as found:
        yield found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a contract of its own under the name of a shipped one."""
    (tmp_path / "datasets").mkdir()
    text = (BUILT_IN_DATASETS / "customer_event.v1.yaml").read_text("utf-8")
    (tmp_path / "datasets" / "customer_event.v1.yaml").write_text(text)
    (tmp_path / "headrace.yaml").write_text("datasets: [datasets]\n")
    return tmp_path


def register(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["contract", "register", *map(str, arguments)])


def required(project: Path, column: str) -> None:
    """Make a column required that was not: rows that were written before lack it."""
    path = project / "datasets" / "customer_event.v1.yaml"
    document = yaml.safe_load(path.read_text("utf-8"))
    (found,) = [entry for entry in document["schema"][0]["properties"] if entry["name"] == column]
    found["required"] = True
    path.write_text(yaml.safe_dump(document))


def test_a_contract_is_registered_as_avro_and_its_subject_held_to_its_mode(server: SchemaRegistry, project: Path) -> None:
    done = register("customer_event", "--registry", server.url, "--project", project)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"subject {SUBJECT}: schema id 1, version 1, held to BACKWARD_TRANSITIVE\n"
    assert server.modes == {SUBJECT: "BACKWARD_TRANSITIVE"}
    assert fastavro.parse_schema(json.loads(server.schemas[1]["schema"]))["name"] == "headrace.customer_event"
    again = register("customer_event", "--registry", server.url, "--project", project, "--json")
    assert json.loads(again.stdout)["schema_id"] == 1 and len(server.subjects[SUBJECT]) == 1


def test_a_dry_run_changes_nothing(server: SchemaRegistry, project: Path) -> None:
    done = register("customer_event", "--registry", server.url, "--project", project, "--dry-run")
    assert done.exit_code == 0 and done.stdout.endswith("would be taken, held to BACKWARD_TRANSITIVE\n")
    assert (server.subjects, server.modes) == ({}, {})


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
def test_a_refusal_is_told_with_the_reasons_of_the_registry(server: SchemaRegistry, project: Path, dry: tuple[str, ...]) -> None:
    register("customer_event", "--registry", server.url, "--project", project)
    required(project, "user_agent")
    done = register("customer_event", "--registry", server.url, "--project", project, *dry)
    assert done.exit_code == 1
    assert "the registry does not take this as the next version" in done.stderr and "user_agent" in done.stderr
    assert server.subjects[SUBJECT] == [1]


def test_a_source_is_registered_as_json_schema_of_its_payloads(server: SchemaRegistry) -> None:
    done = register("web", "--format", "jsonschema", "--registry", server.url, "--project", PROJECT, "--subject", "web-value")
    assert done.exit_code == 0, done.output
    assert list(server.subjects) == ["web-value"] and server.schemas[1]["schemaType"] == "JSON"


def test_a_subject_of_another_mode_or_of_nearly_the_same_name_is_told(server: SchemaRegistry, project: Path) -> None:
    server.put(SUBJECT.upper(), {"type": "record", "name": "X", "fields": []})
    register("customer_event", "--registry", server.url, "--project", project)
    server.modes[SUBJECT] = "NONE"
    done = register("customer_event", "--registry", server.url, "--project", project)
    assert f"there is a subject {SUBJECT.upper()} too" in done.stderr.replace("\n", " ")
    assert "was held to NONE" in done.stderr and server.modes[SUBJECT] == "BACKWARD_TRANSITIVE"


def test_a_registry_that_stumbles_is_asked_again_and_one_that_is_down_is_exit_3(
    server: SchemaRegistry, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.contract_register._PATIENCE_S", 5.0)
    server.script = [500, 429, 503]
    assert register("customer_event", "--registry", server.url, "--project", project).exit_code == 0
    monkeypatch.setattr("cli.contract_register._PATIENCE_S", 0.0)
    server.down = True
    done = register("customer_event", "--registry", server.url, "--project", project)
    assert done.exit_code == 3 and server.url in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("customer_event",), "no registry: give --registry URL"),
        (("customer_event", "--registry", "http://me:secret@x"), "--registry: not a URL"),
        (("customer_evnt", "--registry", "http://127.0.0.1:1"), "no dataset 'customer_evnt'"),
    ],
)
def test_wrong_use_is_told(arguments: tuple[str, ...], told: str, project: Path) -> None:
    done = register(*arguments, "--project", project)
    assert done.exit_code == 2 and told in done.stderr.replace("\n", " ") and "secret" not in done.stderr


def test_the_credentials_of_the_project_go_to_its_registry_only(
    server: SchemaRegistry, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_TOKEN", "t0ken")
    server.login = "Bearer t0ken"
    credentials = "credentials: {token: env:REGISTRY_TOKEN}"
    (project / "headrace.yaml").write_text(f"datasets: [datasets]\nregistry: {{url: '{server.url}', {credentials}}}\n")
    assert register("customer_event", "--project", project).exit_code == 0
    (project / "headrace.yaml").write_text(f"datasets: [datasets]\nregistry: {{url: 'https://elsewhere', {credentials}}}\n")
    done = register("customer_event", "--registry", server.url, "--project", project)
    assert done.exit_code == 2 and "refuses who asks" in done.stderr
