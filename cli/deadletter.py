"""``headrace deadletter``: what was rejected, where it stands, why, and what to do about it."""

from __future__ import annotations

from pathlib import Path

import click

from cli.console import advise, json_option, lake_option, open_lake, plain_errors, print_json, project_option, stdout, table
from cli.deadletter_acts import close, export, reopen
from cli.deadletter_options import selection_options
from cli.deadletter_view import causes_document, show_causes, show_letter
from operations.deadletters.causes import GROUPED_BY, Sort, count_causes
from operations.deadletters.selection import LetterSelection
from operations.deadletters.tickets import tickets
from operations.deadletters.views import batched_sources, explain_letter, find_letters, first_violation, short_position

_EPILOG = """\b
A morning with dead letters:
  headrace deadletter stats --since 24h              what is new, what grows, and what to do about it
  headrace deadletter show ID                        one of them, with every violation and what was done about it
  headrace deadletter ticket --source web            a text for whoever can mend the cause
  headrace deadletter close --code too_large --by ada --reason "a test of the vendor"
"""


@click.group(epilog=_EPILOG)
def deadletter() -> None:
    """Rejected records: list, explain, count, export, close."""


for command in (export, close, reopen):
    deadletter.add_command(command)


@deadletter.command("list", epilog="\b\nExample:\n  headrace deadletter list --code bad_timestamp --since 24h --limit 20")
@selection_options
@click.option("--limit", default=20, show_default=True, metavar="N", type=click.IntRange(1, 1_000_000), help="How many.")
@lake_option
@project_option
@json_option
@plain_errors
def list_letters(selection: LetterSelection, limit: int, lake: str | None, project: Path | None, as_json: bool) -> None:
    """Dead letters, the newest first: id, code, place and the first violation. Never their content."""
    opened, loaded = open_lake(lake, project)
    letters = find_letters(opened, loaded, selection, limit)
    if as_json:
        print_json(letters)
        return
    if not letters:
        stdout.print("no dead letters")
        return
    batched = batched_sources(loaded, {x["source"] for x in letters})
    rows = [
        (x["dead_letter_id"], x["code"], x["source"], short_position(x["position"], x["source"] in batched), first_violation(x))
        for x in letters
    ]
    stdout.print(table(("id", "code", "source", "position", "path: expected"), rows))
    if len(letters) == limit:
        advise(f"the first {limit}; more with --limit, counts with: headrace deadletter stats")


@deadletter.command("show", epilog="\b\nExample:\n  headrace deadletter show 3f2a --reveal")
@click.argument("dead_letter_id")
@click.option(
    "--reveal", is_flag=True, help="Show raw bytes, event id and payload keys, which may be personal data; the lake records it."
)
@lake_option
@project_option
@json_option
@plain_errors
def show(dead_letter_id: str, reveal: bool, lake: str | None, project: Path | None, as_json: bool) -> None:
    """One dead letter with every violation, and what was done about it. DEAD_LETTER_ID may be the beginning of an id."""
    opened, loaded = open_lake(lake, project)
    letter = explain_letter(opened, loaded, dead_letter_id, reveal=reveal)
    if as_json:
        raw = letter.pop("raw", None)
        print_json(letter | ({"raw": raw.decode("utf-8", "backslashreplace")} if reveal else {}))
        return
    show_letter(letter)


@deadletter.command("stats", epilog="\b\nExample:\n  headrace deadletter stats --since 24h --by source --by path")
@selection_options
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(GROUPED_BY),
    help="What makes a cause; several times for several. Else code, rule, path, source, dataset and stage.",
)
@click.option(
    "--sort",
    type=click.Choice([str(one) for one in Sort]),
    default="letters",
    show_default=True,
    help="Which causes come first: with the most letters, with the most more than before (--since), or that came last.",
)
@click.option("--limit", default=10, show_default=True, metavar="N", type=click.IntRange(1, 1_000), help="How many causes.")
@lake_option
@project_option
@json_option
@plain_errors
def stats(
    selection: LetterSelection,
    by: tuple[str, ...],
    sort: str,
    limit: int,
    lake: str | None,
    project: Path | None,
    as_json: bool,
) -> None:
    """Top causes of dead letters: how many, since when, against the span before, an example's shape, and what to do."""
    opened, loaded = open_lake(lake, project)
    causes = count_causes(opened, loaded, selection, by=tuple(dict.fromkeys(by)) or GROUPED_BY, limit=limit, sort=Sort(sort))
    if as_json:
        print_json(causes_document(causes))
        return
    show_causes(causes)


@deadletter.command("ticket", epilog="\b\nExample:\n  headrace deadletter ticket --source web --code bad_timestamp --since 7d")
@selection_options
@click.option("--limit", default=10, show_default=True, metavar="N", type=click.IntRange(1, 100), help="How many causes.")
@lake_option
@project_option
@json_option
@plain_errors
def ticket(selection: LetterSelection, limit: int, lake: str | None, project: Path | None, as_json: bool) -> None:
    """The text of a ticket to the owner of the contract, a ticket a source. It names no value of a record."""
    opened, loaded = open_lake(lake, project)
    found = tickets(opened, loaded, selection, limit)
    if as_json:
        print_json(found)
        return
    if not found:
        stdout.print("no dead letters")
    for number, one in enumerate(found):
        stdout.print(("\n" if number else "") + f"To: {one.to}\nSubject: {one.subject}\n\n{one.text}")
