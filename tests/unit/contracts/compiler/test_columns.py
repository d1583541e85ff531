"""Every column's fast form against the judge, value by value: what it does not suspect, it reads as the judge does."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from contracts.compiler.columns import read_column
from contracts.compiler.values import TextForm, convert
from contracts.spec.model import Column
from tests.support.documents import JSON_VALUES, TEXT_VALUES, TYPED_VALUES, everything_contract

COLUMNS = everything_contract().columns
FORMS = {
    "json": (TextForm(), JSON_VALUES),
    "typed": (TextForm(timezone=ZoneInfo("Europe/Berlin")), JSON_VALUES + TYPED_VALUES),
    "text": (TextForm(text=True, timezone=ZoneInfo("America/New_York")), TEXT_VALUES),
    "text with a decimal comma": (TextForm(text=True, decimal=","), TEXT_VALUES),
}


def judged(column: Column, value: Any, form: TextForm) -> str:
    converted, broken = convert(column, value, form)
    return "broken" if broken else repr(converted)


@pytest.mark.parametrize("form_name", FORMS)
@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_values_that_are_not_suspected_are_read_as_the_judge_reads_them(column: Column, form_name: str) -> None:
    form, values = FORMS[form_name]
    expected = [judged(column, value, form) for value in values]
    found, suspects = read_column(column, list(values), form)
    together = ["broken" if i in set(suspects) else repr(value) for i, value in enumerate(found)]
    alone = []
    for value in values:
        (one,), suspect = read_column(column, [value], form)
        alone.append("broken" if set(suspect) else repr(one))
    differing = [
        (repr(v), a, b, c)
        for v, a, b, c in zip(values, expected, together, alone, strict=True)
        if "broken" not in (b, c) and not a == b == c
    ]
    assert not differing, "value, judge, in a column, alone"
    missed = [
        repr(v) for v, a, b, c in zip(values, expected, together, alone, strict=True) if a == "broken" and not b == c == "broken"
    ]
    assert not missed, "rejected by the judge and not suspected"


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_common_values_are_not_suspected_so_that_the_fast_path_stays_fast(column: Column) -> None:
    common: dict[str, Any] = {
        "id": "1", "kind": "a", "code": "A1", "email": "a@b.co", "count": 5, "count_text": 5, "size": 2.5, "size_text": 2.5,
        "flag": True, "flag_text": False, "day": None, "details": {"a": 1}, "details_text": {}, "list": [1], "choices": {"x": True},
    }  # fmt: skip
    value = common.get(column.name, "2026-11-02T10:00:00.000Z" if column.type == "timestamp" else None)
    values, suspects = read_column(column, [value] * 3, TextForm())
    assert bool(set(suspects)) == (value is None and column.required)
    assert len(values) == 3


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_column_without_any_value_suspects_all_only_where_it_is_required(column: Column, count: int) -> None:
    values, suspects = read_column(column, [None] * count, TextForm())
    assert values == [None] * count
    assert sorted(set(suspects)) == (list(range(count)) if column.required else [])
