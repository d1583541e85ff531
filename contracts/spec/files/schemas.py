"""JSON Schema (2020-12) of each kind of file, for editors: completion, descriptions and errors as one types."""

from __future__ import annotations

import re
from typing import Any

from open_data_contract_standard.model import OpenDataContractStandard
from pydantic import BaseModel

from contracts.spec.files.contract import ColumnProperties, ContractProperties
from contracts.spec.files.destination import DestinationFile
from contracts.spec.files.project import ProjectFile
from contracts.spec.files.quality import ENGINE, CustomItem, LibraryItem, SqlItem
from contracts.spec.files.quality_rules import RULES
from contracts.spec.files.source import SourceFile
from contracts.spec.files.suppressions import SuppressionsFile

MODELS: dict[str, type[BaseModel]] = {
    "source": SourceFile,
    "contract": OpenDataContractStandard,
    "destination": DestinationFile,
    "project": ProjectFile,
    "suppressions": SuppressionsFile,
}
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")


def file_schema(kind: str) -> dict[str, Any]:
    """The schema of a kind of file; see ``MODELS``."""
    schema = MODELS[kind].model_json_schema(by_alias=True)
    if kind == "contract":
        _with_custom_properties(schema)
    out: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"Headrace {kind}", **_plain(schema)}
    out["title"] = f"Headrace {kind}"
    return out


def _with_custom_properties(schema: dict[str, Any]) -> None:
    """ODCS leaves the values of custom properties open; ours are known, those of others are left as they are."""
    for place, model in ((schema, ContractProperties), (schema["$defs"]["SchemaProperty"], ColumnProperties)):
        ours = model.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")
        schema["$defs"].update(ours.pop("$defs", {}))
        known = [
            {
                "if": {"properties": {"property": {"const": name}}, "required": ["property"]},
                "then": {"properties": {"value": value}, "description": value.get("description", "")},
            }
            for name, value in ours["properties"].items()
        ]
        item = {
            "type": "object",
            "required": ["property", "value"],
            "properties": {"property": {"enum": list(ours["properties"])}, "value": {}},
            "allOf": known,
        }
        place["properties"]["customProperties"] = {"type": "array", "items": item, "description": model.__doc__}
    schema["$defs"]["DataQuality"] = _quality_item(schema["$defs"])
    schema["required"] = ["apiVersion", "kind", "name", "version", "schema"]


def _quality_item(definitions: dict[str, Any]) -> dict[str, Any]:
    """An item of ``quality``: ODCS leaves most of it open; ours are known, others are left as they are."""
    ours: dict[str, dict[str, Any]] = {}
    models: list[type[BaseModel]] = [LibraryItem, SqlItem, CustomItem, *RULES.values()]
    for model in models:
        ours[model.__name__] = model.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")
        definitions.update(ours[model.__name__].pop("$defs", {}))
    ours["CustomItem"]["properties"]["implementation"] = {
        "type": "object",
        "required": ["rule"],
        "properties": {"rule": {"enum": list(RULES)}},
        "allOf": [
            {"if": {"properties": {"rule": {"const": name}}, "required": ["rule"]}, "then": ours[model.__name__]}
            for name, model in RULES.items()
        ],
    }
    kinds = {"library": "LibraryItem", "sql": "SqlItem"}
    known = [{"if": {"properties": {"type": {"const": kind}}, "required": ["type"]}, "then": ours[kinds[kind]]} for kind in kinds]
    known.append({"if": {"properties": {"engine": {"const": ENGINE}}, "required": ["engine"]}, "then": ours["CustomItem"]})
    known.append({"if": {"not": {"required": ["type"]}}, "then": ours["LibraryItem"]})
    return {"type": "object", "properties": {"type": {"enum": ["library", "sql", "custom", "text"]}}, "allOf": known}


def _plain(node: Any) -> Any:
    """Without our notes for the reference, without links of its pages, and without null, which completion would offer alone.

    Source: redhat-developer/yaml-language-server#684.
    """
    if isinstance(node, list):
        return [_plain(part) for part in node]
    if not isinstance(node, dict):
        return node
    out = {key: _plain(value) for key, value in node.items() if key != "shown" and (key, value) != ("default", None)}
    if isinstance(out.get("anyOf"), list) and {"type": "null"} in out["anyOf"]:
        others = [part for part in out.pop("anyOf") if part != {"type": "null"}]
        out = {**(others[0] if len(others) == 1 else {"anyOf": others}), **out}
    if isinstance(out.get("description"), str):
        out["description"] = _LINK.sub(r"\1", out["description"])
    return out
