"""The shape of a value: what kind of thing it is and how its characters follow each other, and nothing that it says.

Of a text the shape is a function of the classes of its characters alone: two texts that differ in letters and digits only have the
same. So it tells a phone number without its plus from one in words, and neither from another person's. Exceptions are words that
stand for nothing (PLACEHOLDERS), which are shown as they are.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from itertools import groupby
from typing import Any

PLACEHOLDERS = frozenset(
    (
        "",
        "-",
        "--",
        "?",
        "n/a",
        "na",
        "nan",
        "nil",
        "none",
        "null",
        "undefined",
        "unknown",
        "void",
        "[object object]",
        "#n/a",
        "#ref!",
    )
)
_PLAIN = frozenset(" .,:;-_/+@#%&()[]{}'\"|\\*=<>?!~^$`\t")
_MOST_RUNS = 16  # of one class of characters; longer texts are told by their length
_MOST_CHARACTERS = 4_096  # that are looked at
_REPEATED = 5  # from here on a run is written with its length
_MOST_BITS = 4_096  # Python refuses to write longer ones
ABSENT = "no value there"


def shape_of(value: Any) -> str:
    """The shape of a JSON value, in a few words: ``text(12) "+999999999999"``, ``whole number, 5 digits``, ``object, 3 fields``."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "a boolean"
    if isinstance(value, int | float):
        kind = f"whole number, {_digits(value)}" if isinstance(value, int) else "number with a fraction or an exponent"
        return kind + (", negative" if value < 0 else "")
    if isinstance(value, str):
        return _text(value)
    kind, noun = ("object", "field") if isinstance(value, Mapping) else ("list", "item")
    return f"{kind}, {len(value):,} {noun}" + ("" if len(value) == 1 else "s")


def _digits(number: int) -> str:
    if number.bit_length() > _MOST_BITS:
        return "very many digits"
    count = len(str(abs(number)))
    return "1 digit" if count == 1 else f"{count:,} digits"


def _text(text: str) -> str:
    size = f"text({len(text):,})"
    if text.strip().lower() in PLACEHOLDERS:
        return f'{size} "{text}"' if text == text.strip() else f'{size} "{text.strip()}" between blanks'
    runs = [(name, len(list(found))) for name, found in groupby(map(_class, text[:_MOST_CHARACTERS]))]
    written = "".join(name * count if count < _REPEATED else f"{name}{{{count}}}" for name, count in runs[:_MOST_RUNS])
    return f'{size} "{written}{"…" if len(runs) > _MOST_RUNS or len(text) > _MOST_CHARACTERS else ""}"'


def _class(character: str) -> str:
    """A character's class: A, a and 9 for letters and digits of any script, marks of ASCII as they are, ¤ for all else."""
    if character in _PLAIN:
        return " " if character == "\t" else character
    kind = unicodedata.category(character)
    if kind == "Lu":
        return "A"
    if kind.startswith(("L", "M")):
        return "a"
    return "9" if kind.startswith("N") else "¤"
