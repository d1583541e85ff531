"""Parameters of a template, made from the options of its pipeline, and the check of values that somebody gives.

Values come from consoles, schedulers and files of others. They reach the pipeline as one list of arguments and never pass a shell;
what a shell, a path or an option parser would read in another way is refused all the same, by the parameter's name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field
from typing import Any, Literal

from contracts.errors import ConfigurationError
from runners.option_fields import Described, is_required, option_arguments
from runners.option_readers import flag
from templates.build.catalog import Template

SEPARATOR = " "  # between the values of a repeated parameter: addresses of Kafka hold commas
_UNSAFE = r"`$;&|<>\\'\"(){}!#"
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.@-]*"
_ADDRESS = rf"[^\x00-\x20\x7f{_UNSAFE}-][^\x00-\x20\x7f{_UNSAFE}]*"
_PROSE = r"[^\x00-\x20\x7f`$\\<>|;&-][^\x00-\x1f\x7f`$\\<>|;&]*"
_PATTERNS = {"NAME": _NAME, "TOPIC|off": _NAME, "TEXT": _PROSE}  # by metavar, for options that take any text
_EXPECTED = {
    _NAME: "a name of letters, digits, _ . @ and -, which begins with a letter or digit",
    _ADDRESS: "a path or address without spaces and without any of ` $ ; & | < > \\ ' \" ( ) { } ! #",
    _PROSE: "a text without any of ` $ \\ < > | ; &",
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CLIMBS = re.compile(r"(?:^|[/:])\.\.(?:/|$)")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter.

    label, help: for people. pattern: whole texts match it; one: each value of a repeated parameter, between which there is one
    space. choices: the only values, where there are few. default: as text, empty where it depends on other parameters. group:
    heading in a form. parent: the parameter that this one needs. described: as the command line has it.
    """

    name: str
    label: str
    help: str
    required: bool
    kind: Literal["TEXT", "ENUM", "BOOLEAN", "NUMBER"]
    pattern: str
    one: str
    choices: tuple[str, ...] = ()
    default: str = ""
    repeated: bool = False
    group: str = ""
    parent: str = ""
    described: Described = field(default_factory=lambda: Described(""))

    def values(self, text: str) -> list[str]:
        """The values that a text holds."""
        return text.split(SEPARATOR) if self.repeated else [text]

    def problem(self, text: str) -> str | None:
        """Why this text is not taken, as a phrase; None where it is."""
        if control := _CONTROL.search(text):
            return f"holds a control character ({control[0]!r})"
        for value in self.values(text):
            if found := self._problem(value):
                return found
        return None

    def _problem(self, value: str) -> str | None:
        if value.startswith("-"):
            return "begins with a dash, which is how options begin"
        if _CLIMBS.search(value):
            return "climbs out of its folder (..)"
        if not re.fullmatch(self.one, value) and self.one in _EXPECTED:
            return f"expected {_EXPECTED[self.one]}"
        try:
            self.described.reader(value)
        except ValueError as error:
            return f"expected {error}"
        return None if re.fullmatch(self.one, value) else f"does not match {self.one}"


def parameters_of(template: Template) -> tuple[Parameter, ...]:
    """All parameters of a template: its argument, then its options by group."""
    described = template.options.described().items()
    return tuple(_parameter(item, how, template.parents.get(name, "")) for name, (item, how) in described)


def _parameter(item: Field[Any], described: Described, parent: str) -> Parameter:
    reader = described.reader
    one = reader.pattern or (_NAME if described.positional else _PATTERNS.get(described.metavar, _ADDRESS))
    # Forms fill defaults in and send them: only those that hold whatever else is given.
    default = "false" if reader is flag else described.shown_default if item.default not in (None, ()) else ""
    help_text = described.help
    if described.shown_default and not default:
        help_text += f" Left out: {described.shown_default}."
    if described.repeated:
        help_text += " Several: one space between two."
    return Parameter(
        name=item.name,
        label=item.name.replace("_", " ").capitalize(),
        help=help_text,
        required=is_required(item),
        kind="BOOLEAN" if reader is flag else "ENUM" if reader.choices else "NUMBER" if reader.number else "TEXT",
        pattern=f"^(?:{one})(?:{SEPARATOR}(?:{one}))*$" if described.repeated else f"^(?:{one})$",
        one=one,
        choices=reader.choices,
        default=default,
        repeated=described.repeated,
        group=described.group,
        parent=parent,
        described=described,
    )


def check_parameters(template: Template, given: Mapping[str, str], known: Iterable[Parameter] | None = None) -> None:
    """Whether a service that has the template's metadata, and then the pipeline, would take these values.

    Args:
        template: what is launched.
        given: values as text, by parameter.
        known: the parameters that may be given; all of the template by default.

    Raises:
        ConfigurationError: names every parameter that is unknown, missing or wrong.
    """
    by_name = {parameter.name: parameter for parameter in known or parameters_of(template)}
    problems = [_unknown(template, name, by_name) for name in given if name not in by_name]
    for name, parameter in by_name.items():
        if given.get(name, "") == "":
            if parameter.required:
                problems.append(f"{name} is missing: {parameter.help}")
            elif name in given:
                problems.append(f"{name} is empty; leave it out")
        elif problem := parameter.problem(given[name]):
            problems.append(f"{name}={_shown(given[name])}: {problem}")
    if problems:
        raise ConfigurationError(f"template {template.name}:\n  - " + "\n  - ".join(problems))


def _unknown(template: Template, name: str, known: Mapping[str, Parameter]) -> str:
    if name in {parameter.name for parameter in parameters_of(template)}:
        return f"{name}: where the job runs is not a parameter here"
    near = difflib.get_close_matches(name, known, n=1)
    return f"{_shown(name)}: no such parameter" + (f"; did you mean {near[0]}?" if near else "")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "…")


def arguments_of(template: Template, given: Mapping[str, str], beam_options: Sequence[str] = ()) -> list[str]:
    """The arguments of ``headrace`` for checked values: a list, for no shell."""
    options: list[str] = []
    for parameter in parameters_of(template):
        if parameter.name in given and parameter.name != template.argument:
            options += option_arguments(parameter.name, parameter.described, tuple(parameter.values(given[parameter.name])))
    return [*template.options.COMMAND, given[template.argument], *options, *(["--", *beam_options] if beam_options else [])]
