"""A contract as an Avro schema, and what Avro itself says of two schemas.

The schema is of one row. Optional columns are unions whose first branch and default are null, so that one may come or go and both
sides still read. Enums are strings with their values beside them: Avro's own enum takes neither ``add-to-cart`` nor, in a reader of
an older version, a symbol that it does not know; the contract's rules check the values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from avro import compatibility
from avro.errors import AvroException
from avro.schema import RecordSchema, Schema, UnionSchema, parse

from contracts.errors import ConfigurationError
from contracts.evolution.changes import Direction
from contracts.spec.model import Column, ColumnType, Contract

NAMESPACE = "headrace"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TYPES: dict[ColumnType, Any] = {
    ColumnType.STRING: "string",
    ColumnType.INTEGER: "long",
    ColumnType.NUMBER: "double",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.TIMESTAMP: {"type": "long", "logicalType": "timestamp-micros"},
    ColumnType.DATE: {"type": "int", "logicalType": "date"},
    ColumnType.JSON: "string",
    ColumnType.BOOLEAN_MAP: {"type": "map", "values": "boolean"},
}


def avro_schema(contract: Contract) -> dict[str, Any]:
    """The Avro schema of a dataset's rows.

    Raises:
        ConfigurationError: a column has a name that Avro does not take.
    """
    if odd := [column.name for column in contract.columns if not _NAME.fullmatch(column.name)]:
        raise ConfigurationError(
            f"contract {contract.name}: Avro takes names of letters, digits and _ that do not begin with a digit, not "
            f"{', '.join(odd)}; rename them, or export another format"
        )
    schema: dict[str, Any] = {"type": "record", "name": contract.dataset, "namespace": NAMESPACE, "fields": []}
    if contract.description:
        schema["doc"] = contract.description
    schema["fields"] = [_field(column, contract) for column in contract.columns]
    return {**schema, "headrace.version": contract.version}


def _field(column: Column, contract: Contract) -> dict[str, Any]:
    value = _type(column)
    field: dict[str, Any] = {"name": column.name}
    if column.required and column.name not in contract.computed:
        field["type"] = value
    else:
        field |= {"type": ["null", value], "default": None}
    if column.description:
        field["doc"] = column.description
    told = {
        "enum": list(column.enum),
        "unit": column.unit,
        "classification": column.classification,
        "identifier": column.identifier,
    }
    field |= {f"headrace.{key}": said for key, said in told.items() if said}
    if column.deprecated:
        field["headrace.deprecated"] = column.deprecated.until.isoformat()
    return field


def _type(column: Column) -> Any:
    if column.type is ColumnType.DECIMAL:
        return {"type": "bytes", "logicalType": "decimal", "precision": column.precision, "scale": column.scale}
    return _TYPES[column.type]


def broken_directions(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[Direction, list[str]]:
    """What Avro's own rules say of two versions of a schema: the directions in which data cannot be read, each with why.

    Source: Avro 1.12 specification, "Schema Resolution". Logical types have no part in it.

    Raises:
        ConfigurationError: one of them is no Avro schema.
    """
    found = {Direction.BACKWARD: reading(after, before), Direction.FORWARD: reading(before, after)}
    return {direction: problems for direction, problems in found.items() if problems}


def reading(reader: Mapping[str, Any], writer: Mapping[str, Any]) -> list[str]:
    """Why data of one schema cannot be read by another; empty where it can.

    Raises:
        ConfigurationError: one of them is no Avro schema.
    """
    try:
        new, old = (parse(json.dumps(schema)) for schema in (reader, writer))
    except (AvroException, RecursionError) as error:
        raise ConfigurationError(f"not an Avro schema: {error}") from None
    if _fits(new, old):
        return []
    problems = [] if not isinstance(new, RecordSchema) or not isinstance(old, RecordSchema) else list(_by_field(new, old))
    return problems or [f"{_type_text(old)} cannot be read as {_type_text(new)}"]


def _by_field(reader: RecordSchema, writer: RecordSchema) -> Iterator[str]:
    """The library tells places and reasons apart from each other, so each field is asked for by itself."""
    for field in reader.fields:
        written = next((writer.fields_dict[n] for n in (field.name, *_aliases(field)) if n in writer.fields_dict), None)
        if written is None:
            if not field.has_default:
                yield f"{field.name} is required, and the data does not have it"
        elif not _fits(field.type, written.type):
            yield f"{field.name} is {_type_text(field.type)}, and {_type_text(written.type)} in the data"


def _fits(reader: Schema, writer: Schema) -> bool:
    checker: Any = compatibility.ReaderWriterCompatibilityChecker
    found = checker().get_compatibility(reader, writer).compatibility
    return bool(found is compatibility.SchemaCompatibilityType.compatible)


def _aliases(field: Any) -> Sequence[str]:
    found = field.props.get("aliases")
    return [str(name) for name in found] if isinstance(found, list) else []


def _type_text(schema: Schema) -> str:
    if isinstance(schema, UnionSchema):
        return " or ".join(_type_text(branch) for branch in schema.schemas)
    name = getattr(schema, "fullname", None)
    symbols = getattr(schema, "symbols", None)
    named = f"{schema.type} {name}" if name and name != schema.type else str(schema.type)
    return f"{named} of {', '.join(symbols)}" if symbols else named


def logical_misfits(reader: Mapping[str, Any], writer: Mapping[str, Any]) -> list[str]:
    """Fields that Avro reads, and reads as something else: another logical type, another scale, fewer digits."""
    written = {field["name"]: field["type"] for field in writer.get("fields", ())}
    problems = []
    for field in reader.get("fields", ()):
        names = [name for name in (field["name"], *field.get("aliases", ())) if name in written]
        if not names:
            continue
        now, then = _logical(field["type"]), _logical(written[names[0]])
        if now != then and not (now and then and now[0] == then[0] == "decimal" and now[2] == then[2] and now[1] >= then[1]):
            problems.append(f"{field['name']} is {_logical_text(now)}, and {_logical_text(then)} in the data")
    return problems


def _logical(kind: Any) -> tuple[str, int, int] | None:
    """A logical type with precision and scale; of a union that of its one branch that is not null."""
    if isinstance(kind, list):
        branches = [branch for branch in kind if branch != "null"]
        return _logical(branches[0]) if len(branches) == 1 else None
    if not isinstance(kind, dict) or "logicalType" not in kind:
        return _logical(kind["type"]) if isinstance(kind, dict) and isinstance(kind.get("type"), dict | list) else None
    return str(kind["logicalType"]), int(kind.get("precision") or 0), int(kind.get("scale") or 0)


def _logical_text(logical: tuple[str, int, int] | None) -> str:
    if logical is None:
        return "of no logical type"
    return f"decimal({logical[1]},{logical[2]})" if logical[0] == "decimal" else logical[0]
