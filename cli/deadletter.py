"""``headrace deadletter``: what was rejected, where it stands, and why."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import click
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import And, BooleanExpression, EqualTo, NotEqualTo, StartsWith

from cli.console import json_option, lake_option, open_lake, plain_errors, print_json, project_option, stdout, table
from contracts.codes import Code
from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from lake.location import Lake
from lake.raw.records import read_record
from lake.raw.segments import LogId, is_log, offset_of, position_of
from lake.receipts.receipts import LANE_PREFIX
from lake.tables.iceberg import DEAD_LETTER_SCHEMA, DEAD_LETTERS, WITHDRAWN

_SHOWN_BYTES = 4_096
_HIDDEN = "(hidden; show it with --reveal)"  # ids are made by clients, some of mail addresses
_VISIBLE = tuple(name for name in DEAD_LETTER_SCHEMA.names if name != "raw" and not name.startswith("_"))


@click.group()
def deadletter() -> None:
    """Rejected records: list them, explain one, count them."""


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
    letters = find_letters(opened, where(source, code), limit)
    for letter in letters:
        letter["event_id"] = letter["event_id"] and _HIDDEN
    if as_json:
        print_json(letters)
        return
    if not letters:
        stdout.print("no dead letters")
        return
    batched = _batched(loaded, {x["source"] for x in letters})
    rows = [
        (x["dead_letter_id"], x["code"], x["source"], short_position(x["position"], x["source"] in batched), first_violation(x))
        for x in letters
    ]
    stdout.print(table(("id", "code", "source", "position", "path: expected"), rows))
    if len(letters) == limit:
        stdout.print(f"the first {limit}; more with --limit, counts with: headrace deadletter stats")


@deadletter.command("show", epilog="\b\nExample:\n  headrace deadletter show 3f2a --reveal")
@click.argument("dead_letter_id")
@click.option("--reveal", is_flag=True, help="Print the raw bytes too. They may hold personal data.")
@lake_option
@project_option
@json_option
@plain_errors
def show(dead_letter_id: str, reveal: bool, lake: str | None, project: Path | None, as_json: bool) -> None:
    """One dead letter with every violation. DEAD_LETTER_ID may be the beginning of an id."""
    opened, loaded = open_lake(lake, project)
    letters = find_letters(opened, And(where(None, None), StartsWith("dead_letter_id", dead_letter_id)), 3, raw=reveal)
    if len(letters) != 1:
        many = "several dead letters begin with" if letters else "no dead letter"
        raise ConfigurationError(f"{many} {dead_letter_id!r}; ids are shown by: headrace deadletter list")
    letter = letters[0]
    raw = letter.pop("raw", None)
    if reveal and raw is None:
        spec, _ = loaded.source(letter["source"])
        raw_file, _, ordinal = letter["position"].rpartition(":")
        raw = read_record(opened, spec, raw_file, int(ordinal))
    if not reveal:
        letter["event_id"] = letter["event_id"] and _HIDDEN
    if as_json:
        print_json(letter | ({"raw": raw.decode("utf-8", "backslashreplace")} if reveal else {}))
        return
    for name in _VISIBLE:
        if name != "violations":
            stdout.print(f"{name:17} {letter[name] if letter[name] is not None else ''}")
    stdout.print(table(("violation", "rule", "expected"), [(v["path"], v["rule"], v["expected"]) for v in letter["violations"]]))
    if raw is not None:
        more = f"\n… {len(raw) - _SHOWN_BYTES:,} more bytes; all with --json" if len(raw) > _SHOWN_BYTES else ""
        stdout.print(printable(raw[:_SHOWN_BYTES]) + more)
    else:
        stdout.print("raw bytes: hidden; show them with --reveal")


@deadletter.command("stats", epilog="\b\nExample:\n  headrace deadletter stats --by path")
@_filters
@click.option("--by", type=click.Choice(["code", "source", "path"]), default="code", show_default=True, help="What to count by.")
@lake_option
@project_option
@json_option
@plain_errors
def stats(source: str | None, code: str | None, by: str, lake: str | None, project: Path | None, as_json: bool) -> None:
    """Dead letters counted."""
    opened, _ = open_lake(lake, project)
    letters = find_letters(opened, where(source, code), None)
    counts = Counter((x["source"], x["code"], _path(x)) for x in letters)
    index = {"source": 0, "code": 1, "path": 2}[by]
    totals: Counter[str] = Counter()
    for key, count in counts.items():
        totals[key[index]] += count
    if as_json:
        print_json(dict(totals.most_common()))
        return
    stdout.print(table((by, "dead letters"), list(totals.most_common())) if totals else "no dead letters")


def printable(raw: bytes) -> str:
    """Bytes of a stranger for a terminal: text as it is; whatever could steer the terminal is escaped."""
    text = raw.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def where(source: str | None, code: str | None) -> BooleanExpression:
    """The filter of list and stats."""
    terms: list[BooleanExpression] = [NotEqualTo("code", WITHDRAWN)]
    if source:
        terms.append(EqualTo("source", source))
    if code:
        terms.append(EqualTo("code", code))
    return And(*terms) if len(terms) > 1 else terms[0]


def find_letters(lake: Lake, condition: BooleanExpression, limit: int | None, *, raw: bool = False) -> list[dict[str, Any]]:
    """Dead letters that fit, by source and position; without their raw bytes unless asked for."""
    try:
        table_ = lake.catalog().load_table(DEAD_LETTERS)
    except NoSuchTableError:
        return []
    wanted = (*_VISIBLE, "_raw_file", "_position", *(("raw",) if raw else ()))
    rows = table_.scan(row_filter=condition, selected_fields=wanted).to_arrow()
    rows = rows.sort_by([("source", "ascending"), ("_raw_file", "ascending"), ("_position", "ascending")])
    letters: list[dict[str, Any]] = rows.slice(0, limit).drop_columns(["_raw_file", "_position"]).to_pylist()
    return letters


def short_position(position: str, batched: bool = False) -> str:
    """A position for a table: the raw file's first digits and the ordinal; topic, partition and offset of a log.

    Args:
        position: as a dead letter has it.
        batched: whether messages of the source hold several records; then the index in the message follows the offset.
    """
    raw_file, _, ordinal = position.rpartition(":")
    if raw_file.startswith(LANE_PREFIX):  # refused by a destination
        topic, _, lane = raw_file.removeprefix(LANE_PREFIX).split(":")
        return f"{topic}[{lane}]:{ordinal}"
    if not is_log(raw_file):
        return f"{raw_file[:12]}:{ordinal}"
    log, number = LogId.parse(raw_file), int(ordinal)
    offset = offset_of(number, batched)
    return f"{log.topic}[{log.partition}]:{offset}" + (f"/{number - position_of(offset, 0, True)}" if batched else "")


def _batched(project: Project, sources: set[str]) -> set[str]:
    """Which of these sources have several records in a message; of sources that the project does not know nothing is told."""
    found = set()
    for source in sources:
        with contextlib.suppress(ConfigurationError):
            found |= {source} if project.source(source)[0].records else set()
    return found


def first_violation(letter: dict[str, Any]) -> str:
    """The first violation and how many more there are."""
    violations = letter["violations"]
    more = f" (+{len(violations) - 1})" if len(violations) > 1 else ""
    return f"{violations[0]['path']}: {violations[0]['expected']}{more}"


def _path(letter: dict[str, Any]) -> str:
    return str(letter["violations"][0]["path"])
