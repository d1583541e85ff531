"""Texts of options to values and back."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

from contracts.compiler.timestamps import parse_timestamp
from contracts.units import DURATION_UNITS, us_text

Value = TypeVar("Value")
Value_co = TypeVar("Value_co", covariant=True)
_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_LONGEST_WINDOW_S = 3_660 * DURATION_UNITS["d"]  # ten years; Beam's clock ends some windows later
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+([Zz]|[+-][0-9:]+)"


@dataclass(frozen=True)
class Reader(Generic[Value_co]):
    """Text to value, or ValueError that says what is expected; and back.

    pattern: a regular expression for whole texts, without look-around, so that any engine takes it; the reader judges what matches.
    Empty where any text is taken. write: value to a text that reads as this value. choices: all texts, where there are few.
    number: whether it takes whole numbers.
    """

    read: Callable[[str], Value_co]
    pattern: str
    write: Callable[[Any], str] = str
    choices: tuple[str, ...] = ()
    number: bool = False

    def __call__(self, given: str) -> Value_co:
        """The value."""
        return self.read(given)


def reads(
    pattern: str, write: Callable[[Any], str] = str, *, number: bool = False
) -> Callable[[Callable[[str], Value]], Reader[Value]]:
    """Makes a reader of a function."""
    return lambda read: Reader(read, pattern, write, number=number)


def in_largest_unit(units: dict[str, int]) -> Callable[[int], str]:
    """Writes a number in the largest of these units that divides it."""
    largest_first = sorted(units.items(), key=lambda unit: -unit[1])
    return lambda value: next(f"{value // size}{unit}" for unit, size in largest_first if value % size == 0)


def as_decimal(value: float) -> str:
    """A number without an exponent, exactly."""
    return format(Decimal(repr(value)), "f")


text = Reader(str, "")


@reads("true|false", lambda value: "true" if value else "false")
def flag(given: str) -> bool:
    """A switch; on a command line it is there or not."""
    if given not in ("true", "false"):
        raise ValueError("true or false")
    return given == "true"


@reads(r"[0-9]+ ?[KkMmGgTt]?([Ii]?[Bb])?", in_largest_unit(_SIZES))
def size(given: str) -> int:
    """``512M``, ``1GiB``, ``1048576`` to bytes."""
    match = re.fullmatch(r"(\d+)\s*([KMGT]?)(?:i?B)?", given, re.IGNORECASE)
    if not match or int(match[1]) == 0:
        raise ValueError("a size such as 512M or 1G")
    return int(match[1]) * _SIZES[match[2].upper()]


@reads(r"[0-9]+ ?[smhd]", in_largest_unit(DURATION_UNITS))
def duration(given: str) -> int:
    """``90s``, ``15m``, ``1h``, ``7d`` to seconds."""
    match = re.fullmatch(r"(\d+)\s*([smhd])", given)
    if not match or int(match[1]) == 0:
        raise ValueError("a duration such as 90s, 15m, 1h or 7d")
    return int(match[1]) * DURATION_UNITS[match[2]]


@reads(duration.pattern, lambda seconds: duration.write(seconds) if seconds else "0s")
def duration_or_zero(given: str) -> int:
    """A duration, or ``0s``."""
    return 0 if given == "0s" else duration(given)


@reads(duration.pattern, duration.write)
def window_length(given: str) -> int:
    """The length of windows, in seconds."""
    seconds = duration(given)
    day = DURATION_UNITS["d"]
    if seconds % 60 or (day % seconds and seconds % day) or seconds > _LONGEST_WINDOW_S:
        raise ValueError("whole minutes that divide a day, such as 1h, or whole days up to 3660d, such as 1d or 30d")
    return seconds


def or_word(word: str, reader: Reader[Value]) -> Reader[Value | None]:
    """What another reader takes, or this word, which is None."""

    @reads(f"{word}|{reader.pattern}", lambda value: word if value is None else reader.write(value))
    def read(given: str) -> Value | None:
        try:
            return None if given == word else reader(given)
        except ValueError as error:
            raise ValueError(f"{word}, or {error}") from None

    return read


def moment(*words: str, unit_us: int = 1_000) -> Reader[str | int]:
    """One of these words, or a time; as the word or a number of this unit, milliseconds by default, since 1970."""

    def write(value: str | int) -> str:
        return value if isinstance(value, str) else us_text(value * unit_us)

    @reads("|".join((*words, _TIME)), write)
    def read(given: str) -> str | int:
        if given in words:
            return given
        microseconds = parse_timestamp(given, None)
        if microseconds is None:
            raise ValueError(f"{', '.join(words)}{' or ' if words else ''}a time such as 2026-11-23T06:00:00Z")
        return microseconds // unit_us

    return read


@reads(r"[0-9]*\.?[0-9]+%?", as_decimal)
def share(given: str) -> float:
    """``10%`` or ``0.1`` to a share between 0 and 1."""
    try:
        value = float(given.removesuffix("%")) / (100 if given.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError("a share such as 10% or 0.1")
    return value


def whole(low: int, high: int) -> Reader[int]:
    """A whole number within these bounds, both included."""

    @reads(r"[0-9]{1,18}", number=True)
    def read(given: str) -> int:
        if not re.fullmatch(r"\d{1,18}", given) or not low <= int(given) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(given)

    return read


def one_of(*names: str) -> Reader[str]:
    """One of these words."""

    def read(given: str) -> str:
        if given not in names:
            raise ValueError(" or ".join(names))
        return given

    return Reader(read, "|".join(names), choices=names)
