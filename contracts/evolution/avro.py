"""A contract as an Avro schema, and what Avro itself says of two schemas.

The schema is of one row. Optional columns are unions whose first branch and default are null, so that one may come or go and both
sides still read. Enums are strings with their values beside them: Avro's own enum takes neither ``add-to-cart`` nor, in a reader of
an older version, a symbol that it does not know; the contract's rules check the values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from avro import compatibility
from avro.errors import AvroException
from avro.schema import parse

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
        schemas = [parse(json.dumps(schema)) for schema in (reader, writer)]
    except (AvroException, RecursionError) as error:
        raise ConfigurationError(f"not an Avro schema: {error}") from None
    checker: Any = compatibility.ReaderWriterCompatibilityChecker
    result = checker().get_compatibility(*schemas)
    if result.compatibility is compatibility.SchemaCompatibilityType.compatible:
        return []
    return sorted(
        {f"{place}: {message}" for place, message in zip(sorted(result.locations), sorted(result.messages), strict=False)}
    )
