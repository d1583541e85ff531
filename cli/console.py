"""How the command line speaks: results on stdout, progress on stderr, errors as sentences, ``--json`` as one document."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import click
from pyiceberg.exceptions import RESTError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from cli.hints import as_given
from contracts.errors import ConfigurationError, HeadraceError
from contracts.spec.project import Project
from contracts.text import json_text, printable
from lake.ledger.ledger import LedgerEntry
from lake.location import Lake
from lake.runs.progress import Progress as RunProgress
from lake.runs.progress import repeated
from lake.storage import keep_private
from runners.option_fields import LAKE_HELP

_LINE_EVERY_S = 5.0
LEDGER_COLUMNS = ("in", "validated", "duplicate", "late", "filtered", "dead letter")
_STEPS = {
    "land": "landing files",
    "ingest": "checking",
    "fold": "folding and committing",
    "read": "reading topics",
    "account": "adding up the ledger",
    "compare": "comparing",
    "deliver": "delivering",
}
_PIPE_WIDTH = 200  # tables in files and pipes are never folded to a terminal's width


class _PlainConsole(Console):
    """Prints what it is given: payload keys and file names are no markup, and steer no terminal; lets ``| head`` end us quietly."""

    def __init__(self, *, err: bool) -> None:
        super().__init__(stderr=err, highlight=False, soft_wrap=True, markup=False, emoji=False)
        if not self.is_terminal:
            self.width = _PIPE_WIDTH

    def print(self, *objects: Any, **options: Any) -> None:
        """Print texts, escaped, and tables (their cells are)."""
        super().print(*(printable(each, keep="\n\t") if isinstance(each, str) else each for each in objects), **options)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


stdout, stderr = _PlainConsole(err=False), _PlainConsole(err=True)


def project_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--project DIR``."""
    return click.option(
        "--project", metavar="DIR", type=click.Path(path_type=Path), help="Folder with headrace.yaml; else looked for upwards."
    )(command)


def lake_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--lake URI`` of verbs that read a lake."""
    return click.option("--lake", metavar="URI", help=LAKE_HELP)(command)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout instead of tables.")(command)


def plain_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Errors that a person can act on end in a sentence and their exit code, never in a traceback."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except HeadraceError as error:
            fail(str(error), error.exit_code)
        except RESTError as error:  # of a catalog; what it says may quote anything
            fail(
                f"the catalog does not answer as it should ({type(error).__name__}). Run the same command again when it is well.", 3
            )
        except BrokenPipeError:  # whoever read our output went away, as ``head`` does: no error of ours
            raise
        except OSError as error:
            what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error).splitlines()[0]
            fail(f"{what}. What was committed stays; when that is mended, run the same command again.", 3)

    return run


def fail(message: str, exit_code: int) -> None:
    """Say what is wrong and end."""
    stderr.print(as_given(f"headrace: {message}"), style="red", markup=False)
    sys.exit(exit_code)


def load_project(project: Path | None) -> Project:
    """The project; what is written from now on is as private as it says."""
    loaded = Project.load(project)
    keep_private(loaded.files)
    return loaded


def open_lake(lake: str | None, project: Path | None) -> tuple[Lake, Project]:
    """An existing lake for a verb that reads it.

    Raises:
        ConfigurationError: there is none at that place.
    """
    loaded = load_project(project)
    opened = Lake.at(loaded.lake_location(lake), loaded.catalog)
    if not opened.exists():
        raise ConfigurationError(f"no lake at {opened.root}; headrace ingest makes one, or give another --lake")
    return opened, loaded


def say(text: str) -> None:
    """What is being done, beside the output."""
    stderr.print(text, markup=False)


def advise(text: str, style: str | None = None) -> None:
    """A line that names commands, with the lake and the project as they were given."""
    stdout.print(as_given(text), style=style, markup=False)


def print_json(document: Any) -> None:
    """One document on stdout."""

    def plain(value: Any) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            return asdict(value)
        return value.isoformat() if hasattr(value, "isoformat") else str(value)

    sys.stdout.write(json_text(document, plain) + "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None) -> Table:
    """A plain table: numbers to the right with thousands separators."""
    made = Table(
        title=title and printable(title, keep="\n"),
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for number, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[number], int | None) for row in rows)
        made.add_column(printable(name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*("" if cell is None else f"{cell:,}" if isinstance(cell, int) else printable(str(cell)) for cell in row))
    return made


def ledger_cells(entry: LedgerEntry) -> list[int]:
    """A ledger entry as the cells of LEDGER_COLUMNS."""
    return [entry.records_in, entry.out, entry.duplicate, entry.late, entry.filtered, entry.dead_letter]


def balance(entry: LedgerEntry) -> str:
    """Whether it adds up, in words."""
    verdict = "ledger adds up" if entry.balanced else f"{entry.pending:,} records have no outcome"
    if entry.lost:
        verdict = f"{entry.lost:,} accepted records are lost"
    verdict += f", the gate holds {entry.held:,}" if entry.held else ""
    return f"{verdict}, {entry.corrected:,} times corrected" if entry.corrected else verdict


@contextmanager
def progress() -> Iterator[Callable[[RunProgress], None]]:
    """Shows a run's progress: a bar on a terminal, else a line every few seconds."""
    if stderr.is_terminal:
        with Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("left"),
            console=stderr, transient=True,
        ) as bar:  # fmt: skip
            task = bar.add_task("starting", total=None, note="")

            def show(state: RunProgress) -> None:
                step, note = _STEPS[state.step], printable(state.note)
                bar.update(task, description=step, completed=state.done, total=state.total or None, note=note)

            yield show
        return
    latest: list[RunProgress] = []
    started = time.monotonic()

    def print_line() -> None:
        if latest:
            state = latest[-1]
            share = f" {state.done / state.total:.0%}" if state.total else ""
            stderr.print(f"{time.monotonic() - started:.0f} s: {_STEPS[state.step]}{share} {state.note}".rstrip())

    with repeated(print_line, _LINE_EVERY_S):
        yield latest.append
