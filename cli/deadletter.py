"""``headrace deadletter``: what was rejected, where it stands, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.console import advise, json_option, lake_option, open_lake, plain_errors, print_json, project_option, stdout, table
from cli.deadletter_reprocess import reprocess
from contracts.codes import Code
from operations.deadletters.views import (
    COUNTED_BY,
    VISIBLE,
    batched_sources,
    count_letters,
    explain_letter,
    find_letters,
    first_violation,
    short_position,
)

_SHOWN_BYTES = 4_096


@click.group()
def deadletter() -> None:
    """Rejected records: list them, explain one, count them, read them again."""


deadletter.add_command(reprocess)


def _filters(command: Any) -> Any:
    command = click.option("--code", type=click.Choice([str(c) for c in Code]), help="Only this code.")(command)
    return click.option("--source", metavar="NAME", help="Only this source.")(command)


@deadletter.command("list", epilog="\b\nExample:\n  headrace deadletter list --code bad_timestamp --limit 20")
@_filters
@click.option("--limit", default=20, show_default=True, metavar="N", type=click.IntRange(1, 1_000_000), help="How many.")
@lake_option
@project_option
@json_option
@plain_errors
def list_letters(source: str | None, code: str | None, limit: int, lake: str | None, project: Path | None, as_json: bool) -> None:
    """Dead letters, one a line: id, code, place and the first violation. Never their content."""
    opened, loaded = open_lake(lake, project)
    letters = find_letters(opened, loaded, source, code, limit=limit)
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
    """One dead letter with every violation. DEAD_LETTER_ID may be the beginning of an id."""
    opened, loaded = open_lake(lake, project)
    letter = explain_letter(opened, loaded, dead_letter_id, reveal=reveal)
    raw = letter.pop("raw", None)
    if as_json:
        print_json(letter | ({"raw": raw.decode("utf-8", "backslashreplace")} if reveal else {}))
        return
    for name in VISIBLE:
        if name != "violations":
            stdout.print(f"{name:17} {letter[name] if letter[name] is not None else ''}")
    stdout.print(table(("violation", "rule", "expected"), [(v["path"], v["rule"], v["expected"]) for v in letter["violations"]]))
    if raw is not None:
        more = f"\n… {len(raw) - _SHOWN_BYTES:,} more bytes; all with --json" if len(raw) > _SHOWN_BYTES else ""
        stdout.print(raw[:_SHOWN_BYTES].decode("utf-8", "backslashreplace") + more)
    else:
        stdout.print("raw bytes: hidden; show them with --reveal")


@deadletter.command("stats", epilog="\b\nExample:\n  headrace deadletter stats --by path")
@_filters
@click.option("--by", type=click.Choice(COUNTED_BY), default="code", show_default=True, help="What to count by.")
@lake_option
@project_option
@json_option
@plain_errors
def stats(source: str | None, code: str | None, by: str, lake: str | None, project: Path | None, as_json: bool) -> None:
    """Dead letters counted."""
    opened, loaded = open_lake(lake, project)
    totals = count_letters(opened, loaded, source, code, by)
    if as_json:
        print_json(dict(totals.most_common()))
        return
    stdout.print(table((by, "dead letters"), list(totals.most_common())) if totals else "no dead letters")
