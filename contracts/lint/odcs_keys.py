"""What becomes of each key of ODCS: read, checked, or only carried. The reference and lint have it from here."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from open_data_contract_standard.model import OpenDataContractStandard, SchemaObject, SchemaProperty

from contracts.spec.yaml_files import Place

READ: dict[Any, dict[str, str]] = {
    OpenDataContractStandard: {
        "name": "read: name of the dataset and its table; lower snake_case",
        "version": "read: a text, `MAJOR.MINOR.PATCH`, major at least 1; minor and patch may be left out",
        "status": "read: for people and catalogues",
        "description": "read: `purpose`, for people",
        "schema": "read: exactly one table",
        "team": "read: owner (`name`, or the member with the role owner) and contact; as an object (v3.1) or as a list",
        "support": "read: `url` or `channel` of the first, as the contact",
        "servers": "read: topics, for the catalogue (`type: kafka`)",
        "slaProperties": "read: service levels; checked by lint: `freshness` or `latency`, `completeness`, `retention`",
        "customProperties": "read: what ODCS has no word for, below",
        "apiVersion": "carried",
        "kind": "carried: `DataContract`",
        "id": "carried",
    },
    SchemaObject: {
        "name": "carried: the table is named as the dataset",
        "logicalType": "carried: `object`",
        "physicalType": "carried: `table`",
        "properties": "read: the columns",
        "quality": "read: [rules about partitions of rows](quality.md)",
    },
    SchemaProperty: {
        "name": "read: name of the column; a leading `_` is reserved",
        "logicalType": "read: [type](#column-types)",
        "physicalType": "read: [type](#column-types)",
        "logicalTypeOptions": "read: [rules of one column](#constraints-of-a-column)",
        "required": "read: whether a row must have a value",
        "enum": "read: the values that a text may have",
        "classification": "read: such as `personal` or `public`; checked by lint",
        "description": "read: for people, and as the column's comment in Iceberg",
        "quality": "read: [rules about partitions of rows](quality.md)",
        "primaryKey": "checked by lint: identity is `eventId`",
        "customProperties": "read: what ODCS has no word for, below",
    },
}
_WHERE: dict[Any, str] = {OpenDataContractStandard: "", SchemaObject: "schema[0].", SchemaProperty: "schema[0].properties[]."}


def names_of(model: type[Any]) -> list[str]:
    """Keys that ODCS has at a place."""
    return [field.alias or name for name, field in model.model_fields.items()]


def without_effect(document: Mapping[str, Any]) -> Iterator[tuple[Place, str, bool]]:
    """Keys of a contract that nothing reads: place, in the words of messages, and whether ODCS has them at all."""
    yield from _unread(document, OpenDataContractStandard, ())
    table = document["schema"][0]
    yield from _unread(table, SchemaObject, ("schema", 0))
    for number, column in enumerate(table["properties"]):
        yield from _unread(column, SchemaProperty, ("schema", 0, "properties", number))


def _unread(given: Mapping[str, Any], model: type[Any], place: tuple[str | int, ...]) -> Iterator[tuple[Place, str, bool]]:
    known = names_of(model)
    for key in given:
        if key not in READ[model]:
            shown = f"column {given.get('name')}: {key}" if model is SchemaProperty else f"{_WHERE[model]}{key}"
            yield (*place, key), shown, key in known


def table_of_keys() -> str:
    """For the reference: a table in Markdown."""
    lines = ["| key of ODCS | what becomes of it |", "|---|---|"]
    without = ["", "These have no effect, and `contract lint` says so:", ""]
    for model, keys in READ.items():
        lines += [f"| `{_WHERE[model]}{key}` | {use} |" for key, use in keys.items()]
        others = ", ".join(
            f"`{_WHERE[model]}{name}`" if _WHERE[model] else f"`{name}`" for name in names_of(model) if name not in keys
        )
        without += textwrap.wrap(f"- {others}.", 130, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join([*lines, *without])
