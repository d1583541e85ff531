"""A shape says what kind of thing a value is, and nothing of what it says."""

from __future__ import annotations

import json
import random
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.deadletters.examples import shape_at
from operations.deadletters.shapes import ABSENT, PLACEHOLDERS, shape_of


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (None, "null"),
        (True, "a boolean"),
        (70077, "whole number, 5 digits"),
        (-7, "whole number, 1 digit, negative"),
        (0.5, "number with a fraction or an exponent"),
        ("+491700770077", 'text(13) "+9{12}"'),
        ("AB-12 cd", 'text(8) "AA-99 aa"'),
        ("Ada Lovelace", 'text(12) "Aaa Aa{7}"'),
        ("ädä@例え.example", 'text(14) "aaa@aa.a{7}"'),
        ("", 'text(0) ""'),
        ("undefined", 'text(9) "undefined"'),
        (" NULL ", 'text(6) "NULL" between blanks'),
        ("\x1b[2J\u202e", 'text(5) "¤[9A¤"'),
        ("a1" * 300, f'text(600) "{"a9" * 8}…"'),
        ({"email": "x"}, "object, 1 field"),
        ([1, 2], "list, 2 items"),
    ],
)
def test_shapes(value: Any, shape: str) -> None:
    assert shape_of(value) == shape


def test_a_number_that_python_does_not_write_has_a_shape() -> None:
    assert shape_of(10**6_000) == "whole number, very many digits"


def _other(character: str, chance: random.Random) -> str:
    """Another character of the same class."""
    for alphabet in (string.ascii_uppercase, string.ascii_lowercase, string.digits):
        if character in alphabet:
            return chance.choice(alphabet)
    return character


@given(st.text(st.sampled_from(string.ascii_letters + string.digits + " @.+-_")), st.randoms(use_true_random=False))
def test_texts_that_differ_in_letters_and_digits_only_have_one_shape(text: str, chance: random.Random) -> None:
    other = "".join(_other(character, chance) for character in text)
    if not PLACEHOLDERS & {text.strip().lower(), other.strip().lower()}:
        assert shape_of(text) == shape_of(other)


@given(st.text())
def test_a_shape_is_short_and_printable(text: str) -> None:
    shape = shape_of(text)
    assert len(shape) < 200 and shape.isprintable()


RECORD = json.dumps({"a": {"b": "secret"}, "x.y": 5, "n": None, "list": [1]}).encode()


@pytest.mark.parametrize(
    ("raw", "path", "shape"),
    [
        (RECORD, "a.b", 'text(6) "a{6}"'),
        (RECORD, "x.y", "whole number, 1 digit"),
        (RECORD, "n", "null"),
        (RECORD, "a.c", ABSENT),
        (RECORD, "a|n", "object, 1 field; null"),
        (RECORD, "n.deeper", ABSENT),
        (RECORD, "$", f"a record of {len(RECORD)} bytes: object, 4 fields"),
        (RECORD, "", ABSENT),
        (b"\xff\xfe", "a.b", "a record of 2 bytes"),
        (b"[" * 100_000, "a", "a record of 100,000 bytes"),
        (None, "a.b", None),
    ],
)
def test_the_shape_at_a_path_of_a_record(raw: bytes | None, path: str, shape: str | None) -> None:
    assert shape_at(raw, path) == shape
