"""One payload value into one column: the judge's half of every single-column rule.

Payload values are what decoders give: JSON's (str, int, float, bool, list, dict), text only (CSV), or typed (Avro, Parquet:
also Decimal, datetime, date, bytes, UUID). Nothing here quotes a value in a message.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Context, Decimal, InvalidOperation
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from contracts.compiler.exact import CANONICAL_JSON, Unheld, decimal_of, decode_json, find_misfit
from contracts.compiler.timestamps import EPOCH_UNITS, MAX_US, MIN_US, epoch_to_us, parse_timestamp
from contracts.spec.model import Column, ColumnType
from contracts.units import datetime_to_us

__all__ = ["CANONICAL_JSON", "INT64_MAX", "INT64_MIN", "Broken", "TextForm", "convert", "describe"]

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_INTEGER = re.compile(r"([+-]?\d{1,30})(?:\.0*)?\Z", re.ASCII)  # 12.0 as pandas writes integers beside nulls
_NUMBER = re.compile(r"[+-]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][+-]?\d{1,3})?\Z", re.ASCII)
_DOUBLE_DIGITS = 15  # that every double gives back
_INT64_DIGITS = 18  # of the first digit's exponent
_EXACT = Context(prec=76)  # twice what Decimal128 holds; the default context would round at 28 digits
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class TextForm:
    """How a source writes what its values do not say themselves.

    text: all values are text. decimal: the separator in it. timezone: of times without one. typed: values have types beyond JSON's.
    epoch: unit of numbers since 1970 by column; ``None`` is for the columns that it does not name.
    """

    text: bool = False
    decimal: str = "."
    timezone: ZoneInfo = ZoneInfo("UTC")  # noqa: RUF009 - immutable
    typed: bool = False
    epoch: Mapping[str | None, str | None] = field(default_factory=dict)

    def unit_of(self, column: Column) -> str | None:
        """The stated unit of a column's numbers since 1970."""
        return self.epoch.get(column.name, self.epoch.get(None))


@dataclass(frozen=True)
class Broken:
    """A value that does not fit: the rule and what was expected; ``step`` is a key below the column's path."""

    rule: str
    expected: str
    step: str | None = None


def convert(column: Column, value: Any, form: TextForm) -> tuple[Any, list[Broken]]:
    """The column's canonical value (see ColumnType), or everything that is wrong with it.

    Args:
        column: what is expected.
        value: the payload's value, or None.
        form: how text is read.

    Returns:
        (value, []) or (None, the broken rules).
    """
    if value is None or (type(value) is str and value in column.null_tokens):
        return None, [Broken("required", "a value")] if column.required else []
    if isinstance(value, Unheld):
        return None, [Broken(value.rule, value.expected)]
    converted = _CONVERTERS[column.type](column, value, form)
    if isinstance(converted, Broken):
        return None, [converted]
    broken = list(_constraints(column, converted))
    return (None, broken) if broken else (converted, [])


def describe(column: Column) -> str:
    """What a column's values must look like, in a few words."""
    if column.type is ColumnType.DECIMAL:
        return f"decimal({column.precision},{column.scale})"
    if column.type is ColumnType.JSON:
        return column.json_container
    return str(column.type)


def _constraints(column: Column, value: Any) -> list[Broken]:
    broken = []
    if column.enum and value not in column.enum:
        broken.append(Broken("enum", "one of " + ", ".join(column.enum)))
    if isinstance(value, str) and column.type is ColumnType.STRING:
        if column.min_length is not None and len(value) < column.min_length:
            broken.append(Broken("length", f"at least {column.min_length} characters"))
        if column.max_length is not None and len(value) > column.max_length:
            broken.append(Broken("length", f"at most {column.max_length} characters"))
        if column.regex and not column.regex.search(value):
            broken.append(Broken("pattern", column.pattern) if column.pattern else Broken("format", column.format or ""))
    if column.minimum is not None and value < column.minimum:
        broken.append(Broken("range", f"at least {column.minimum}"))
    if column.maximum is not None and value > column.maximum:
        broken.append(Broken("range", f"at most {column.maximum}"))
    return broken


def _wrong_type(column: Column) -> Broken:
    return Broken("type", describe(column))


def _string(column: Column, value: Any, _form: TextForm) -> str | Broken:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, UUID) else _wrong_type(column)


def _reads_text(column: Column, value: Any, form: TextForm) -> bool:
    return isinstance(value, str) and (form.text or "text" in column.accept)


def _plain(column: Column, value: Any, form: TextForm) -> Any:
    """Text with the decimal point of JSON, where a number is to be read from it."""
    if not _reads_text(column, value, form) or form.decimal == ".":
        return value
    return "" if "." in value else value.replace(form.decimal, ".")


def _integer(column: Column, value: Any, form: TextForm) -> int | Broken:
    if _reads_text(column, value, form) and (match := _INTEGER.match(_plain(column, value, form))):
        value = int(match[1])
    if isinstance(value, float) and math.isfinite(value):
        value = decimal_of(value)
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        value = int(value) if value.adjusted() <= _INT64_DIGITS else INT64_MAX + 1  # JSON Schema: 1.0 is an integer
    if type(value) is not int:
        return _wrong_type(column)
    return value if INT64_MIN <= value <= INT64_MAX else Broken("range", "within 64 bits")


def _number(column: Column, value: Any, form: TextForm) -> float | Broken:
    """The nearest double; but a whole number must come out as it went in."""
    if _reads_text(column, value, form):
        text = _plain(column, value, form)
        if _NUMBER.match(text):
            value = Decimal(text) if len(text) > _DOUBLE_DIGITS else float(text)
    if type(value) is not int and not isinstance(value, (float, Decimal)):
        return _wrong_type(column)
    try:
        number = float(value)
    except (OverflowError, ValueError):  # ValueError: of a signalling NaN
        number = math.inf
    if not math.isfinite(number):
        return Broken("range", "a finite number")
    if not isinstance(value, float) and value == round(value) and decimal_of(number) != value:
        return Broken("range", "a whole number that a double holds")
    return number + 0.0


def _decimal(column: Column, value: Any, form: TextForm) -> Decimal | Broken:
    if _reads_text(column, value, form):
        text = _plain(column, value, form)
        if _NUMBER.match(text):
            value = Decimal(text)
    if isinstance(value, float):
        value = decimal_of(value)
    elif type(value) is int:
        value = Decimal(value)
    if not isinstance(value, Decimal):
        return _wrong_type(column)
    if not value.is_finite() or value.adjusted() >= column.precision - column.scale:
        return Broken("precision", describe(column)) if value.is_nan() or value else Decimal(0).scaleb(-column.scale)
    try:
        exact = value.quantize(Decimal(1).scaleb(-column.scale), context=_EXACT)
    except InvalidOperation:
        return Broken("precision", describe(column))
    if exact != value:
        return Broken("precision", describe(column))
    return exact if exact else abs(exact)  # no negative zero


def _boolean(column: Column, value: Any, form: TextForm) -> bool | Broken:
    if type(value) is bool:
        return value
    if _reads_text(column, value, form) and value.lower() in _BOOLEANS:
        return _BOOLEANS[value.lower()]
    return _wrong_type(column)


def _timestamp(column: Column, value: Any, form: TextForm) -> int | Broken:
    zone = form.timezone if "no_zone" in column.accept else None
    unit = form.unit_of(column)
    us: int | None = None
    if isinstance(value, str):
        us = parse_timestamp(value, zone)
        digits = "epoch" in column.accept and (form.text or unit is not None) and _NUMBER.match(_plain(column, value, form))
        if us is None and digits:
            us = epoch_to_us(Decimal(digits[0]), unit)
    elif isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=zone) if zone else None
        us = datetime_to_us(moment) if moment else None
    elif "epoch" in column.accept and (type(value) is int or isinstance(value, (float, Decimal))):
        us = epoch_to_us(value, unit)
    if us is not None and MIN_US <= us <= MAX_US:
        return us
    forms = ["RFC 3339 with a zone"]
    since = f"or {EPOCH_UNITS[unit]} since 1970" if unit else "or a number since the epoch"
    forms += ["or without" if a == "no_zone" else since for a in sorted(column.accept - {"text"})]
    return Broken("timestamp", " ".join(forms))


def _date(_column: Column, value: Any, _form: TextForm) -> date | Broken:
    if type(value) is date:
        return value
    if isinstance(value, str) and _DATE.match(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass  # a day that no calendar has, such as 30 February: reported below
    return Broken("timestamp", "a date, YYYY-MM-DD")


def _json(column: Column, value: Any, form: TextForm) -> str | Broken:
    if _reads_text(column, value, form):
        try:
            value = decode_json(value)
        except (msgspec.MsgspecError, RecursionError):
            return _wrong_type(column)
    if type(value) is not (list if column.json_container == "array" else dict):
        return _wrong_type(column)
    if form.typed and (misfit := find_misfit(value)):
        return Broken(misfit.rule, misfit.expected, step=misfit.step)
    return CANONICAL_JSON.encode(value).decode()


def _boolean_map(column: Column, value: Any, _form: TextForm) -> dict[str, bool] | Broken:
    if type(value) is not dict:
        return _wrong_type(column)
    for key, choice in value.items():
        if type(choice) is not bool:
            return Broken("type", "boolean", step=key)
    return dict(value)


_CONVERTERS: dict[ColumnType, Callable[[Column, Any, TextForm], Any]] = {
    ColumnType.STRING: _string,
    ColumnType.INTEGER: _integer,
    ColumnType.NUMBER: _number,
    ColumnType.DECIMAL: _decimal,
    ColumnType.BOOLEAN: _boolean,
    ColumnType.TIMESTAMP: _timestamp,
    ColumnType.DATE: _date,
    ColumnType.JSON: _json,
    ColumnType.BOOLEAN_MAP: _boolean_map,
}
