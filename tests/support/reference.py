"""An independent reading of the rules: stdlib json for the text, jsonschema for the contract, datetime for the times.

Shares no code with the compiled checks but the exported JSON Schema, which it is there to verify.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

INTEGER_DIGITS_MAX = 4_300  # of Python's int() and of the decoder; integers are kept exactly, whatever a double would make of them

FORMATS = FormatChecker(formats=())


class UndecodableError(Exception):
    """The text is no record; ``args[0]`` is the dead letter's code."""


def decode_strictly(text: bytes, *, max_bytes: int, max_depth: int) -> dict[str, Any]:
    """RFC 8259 to the letter, plus limits; the last of duplicate keys wins.

    Raises:
        UndecodableError: with the code.
    """
    if len(text) > max_bytes:
        raise UndecodableError("too_large")
    if text.count(b"[") + text.count(b"{") > max_depth and _depth(text) > max_depth:
        raise UndecodableError("too_deep")
    try:
        decoded_text = text.decode("utf-8")
    except UnicodeDecodeError:
        raise UndecodableError("invalid_encoding") from None
    unheld: list[str] = []

    def held_float(digits: str) -> float:
        number = float(digits)
        if math.isinf(number):
            unheld.append(digits)
        return number

    def held_int(digits: str) -> int:
        if len(digits.lstrip("-")) > INTEGER_DIGITS_MAX:
            unheld.append(digits)
            return 0
        return int(digits)

    def no_constant(name: str) -> None:
        raise ValueError(name)

    try:
        record = json.loads(decoded_text, parse_float=held_float, parse_int=held_int, parse_constant=no_constant)
    except (ValueError, RecursionError):
        raise UndecodableError("malformed") from None
    if "\\u" in decoded_text and any(0xD800 <= ord(char) <= 0xDFFF for string in _strings(record) for char in string):
        raise UndecodableError("malformed")
    if unheld:
        raise UndecodableError("out_of_range")
    if not isinstance(record, dict):
        raise UndecodableError("malformed")
    return record


def _depth(text: bytes) -> int:
    """The deepest nesting of brackets outside strings, whether or not they are balanced."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in text:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


@FORMATS.checks("date-time")
def is_date_time(value: object) -> bool:  # noqa: PLR0911 - one per reason
    """RFC 3339 and some more of ISO 8601, with or without a zone, on a day that exists, in datetime's range in UTC."""
    if not isinstance(value, str):
        return True
    body, offset = _without_offset(value)
    if offset is None:
        return False
    body, mark, fraction = body.replace(",", ".").partition(".") if len(body) > 16 else (body, "", "")
    if mark and not (1 <= len(fraction) <= 12 and _digits(fraction, len(fraction))):
        return False
    if len(body) == 16:
        body += ":00"
    if len(body) != 19 or body[10] not in "Tt ":
        return False
    leaps = body.endswith(":60")
    body = body[:17] + "59" if leaps else body
    try:
        moment = datetime.strptime(body[:10] + "T" + body[11:], "%Y-%m-%dT%H:%M:%S")  # noqa: DTZ007
        if moment.strftime("%H:%M:%S") != body[11:] or moment.date().isoformat() != body[:10]:
            return False  # strptime is generous with single digits and with the digits of other scripts
        utc = moment.replace(microsecond=int(fraction[:6].ljust(6, "0") or 0), tzinfo=UTC) - offset
        after = utc + timedelta(seconds=leaps)
    except (ValueError, OverflowError):
        return False
    return not leaps or (utc.hour, utc.minute, after.day) == (23, 59, 1)


def _without_offset(text: str) -> tuple[str, timedelta | None]:
    """A text before its zone, and the offset; None where there is none such."""
    for name in ("UTC", "Z", "z"):
        if text.endswith(name):
            return text[: -len(name)].removesuffix(" "), timedelta(0)
    at = max(text.rfind("+"), text.rfind("-"))
    if at < 16:
        return text, timedelta(0)
    written = text[at + 1 :]
    hours, minutes = written[:2], written[2:].removeprefix(":") if len(written) > 2 else "00"
    if len(written) not in (2, 4, 5) or (len(written) == 5) != (written[2:3] == ":"):
        return text, None
    if not _digits(hours, 2) or not _digits(minutes, 2) or int(hours) > 23 or int(minutes) > 59:
        return text, None
    offset = timedelta(hours=int(hours), minutes=int(minutes)) * (1 if text[at] == "+" else -1)
    return text[:at].removesuffix(" "), offset


def _digits(text: str, count: int) -> bool:
    return len(text) == count and all(char in "0123456789" for char in text)


@FORMATS.checks("date")
def is_date(value: object) -> bool:
    """YYYY-MM-DD, a day that exists."""
    if not isinstance(value, str):
        return True
    try:
        return len(value) == 10 and date(int(value[:4]), int(value[5:7]), int(value[8:])).isoformat() == value
    except ValueError:
        return False


def epoch_us(number: float, unit: str | None) -> int | None:
    """A number since 1970 in microseconds: in its unit, or by 10, 13 or 16 digits; None where it is none that datetime can hold."""
    if isinstance(number, float) and not math.isfinite(number):
        return None
    exact = Fraction(repr(number)) if isinstance(number, float) else Fraction(number)
    by_digits = {10: "s", 13: "ms", 16: "us"}
    unit = unit or (by_digits.get(len(str(int(exact)))) if exact >= 1 and exact < 10**17 else None)
    if unit is None:
        return None
    us = exact * {"s": 10**6, "ms": 10**3, "us": 1, "ns": Fraction(1, 1_000)}[unit]
    whole = us.__floor__() if unit == "ns" else round(us)
    try:
        datetime(1970, 1, 1) + timedelta(microseconds=whole)  # noqa: DTZ001
    except OverflowError:
        return None
    return whole


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """As ECMA-262 reads patterns: ASCII classes, and ``$`` is the end and not before a last newline."""
    if isinstance(instance, str) and not _ecma(pattern).search(instance):
        yield ValidationError("pattern")


@lru_cache
def _ecma(pattern: str) -> re.Pattern[str]:
    out, at, in_class = "", 0, False
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            out += pattern[at : at + 2]
            at += 2
            continue
        if char == "[" and not in_class:
            in_class = True
        elif char == "]":
            in_class = False
        out += r"\Z" if char == "$" and not in_class else char
        at += 1
    return re.compile(out, re.ASCII)


def _multiple_of(_validator: Any, step: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """In decimal, as the text was written: 0.07 is a multiple of 0.01."""
    if isinstance(instance, (int, float)) and not isinstance(instance, bool):
        quotient = Fraction(Decimal(repr(instance))) / Fraction(Decimal(repr(step)))
        if quotient.denominator != 1:
            yield ValidationError("multipleOf")


def validator(schema: dict[str, Any]) -> Any:
    """A validator of one schema without references, with the formats asserted."""
    Draft202012Validator.check_schema(schema)
    parts: dict[int, Any] = {}
    kind = extend(Draft202012Validator, {"pattern": _pattern, "multipleOf": _multiple_of})

    def evolve(_self: Any, *, schema: Any) -> Any:
        return parts.get(id(schema)) or parts.setdefault(id(schema), kind(schema, format_checker=FORMATS))

    def descend(_self: Any, instance: Any, schema: Any, **_path: Any) -> Iterator[ValidationError]:
        return evolve(None, schema=schema).iter_errors(instance)

    # The library makes a new validator for each step into a schema, for the sake of references: twice the time, and none here.
    kind.evolve, kind.descend = evolve, descend
    return kind(schema, format_checker=FORMATS)
