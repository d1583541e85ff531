"""Options of the command line that an options dataclass declares, or that a reader reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from runners.option_fields import Options, flag_name
from runners.option_readers import Reader, flag

Command = Callable[..., Any]


class GroupedOption(click.Option):
    """An option with a heading. group: "" for those without."""

    def __init__(self, *args: Any, group: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


class GroupedCommand(click.Command):
    """Shows options under their headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Those without a heading come first."""
        sections: dict[str, list[tuple[str, str]]] = {"": []}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)):
                sections.setdefault(getattr(parameter, "group", ""), []).append(record)
        for group, records in sections.items():
            with formatter.section(group or "Options"):
                formatter.write_dl(records)


def click_options(options: type[Options]) -> Callable[[Command], Command]:
    """Adds every field as an argument or an option; values stay text, so that ``parse`` can tell all mistakes at once."""

    def decorate(command: Command) -> Command:
        for name, (_, described) in reversed(options.described().items()):
            if described.positional:
                continue
            kwargs: dict[str, Any] = {"cls": GroupedOption, "group": described.group, "help": described.help}
            if described.reader is flag:
                kwargs["is_flag"] = True
            else:
                kwargs |= {"metavar": described.metavar, "multiple": described.repeated}
                kwargs["help"] += f"  [default: {described.shown_default}]" if described.shown_default else ""
            command = click.option(flag_name(name), **kwargs)(command)
        return command

    return decorate


def read_option(name: str, metavar: str, default: str | None, reader: Reader[Any], help_text: str) -> Callable[[Command], Command]:
    """An option whose text a reader reads. default: None for none, which is not read."""

    def reading(_context: click.Context, _parameter: click.Parameter, given: str | None) -> Any:
        try:
            return None if given is None else reader(given)
        except ValueError as error:
            raise click.BadParameter(f"{given!r}: expected {error}") from None

    return click.option(name, metavar=metavar, default=default, show_default=True, callback=reading, help=help_text)
