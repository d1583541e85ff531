"""One value into one column: what is read, what is refused and why, at every boundary."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.compiler.exact import Unheld, decode_json
from contracts.compiler.timestamps import MAX_US, MIN_US
from contracts.compiler.values import Broken, TextForm, convert
from contracts.spec.model import Column, ColumnType
from tests.support.documents import JSON_VALUES, TEXT_VALUES, TYPED_VALUES, everything_contract

JSON, TEXT, COMMA = TextForm(), TextForm(text=True), TextForm(text=True, decimal=",")
T = ColumnType


def read(kind: ColumnType, value: Any, form: TextForm = JSON, **options: Any) -> Any:
    """The canonical value, or the name of the broken rule."""
    if kind is T.DECIMAL:
        options = {"precision": 6, "scale": 2} | options
    converted, broken = convert(Column(name="c", type=kind, **options), value, form)
    assert broken or not isinstance(converted, Broken)
    return broken[0].rule if broken else converted


CASES: list[tuple[ColumnType, Any, TextForm, Any]] = [
    (T.STRING, "", JSON, ""), (T.STRING, "a\x00b", JSON, "a\x00b"), (T.STRING, 5, JSON, "type"), (T.STRING, True, JSON, "type"),
    (T.STRING, UUID(int=7), JSON, "00000000-0000-0000-0000-000000000007"), (T.STRING, b"x", JSON, "type"),
    (T.INTEGER, 2**63 - 1, JSON, 2**63 - 1), (T.INTEGER, 2**63, JSON, "range"), (T.INTEGER, -(2**63), JSON, -(2**63)),
    (T.INTEGER, -(2**63) - 1, JSON, "range"), (T.INTEGER, 1.0, JSON, 1), (T.INTEGER, 1.5, JSON, "type"), (T.INTEGER, True, JSON,
    "type"),
    (T.INTEGER, "1", JSON, "type"), (T.INTEGER, "1", TEXT, 1), (T.INTEGER, "+01", TEXT, 1), (T.INTEGER, "1.0", TEXT, 1),
    (T.INTEGER, " 1", TEXT, "type"), (T.INTEGER, "1\n", TEXT, "type"), (T.INTEGER, "١", TEXT, "type"), (T.INTEGER, "1_0", TEXT,
    "type"),
    (T.INTEGER, "92233720368547758070", TEXT, "range"), (T.INTEGER, Decimal("7"), JSON, 7), (T.INTEGER, Decimal("NaN"), JSON,
    "type"),
    (T.NUMBER, 1, JSON, 1.0), (T.NUMBER, 10**400, JSON, "range"), (T.NUMBER, float("nan"), JSON, "range"), (T.NUMBER, "1.5",
    JSON, "type"),
    (T.NUMBER, "1.5", TEXT, 1.5), (T.NUMBER, "1,5", TEXT, "type"), (T.NUMBER, "1,5", COMMA, 1.5), (T.NUMBER, "1.5", COMMA, "type"),
    (T.NUMBER, "1.234,5", COMMA, "type"), (T.NUMBER, "4.47E+11", TEXT, 4.47e11), (T.NUMBER, "1e400", TEXT, "range"), (T.NUMBER,
    "NaN", TEXT, "type"),
    (T.DECIMAL, "9999.99", TEXT, Decimal("9999.99")), (T.DECIMAL, "10000", TEXT, "precision"), (T.DECIMAL, "1.005", TEXT,
    "precision"),
    (T.DECIMAL, "1.500", TEXT, Decimal("1.50")), (T.DECIMAL, "1,5", COMMA, Decimal("1.50")), (T.DECIMAL, "0e99", TEXT,
    Decimal("0.00")),
    (T.DECIMAL, "-0", TEXT, Decimal("0.00")), (T.DECIMAL, 0.07, JSON, Decimal("0.07")), (T.DECIMAL, 0.1 + 0.2, JSON, "precision"),
    (T.DECIMAL, 7, JSON, Decimal("7.00")), (T.DECIMAL, True, JSON, "type"), (T.DECIMAL, Decimal("Infinity"), JSON, "precision"),
    (T.DECIMAL, Decimal("NaN"), JSON, "precision"), (T.DECIMAL, 1e300, JSON, "precision"), (T.DECIMAL, 10**400, JSON, "precision"),
    (T.BOOLEAN, True, JSON, True), (T.BOOLEAN, 1, JSON, "type"), (T.BOOLEAN, "true", JSON, "type"), (T.BOOLEAN, "TRUE", TEXT, True),
    (T.BOOLEAN, "no", TEXT, False), (T.BOOLEAN, "0", TEXT, False), (T.BOOLEAN, "on", TEXT, "type"),
    (T.DATE, "2024-02-29", JSON, date(2024, 2, 29)), (T.DATE, "2023-02-29", JSON, "timestamp"), (T.DATE, "20240229", JSON,
    "timestamp"),
    (T.DATE, "2024-02-29\n", JSON, "timestamp"), (T.DATE, datetime(2024, 1, 1, tzinfo=UTC), JSON, "timestamp"), (T.DATE,
    "31.02.1990", TEXT, "timestamp"),
    (T.JSON, {"b": 1, "a": {"d": "ü", "c": 2**64}}, JSON, '{"a":{"c":18446744073709551616,"d":"ü"},"b":1}'), (T.JSON, [], JSON,
    "type"),
    (T.JSON, "{}", JSON, "type"), (T.JSON, '{"b": 1, "a": 2}', TEXT, '{"a":2,"b":1}'), (T.JSON, "[1]", TEXT, "type"), (T.JSON,
    "{", TEXT, "type"),
    (T.BOOLEAN_MAP, {"a": True}, JSON, {"a": True}), (T.BOOLEAN_MAP, {}, JSON, {}), (T.BOOLEAN_MAP, {"a": None}, JSON, "type"),
    (T.BOOLEAN_MAP, {"a": 1}, JSON, "type"), (T.BOOLEAN_MAP, [], JSON, "type"),
    (T.TIMESTAMP, "1970-01-01T00:00:01Z", JSON, 1_000_000), (T.TIMESTAMP, 1, JSON, "timestamp"), (T.TIMESTAMP, "1", TEXT,
    "timestamp"),
    (T.TIMESTAMP, True, JSON, "timestamp"), (T.TIMESTAMP, datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), JSON, 0),
    (T.TIMESTAMP, datetime(1970, 1, 1), JSON, "timestamp"), (T.TIMESTAMP, datetime(1, 1, 1, tzinfo=UTC), JSON, MIN_US),  # noqa: DTZ001
    (T.TIMESTAMP, datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), JSON, "timestamp"),
    (T.TIMESTAMP, datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), JSON, MAX_US),
    (T.TIMESTAMP, datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone(-timedelta(minutes=1))), JSON, "timestamp"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "value", "form", "expected"), CASES, ids=[f"{i}-{case[0]}-{str(case[1])[:20]!a}" for i, case in enumerate(CASES)]
)
def test_a_value_is_read_or_refused(kind: ColumnType, value: Any, form: TextForm, expected: Any) -> None:
    assert repr(read(kind, value, form)) == repr(expected)


def test_negative_zero_is_zero() -> None:
    assert str(read(T.NUMBER, -0.0)) == "0.0"
    assert str(read(T.DECIMAL, Decimal("-0.00"))) == "0.00"


@given(st.integers(-(10**38) + 1, 10**38 - 1), st.integers(0, 38))
def test_decimals_of_38_digits_are_exact(unscaled: int, scale: int) -> None:
    value = Decimal((int(unscaled < 0), tuple(map(int, str(abs(unscaled)))), -scale))
    assert read(T.DECIMAL, value, precision=38, scale=scale) == value
    assert read(T.DECIMAL, f"{value:f}", TEXT, precision=38, scale=scale) == value


def test_a_decimal_of_39_digits_is_refused() -> None:
    assert read(T.DECIMAL, Decimal(10**38), precision=38, scale=0) == "precision"


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)


@given(NUMBERS)
def test_a_json_number_comes_out_as_it_went_in_or_is_refused(text: str) -> None:
    """Through JSON columns, decimals and integers: what comes out is the same number, read by decimal's own parser."""
    given = Decimal(text)
    value = decode_json(text)
    kept = read(T.JSON, {"n": value})
    assert Decimal(kept.removeprefix('{"n":').removesuffix("}")) == given
    for kind in (T.INTEGER, T.DECIMAL):
        found = read(kind, value, precision=38, scale=12)
        assert found in ("type", "range", "precision") or Decimal(found) == given
    whole, number = given == given.to_integral_value(), read(T.NUMBER, value)
    assert number == "range" if whole and Decimal(repr(float(text))) != given else number == float(text)


@given(NUMBERS)
def test_a_number_in_text_comes_out_as_it_went_in_or_is_refused(text: str) -> None:
    given = Decimal(text)
    for kind in (T.INTEGER, T.DECIMAL):
        found = read(kind, text, TEXT, precision=38, scale=12)
        assert found in ("type", "range", "precision") or Decimal(found) == given


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (T.INTEGER, "12.0", 12), (T.INTEGER, "12.", 12), (T.INTEGER, "-9007199254740993.000", -9007199254740993),
        (T.INTEGER, "12.5", "type"), (T.INTEGER, ".0", "type"), (T.INTEGER, "4.47E+11", "type"), (T.INTEGER, " 12", "type"),
        (T.NUMBER, ".5", 0.5), (T.NUMBER, "5.", 5.0), (T.NUMBER, "-.5e2", -50.0), (T.NUMBER, ".", "type"),
        (T.DECIMAL, ".5", Decimal("0.50")), (T.DECIMAL, "5.", Decimal("5.00")), (T.NUMBER, "9007199254740993", "range"),
        (T.NUMBER, "0.1234567890123456789", 0.12345678901234568),
    ],
)  # fmt: skip
def test_numbers_as_exporters_write_them(kind: ColumnType, text: str, expected: Any) -> None:
    assert read(kind, text, TEXT, precision=12, scale=2) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, float("nan")]}, ("range", "a.1")),
        ({"a": {"b": float("inf")}}, ("range", "a.b")),
        ({"a": Decimal("NaN")}, ("range", "a")),
        ({"a": Unheld("encoding", "UTF-8", b"\xff")}, ("encoding", "a")),
        ({"a": Decimal("1.50"), "t": time(10, 0, 0, 5), "d": timedelta(days=1, seconds=2), "b": b"\xff"}, None),
    ],
)
def test_what_json_does_not_hold_is_refused_at_its_place(value: Any, expected: tuple[str, str] | None) -> None:
    column = Column(name="c", type=T.JSON)
    text, broken = convert(column, value, TextForm(typed=True))
    assert [(b.rule, b.step) for b in broken] == ([] if expected is None else [expected])
    if expected is None:
        assert text == '{"a":"1.50","b":"/w==","d":"P1DT2S","t":"10:00:00.000005"}'


@pytest.mark.parametrize(
    ("value", "form", "accept", "expected"),
    [
        (1_762_077_600, JSON, {"epoch"}, 1_762_077_600_000_000), ("1762077600", JSON, {"epoch"}, "timestamp"),
        ("1762077600", TEXT, {"epoch"}, 1_762_077_600_000_000), ("1762077600.5", TEXT, {"epoch"}, 1_762_077_600_500_000),
        ("1e400", TEXT, {"epoch"}, "timestamp"), ("9" * 400, TEXT, {"epoch"}, "timestamp"), (10**400, JSON, {"epoch"}, "timestamp"),
        (float("inf"), JSON, {"epoch"}, "timestamp"), ("1970-01-01T01:00:00", JSON, {"no_zone"}, 0), ("1970-01-01 01:00:00",
        TEXT, {"no_zone"}, 0),
        (datetime(1970, 1, 1, 1), JSON, {"no_zone"}, 0), (datetime(1, 1, 1), JSON, {"no_zone"}, "timestamp"),  # noqa: DTZ001
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_timestamps_in_other_forms_only_where_the_contract_accepts_them(
    value: Any, form: TextForm, accept: set[str], expected: Any
) -> None:
    form = TextForm(form.text, form.decimal, ZoneInfo("Europe/Berlin"))
    assert read(T.TIMESTAMP, value, form, accept=frozenset(accept)) == expected
    assert read(T.TIMESTAMP, value, form) == "timestamp"


@pytest.mark.parametrize(
    ("options", "good", "bad", "rule"),
    [
        ({"min_length": 2}, "ab", "a", "length"), ({"max_length": 2}, "🧡🧡", "abc", "length"), ({"enum": ("a", "b")}, "a", "A",
        "enum"),
        ({"pattern": "^a+$"}, "aa", "aa\n", "pattern"), ({"pattern": "b"}, "abc", "ac", "pattern"), ({"pattern": r"^\d$"}, "1",
        "١", "pattern"),
        ({"pattern": "^a$|^b$"}, "a", "a\n", "pattern"), ({"pattern": r"^[$]\$$"}, "$$", "$$\n", "pattern"),
        ({"pattern": r"^\\$"}, "\\", "\\\n", "pattern"),
        ({"format": "email"}, "a@b.co", "a(at)b.co", "format"), ({"format": "email"}, "a@b-c.co", "a@b", "format"),
        ({"format": "uuid"}, str(UUID(int=1)), str(UUID(int=1)) + "\n", "format"), ({"format": "uri"}, "https://a", "no uri",
        "format"),
    ],
)  # fmt: skip
def test_constraints_of_strings(options: dict[str, Any], good: str, bad: str, rule: str) -> None:
    assert read(T.STRING, good, **options) == good
    assert read(T.STRING, bad, **options) == rule


@pytest.mark.parametrize(
    ("kind", "options", "inside", "outside"),
    [
        (T.INTEGER, {"minimum": 1, "maximum": 3}, (1, 3), (0, 4)),
        (T.NUMBER, {"minimum": -1.5, "maximum": 2}, (-1.5, 2.0), (-1.51, 2.01)),
        (
            T.DECIMAL,
            {"minimum": Decimal("0.01"), "maximum": Decimal(5)},
            (Decimal("0.01"), Decimal("5.00")),
            (Decimal("0.00"), Decimal("5.01")),
        ),
        (T.DATE, {"minimum": date(1900, 1, 1)}, (date(1900, 1, 1),), (date(1899, 12, 31),)),
    ],
)
def test_bounds_include_themselves(
    kind: ColumnType, options: dict[str, Any], inside: tuple[Any, ...], outside: tuple[Any, ...]
) -> None:
    assert [read(kind, value, **options) for value in inside] == list(inside)
    assert [read(kind, value, **options) for value in outside] == ["range"] * len(outside)


def test_every_broken_constraint_is_told() -> None:
    column = Column(name="c", type=T.STRING, enum=("a", "b"), max_length=2, pattern="^[ab]+$")
    assert [b.rule for b in convert(column, "xyz", JSON)[1]] == ["enum", "length", "pattern"]


@pytest.mark.parametrize("value", [None, "", "null"])
def test_no_value_breaks_only_required(value: str | None) -> None:
    tokens = frozenset({"", "null"})
    assert read(T.STRING, value, null_tokens=tokens, min_length=5) is None
    assert read(T.INTEGER, value, null_tokens=tokens, required=True) == "required"


def test_a_wrong_choice_is_told_with_its_key_and_without_its_value() -> None:
    (broken,) = convert(Column(name="c", type=T.BOOLEAN_MAP), {"ads": "secret"}, JSON)[1]
    assert broken == Broken("type", "boolean", step="ads")


@pytest.mark.parametrize("form", [JSON, TEXT, COMMA], ids=["json", "text", "comma"])
def test_no_value_makes_the_judge_fail_or_quote_it(form: TextForm) -> None:
    for column in everything_contract().columns:
        for value in (*JSON_VALUES, *TYPED_VALUES, *TEXT_VALUES):
            converted, broken = convert(column, value, form)
            assert converted is None or not broken
            assert all(item.expected for item in broken)
