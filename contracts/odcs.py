"""Read a contract from an Open Data Contract Standard (ODCS 3.x) file.

What ODCS has no word for sits in ``customProperties``: of the contract (kind, eventId, windowTime, receivedAt, eventTime, order,
unknownFields, rules) and of a column (nullTokens, accept, transport). Reference: docs/reference/contracts.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from open_data_contract_standard.model import CustomProperty, OpenDataContractStandard, SchemaProperty
from pydantic import ValidationError

from contracts.errors import ConfigurationError
from contracts.model import FORMATS, Column, ColumnType, Contract, EventTimeRule
from contracts.rules import Rule, parse_rule

_CONTRACT_KEYS = {"kind", "eventId", "windowTime", "receivedAt", "eventTime", "order", "unknownFields", "rules"}
_COLUMN_KEYS = {"nullTokens", "accept", "transport"}
_ACCEPT = {"text", "epoch", "no_zone"}
_TYPES = {
    ("string", "string"): ColumnType.STRING,
    ("integer", "int64"): ColumnType.INTEGER,
    ("number", "double"): ColumnType.NUMBER,
    ("boolean", "boolean"): ColumnType.BOOLEAN,
    ("timestamp", "timestamp"): ColumnType.TIMESTAMP,
    ("date", "date"): ColumnType.DATE,
    ("object", "json"): ColumnType.JSON,
    ("array", "json"): ColumnType.JSON,
    ("object", "map<string,boolean>"): ColumnType.BOOLEAN_MAP,
}
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")


def load_contract(path: Path) -> Contract:
    """Read and compile one contract.

    Raises:
        ConfigurationError: the file is not valid ODCS, or not a contract that Headrace can hold; lists every problem.
    """
    try:
        document = OpenDataContractStandard.from_file(str(path))
    except FileNotFoundError:
        raise ConfigurationError(f"contract {path}: no such file") from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"contract {path}: not valid ODCS: {problems}") from None
    except Exception as error:  # the YAML reader of the library raises its own kinds
        raise ConfigurationError(f"contract {path}: cannot be read as YAML: {type(error).__name__}") from None
    problems_found: list[str] = []
    contract = _compile(document, problems_found)
    if problems_found or contract is None:
        raise ConfigurationError(f"contract {path}:\n  - " + "\n  - ".join(problems_found))
    return contract


def _compile(document: OpenDataContractStandard, problems: list[str]) -> Contract | None:
    extra = _custom(document.customProperties, _CONTRACT_KEYS, "contract", problems)
    tables = document.schema_ or []
    if len(tables) != 1 or not tables[0].properties:
        problems.append("schema: exactly one table with properties is expected")
        return None
    columns = tuple(_column(prop, problems) for prop in tables[0].properties)
    names = [column.name for column in columns]
    problems += [f"column {name}: defined twice" for name in sorted({n for n in names if names.count(n) > 1})]
    problems += [f"column {name}: names with a leading _ are Headrace's own" for name in names if name.startswith("_")]
    event_id = extra.get("eventId") or {}
    unknown = extra.get("unknownFields") or {"policy": "drop"}
    event_time = EventTimeRule(**extra["eventTime"]) if extra.get("eventTime") else None
    rules: list[Rule] = []
    for definition in extra.get("rules") or []:
        try:
            rules.append(parse_rule(definition))
        except (ValueError, TypeError, AttributeError) as error:
            problems.append(f"rules: {error}")
    contract = Contract(
        name=document.name or "",
        version=document.version or "0",
        kind=extra.get("kind", "event"),
        columns=columns,
        event_id=event_id.get("column", ""),
        event_id_from=tuple(event_id.get("from", ())),
        window_time=tuple(extra.get("windowTime") or ()),
        received_at=extra.get("receivedAt"),
        event_time=event_time,
        order=tuple(extra.get("order") or ()),
        unknown_policy=unknown.get("policy"),
        unknown_column=unknown.get("column"),
        rules=tuple(rules),
        description=(document.description.purpose or "") if document.description else "",
    )
    problems += _check(contract)
    return contract


def _check(contract: Contract) -> Iterable[str]:
    """Whether the parts fit together."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", contract.name):
        yield f"name: {contract.name!r} is not lower snake_case"
    if not re.fullmatch(r"[1-9]\d*(\.\d+){0,2}", contract.version):
        yield f"version: {contract.version!r} is not MAJOR.MINOR.PATCH with a major of at least 1"
    if contract.kind not in ("event", "entity"):
        yield f"kind: {contract.kind!r}; expected event or entity"
    if contract.unknown_policy not in ("keep", "drop", "reject"):
        yield f"unknownFields.policy: {contract.unknown_policy!r}; expected keep, drop or reject"
    if (contract.unknown_policy == "keep") != bool(contract.unknown_column):
        yield "unknownFields: the policy keep needs a column, the others have none"
    used: dict[str, tuple[str | None, ...]] = {
        "eventId.column": (contract.event_id,),
        "eventId.from": contract.event_id_from,
        "windowTime": contract.window_time,
        "receivedAt": (contract.received_at,),
        "order": contract.order,
        "unknownFields.column": (contract.unknown_column,),
        "rules": tuple(name for rule in contract.rules for name in rule.columns),
    }
    if contract.event_time:
        used["eventTime"] = (contract.event_time.column, contract.event_time.original, contract.event_time.sent)
    for where, names in used.items():
        yield from (f"{where}: no column {n!r}" for n in names if n is not None and n not in contract.by_name)
    for where, names, types in (
        ("windowTime", contract.window_time, {ColumnType.TIMESTAMP}),
        ("order", contract.order, {ColumnType.TIMESTAMP, ColumnType.INTEGER}),
        ("eventId.column", (contract.event_id,), {ColumnType.STRING}),
    ):
        for name in names:
            if name in contract.by_name and contract.by_name[name].type not in types:
                yield f"{where}: column {name} must be of type {' or '.join(sorted(types))}"


def _column(prop: SchemaProperty, problems: list[str]) -> Column:
    name = prop.name or "?"
    extra = _custom(prop.customProperties, _COLUMN_KEYS, f"column {name}", problems)
    options: dict[str, Any] = dict(prop.logicalTypeOptions or {})
    logical = prop.logicalType or "string"
    default_physical = {"integer": "int64", "number": "double", "object": "json", "array": "json"}.get(logical, logical)
    physical = (prop.physicalType or default_physical).replace(" ", "")
    precision, scale = 0, 0
    decimal = _DECIMAL.fullmatch(physical)
    column_type = _TYPES.get((logical, physical))
    if logical == "number" and decimal:
        column_type, precision, scale = ColumnType.DECIMAL, int(decimal[1]), int(decimal[2])
    if column_type is None:
        known = ", ".join(f"{a} as {b}" for a, b in _TYPES) + ", number as decimal(p,s)"
        problems.append(f"column {name}: no type {logical} as {physical}; known: {known}")
        column_type = ColumnType.STRING
    allowed = {"minLength", "maxLength", "pattern", "format", "minimum", "maximum"}
    problems += [f"column {name}: logicalTypeOptions.{key} is not supported" for key in options if key not in allowed]
    if options.get("format") and options["format"] not in FORMATS:
        problems.append(f"column {name}: no format {options['format']!r}; known: {', '.join(FORMATS)}")
        del options["format"]
    for accepted in extra.get("accept") or ():
        if accepted not in _ACCEPT:
            problems.append(f"column {name}: accept {accepted!r}; known: {', '.join(sorted(_ACCEPT))}")
    try:
        minimum, maximum = (_bound(column_type, options.get(key)) for key in ("minimum", "maximum"))
        re.compile(options.get("pattern") or "")
    except (ValueError, ArithmeticError, TypeError, re.error):
        problems.append(f"column {name}: minimum, maximum or pattern cannot be read")
        minimum = maximum = None
        options.pop("pattern", None)
    return Column(
        name=name,
        type=column_type,
        required=bool(prop.required),
        enum=tuple(str(item.value) for item in prop.enum or ()),
        pattern=options.get("pattern"),
        format=options.get("format"),
        min_length=options.get("minLength"),
        max_length=options.get("maxLength"),
        minimum=minimum,
        maximum=maximum,
        precision=precision,
        scale=scale,
        json_container="array" if logical == "array" else "object",
        null_tokens=frozenset(extra.get("nullTokens") or ()),
        accept=frozenset(extra.get("accept") or ()),
        transport=bool(extra.get("transport", False)),
        classification=prop.classification,
        description=prop.description or "",
    )


def _bound(column_type: ColumnType, value: Any) -> int | float | Decimal | date | None:
    if value is None:
        return None
    if column_type is ColumnType.DATE:
        return date.fromisoformat(str(value))
    if column_type is ColumnType.DECIMAL:
        return Decimal(str(value))
    if column_type in (ColumnType.INTEGER, ColumnType.NUMBER):
        number: int | float = value
        return number
    raise ValueError("bounds need a number or a date")


def _custom(
    properties: list[CustomProperty] | None, known: set[str], where: str, problems: list[str]
) -> dict[str, Any]:
    found = {str(item.property): item.value for item in properties or []}
    problems += [f"{where}: no custom property {key!r}; known: {', '.join(sorted(known))}" for key in found if key not in known]
    return found
