"""Read a contract from an Open Data Contract Standard (ODCS 3.x) file.

What ODCS has no word for sits in ``customProperties`` of the contract and of its columns: contracts/spec/files/contract.py.
Reference: docs/reference/contracts.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from open_data_contract_standard.model import CustomProperty, OpenDataContractStandard, SchemaProperty, Team, TeamMember
from pydantic import ValidationError

from contracts.errors import ConfigurationError
from contracts.spec.documents import Problem, ProblemsError
from contracts.spec.files.base import FileModel, problems_of
from contracts.spec.files.contract import ColumnProperties, ContractProperties
from contracts.spec.files.quality import place_of_rule, quality_of
from contracts.spec.model import FORMATS, Column, ColumnType, Contract, EventTimeRule, ServiceLevel, name_and_major
from contracts.spec.rules import Compare, RequireWhen
from contracts.spec.yaml_files import Document, Place, read_yaml

_M = TypeVar("_M", bound=FileModel)
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
_LISTABLE = {ColumnType.STRING, ColumnType.INTEGER, ColumnType.BOOLEAN}  # whose values a rule can list
_TEXT_OPTIONS = ("minLength", "maxLength", "pattern", "format")
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")


def load_contract(path: Path) -> Contract:
    """Read and compile one contract.

    Raises:
        ConfigurationError: the file is not valid ODCS, or not a contract that Headrace can hold; lists every problem.
    """
    return read_contract(path)[0]


def read_contract(path: Path) -> tuple[Contract, Document]:
    """Read and compile one contract, with the lines of its file."""
    document = read_yaml(path, "contract")
    if not isinstance(document.value, dict):
        raise ConfigurationError(
            f"contract {path}: expected a mapping with apiVersion, kind, name, version and schema, an Open Data Contract"
        )
    try:
        given = OpenDataContractStandard.model_validate(document.value)
    except ValidationError as error:
        places = [document.line(each["loc"]) for each in error.errors(include_url=False)]
        told = problems_of(error, document.value)
        found = [Problem(line, f"not valid ODCS: {each}") for line, each in zip(places, told, strict=True)]
        raise ProblemsError("contract", path, dict.fromkeys(found)) from None
    problems: list[str] = []
    contract = _compile(given, document.value, problems)
    if contract is None or problems:
        raise ProblemsError("contract", path, [Problem(document.line(place_in(document.value, told)), told) for told in problems])
    return contract, document


_OF_COLUMN = re.compile(r"column (\S+): (?:logicalTypeOptions\.)?(?:no custom property '|no )?(\w+)?")
_OF_CONTRACT = re.compile(r"(?:contract: no custom property ')?(\w+)(?:\[(\d+)\])?(?:\.(\w+))?")


def place_in(given: dict[str, Any], told: str) -> Place:
    """Where a sentence about a contract is of: ``column email: …``, or ``windowTime: …``."""
    if place := place_of_rule(given, told):
        return place
    if match := _OF_COLUMN.match(told):
        columns = given["schema"][0]["properties"]
        number = max((n for n, column in enumerate(columns) if column.get("name") == match[1]), default=0)
        place, column, key = ("schema", 0, "properties", number), columns[number], match[2]
        if key in column:
            return (*place, key)
        if key in (column.get("logicalTypeOptions") or {}):
            return (*place, "logicalTypeOptions", key)
        return (*place, *_custom_place(column, key))
    match = _OF_CONTRACT.match(told)
    assert match is not None
    if custom := _custom_place(given, match[1]):
        more = (int(match[2]),) if match[2] else (match[3],) if match[3] else ()
        return (*custom, "value", *more)
    return (match[1],)


def _custom_place(given: dict[str, Any], key: str) -> Place:
    entries = given.get("customProperties") or []
    numbers = [n for n, entry in enumerate(entries) if isinstance(entry, dict) and entry.get("property") == key]
    return ("customProperties", numbers[-1]) if numbers else ()


def _compile(document: OpenDataContractStandard, given: dict[str, Any], problems: list[str]) -> Contract | None:
    extra = _custom(document.customProperties, ContractProperties, "contract", problems)
    tables = document.schema_ or []
    if len(tables) != 1 or not tables[0].properties:
        problems.append("schema: exactly one table with properties is expected")
        return None
    columns = tuple(_column(prop, problems) for prop in tables[0].properties)
    names = [column.name for column in columns]
    problems += [f"column {name}: defined twice" for name in sorted({n for n in names if names.count(n) > 1})]
    problems += [f"column {name}: names with a leading _ are Headrace's own" for name in names if name.startswith("_")]
    event_time = EventTimeRule(**dict(extra.event_time)) if extra.event_time else None
    owner, contact = _team(document)
    contract = Contract(
        name=document.name or "",
        version=document.version or "0",
        kind=extra.kind,
        columns=columns,
        event_id=extra.event_id.column if extra.event_id else "",
        event_id_from=tuple(extra.event_id.from_) if extra.event_id else (),
        window_time=tuple(extra.window_time),
        received_at=extra.received_at,
        event_time=event_time,
        order=tuple(extra.order),
        partition_key=tuple(extra.partition_key),
        unknown_policy=extra.unknown_fields.policy,
        unknown_column=extra.unknown_fields.column,
        rules=tuple(extra.rules),
        deduplication=extra.deduplication.compiled(),
        description=(document.description.purpose or "") if document.description else "",
        owner=owner,
        contact=contact,
        status=document.status or "active",
        service_levels=tuple(
            ServiceLevel(sla.property or "", sla.value if sla.value is not None else "", sla.unit or "")
            for sla in document.slaProperties or ()
        ),
        consumers=tuple(consumer.compiled() for consumer in extra.consumers),
        compatibility=extra.compatibility,
        deprecated=extra.deprecated.compiled() if extra.deprecated else None,
        quality=quality_of(given, extra.partitions, {column.name: column for column in columns}, problems),
    )
    unread = extra.event_id is None and any(told.startswith("eventId") for told in problems)
    for check in (_check_values, _check_columns, _check_types, _check_computed):
        problems += [told for told in check(contract) if not (unread and told.startswith("eventId"))]
    return contract


def _team(document: OpenDataContractStandard) -> tuple[str | None, str | None]:
    """Who owns the dataset, and how to reach them: ``team`` as v3.1 has it, or as the list of older versions."""
    team = document.team
    members: list[TeamMember] = (team.members if isinstance(team, Team) else team) or []
    there = [member for member in members if not member.dateOut]
    first = next((m for m in there if "owner" in (m.role or "").lower()), there[0] if there else None)
    support = next((s.url or s.channel for s in document.support or () if s.url or s.channel), None)
    named = team.name if isinstance(team, Team) else None
    return named or (first and (first.name or first.username)) or None, support or (first and first.username) or None


def _check_computed(contract: Contract) -> Iterable[str]:
    """What may not be computed, and what must be there."""
    named = {"receivedAt": (contract.received_at,), "windowTime": contract.window_time, "order": contract.order}
    named["rules"] = tuple(name for rule in contract.rules for name in rule.columns)
    for where, names in named.items():
        yield from (f"{where}: {name} is computed, after the rules are checked" for name in names if name in contract.computed)
    event_id = contract.by_name.get(contract.event_id)
    if event_id and not contract.event_id_from and not event_id.required:
        yield f"eventId.column: {event_id.name} must be required, or be computed from other columns (eventId.from)"


def _check_values(contract: Contract) -> Iterable[str]:
    """Whether each part is one that is known."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", contract.name):
        yield f"name: {contract.name!r} is not lower snake_case"
    if name_and_major(contract.name)[1] != 1:
        yield f"name: {contract.name!r} ends as the dataset of a major version does; choose another name"
    if not re.fullmatch(r"[1-9]\d*(\.\d+){0,2}", contract.version):
        yield f"version: {contract.version!r} is not MAJOR.MINOR.PATCH with a major of at least 1"
    if (contract.unknown_policy == "keep") != bool(contract.unknown_column):
        yield "unknownFields: the policy keep needs a column, the others have none"


def _check_columns(contract: Contract) -> Iterable[str]:
    """Whether the columns that are named are there."""
    used: dict[str, tuple[str | None, ...]] = {
        "eventId.column": (contract.event_id,),
        "eventId.from": contract.event_id_from,
        "windowTime": contract.window_time,
        "receivedAt": (contract.received_at,),
        "order": contract.order,
        "partitionKey": contract.partition_key,
        "unknownFields.column": (contract.unknown_column,),
        "rules": tuple(name for rule in contract.rules for name in rule.columns),
    }
    if contract.event_time:
        used["eventTime"] = (contract.event_time.column, contract.event_time.original, contract.event_time.sent)
    for where, names in used.items():
        yield from (f"{where}: no column {n!r}" for n in names if n is not None and n not in contract.by_name)


def _check_types(contract: Contract) -> Iterable[str]:
    """Whether the columns that are named have a type that fits."""
    times = contract.event_time
    typed: tuple[tuple[str, tuple[str | None, ...], set[ColumnType]], ...] = (
        ("windowTime", contract.window_time, {ColumnType.TIMESTAMP}),
        ("receivedAt", (contract.received_at,), {ColumnType.TIMESTAMP}),
        ("eventTime", (times.column, times.original, times.sent) if times else (), {ColumnType.TIMESTAMP}),
        ("unknownFields.column", (contract.unknown_column,), {ColumnType.JSON}),
        ("rules: when", tuple(r.when for r in contract.rules if isinstance(r, RequireWhen)), _LISTABLE),
        ("order", contract.order, {ColumnType.TIMESTAMP, ColumnType.INTEGER}),
        ("partitionKey", contract.partition_key, {ColumnType.STRING, ColumnType.INTEGER}),
        ("eventId.column", (contract.event_id,), {ColumnType.STRING}),
    )
    for where, names, types in typed:
        for name in names:
            if name in contract.by_name and contract.by_name[name].type not in types:
                yield f"{where}: column {name} must be of type {' or '.join(sorted(types))}"
    for rule in contract.rules:
        if isinstance(rule, Compare) and set(rule.columns) <= contract.by_name.keys():
            left, right = (_kind_of(contract.by_name[name].type) for name in rule.columns)
            if left is None or left != right:
                yield f"rules: compare: {rule.left} and {rule.right} cannot be compared"


def _column(prop: SchemaProperty, problems: list[str]) -> Column:
    name = prop.name or "?"
    where = f"column {name}"
    extra = _custom(prop.customProperties, ColumnProperties, where, problems)
    column_type, precision, scale = _type(prop, where, problems)
    options = _options(prop, where, problems)
    known = ", ".join(sorted(_ACCEPT))
    problems += [f"{where}: accept {accepted!r}; known: {known}" for accepted in extra.accept if accepted not in _ACCEPT]
    minimum, maximum = _bounds(column_type, options, where, problems)
    _check_text_options(prop, column_type, options, where, problems)
    if column_type is ColumnType.DECIMAL and not (1 <= precision <= 38 and scale <= precision):
        problems.append(f"{where}: decimal({precision},{scale}): at most 38 digits, and no more after the point")
    tokens = extra.null_tokens
    problems += [f"{where}: nullTokens: {token!r} is not a text" for token in tokens if not isinstance(token, str)]
    return Column(
        name=name,
        type=column_type,
        required=bool(prop.required),
        enum=tuple(str(item.value) for item in prop.enum or ()) if column_type is ColumnType.STRING else (),
        pattern=options.get("pattern"),
        format=options.get("format"),
        min_length=options.get("minLength"),
        max_length=options.get("maxLength"),
        minimum=minimum,
        maximum=maximum,
        precision=precision,
        scale=scale,
        json_container="array" if prop.logicalType == "array" else "object",
        null_tokens=frozenset(token for token in tokens if isinstance(token, str)),
        accept=frozenset(accepted for accepted in extra.accept if accepted in _ACCEPT),
        transport=extra.transport,
        classification=prop.classification,
        description=prop.description or "",
        identifier=extra.identifier,
        unit=extra.unit,
        purpose=tuple(extra.purpose),
        region=extra.region,
        retention=extra.retention,
        handling=extra.handling,
        deprecated=extra.deprecated.compiled() if extra.deprecated else None,
    )


def _type(prop: SchemaProperty, where: str, problems: list[str]) -> tuple[ColumnType, int, int]:
    """The type of a column, and the precision and scale of a decimal."""
    logical = prop.logicalType or "string"
    default_physical = {"integer": "int64", "number": "double", "object": "json", "array": "json"}.get(logical, logical)
    physical = (prop.physicalType or default_physical).replace(" ", "")
    decimal = _DECIMAL.fullmatch(physical)
    if logical == "number" and decimal:
        return ColumnType.DECIMAL, int(decimal[1]), int(decimal[2])
    column_type = _TYPES.get((logical, physical))
    if column_type is None:
        known = ", ".join(f"{a} as {b}" for a, b in _TYPES) + ", number as decimal(p,s)"
        problems.append(f"{where}: no type {logical} as {physical}; known: {known}")
    return column_type or ColumnType.STRING, 0, 0


def _options(prop: SchemaProperty, where: str, problems: list[str]) -> dict[str, Any]:
    """``logicalTypeOptions`` without a format that nobody knows."""
    options: dict[str, Any] = dict(prop.logicalTypeOptions or {})
    allowed = {*_TEXT_OPTIONS, "minimum", "maximum"}
    problems += [f"{where}: logicalTypeOptions.{key} is not supported" for key in options if key not in allowed]
    if options.get("format") and options["format"] not in FORMATS:
        problems.append(f"{where}: no format {options['format']!r}; known: {', '.join(FORMATS)}")
        del options["format"]
    return options


def _bounds(
    column_type: ColumnType, options: dict[str, Any], where: str, problems: list[str]
) -> tuple[int | float | Decimal | date | None, int | float | Decimal | date | None]:
    """Minimum and maximum; takes a pattern that cannot be read out of the options."""
    try:
        minimum, maximum = (_bound(column_type, options.get(key)) for key in ("minimum", "maximum"))
        re.compile(options.get("pattern") or "")
    except (ValueError, ArithmeticError, TypeError, re.error):
        problems.append(f"{where}: minimum, maximum or pattern cannot be read")
        options.pop("pattern", None)
        return None, None
    return minimum, maximum


def _check_text_options(
    prop: SchemaProperty, column_type: ColumnType, options: dict[str, Any], where: str, problems: list[str]
) -> None:
    """What is for strings; takes what does not fit out of the options."""
    if column_type is not ColumnType.STRING:
        odd = [key for key in _TEXT_OPTIONS if options.pop(key, None) is not None]
        odd += ["enum"] if prop.enum else []
        problems += [f"{where}: {key} is for strings, not for {column_type}" for key in odd]
    if options.get("pattern") and options.get("format"):
        problems.append(f"{where}: pattern and format: give one of them")
    for key in ("minLength", "maxLength"):
        if options.get(key) is not None and (type(options[key]) is not int or options[key] < 0):
            problems.append(f"{where}: {key}: {options[key]!r} is not a length")
            del options[key]


def _bound(column_type: ColumnType, value: Any) -> int | float | Decimal | date | None:
    if value is None:
        return None
    if column_type is ColumnType.DATE:
        return date.fromisoformat(str(value))
    if column_type is ColumnType.DECIMAL:
        return Decimal(str(value))
    if column_type in (ColumnType.INTEGER, ColumnType.NUMBER) and type(value) in (int, float):
        number: int | float = value
        return number
    raise ValueError("bounds need a number or a date")


def _kind_of(column_type: ColumnType) -> str | None:
    """Types of one kind can be compared; None for those that cannot."""
    if column_type in (ColumnType.JSON, ColumnType.BOOLEAN_MAP):
        return None
    return "number" if column_type in (ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.DECIMAL) else str(column_type)


def _custom(properties: list[CustomProperty] | None, model: type[_M], where: str, problems: list[str]) -> _M:
    """The custom properties; those that do not fit are told and left out, so that what they mean is not asked for again."""
    given = {str(item.property): item.value for item in properties or [] if item.value is not None}
    known = {field.alias or name for name, field in model.model_fields.items()}
    problems += [f"{where}: no custom property {key!r}; known: {', '.join(sorted(known))}" for key in given if key not in known]
    given = {key: value for key, value in given.items() if key in known}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        prefix = "" if where == "contract" else f"{where}: "
        problems += [prefix + told for told in problems_of(error, given)]
        return model.model_validate({k: v for k, v in given.items() if k not in {e["loc"][0] for e in error.errors()}})
