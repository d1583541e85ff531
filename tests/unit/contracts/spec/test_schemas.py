"""JSON Schemas of files: editors take what is loaded, and mark what is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from contracts.spec.files.schemas import MODELS, file_schema
from contracts.spec.project import BUILT_IN_DATASETS, BUILT_IN_DESTINATIONS
from tests.support.spec_reference import PAGES, with_tables

ROOT = Path(__file__).parents[4]
WEBSHOP = ROOT / "examples" / "webshop"
FILES = {
    "source": sorted((WEBSHOP / "sources").glob("*.yaml")),
    "contract": sorted(BUILT_IN_DATASETS.glob("*.yaml")),
    "destination": [*sorted((WEBSHOP / "destinations").glob("*.yaml")), *sorted(BUILT_IN_DESTINATIONS.glob("*.yaml"))],
    "project": [WEBSHOP / "headrace.yaml"],
}


def loaded(path: Path) -> Any:
    """A file as editors see it: dates are texts there."""
    return json.loads(json.dumps(yaml.safe_load(path.read_text("utf-8")), default=str))


def problems(kind: str, document: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(file_schema(kind))
    return [error.message for error in validator.iter_errors(document)]


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from nodes(part)


@pytest.mark.parametrize("kind", MODELS)
def test_a_schema_is_one_and_is_for_people(kind: str) -> None:
    schema = file_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    told = [node["description"] for node in nodes(schema) if isinstance(node.get("description"), str)]
    assert told and not any("](" in text for text in told)
    json.dumps(schema)


@pytest.mark.parametrize("kind", MODELS)
def test_no_key_offers_null(kind: str) -> None:
    """Completion of yaml-language-server offered nothing else then: redhat-developer/yaml-language-server#684."""
    assert not any(node.get("type") == "null" for node in nodes(file_schema(kind)))


@pytest.mark.parametrize(("kind", "path"), [(kind, path) for kind, paths in FILES.items() for path in paths], ids=str)
def test_files_that_are_used_fit_their_schema(kind: str, path: Path) -> None:
    assert problems(kind, loaded(path)) == []


CUSTOM = {"apiVersion": "v3.1.0", "kind": "DataContract", "name": "x", "version": "1.0.0", "schema": []}


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        ("source", {"source": "a", "dataset": "b", "format": "xml", "columns": {"a": "b"}}),
        ("source", {"source": "a", "dataset": "b", "format": "csv", "columns": {"a": "b"}, "sauce": 1}),
        ("source", {"source": "a", "dataset": "b", "format": "csv", "columns": {"a": "b"}, "revision": 0}),
        ("source", {"source": "a", "dataset": "b", "format": "csv"}),
        ("project", {"lakes": "x"}),
        ("project", {"consumers": {"order": ["reports"]}}),
        ("suppressions", {"dataset": "a", "column": "b", "sha256": ["ada@example.com"]}),
        ("recipe", {"recipe": "a", "steps": [{"remove": {"path": "b"}}]}),
        ("contract", {**CUSTOM, "customProperties": [{"property": "kind", "value": "fact"}]}),
        ("contract", {**CUSTOM, "customProperties": [{"property": "colour", "value": "red"}]}),
        ("contract", {**CUSTOM, "customProperties": {"kind": "event"}}),
    ],
)
def test_what_is_refused_is_marked(kind: str, document: dict[str, Any]) -> None:
    """Custom properties are a list of pairs: open-metadata/OpenMetadata#33761 had them as a mapping."""
    assert problems(kind, document)


@pytest.mark.parametrize("page", ["sources.md", "destinations.md", "contracts.md", "recipes.md"])
def test_the_tables_of_keys_are_made_from_the_models(page: str) -> None:
    """``python -m tests.support.spec_reference`` writes them."""
    text = (PAGES / page).read_text("utf-8")
    assert with_tables(text) == text and "<!-- table: " in text
