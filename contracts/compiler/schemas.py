"""A contract as schemas of other systems: Arrow for rows, JSON Schema for one payload record."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pyarrow as pa

from contracts.compiler.timestamps import PLAUSIBLE_DIGITS, TIMESTAMP_FORM, ZONE_FORM
from contracts.spec.model import FORMATS, Column, ColumnType, Contract
from contracts.spec.paths import PayloadPath
from contracts.spec.rules import RequireAny, RequireWhen
from contracts.spec.source import SourceSpec
from contracts.spec.versions import SchemaVersionRule, is_pattern, matches, steps_from

TIMESTAMP = pa.timestamp("us", tz="UTC")

PROVENANCE = pa.schema(
    [
        pa.field("_window_time", TIMESTAMP, nullable=False),  # decides window, partition and lateness
        pa.field("_time_corrected", pa.bool_(), nullable=False),  # the client's clock was not believed
        pa.field("_received_at", TIMESTAMP, nullable=False),
        pa.field("_source", pa.string(), nullable=False),
        pa.field("_raw_file", pa.string(), nullable=False),  # id of the raw file: its SHA-256
        pa.field("_position", pa.int64(), nullable=False),  # ordinal of the record in it, from 0
        pa.field("_fingerprint", pa.binary(16), nullable=False),  # of the row without transport columns
        pa.field("_row_hash", pa.binary(16), nullable=False),  # of the row; content_hash is their sum
        pa.field("_rank", pa.binary(), nullable=False),  # the contract's order columns, comparable
        pa.field("_revision", pa.int64()),  # of contract and source spec that the record was read by; null of versions before
    ]
)


ROW_JSON = pa.field("_row_json", pa.binary(), nullable=False)  # canonical JSON of rows that go out at once; in no table


def arrow_type(column: Column) -> pa.DataType:
    """The Arrow type of a column's values."""
    if column.type is ColumnType.DECIMAL:
        return pa.decimal128(column.precision, column.scale)
    return {
        ColumnType.STRING: pa.string(),
        ColumnType.INTEGER: pa.int64(),
        ColumnType.NUMBER: pa.float64(),
        ColumnType.BOOLEAN: pa.bool_(),
        ColumnType.TIMESTAMP: TIMESTAMP,
        ColumnType.DATE: pa.date32(),
        ColumnType.JSON: pa.string(),
        ColumnType.BOOLEAN_MAP: pa.map_(pa.string(), pa.bool_()),
    }[column.type]


def row_schema(contract: Contract) -> pa.Schema:
    """Rows of a dataset: the contract's columns, then provenance."""
    return pa.schema([pa.field(c.name, arrow_type(c)) for c in contract.columns] + list(PROVENANCE))


def to_arrow(column_type: pa.DataType, values: list[Any]) -> pa.Array:
    """Canonical values as an Arrow array."""
    if pa.types.is_map(column_type):
        values = [None if value is None else sorted(value.items()) for value in values]
    return pa.array(values, column_type)


_NUMBER_IN_TEXT = r"^[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,3})?$"
# Years 1 to 9999, in seconds since 1970.
_EPOCH_BOUNDS_S = (-62_135_596_800, 253_402_300_800)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def json_schema(contract: Contract, spec: SourceSpec) -> dict[str, Any]:
    """JSON Schema (2020-12) of one payload record of a JSON source that fills columns from single top-level or nested fields.

    Says the same as the compiled checks, but for what JSON Schema cannot say (comparisons between fields, depth, size, bounds of
    dates and of numbers in text, JSON in text); a test compares the verdicts on mutated records. Formats are to be asserted:
    ``date-time`` (also in the forms of ISO 8601 that the pattern allows) and ``date``.
    """
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{spec.name}: {contract.name} {contract.version}",
        "type": "object",
        "allOf": [],
    }
    units = spec.epoch_units
    for column in contract.columns:
        paths = [p for p in spec.columns.get(column.name, ()) if not p.envelope]
        if column.name in contract.computed or not paths:
            continue
        value = _value_schema(column, units.get(column.name, units.get(None)))
        for number, path in enumerate(paths):
            absent = [_absent(earlier.steps, column.null_tokens) for earlier in paths[:number]]
            check = _nested(path.steps, {"anyOf": [{"type": "null"}, value]})
            schema["allOf"].append({"if": {"allOf": absent}, "then": check} if absent else check)
        if column.required and not (column.name == contract.event_id and spec.missing_event_id == "derive"):
            schema["allOf"].append(_present(column, spec))
    for rule in contract.rules:
        if isinstance(rule, RequireAny):
            schema["allOf"].append({"anyOf": [_present(contract.by_name[n], spec) for n in rule.any_of]})
        elif isinstance(rule, RequireWhen):
            required = [_present(contract.by_name[n], spec) for n in rule.required]
            condition = _holds(contract.by_name[rule.when], spec, {"enum": sorted(rule.among, key=str)})
            schema["allOf"].append({"if": condition, "then": {"anyOf" if rule.any_is_enough else "allOf": required}})
    version = spec.schema_version
    if version and version.path and not version.path.envelope:
        schema["allOf"].append(_versions_schema(version, version.path))
    if contract.unknown_policy == "reject":
        schema["propertyNames"] = {"enum": sorted(spec.known_fields)}
    return schema


def _versions_schema(rule: SchemaVersionRule, path: PayloadPath) -> dict[str, Any]:
    """The newest versions: a payload of an older one has other fields."""
    newest = sorted(text for text in rule.accepted if not steps_from(text, rule.upcasts))
    plain = [value for text in newest if not is_pattern(text) for value in _written_as(text)]
    may_be_absent = rule.default is not None and any(matches(rule.default, text) for text in newest)
    options: list[dict[str, Any]] = [{"enum": [*plain, None] if may_be_absent else plain}]
    options += [{"type": "string", "pattern": f"^{re.escape(text[:-1])}"} for text in newest if is_pattern(text)]
    return _nested(path.steps, {"anyOf": options} if len(options) > 1 else options[0], required=not may_be_absent)


def _value_schema(column: Column, unit: str | None) -> dict[str, Any]:
    """What a column's value must be, null tokens included. unit: of numbers since 1970, where it is stated."""
    schema: dict[str, Any]
    if column.type is ColumnType.TIMESTAMP:
        zone = ZONE_FORM + ("?" if "no_zone" in column.accept else "")
        schema = {"type": "string", "pattern": f"^{TIMESTAMP_FORM}{zone}$", "format": "date-time"}
        if "epoch" in column.accept:
            schema = {"anyOf": [schema, *_epoch_schemas(unit)]}
    else:
        by_type: dict[ColumnType, dict[str, Any]] = {
            ColumnType.STRING: {"type": "string"},
            ColumnType.INTEGER: {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
            ColumnType.NUMBER: {"type": "number"},
            ColumnType.DECIMAL: _decimal_schema(column),
            ColumnType.BOOLEAN: {"type": "boolean"},
            ColumnType.DATE: {"type": "string", "format": "date"},
            ColumnType.JSON: {"type": column.json_container},
            ColumnType.BOOLEAN_MAP: {"type": "object", "additionalProperties": {"type": "boolean"}},
        }
        schema = by_type[column.type]
    limits = {
        "enum": list(column.enum) or None,
        "minLength": column.min_length,
        "maxLength": column.max_length,
        "pattern": column.pattern or (FORMATS[column.format] if column.format else None),
    }
    schema.update({key: value for key, value in limits.items() if value is not None})
    for key, limit in (("minimum", column.minimum), ("maximum", column.maximum)):
        if isinstance(limit, (int, float, Decimal)):
            schema[key] = _json_number(limit)
    options = [schema]
    if column.null_tokens:
        options.append({"enum": sorted(column.null_tokens)})
    if "text" in column.accept and column.type in _TEXT_PATTERNS:
        options.append({"type": "string", "pattern": _TEXT_PATTERNS[column.type]})
    return {"anyOf": options} if len(options) > 1 else schema


def _epoch_schemas(unit: str | None) -> list[dict[str, Any]]:
    """Numbers since 1970, and where the unit is stated also in text."""
    if unit is None:
        return [{"type": "number", "minimum": 10 ** (n - 1), "exclusiveMaximum": 10**n} for n in PLAUSIBLE_DIGITS.values()]
    low, high = (bound * _PER_SECOND[unit] for bound in _EPOCH_BOUNDS_S)
    return [{"type": "number", "minimum": low, "exclusiveMaximum": high}, {"type": "string", "pattern": _NUMBER_IN_TEXT}]


_TEXT_PATTERNS = {
    ColumnType.INTEGER: r"^[+-]?\d{1,30}(\.0*)?$",
    ColumnType.NUMBER: _NUMBER_IN_TEXT,
    ColumnType.DECIMAL: _NUMBER_IN_TEXT,
    ColumnType.BOOLEAN: "^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|[Yy][Ee][Ss]|[Nn][Oo]|0|1)$",
    ColumnType.JSON: r"^\s*[\[{]",
}


def _decimal_schema(column: Column) -> dict[str, Any]:
    limit = 10 ** (column.precision - column.scale)
    step = _json_number(Decimal(1).scaleb(-column.scale))
    return {"type": "number", "exclusiveMinimum": -limit, "exclusiveMaximum": limit, "multipleOf": step}


def _json_number(value: float | Decimal) -> int | float:
    if not isinstance(value, Decimal):
        return value
    return int(value) if value == value.to_integral_value() else float(value)


def _written_as(text: str) -> list[Any]:
    """The JSON values whose plain text (see ``source.plain_text``) is this one."""
    values: list[Any] = [text]
    if re.fullmatch(r"-?\d{1,18}", text, re.ASCII) and str(int(text)) == text:
        values.append(int(text))
    if text in ("true", "false"):
        values.append(text == "true")
    return values


def _nested(steps: tuple[str, ...], leaf: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    """A schema that says something about the value at a path, where every step on the way is an object."""
    for step in reversed(steps):
        leaf = {"properties": {step: leaf}, **({"type": "object", "required": [step]} if required else {})}
    return leaf


def _absent(steps: tuple[str, ...], null_tokens: frozenset[str]) -> dict[str, Any]:
    return {"not": _nested(steps, {"not": {"enum": [None, *sorted(null_tokens)]}}, required=True)}


def _present(column: Column, spec: SourceSpec) -> dict[str, Any]:
    """Some path has a value that is no null token."""
    return _holds(column, spec, {})


def _holds(column: Column, spec: SourceSpec, value: dict[str, Any]) -> dict[str, Any]:
    """Some path has a value that is no null token, and the first that has one holds a value of this schema."""
    options: list[dict[str, Any]] = []
    paths = [p for p in spec.columns.get(column.name, ()) if not p.envelope]
    for number, path in enumerate(paths):
        absent = [_absent(p.steps, column.null_tokens) for p in paths[:number]]
        here = [{"not": _absent(path.steps, column.null_tokens)}, _nested(path.steps, value, required=True)]
        options.append({"allOf": [*absent, *here]})
    return {"anyOf": options} if options else {"not": {}}
