"""``headrace deadletter export|close|reopen``: what people do with letters, on record by name and reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import click

from cli.console import advise, json_option, lake_option, open_lake, plain_errors, print_json, project_option, stdout, table
from cli.deadletter_options import selection_options
from cli.deadletter_view import counted
from lake.location import Lake
from operations.deadletters.close import close_letters, count_selected, reopen_letters
from operations.deadletters.export import Exported, Form, export_letters
from operations.deadletters.known import refuse_unknown
from operations.deadletters.selection import LetterSelection
from operations.deadletters.states import OPEN_STATES, State

_EXPORT = '\b\nExample:\n  headrace deadletter export ../letters.jsonl --code malformed --by ada --reason "to show the vendor"'
_CLOSE = '\b\nExample:\n  headrace deadletter close --code too_large --until 2026-11-20T00:00:00Z --by ada --reason "a test"'
_REOPEN = '\b\nExample:\n  headrace deadletter reopen --id 3f2a --by ada --reason "the vendor sends them again"'


def _by_and_reason(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option("--reason", required=True, metavar="TEXT", help="Why; the lake records it.")(command)
    return click.option("--by", required=True, metavar="NAME", help="Who; the lake records it beside the login name.")(command)


@click.command(epilog=_EXPORT)
@click.argument("target", type=click.Path(path_type=Path))
@selection_options
@click.option(
    "--as", "form", type=click.Choice([str(f) for f in Form]), default="letters", show_default=True,
    help="letters: JSON lines, a letter each. received: a folder with the records as they came, a file a source.",
)  # fmt: skip
@_by_and_reason
@lake_option
@project_option
@json_option
@plain_errors
def export(
    target: Path, selection: LetterSelection, form: str, by: str, reason: str, lake: str | None, project: Path | None, as_json: bool
) -> None:
    """Write letters with their bytes to TARGET, which are personal data. Who, when, which and why is on record first."""
    opened, loaded = open_lake(lake, project)
    refuse_unknown(opened, loaded, selection)
    written = export_letters(opened, loaded, selection, target, form=Form(form), by=by, reason=reason)
    if as_json:
        print_json(written)
    elif not written.letters:
        stdout.print("no dead letters")
    else:
        _show_export(written)
    raise SystemExit(0 if written.letters else 1)


@click.command(epilog=_CLOSE)
@selection_options
@_by_and_reason
@click.option("--dry-run", is_flag=True, help="Say how many, and close none.")
@lake_option
@project_option
@json_option
@plain_errors
def close(
    selection: LetterSelection, by: str, reason: str, dry_run: bool, lake: str | None, project: Path | None, as_json: bool
) -> None:
    """Say that letters will not be mended. They stay dead letters in the ledger, and leave the usual views."""
    opened, loaded = open_lake(lake, project)
    refuse_unknown(opened, loaded, selection)
    if dry_run:
        counts = dict(count_selected(opened, selection.in_states(OPEN_STATES, "close")).most_common())
        count = sum(counts.values())
        if as_json:
            print_json({"would_close": count, "by_code": counts})
        else:
            stdout.print(table(("code", "dead letters"), list(counts.items())) if counts else "no dead letters")
    else:
        count = close_letters(opened, selection, by=by, reason=reason)
        if as_json:
            print_json({"closed": count})
        else:
            stdout.print(f"{counted(count)} closed; the ledger stays as it is")
            if count:
                advise("see them with: headrace deadletter list --state closed")
    _end(opened, selection, count, (State.CLOSED,), quiet=as_json)


@click.command(epilog=_REOPEN)
@selection_options
@_by_and_reason
@lake_option
@project_option
@json_option
@plain_errors
def reopen(selection: LetterSelection, by: str, reason: str, lake: str | None, project: Path | None, as_json: bool) -> None:
    """Take back that letters are closed."""
    opened, loaded = open_lake(lake, project)
    refuse_unknown(opened, loaded, selection)
    count = reopen_letters(opened, selection, by=by, reason=reason)
    if as_json:
        print_json({"reopened": count})
    else:
        stdout.print(f"{counted(count)} reopened")
    _end(opened, selection, count, OPEN_STATES, quiet=as_json)


def _end(lake: Lake, selection: LetterSelection, count: int, after: tuple[State, ...], *, quiet: bool) -> NoReturn:
    """0 where something was done, or had been done already; 1 where the filters select no letter that it could be done to."""
    there = 0 if count else sum(count_selected(lake, replace(selection, states=after)).values())
    if there and not quiet:
        advise(f"{counted(there)} {'is' if there == 1 else 'are'} {' or '.join(after)} already")
    elif not count and not quiet:
        advise("exit 1: no dead letter is selected; see what there is with: headrace deadletter stats", style="red")
    raise SystemExit(0 if count or there else 1)


def _show_export(written: Exported) -> None:
    stdout.print(table(("file", "letters"), list(written.files.items())))
    if written.without_bytes:
        stdout.print(f"{written.without_bytes:,} letters have no bytes: what they are about is no longer in raw")
    if written.cut:
        stdout.print(f"{written.cut:,} letters are left out: of records that are too large or damaged the beginning alone is kept")
    stdout.print("These files hold personal data: delete them when they have served.")
