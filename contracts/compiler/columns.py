"""The fast half of every single-column rule: a whole column of payload values at once.

``read_column`` gives canonical values and the indexes of *suspects*: values that are not in the column's common form, or may break
a rule. It must name every value that the judge (``values.convert``) would reject or read differently; naming more costs only time.
Built on loops that run in C: ``set``, ``map``, ``list.count``, comparison of sets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from contracts.compiler.timestamps import parse_column
from contracts.compiler.values import CANONICAL_JSON, INT64_MAX, INT64_MIN
from contracts.model import Column, ColumnType

NoneType = type(None)
Values = list[Any]


def read_column(column: Column, raw: Sequence[Any], *, text: bool) -> tuple[Values, Iterable[int]]:
    """See the module.

    Args:
        column: what is expected.
        raw: one payload value per record, None where there is none.
        text: whether values are text to be parsed (CSV).
    """
    if raw.count(None) == len(raw):
        return list(raw), range(len(raw)) if column.required else ()
    values, suspects = _READERS[column.type](column, raw, text)
    suspects += _unfit(column, values)
    return values, suspects


def _of_types(raw: Sequence[Any], *types: type) -> tuple[Values, list[int]]:
    """The values of these exact types, None for others, which are suspects."""
    if set(map(type, raw)) <= {NoneType, *types}:
        return list(raw), []
    values: Values = []
    suspects: list[int] = []
    for i, value in enumerate(raw):
        fits = value is None or type(value) in types
        values.append(value if fits else None)
        if not fits:
            suspects.append(i)
    return values, suspects


def _string(column: Column, raw: Sequence[Any], _text: bool) -> tuple[Values, list[int]]:
    values, suspects = _of_types(raw, str)
    tokens = column.null_tokens
    if tokens and not tokens.isdisjoint(values):
        values = [None if value in tokens else value for value in values]
    return values, suspects


def _number(column: Column, raw: Sequence[Any], text: bool) -> tuple[Values, list[int]]:
    if text:
        return _judged(column, raw, text)
    values, suspects = _of_types(raw, int, float)
    for i, value in enumerate(values):
        if value is not None:
            try:
                values[i] = float(value) + 0.0
            except OverflowError:
                values[i] = math.inf
            if not math.isfinite(values[i]):
                suspects.append(i)
                values[i] = None
    return values, suspects


def _integer(column: Column, raw: Sequence[Any], text: bool) -> tuple[Values, list[int]]:
    if text:
        return _judged(column, raw, text)
    values, suspects = _of_types(raw, int)
    if suspects or not all(v is None or INT64_MIN <= v <= INT64_MAX for v in values):
        suspects += [i for i, v in enumerate(values) if v is not None and not INT64_MIN <= v <= INT64_MAX]
        for i in suspects:
            values[i] = None
    return values, suspects


def _decimal(column: Column, raw: Sequence[Any], _text: bool) -> tuple[Values, list[int]]:
    exponent, limit = -column.scale, Decimal(10) ** (column.precision - column.scale)
    values, suspects = _of_types(raw, Decimal)
    for i, value in enumerate(values):
        if value is None:
            continue
        sign, _, own = value.as_tuple()
        if own != exponent or not -limit < value < limit or (sign and not value):
            suspects.append(i)
            values[i] = None
    return values, suspects


def _boolean(_column: Column, raw: Sequence[Any], _text: bool) -> tuple[Values, list[int]]:
    return _of_types(raw, bool)


def _date(_column: Column, raw: Sequence[Any], _text: bool) -> tuple[Values, list[int]]:
    return _of_types(raw, date)


def _timestamp(_column: Column, raw: Sequence[Any], _text: bool) -> tuple[Values, list[int]]:
    values, suspects = parse_column(raw)
    return values, suspects


def _json(column: Column, raw: Sequence[Any], text: bool) -> tuple[Values, list[int]]:
    if text:
        return _judged(column, raw, text)
    values, suspects = _of_types(raw, list if column.json_container == "array" else dict)
    encode = CANONICAL_JSON.encode
    return [None if value is None else encode(value).decode() for value in values], suspects


def _boolean_map(_column: Column, raw: Sequence[Any], _text: bool) -> tuple[Values, list[int]]:
    values, suspects = _of_types(raw, dict)
    for i, value in enumerate(values):
        if value is not None and not set(map(type, value.values())) <= {bool}:
            suspects.append(i)
            values[i] = None
    return values, suspects


def _judged(_column: Column, raw: Sequence[Any], _text: bool) -> tuple[Values, list[int]]:
    """No fast form: every value goes to the judge."""
    return [None] * len(raw), [i for i, value in enumerate(raw) if value is not None]


_READERS: dict[ColumnType, Callable[[Column, Sequence[Any], bool], tuple[Values, list[int]]]] = {
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


def _unfit(column: Column, values: Values) -> list[int]:
    """Indexes of the values that break the column's constraints."""
    found: list[int] = []
    if column.required and None in values:
        found += [i for i, value in enumerate(values) if value is None]
    if column.enum and not {*column.enum, None}.issuperset(values):
        found += [i for i, value in enumerate(values) if value is not None and value not in column.enum]
    if column.type is ColumnType.STRING:
        if column.max_length is not None and max(map(len, filter(None, values)), default=0) > column.max_length:
            found += [i for i, value in enumerate(values) if value is not None and len(value) > column.max_length]
        if column.min_length is not None and (column.min_length > 1 or "" in values):
            found += [i for i, value in enumerate(values) if value is not None and len(value) < column.min_length]
        if column.regex:
            matches = column.regex.search
            found += [i for i, value in enumerate(values) if value is not None and not matches(value)]
    low, high = column.minimum, column.maximum
    if low is not None or high is not None:
        found += [
            i for i, value in enumerate(values)
            if value is not None and ((low is not None and value < low) or (high is not None and value > high))
        ]  # fmt: skip
    return found
