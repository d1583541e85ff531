"""``headrace deadletter export|close|reopen``: what people do with letters, on record by name and reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cli.console import advise, json_option, lake_option, open_lake, plain_errors, print_json, project_option, stdout, table
from cli.deadletter_options import selection_options
from cli.deadletter_view import counted
from operations.deadletters.close import close_letters, count_selected, reopen_letters
from operations.deadletters.export import Form, export_letters
from operations.deadletters.selection import LetterSelection
from operations.deadletters.states import OPEN_STATES

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
    written = export_letters(opened, loaded, selection, target, form=Form(form), by=by, reason=reason)
    if as_json:
        print_json(written)
        return
    if not written.letters:
        stdout.print("no dead letters")
        return
    stdout.print(table(("file", "letters"), list(written.files.items())))
    if written.without_bytes:
        stdout.print(f"{written.without_bytes:,} letters have no bytes: what they are about is no longer in raw")
    stdout.print("These files hold personal data: delete them when they have served.")


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
    opened, _ = open_lake(lake, project)
    if dry_run:
        counts = dict(count_selected(opened, selection.in_states(OPEN_STATES, "close")).most_common())
        if as_json:
            print_json({"would_close": sum(counts.values()), "by_code": counts})
            return
        stdout.print(table(("code", "dead letters"), list(counts.items())) if counts else "no dead letters")
        return
    count = close_letters(opened, selection, by=by, reason=reason)
    if as_json:
        print_json({"closed": count})
        return
    stdout.print(f"{counted(count)} closed; the ledger stays as it is")
    if count:
        advise("see them with: headrace deadletter list --state closed")


@click.command(epilog=_REOPEN)
@selection_options
@_by_and_reason
@lake_option
@project_option
@json_option
@plain_errors
def reopen(selection: LetterSelection, by: str, reason: str, lake: str | None, project: Path | None, as_json: bool) -> None:
    """Take back that letters are closed."""
    opened, _ = open_lake(lake, project)
    count = reopen_letters(opened, selection, by=by, reason=reason)
    if as_json:
        print_json({"reopened": count})
        return
    stdout.print(f"{counted(count)} reopened")
