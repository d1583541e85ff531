"""A contract as an Iceberg schema, in the JSON of its specification."""

from __future__ import annotations

import json
from typing import Any

from pyiceberg.schema import Schema
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    IcebergType,
    LongType,
    MapType,
    NestedField,
    StringType,
    TimestamptzType,
)

from contracts.spec.model import Column, ColumnType, Contract

_TYPES: dict[ColumnType, IcebergType] = {
    ColumnType.STRING: StringType(),
    ColumnType.INTEGER: LongType(),
    ColumnType.NUMBER: DoubleType(),
    ColumnType.BOOLEAN: BooleanType(),
    ColumnType.TIMESTAMP: TimestamptzType(),
    ColumnType.DATE: DateType(),
    ColumnType.JSON: StringType(),
}


def iceberg_schema(contract: Contract) -> dict[str, Any]:
    """The Iceberg schema of a dataset's columns; ids are in the order of columns, those inside of maps after them.

    Source: Apache Iceberg table specification, appendix C, "Schemas".
    """
    inner = len(contract.columns)
    found = []
    for number, column in enumerate(contract.columns, 1):
        if column.type is ColumnType.BOOLEAN_MAP:
            kind: IcebergType = MapType(inner + 1, StringType(), inner + 2, BooleanType(), value_required=False)
            inner += 2
        else:
            kind = _type(column)
        required = column.required or column.name == contract.event_id
        found.append(NestedField(number, column.name, kind, required=required, doc=column.description or None))
    forever = contract.deduplication.horizon_s is None  # else an id may come again after the horizon
    keys = [field.field_id for field in found if forever and field.name == contract.event_id]
    schema = Schema(*found, schema_id=0, identifier_field_ids=keys)
    document: dict[str, Any] = json.loads(schema.model_dump_json())
    return document


def _type(column: Column) -> IcebergType:
    if column.type is ColumnType.DECIMAL:
        return DecimalType(column.precision, column.scale)
    return _TYPES[column.type]
