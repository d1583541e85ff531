"""How ``headrace deadletter`` shows a letter and its causes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cli.console import advise, stdout, table
from contracts.units import DAY_US, HOUR_US, us_text
from operations.deadletters.causes import GROUPED_BY, Cause, Causes
from operations.deadletters.views import VISIBLE

_SHOWN_BYTES = 4_096
_MARKS = "▁▂▃▄▅▆▇█"
_HISTORY = ("at", "act", "outcome", "attempt", "by", "reason", "recipe")


def counted(letters: int) -> str:
    """So many dead letters, in words."""
    return f"{letters:,} dead letter" + ("" if letters == 1 else "s")


def show_letter(letter: Mapping[str, Any]) -> None:
    """Print a letter as ``explain_letter`` gives it."""
    for name in VISIBLE:
        if name != "violations":
            stdout.print(f"{name:17} {letter[name] if letter[name] is not None else ''}")
    stdout.print(
        table(("violation", "rule", "expected"), [(v["path"], v["rule"], v["expected"]) for v in letter["violations"] or ()])
    )
    if letter["history"]:
        rows = [tuple(line[name] for name in _HISTORY) for line in letter["history"]]
        stdout.print(table(_HISTORY, rows, title="\nwhat was done about it"))
    raw = letter.get("raw")
    if raw is None:
        stdout.print("raw bytes: hidden; show them with --reveal")
        return
    more = f"\n… {len(raw) - _SHOWN_BYTES:,} more bytes; all with --json" if len(raw) > _SHOWN_BYTES else ""
    stdout.print(raw[:_SHOWN_BYTES].decode("utf-8", "backslashreplace") + more)


def show_causes(causes: Causes) -> None:
    """Print what ``count_causes`` found. A field that is the same in all is no column."""
    if not causes.letters:
        before = f"; {causes.before:,} in the span before" if causes.before else ""
        stdout.print(f"no dead letters{before}")
        return
    stdout.print(_headline(causes))
    told = [name for name in causes.by if name in causes.by[:1] or len({cause.what[name] for cause in causes.causes}) > 1]
    columns = ["dead letters", *(["before"] if causes.before is not None else []), *told, "first", "last", _per(causes)]
    rows = [_row(cause, told) for cause in causes.causes]
    stdout.print(table(columns, rows))
    if causes.others:
        stdout.print(f"and {causes.other_letters:,} more of {causes.others:,} other causes; more with --limit")
    if set(GROUPED_BY[:4]) <= set(causes.by):
        for number, cause in enumerate(causes.causes, 1):
            _show_remedy(number, cause)


def _headline(causes: Causes) -> str:
    change = ""
    if causes.before is not None:
        change = f", {causes.before:,} in the span before ({_change(causes.letters, causes.before)})"
    return f"{counted(causes.letters)}{change}"


def _change(now: int, before: int) -> str:
    if not before:
        return "new"
    return "as many" if now == before else f"{(now - before) / before:+.0%}"


def _per(causes: Causes) -> str:
    unit = {HOUR_US: "hour", DAY_US: "day", 7 * DAY_US: "week"}.get(causes.bucket_us)
    return f"per {unit}" if unit else f"per {causes.bucket_us // HOUR_US:,} hours"


def _row(cause: Cause, told: Sequence[str]) -> list[Any]:
    before = [] if cause.before is None else [f"{cause.before:,} ({_change(cause.letters, cause.before)})"]
    times = [us_text(us // 1_000_000 * 1_000_000) for us in (cause.first_us, cause.last_us)]
    return [cause.letters, *before, *(cause.what[name] for name in told), *times, sparkline(cause.buckets)]


def sparkline(counts: Sequence[int]) -> str:
    """Counts as marks of eight heights; a blank where there is none."""
    most = max(counts, default=0)
    return "".join(_MARKS[(count * len(_MARKS) - 1) // most] if count else " " for count in counts)


def _show_remedy(number: int, cause: Cause) -> None:
    stdout.print(f"\n{number}. {cause.what['path']} of {cause.what['source']}: expected {cause.expected}")
    shape = cause.example and cause.example["shape"]
    if shape:
        stdout.print(f"   what is there, in shape: {shape}")
    if cause.remedy:
        stdout.print(f"   {cause.remedy.turn}: {cause.remedy.advice}")
        advise(f"   begin with: {cause.remedy.command}")


def causes_document(causes: Causes) -> dict[str, Any]:
    """As JSON: times as texts."""
    document = asdict(causes)
    document |= {"from": us_text(document.pop("from_us")), "bucket_s": document.pop("bucket_us") // 1_000_000}
    for cause in document["causes"]:
        cause |= {"first": us_text(cause.pop("first_us")), "last": us_text(cause.pop("last_us"))}
    return document
