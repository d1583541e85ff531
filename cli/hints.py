"""Commands that a text advises, with the places that the user has named for this one: else they would look at another lake."""

from __future__ import annotations

import re
import shlex

import click
from click.core import ParameterSource

_PLACES = ("lake", "project")
# Verbs that take one of them, and their own verbs. A test holds them to the commands.
_VERBS: dict[str, tuple[str, ...]] = {
    "airflow": ("build", "show", "validate"),
    "changes": (),
    "contract": ("check", "compare", "diff", "docs", "export", "lint", "migrate", "register", "test"),
    "deadletter": ("close", "export", "list", "reopen", "reprocess", "show", "stats", "ticket"),
    "deliver": (),
    "drift": (),
    "ingest": (),
    "job": ("cancel", "list", "status", "stop", "supervise"),
    "lake": ("check", "clean", "compact", "downgrade", "expire", "files", "rebuild-catalog", "repair", "upgrade", "why"),
    "quality": ("accept", "release", "report", "run", "status"),
    "reconcile": (),
    "replay": ("diff", "discard", "gate", "list", "pause", "plan", "promote", "rollback", "run"),
    "status": (),
}
_OF_A_LAKE = ("check", "compare", "migrate")  # verbs of contract that look at one
_COMMAND = re.compile(
    r"\bheadrace (?:"
    + "|".join(rf"{verb} (?:{'|'.join(own)})" if own else verb for verb, own in _VERBS.items())
    + r")(?![\w-])(?P<rest>[^;\n]*)"
)


def as_given(text: str) -> str:
    """The text with ``--lake``, ``--project`` and ``--flink`` behind each command, as they were given to this one."""
    context = click.get_current_context(silent=True)
    return text if context is None else _COMMAND.sub(lambda found: _placed(found, context), text)


def _places(command: str) -> tuple[str, ...]:
    """Which of the options this command takes."""
    _, verb, own = f"{command} ".split(" ")[:3]
    if verb == "airflow" or (verb == "contract" and own not in _OF_A_LAKE):
        return ("project",)
    return (*_PLACES, "flink") if verb == "job" and own != "supervise" else _PLACES


def _placed(found: re.Match[str], context: click.Context) -> str:
    command, rest = found[0].removesuffix(found["rest"]), found["rest"]
    given = {
        name: context.params.get(name)
        for name in _places(command)
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    missing = {name: value for name, value in given.items() if not re.search(rf"--{name}[ =]\S", rest)}
    options = "".join(f" --{name} {shlex.quote(str(value))}" for name, value in missing.items())
    return f"{command}{options}{rest}"
