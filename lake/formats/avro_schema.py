"""Schemas of Avro files as they are read here: logical types exactly, those that are unknown or not valid ignored, as Avro says.

Source: Apache Avro 1.12 specification, "Logical Types".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from typing import Any
from uuid import UUID

import fastavro
from fastavro import _read_py

from contracts.compiler.exact import Unheld
from lake.formats.parquet_values import UNHELD_TIME

_OWN = "headrace-"  # prefix of the logical types that are read by the functions below
_LEVELS = 100  # of types within types
_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_COMPLEX = frozenset({"array", "map", "record", "error", "enum", "fixed"})
_EXACT = Context(prec=10_000)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS_TO_1970 = date(1970, 1, 1).toordinal()
_UUID_BYTES, _DURATION_BYTES = 16, 12


class SchemaError(Exception):
    """A schema that cannot be read, or must not be: it would take memory without end."""


@dataclass(frozen=True)
class AvroSchema:
    """A file's schema.

    exact: parsed, with logical types of our own for all values. fast: the same with those of the library where they give the same
    values, but raise where a value is none. recursive: a type holds itself. empty: a record may take no bytes. nothing: the same
    record without fields, which is read by going over it; None where it is none.
    """

    exact: Any
    fast: Any
    recursive: bool
    empty: bool
    nothing: Any

    def has(self, steps: tuple[str, ...]) -> bool:
        """Whether records have a field at a path; of maps nobody knows the keys."""
        names: dict[str, Any] = {}
        _name_types(self.exact, names)
        found: list[Any] = [self.exact]
        for step in steps:
            records = [resolved for kind in found for resolved in _branches(kind, names)]
            if any(record.get("type") == "map" for record in records):
                return True
            found = [f["type"] for record in records for f in record.get("fields", ()) if f["name"] == step]
        return bool(found)


@dataclass
class _Reading:
    fast: bool
    open_names: list[str] = field(default_factory=list)
    empty_types: dict[str, bool] = field(default_factory=dict)
    recursive: bool = False


def read_schema(document: Any) -> AvroSchema:
    """A schema as it stands in a file's header, decoded from JSON.

    Raises:
        SchemaError: see there.
    """
    exact, fast = _Reading(fast=False), _Reading(fast=True)
    try:
        made, empty = _type(document, exact, 0)
        quick, _ = _type(document, fast, 0)
        parsed: Any = fastavro.parse_schema(made)
        is_record = isinstance(parsed, dict) and parsed["type"] in ("record", "error")
        nothing = fastavro.parse_schema({"type": "record", "name": parsed["name"], "fields": []}) if is_record else None
        return AvroSchema(parsed, fastavro.parse_schema(quick), exact.recursive, empty, nothing)
    except SchemaError:
        raise
    except Exception:  # whatever the library says about a schema that is none
        raise SchemaError("an Avro schema") from None


def _type(kind: Any, reading: _Reading, level: int) -> tuple[Any, bool]:
    """A type as it is read, and whether its values may take no bytes."""
    if level > _LEVELS:
        raise SchemaError(f"a schema of at most {_LEVELS} levels")
    if isinstance(kind, str):
        short = kind.rpartition(".")[2]
        reading.recursive = reading.recursive or short in reading.open_names
        return kind, kind == "null" or reading.empty_types.get(short, False)
    if isinstance(kind, list):
        return [_type(branch, reading, level + 1)[0] for branch in kind], False
    base = kind["type"]
    if isinstance(base, (dict, list)) or base not in _PRIMITIVES | _COMPLEX:  # a type, or its name, in a mapping of its own
        return _type(base, reading, level + 1)
    made = {key: kind[key] for key in ("type", "name", "namespace", "size", "symbols") if key in kind}
    if base in ("array", "map"):
        key = "items" if base == "array" else "values"
        made[key], empty = _type(kind[key], reading, level + 1)
        if base == "array" and empty:
            raise SchemaError("arrays of items that take bytes")
        return made, False
    if base in ("record", "error"):
        return _record(kind, made, reading, level)
    if base == "fixed":
        reading.empty_types[str(kind["name"]).rpartition(".")[2]] = kind["size"] == 0
    return made | _logical(kind, reading.fast), base == "null" or (base == "fixed" and kind["size"] == 0)


def _record(kind: Any, made: dict[str, Any], reading: _Reading, level: int) -> tuple[Any, bool]:
    name = str(kind["name"]).rpartition(".")[2]
    reading.open_names.append(name)
    fields = [(f["name"], *_type(f["type"], reading, level + 1)) for f in kind["fields"]]
    reading.open_names.remove(name)
    made["fields"] = [{"name": field_name, "type": field_type} for field_name, field_type, _ in fields]
    reading.empty_types[name] = all(empty for *_, empty in fields)
    return made, reading.empty_types[name]


def _logical(kind: Any, fast: bool) -> dict[str, Any]:
    """The keys of a logical type as it is read; none where it is ignored."""
    base, logical = kind["type"], kind.get("logicalType")
    name = f"{base}-{logical}"
    if name in _LIBRARY:
        return {"logicalType": logical if fast else _OWN + logical}
    if name in ("bytes-decimal", "fixed-decimal"):
        precision, scale = kind.get("precision"), kind.get("scale", 0)
        whole = type(precision) is int and type(scale) is int and 0 <= scale <= precision and precision > 0
        if not whole or (base == "fixed" and 10**precision > 1 << 8 * kind["size"]):
            return {}
        return {"logicalType": _OWN + "decimal", "precision": precision, "scale": scale}
    sizes = {"fixed-uuid": _UUID_BYTES, "fixed-duration": _DURATION_BYTES}
    if name in _PLAIN or sizes.get(name) == kind.get("size", 0):
        return {"logicalType": _OWN + logical}
    return {}


def _branches(kind: Any, names: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for branch in kind if isinstance(kind, list) else [kind]:
        found = names.get(branch) if isinstance(branch, str) else branch
        if isinstance(found, dict):
            yield found


def _name_types(kind: Any, names: dict[str, Any]) -> None:
    for branch in kind if isinstance(kind, list) else [kind]:
        if isinstance(branch, dict):
            if "name" in branch:
                names[branch["name"]] = branch
            for part in (*(f["type"] for f in branch.get("fields", ())), branch.get("items"), branch.get("values")):
                _name_types(part, names)


# What the library gives as we would, or raises. Not times of day: it makes one of any number.
_LIBRARY = frozenset(
    {
        "int-date", "long-timestamp-millis", "long-timestamp-micros", "long-local-timestamp-millis", "long-local-timestamp-micros",
    }
)  # fmt: skip


_PLAIN = frozenset(
    {"int-time-millis", "long-time-micros", "long-timestamp-nanos", "long-local-timestamp-nanos", "bytes-big-decimal"}
)


def _read_date(days: int, *_: Any) -> Any:
    try:
        return date.fromordinal(days + _DAYS_TO_1970)
    except (OverflowError, ValueError):
        return Unheld(*UNHELD_TIME, days)


def _time_reader(per_second: int) -> Callable[..., Any]:
    def read(number: int, *_: Any) -> Any:
        if not 0 <= number < 86_400 * per_second:
            return Unheld("timestamp", "a time of day", number)
        return (_EPOCH + timedelta(microseconds=number * 1_000_000 // per_second)).time()

    return read


def _timestamp_reader(per_second: int, *, local: bool) -> Callable[..., Any]:
    epoch = _EPOCH.replace(tzinfo=None) if local else _EPOCH

    def read(number: int, *_: Any) -> Any:
        try:
            return epoch + timedelta(microseconds=number * 1_000_000 // per_second)
        except OverflowError:
            return Unheld(*UNHELD_TIME, number)

    return read


def _read_decimal(stored: bytes, schema: Any, *_: Any) -> Decimal:
    """All the digits that are there; writers do not hold to the precision that they declare."""
    return Decimal(int.from_bytes(stored, "big", signed=True)).scaleb(-schema["scale"], _EXACT)


def _read_big_decimal(stored: bytes, *_: Any) -> Any:
    size, begin = read_long(stored, 0)
    scale, end = read_long(stored, begin + size) if begin else (0, 0)
    if not begin or end != len(stored) or size < 0 or abs(scale) > _LEVELS:
        return stored
    return Decimal(int.from_bytes(stored[begin : begin + size], "big", signed=True)).scaleb(-scale, _EXACT)


def _read_duration(stored: bytes, *_: Any) -> str:
    """Months, days and milliseconds as ISO 8601 writes them."""
    months, days, millis = (int.from_bytes(stored[i : i + 4], "little") for i in (0, 4, 8))
    return f"P{months}M{days}DT{millis // 1_000}.{millis % 1_000:03d}S"


def _read_uuid(stored: bytes, *_: Any) -> UUID:
    return UUID(bytes=stored)


def read_long(data: bytes, at: int) -> tuple[int, int]:
    """A zig-zag varint at this place: (value, place after it); (0, 0) where there is none."""
    value = 0
    for shift, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:  # no continuation bit
            return (value >> 1) ^ -(value & 1), at + shift + 1
    return 0, 0


_READERS: dict[str, Callable[..., Any]] = {
    f"int-{_OWN}date": _read_date,
    f"int-{_OWN}time-millis": _time_reader(1_000),
    f"long-{_OWN}time-micros": _time_reader(1_000_000),
    f"bytes-{_OWN}decimal": _read_decimal,
    f"fixed-{_OWN}decimal": _read_decimal,
    f"bytes-{_OWN}big-decimal": _read_big_decimal,
    f"fixed-{_OWN}duration": _read_duration,
    f"fixed-{_OWN}uuid": _read_uuid,
    **{
        f"long-{_OWN}{prefix}timestamp-{unit}": _timestamp_reader(per_second, local=bool(prefix))
        for prefix in ("", "local-")
        for unit, per_second in (("millis", 1_000), ("micros", 1_000_000), ("nanos", 1_000_000_000))
    },
}
# The library knows logical types by these tables: of its compiled reader, and of the one in Python.
for module in (fastavro.read, _read_py):
    module.LOGICAL_READERS.update(_READERS)
