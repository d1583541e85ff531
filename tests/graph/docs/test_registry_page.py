"""The page on Avro and registries: its project and source load, and its table of keys is that of the loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contracts.spec.files.registry import RegistryFile
from contracts.spec.project import Project
from contracts.spec.registry import Registry
from tests.graph.docs.test_docs import GUIDES, REFERENCE, keys_of, table_of
from tests.support.pages import FENCE

PAGE = GUIDES / "avro-and-registries.md"


def yaml_blocks() -> list[str]:
    """Blocks of YAML on the page, without their fences."""
    text = PAGE.read_text("utf-8")
    return [part.split("```")[0] for part in text.split("```yaml\n")[1:]]


def project(folder: Path, registry: str, source: str | None = None) -> Project:
    (folder / "sources").mkdir(parents=True, exist_ok=True)
    (folder / "headrace.yaml").write_text(registry)
    if source:
        (folder / "sources" / "shop.yaml").write_text(source)
    return Project.load(folder)


def test_the_project_and_the_source_on_the_page_load(tmp_path: Path) -> None:
    registry, source, renamed = yaml_blocks()
    found = project(tmp_path / "a", registry, source)
    spec, contract = found.source("shop")
    assert (spec.wire_format, spec.format, contract.name) == ("confluent", "avro", "customer_event")
    assert found.registry is not None and found.registry.user is not None and found.registry.user.name == "REGISTRY_USER"
    again = project(tmp_path / "b", renamed).registry
    assert again is not None and again.name == "since-2026"
    assert FENCE.search(PAGE.read_text("utf-8"))


def test_the_keys_of_a_registry_on_the_page_are_those_of_the_loader() -> None:
    page = REFERENCE / "sources.md"
    assert keys_of(page, "registry") == set(RegistryFile.model_fields)
    shown = {row[0].strip("`"): row[1].strip("`") for row in table_of(page, "registry")}
    usual: dict[str, Any] = vars(Registry(url=""))
    assert (shown["name"], shown["timeout"], shown["patience"]) == (
        usual["name"],
        f"{usual['timeout_s']:.0f}s",
        f"{usual['patience_s'] / 60:.0f}m",
    )
