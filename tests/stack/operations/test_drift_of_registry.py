"""``headrace drift`` against a real schema registry: subjects of datasets that only this test has."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import httpx
import pytest
import yaml

from contracts.spec.project import BUILT_IN_DATASETS
from tests.support.shop import WEB, Shop
from tests.support.wire import client

NAMES = [f"drifted_{secrets.token_hex(4)}" for _ in range(2)]
SUBJECTS = [f"headrace.validated.{name}-value" for name in NAMES]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path / "shop", "datasets: [datasets]")
    (made.folder / "datasets").mkdir()
    contract = (BUILT_IN_DATASETS / "customer_event.v1.yaml").read_text("utf-8")
    for name in NAMES:
        (made.folder / "datasets" / f"{name}.v1.yaml").write_text(contract.replace("customer_event", name))
        (made.folder / "sources" / f"{name}.yaml").write_text(yaml.safe_dump({**WEB, "source": name, "dataset": name}))
    (made.folder / "sources" / "web.yaml").unlink()
    return made


def test_what_becomes_of_subjects(shop: Shop, registry_url: str) -> None:
    def told() -> list[tuple[str, str]]:
        done = shop.headrace("drift", "--only", "registry", "--registry", registry_url, "--json")
        assert done.exit_code in (0, 1), (done.output, done.exception)
        return [(one["what"], one["deployed"]) for one in json.loads(done.stdout)["differences"]]

    def register(name: str) -> None:
        done = shop.headrace("contract", "register", name, "--registry", registry_url)
        assert done.exit_code == 0, done.output

    assert told() == [], "registering is a choice"
    register(NAMES[0])
    assert told() == [(f"subject {SUBJECTS[1]}", "not there")]
    register(NAMES[1])
    assert told() == []
    registry = client(registry_url)
    registry.set_compatibility(SUBJECTS[0], "NONE")
    assert told() == [(f"subject {SUBJECTS[0]}", "held to NONE")]
    (version,) = registry.versions(SUBJECTS[0])
    schema = json.loads(version.schema.schema)
    schema["fields"].append({"name": "stranger", "type": ["null", "string"], "default": None})
    registry.register(SUBJECTS[0], json.dumps(schema), "AVRO")
    assert {deployed for _, deployed in told()} == {"held to NONE", "registry version 2 is another schema"}
    registry.close()
    httpx.delete(f"{registry_url}/subjects/{SUBJECTS[0]}").raise_for_status()
    assert [what for what, _ in told()] == [f"subject {SUBJECTS[0]}"]
    register(NAMES[0])  # the command that it names
    assert told() == []
