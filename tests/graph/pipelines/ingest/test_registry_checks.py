"""What is told of a registry before a topic is read: that there is none, or that it would never answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from tests.support import wire
from tests.support.schema_registry import schema_registry
from transforms.kafka.connection import KafkaCluster

NOBODY = "kafka://localhost:1/t"


def ingest(project: Path, lake: Path) -> Result:
    command = ("ingest", "shop", "--input", NOBODY, "--until", "now", "--lake", str(lake), "--project", str(project))
    return CliRunner().invoke(main, command)


def test_a_source_with_a_wire_format_needs_a_registry(tmp_path: Path) -> None:
    project = wire.project(tmp_path / "shop", "http://127.0.0.1:1")
    (project / "headrace.yaml").write_text("files: private\n")
    done = ingest(project, tmp_path / "lake")
    assert done.exit_code == 2 and "wire_format needs a registry" in done.stderr.replace("\n", " ")
    assert not (tmp_path / "lake").exists()


def test_a_registry_that_refuses_who_asks_or_is_none_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    with schema_registry() as server:
        server.login = "Bearer t0ken"
        done = ingest(wire.project(tmp_path / "shop", server.url), tmp_path / "lake")
        assert done.exit_code == 2 and "refuses who asks (401)" in done.stderr.replace("\n", " ")
        server.login = None
        done = ingest(wire.project(tmp_path / "shop", f"{server.url}/elsewhere"), tmp_path / "lake")
        assert done.exit_code == 2 and "is the path right?" in done.stderr.replace("\n", " ")
    assert not (tmp_path / "lake").exists()


def test_a_registry_that_is_down_ends_nothing_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KafkaCluster.__init__.__kwdefaults__, "deadline_s", 0.1)
    done = ingest(wire.project(tmp_path / "shop", "http://127.0.0.1:1"), tmp_path / "lake")
    assert done.exit_code == 3 and "Kafka localhost:1" in done.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("records: batch", "messages that name a schema hold one record each"),
        ("format: csv", "messages that name a schema hold one record each"),
        ("wire_format: glue", "expected confluent"),
        ("schema_version: {registry: true, accepted: [1]}\nwire_format:", "registry needs wire_format: confluent"),
    ],
)
def test_a_wire_format_that_does_not_fit_its_source_is_told(line: str, told: str, tmp_path: Path) -> None:
    project = wire.project(tmp_path / "shop", "http://127.0.0.1:1")
    path = project / "sources" / "shop.yaml"
    keys = {text.partition(":")[0] for text in line.split("\n")}
    kept = [text for text in path.read_text().splitlines() if text.partition(":")[0] not in keys]
    path.write_text("\n".join([*kept, line]) + "\n")
    done = ingest(project, tmp_path / "lake")
    assert done.exit_code == 2 and told in " ".join(done.stderr.split())
