"""Whether a quality rule fits the columns that it is about."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from decimal import Context, Decimal

from contracts.spec.model import Column, ColumnType
from contracts.spec.quality import QualityRule, RuleKind

_NO_KEY = {ColumnType.JSON, ColumnType.BOOLEAN_MAP, ColumnType.NUMBER}
_LISTED = {ColumnType.STRING, ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.DECIMAL, ColumnType.BOOLEAN}
_KEYED = {RuleKind.DUPLICATE_VALUES, RuleKind.UNIQUE, RuleKind.REFERENCES, RuleKind.AGREEMENT}
_VALUES = {
    ColumnType.STRING: (str,), ColumnType.INTEGER: (int,), ColumnType.NUMBER: (int, float), ColumnType.DECIMAL: (int, float),
    ColumnType.BOOLEAN: (bool,),
}  # fmt: skip


def rule_problems(rule: QualityRule, columns: Mapping[str, Column]) -> Iterator[str]:
    """Sentences about what a rule says of columns that it cannot say."""
    for name in rule.columns:
        column = columns.get(name)
        if column is None:
            yield f"no column {name!r}; correct its name"
        else:
            yield from _misfits(rule, column)


def _misfits(rule: QualityRule, column: Column) -> Iterator[str]:
    if rule.kind in _KEYED and column.type in _NO_KEY:
        yield f"{column.name} is of type {column.type}, which is no key; name columns of another type"
    if rule.kind is RuleKind.DISTRIBUTION and column.type not in _LISTED:
        yield f"{column.name} is of type {column.type}, whose values are not compared; null_share is for any type"
    if rule.pattern is not None:
        if column.type is not ColumnType.STRING:
            yield f"arguments.pattern is for strings, and {column.name} is of type {column.type}; use validValues"
        elif not _is_pattern(rule.pattern):
            yield "arguments.pattern is no regular expression; correct it"
    if rule.kind in (RuleKind.MISSING_VALUES, RuleKind.INVALID_VALUES) and (wrong := _of_other_type(rule, column)):
        yield f"arguments: {wrong!r} is no value of {column.name}, which is of type {column.type}; remove it"


def _of_other_type(rule: QualityRule, column: Column) -> object:
    return next((value for value in rule.values if value is not None and not _is_value_of(value, column)), None)


def _is_value_of(value: object, column: Column) -> bool:
    """Whether a column can have a value just as it is written: what had to be rounded would be another one."""
    kinds = _VALUES.get(column.type, ())
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return False
    if column.type is ColumnType.INTEGER and isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            return False
        if column.type is ColumnType.NUMBER:
            return abs(value) < 2**1023 and float(value) == value
        if column.type is ColumnType.DECIMAL:
            return _fits(Decimal(str(value)), column)
    return True


def _fits(value: Decimal, column: Column) -> bool:
    scaled = value.scaleb(column.scale, Context(prec=400))
    return scaled == scaled.to_integral_value() and abs(scaled) < 10**column.precision


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True
