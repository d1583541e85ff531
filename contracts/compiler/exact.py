"""Values that the usual Python types do not hold: numbers with more digits than a double, and what a format cannot give as a value.

The law: a value comes out as it went in, or the record is rejected and the reason names the value's place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

_SAFE_LENGTH = 16  # of a text with a point: 15 digits, which every double gives back
_WITH_EXPONENT = re.compile(r"[eE]")


class ExactNumber(Decimal):
    """A JSON number with a fraction or an exponent that no double gives back; it is written as it was read."""


@dataclass(frozen=True)
class Unheld:
    """Stands where a value should be that no type of ours holds: a date beyond year 9999, text that is not UTF-8.

    rule, expected: of the violation, where a column reads it. stored: what the format stores, for the raw record.
    """

    rule: str
    expected: str
    stored: Any


@dataclass(frozen=True)
class Misfit:
    """Something inside a value that JSON does not hold: where, below the value, and why."""

    step: str
    rule: str
    expected: str


def exact_float(text: str) -> float | ExactNumber:
    """A JSON number as a double, where its shortest form is the same number, else with all its digits.

    Raises:
        ValueError: beyond what a double can hold.
    """
    number = float(text)
    if len(text) <= _SAFE_LENGTH and not _WITH_EXPONENT.search(text):
        return number
    if not math.isfinite(number):
        raise ValueError("a number beyond a double")
    exact = ExactNumber(text)
    return number if exact == Decimal(repr(number)) else exact


def decimal_of(number: float) -> Decimal:
    """The number that a double is written as: 0.1 for the double that is nearest to it."""
    return Decimal(repr(number))


def json_form(value: Any) -> Any:
    """Of values that msgspec does not know: a hook for its encoders."""
    if isinstance(value, ExactNumber):
        return msgspec.Raw(str(value).encode())
    raise TypeError(f"no JSON form of {type(value).__name__}")


def _stored(value: Any) -> Any:
    return value.stored if isinstance(value, Unheld) else json_form(value)


decode_json = msgspec.json.Decoder(float_hook=exact_float).decode
CANONICAL_JSON = msgspec.json.Encoder(order="sorted", enc_hook=json_form)
RAW_JSON = msgspec.json.Encoder(order="sorted", enc_hook=_stored)


def find_misfit(value: Any, step: str = "") -> Misfit | None:
    """The first thing inside a value of a typed format that has no JSON form; None where there is none."""
    if isinstance(value, Unheld):
        return Misfit(step, value.rule, value.expected)
    if isinstance(value, (float, Decimal)) and not math.isfinite(value):
        return Misfit(step, "range", "a finite number")
    if isinstance(value, Mapping):
        return next((found for key, item in value.items() if (found := find_misfit(item, _below(step, str(key))))), None)
    if isinstance(value, (list, tuple)):
        return next((found for i, item in enumerate(value) if (found := find_misfit(item, _below(step, str(i))))), None)
    return None


def _below(step: str, key: str) -> str:
    return f"{step}.{key}" if step else key
