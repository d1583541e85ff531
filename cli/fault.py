"""A fault of ours as a file that can be sent: versions, the command, and where it happened; no value of anything."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from contracts.version import VERSION

_PACKAGES = ("apache-beam", "pyarrow", "pyiceberg", "confluent-kafka", "msgspec", "fastavro", "google-cloud-storage")
_PLACE = re.compile(r'^\s*File "([^"\n]+)", line (\d+), in (\S+)', re.MULTILINE)
_KIND = re.compile(r"^((?:[A-Za-z_]\w*\.)*[A-Z]\w*)(?::|$)")
_STEP = re.compile(r"\[while running '([\w/() .\-]+)'\]")


def write_fault(error: BaseException, arguments: Sequence[str], commands: click.Group, now: datetime | None = None) -> Path | None:
    """Write the file, for its owner alone, into the folder for temporary files.

    Args:
        error: what was raised.
        arguments: of the command; of them the verbs and the names of options are told, and no value.
        commands: of the command line, by which verbs are told from values.
        now: the time.

    Returns:
        Where it is; None where none could be written.
    """
    now = now or datetime.now(UTC)
    lines = [
        f"headrace {VERSION}, Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name))),
        f"at {now:%Y-%m-%dT%H:%M:%SZ}, command: headrace {' '.join(shown_arguments(arguments, commands))}",
        "",
        *places(error),
    ]
    try:
        handle, name = tempfile.mkstemp(prefix=f"headrace-fault-{now:%Y%m%dT%H%M%SZ}-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    except OSError:
        return None
    return Path(name)


def shown_arguments(arguments: Sequence[str], commands: click.Group) -> Iterator[str]:
    """Verbs and names of options; values, which may be secret or personal, as an ellipsis."""
    command: click.Command | None = commands
    for argument in arguments:
        below = None
        with contextlib.suppress(Exception):  # the verb's module may be what is broken
            below = command.get_command(click.Context(command), argument) if isinstance(command, click.Group) else None
        if below:
            command = below
            yield argument
        elif argument.startswith("--"):
            name, equals, _ = argument.partition("=")
            yield f"{name}{equals}…" if equals else name
        else:
            yield "…"


def places(error: BaseException) -> Iterator[str]:
    """The kinds of the exceptions, the first cause first, each with its places; no message, since it may quote a value.

    An exception of a worker arrives as a text that holds its traceback, so all is read from the text.
    """
    for line in "".join(traceback.format_exception(error)).splitlines():
        if place := _PLACE.match(line):
            yield f"  {_short(place[1])}:{place[2]} in {place[3]}"
        elif kind := _KIND.match(line):
            step = _STEP.search(line)
            yield kind[1] + (f" in step {step[1]}" if step else "")


def _short(name: str) -> str:
    """The path from the folder of packages on; of ours from the root of the code on. Folders of users are nobody's business."""
    for root in (str(Path(__file__).parents[1]), *sorted(filter(None, sys.path), key=len, reverse=True)):
        if name.startswith(root + os.sep):
            return name[len(root) + 1 :]
    return Path(name).name


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
