"""Options: one dataclass per pipeline is the single place; the command line, its help and the docs are made from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Generic, TypeVar

import click

from contracts.errors import ConfigurationError

Options = TypeVar("Options")
Value_co = TypeVar("Value_co", covariant=True)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True)
class Reader(Generic[Value_co]):
    """Text to value, or ValueError that says what is expected; with what those who cannot call it know of the texts it takes.

    pattern: a regular expression for whole texts, without look-around, so that any engine takes it; the reader judges what matches.
    choices: all texts, where there are few. number: whether it takes whole numbers.
    """

    read: Callable[[str], Value_co]
    pattern: str
    choices: tuple[str, ...] = ()
    number: bool = False

    def __call__(self, text: str) -> Value_co:
        """The value."""
        return self.read(text)


def reads(pattern: str, *, number: bool = False) -> Callable[[Callable[[str], Value_co]], Reader[Value_co]]:
    """Makes a reader of a function."""
    return lambda read: Reader(read, pattern, number=number)


@dataclass(frozen=True)
class Described:
    """What the command line says about an option. read: text to value, or ValueError that says what is expected."""

    help: str
    read: Callable[[str], Any]
    metavar: str
    shown_default: str
    repeated: bool


def option(
    help_text: str,
    read: Callable[[str], Any] = str,
    *,
    metavar: str = "TEXT",
    default: Any = MISSING,
    shown_default: str = "",
    repeated: bool = False,
) -> Any:
    """A field of an options dataclass."""
    described = Described(help_text, read, metavar, shown_default, repeated)
    return field(default=default, metadata={"option": described})


@reads(r"[0-9]+ ?[KkMmGgTt]?([Ii]?[Bb])?")
def size(text: str) -> int:
    """``512M``, ``1GiB``, ``1048576`` to bytes."""
    match = re.fullmatch(r"(\d+)\s*([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if not match or int(match[1]) == 0:
        raise ValueError("a size such as 512M or 1G")
    return int(match[1]) * _UNITS[match[2].upper()]


@reads(r"[0-9]+ ?[smhd]")
def duration(text: str) -> int:
    """``90s``, ``15m``, ``1h``, ``7d`` to seconds."""
    match = re.fullmatch(r"(\d+)\s*([smhd])", text)
    if not match or int(match[1]) == 0:
        raise ValueError("a duration such as 90s, 15m, 1h or 7d")
    return int(match[1]) * _SECONDS[match[2]]


@reads(r"[0-9]*\.?[0-9]+%?")
def share(text: str) -> float:
    """``10%`` or ``0.1`` to a share between 0 and 1."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError("a share such as 10% or 0.1")
    return value


def whole(low: int, high: int) -> Reader[int]:
    """A whole number within these bounds, both included."""

    @reads(r"[0-9]{1,18}", number=True)
    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,18}", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return read


def one_of(*names: str) -> Reader[str]:
    """A reader of one of these words."""

    def read(text: str) -> str:
        if text not in names:
            raise ValueError(" or ".join(names))
        return text

    return Reader(read, "|".join(names), choices=names)


def flag(text: str) -> bool:
    """Whether a switch is given."""
    return text == "true"


def click_options(options: type[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds every field as an option; values stay text, so that ``parse`` can tell all mistakes at once."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for item in reversed(fields(options)):
            described: Described | None = item.metadata.get("option")
            if described is None:
                continue
            name = "--" + item.name.replace("_", "-")
            if described.read is flag:
                command = click.option(name, is_flag=True, help=described.help)(command)
                continue
            default = f"  [default: {described.shown_default}]" if described.shown_default else ""
            command = click.option(name, metavar=described.metavar, multiple=described.repeated, help=described.help + default)(
                command
            )
        return command

    return decorate


def parse(options: type[Options], given: Mapping[str, Any]) -> Options:
    """Build the options from what the command line gave.

    Raises:
        ConfigurationError: names every option that is wrong or missing.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for item in fields(options):  # type: ignore[arg-type]
        described: Described | None = item.metadata.get("option")
        text = given.get(item.name)
        if described is None or text is None or text == () or text is False:
            if described is None and item.name in given:
                values[item.name] = given[item.name]
            elif is_required(item):
                problems.append(f"--{item.name.replace('_', '-')} is missing: {described.help if described else ''}")
            continue
        try:
            if described.read is flag:
                values[item.name] = True
            elif described.repeated:
                values[item.name] = tuple(described.read(part) for part in text)
            else:
                values[item.name] = described.read(text)
        except ValueError as error:
            problems.append(f"--{item.name.replace('_', '-')} {text!r}: expected {error}")
    if problems:
        raise ConfigurationError("\n".join(problems))
    return options(**values)


def is_required(item: Field[Any]) -> bool:
    """Whether an option has no default."""
    return item.default is MISSING and item.default_factory is MISSING
