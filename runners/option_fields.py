"""Options: one dataclass per pipeline is the single place; command line, help, templates and records of jobs are made from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, ClassVar, TypeVar

from contracts.errors import ConfigurationError
from runners.option_readers import Reader, flag, text

SomeOptions = TypeVar("SomeOptions", bound="Options")
LAKE_HELP = "The lake: a folder, gs://BUCKET/PREFIX or s3://BUCKET/PREFIX; headrace.yaml may name it."


@dataclass(frozen=True)
class Described:
    """What a field of an options dataclass is on the command line.

    positional: an argument, not an option. reader: of one value. group: heading under which help and forms show it; "" for none.
    """

    help: str
    reader: Reader[Any] = text
    metavar: str = "TEXT"
    shown_default: str = ""
    repeated: bool = False
    group: str = ""
    positional: bool = False

    def parse(self, value: Any) -> Any:
        """The value of what a command line gave: a text, several, or True for a switch."""
        if value is True:
            return True
        return tuple(map(self.reader, value)) if self.repeated else self.reader(value)

    def values(self, value: Any) -> tuple[str, ...]:
        """The texts that give this value."""
        return tuple(map(self.reader.write, value)) if self.repeated else (self.reader.write(value),)


def argument(help_text: str) -> Any:
    """A field that is an argument of the command."""
    return field(metadata={"option": Described(help_text, positional=True)})


def option(
    help_text: str,
    reader: Reader[Any] = text,
    *,
    metavar: str = "TEXT",
    default: Any = MISSING,
    shown_default: str = "",
    repeated: bool = False,
    group: str = "",
) -> Any:
    """A field that is an option."""
    return field(default=default, metadata={"option": Described(help_text, reader, metavar, shown_default, repeated, group)})


def lake_field() -> Any:
    """``--lake``."""
    return option(LAKE_HELP, metavar="URI", default=None)


def flag_name(name: str) -> str:
    """A field as the command line calls it: ``--num-shards``."""
    return "--" + name.replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a command. COMMAND: its words behind ``headrace``."""

    COMMAND: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def described(cls) -> dict[str, tuple[Field[Any], Described]]:
        """The fields that a command line gives, by name: those without a group first, the others by group."""
        names: dict[str, None] = {}
        for part in reversed(cls.__mro__):
            for name in vars(part).get("__annotations__", ()):
                names.pop(name, None)  # a field that is declared again stands where it was declared last
                names[name] = None
        known = {item.name: (item, item.metadata["option"]) for item in fields(cls) if item.metadata}
        groups = ["", *(described.group for _, described in known.values())]
        found = [(name, known[name]) for name in names if name in known]
        return dict(sorted(found, key=lambda entry: groups.index(entry[1][1].group)))

    def check(self) -> None:
        """Whether the options fit each other.

        Raises:
            ConfigurationError: names every option that does not.
        """
        if problems := list(self.problems()):
            raise ConfigurationError("\n".join(problems))

    def problems(self) -> Iterator[str]:
        """What does not fit."""
        yield from ()

    def given(self, group: str) -> list[str]:
        """The options of this group that were given, as ``--name``."""
        return [
            flag_name(name)
            for name, (item, described) in self.described().items()
            if described.group == group and getattr(self, name) != item.default
        ]

    def arguments(self, *further: str) -> list[str]:
        """The arguments of ``headrace`` that give these options and these further ones; the inverse of ``parse``."""
        positional, optional = [], []
        for name, (item, described) in self.described().items():
            value = getattr(self, name)
            if described.positional:
                positional.append(value)
            elif value != item.default:
                optional += option_arguments(name, described, described.values(value))
        return [*self.COMMAND, *positional, *optional, *further]


def option_arguments(name: str, described: Described, values: tuple[str, ...]) -> list[str]:
    """An option with these values, as arguments."""
    if described.reader is flag:
        return [flag_name(name)] if values == ("true",) else []
    return [f"{flag_name(name)}={value}" for value in values]


def parse(options: type[SomeOptions], given: Mapping[str, Any]) -> SomeOptions:
    """Build the options from what the command line gave.

    Raises:
        ConfigurationError: names every option that is wrong or missing.
    """
    values, wrong = _values(options, given)
    missing = [
        f"{flag_name(name)} is missing: {described.help}"
        for name, (item, described) in options.described().items()
        if is_required(item) and not _is_given(given.get(name))
    ]
    if problems := missing + wrong:
        raise ConfigurationError("\n".join(problems))
    described = options.described()
    others = {item.name: given[item.name] for item in fields(options) if item.name in given and item.name not in described}
    return options(**others, **values)


def parse_given(options: type[Options], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of those options that the command line gave, by field.

    Raises:
        ConfigurationError: names every option that is wrong.
    """
    values, wrong = _values(options, given)
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    return values


def _values(options: type[Options], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What was given, read; and what is wrong with the rest."""
    values: dict[str, Any] = {}
    wrong = []
    for name, (_, described) in options.described().items():
        value = given.get(name)
        if not _is_given(value):
            continue
        try:
            values[name] = described.parse(value)
        except ValueError as error:
            wrong.append(f"{flag_name(name)} {value!r}: expected {error}")
    return values, wrong


def _is_given(value: Any) -> bool:
    return value is not None and value != () and value is not False


def is_required(item: Field[Any]) -> bool:
    """Whether an option has no default."""
    return item.default is MISSING and item.default_factory is MISSING
