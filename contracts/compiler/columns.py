"""The fast half of every single-column rule: a whole column of payload values at once.

``read_column`` gives canonical values and the indexes of *suspects*: records whose value may break a rule. Values that are not in
the column's common form go through ``values.convert`` one by one. Every value that the judge would reject must be named; naming
more costs only time. Built on loops that run in C: ``set``, ``map``, ``list.count``, comparison of sets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal
from typing import Any

from contracts.compiler.exact import CANONICAL_JSON
from contracts.compiler.timestamps import parse_column
from contracts.compiler.values import INT64_MAX, INT64_MIN, TextForm, convert
from contracts.spec.model import Column, ColumnType

NoneType = type(None)
Values = list[Any]


def read_column(column: Column, raw: Values, form: TextForm) -> tuple[Values, Iterable[int]]:
    """See the module.

    Args:
        column: what is expected.
        raw: one payload value per record, None where there is none. May become the result: a list of the caller's own.
        form: how text is read.
    """
    kinds = set(map(type, raw))
    if kinds <= {NoneType}:
        return raw, range(len(raw)) if column.required else ()
    if (form.text and column.type in _NO_FAST_TEXT) or (form.typed and column.type is ColumnType.JSON):
        values, odd = [None] * len(raw), [i for i, value in enumerate(raw) if value is not None]
    else:
        values, odd = _READERS[column.type](column, raw, kinds)
    suspects = []
    for i in odd:
        values[i], broken = convert(column, raw[i], form)
        if broken:
            suspects.append(i)
    return values, suspects + _unfit(column, values)


def _of_types(raw: Values, kinds: set[type], *types: type) -> tuple[Values, list[int]]:
    """The values of these exact types, None for others, and the indexes of those."""
    if kinds <= {NoneType, *types}:
        return raw, []
    odd = [i for i, value in enumerate(raw) if value is not None and type(value) not in types]
    values = list(raw)
    for i in odd:
        values[i] = None
    return values, odd


def _odd(raw: Values, values: Values) -> list[int]:
    """Indexes of the values that a fast form left out."""
    return [i for i, (before, after) in enumerate(zip(raw, values, strict=True)) if after is None and before is not None]


def _string(column: Column, raw: Values, kinds: set[type]) -> tuple[Values, list[int]]:
    values, odd = _of_types(raw, kinds, str)
    tokens = column.null_tokens
    if tokens and not tokens.isdisjoint(values):
        values = [None if value in tokens else value for value in values]
    return values, odd


def _number(_column: Column, raw: Values, _kinds: set[type]) -> tuple[Values, list[int]]:
    values = [value + 0.0 if type(value) is float and math.isfinite(value) else None for value in raw]
    return values, _odd(raw, values)


def _integer(_column: Column, raw: Values, _kinds: set[type]) -> tuple[Values, list[int]]:
    values = [value if type(value) is int and INT64_MIN <= value <= INT64_MAX else None for value in raw]
    return values, _odd(raw, values)


def _decimal(column: Column, raw: Values, _kinds: set[type]) -> tuple[Values, list[int]]:
    exponent, limit = -column.scale, Decimal(10) ** (column.precision - column.scale)

    def plain(value: Any) -> bool:
        return type(value) is Decimal and value.as_tuple()[2] == exponent and -limit < value < limit and bool(value)

    values = [value if plain(value) else None for value in raw]
    return values, _odd(raw, values)


def _boolean(_column: Column, raw: Values, kinds: set[type]) -> tuple[Values, list[int]]:
    return _of_types(raw, kinds, bool)


def _date(_column: Column, raw: Values, kinds: set[type]) -> tuple[Values, list[int]]:
    return _of_types(raw, kinds, date)


def _timestamp(column: Column, raw: Values, _kinds: set[type]) -> tuple[Values, list[int]]:
    values, odd = parse_column(raw)
    for i, value in enumerate(raw) if column.null_tokens else ():
        if type(value) is str and value in column.null_tokens:
            values[i] = None
    return values, odd


def _json(column: Column, raw: Values, kinds: set[type]) -> tuple[Values, list[int]]:
    values, odd = _of_types(raw, kinds, list if column.json_container == "array" else dict)
    encode = CANONICAL_JSON.encode
    return [None if value is None else encode(value).decode() for value in values], odd


def _boolean_map(_column: Column, raw: Values, _kinds: set[type]) -> tuple[Values, list[int]]:
    values = [value if type(value) is dict and {bool}.issuperset(map(type, value.values())) else None for value in raw]
    return values, _odd(raw, values)


# Their fast forms are those of typed values; text is converted one by one.
_NO_FAST_TEXT = frozenset({ColumnType.NUMBER, ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.JSON})

_READERS: dict[ColumnType, Callable[[Column, Values, set[type]], tuple[Values, list[int]]]] = {
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
