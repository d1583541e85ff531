"""How ``headrace replay diff``, ``promote`` and ``rollback`` show what they came to, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.console import advise, stdout, table
from contracts.text import printable
from operations.replay.publication import Promotion

_MOST_WINDOWS = 30
_WINDOW_COLUMNS = ("window", "live rows", "replay rows", "added", "removed", "changed", "since")
_LEDGER = ("records_in", "out", "duplicate", "late", "filtered", "dead_letter", "outside", "pending", "lost")
_ENTRY = ("in", "validated", "duplicate", "late", "filtered", "dead letter", "other windows", "pending", "lost")


def show_difference(document: Mapping[str, Any]) -> None:
    """Print what ``operations.replay.difference.difference`` found: a headline, tables of what differs, and the next command."""
    stdout.print(headline(document))
    if not document["equal"]:
        _show_windows(document)
        _show_reasons(document)
        if document["columns"]:
            stdout.print(table(("column", "changed rows"), list(document["columns"].items()), title="\ncolumns that differ"))
    _show_ledgers(document)
    if not document["equal"]:
        _show_samples(document)
    if document["next"]:
        advise(f"\nnext: {document['next']}")


def headline(document: Mapping[str, Any]) -> str:
    """The result in a sentence or two."""
    totals = document["totals"]
    name = f"replay {document['replay']} of {document['dataset']} ({document['state']})"
    windows = _counted(document["windows_in_all"], "window")
    if document["equal"] and not totals["live_rows"]:
        return f"{name}: {windows}, no row in them, neither live nor in the replay; is this the right range?"
    if document["equal"]:
        return f"{name}: {windows}, {totals['live_rows']:,} rows, nothing differs; content hash {totals['live_hash']}"
    since = f", {totals['since']:,} published live since" if totals["since"] else ""
    return (
        f"{name}: {windows}, {len(document['windows']):,} differ; {totals['live_rows']:,} rows live, {totals['replay_rows']:,} "
        f"in the replay: {totals['added']:,} added, {totals['removed']:,} removed, {totals['changed']:,} changed{since}\n"
        f"content hash {totals['live_hash']} live, {totals['replay_hash']} in the replay"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _show_windows(document: Mapping[str, Any]) -> None:
    windows = document["windows"]
    rows = [
        (w["from"], w["live_rows"], w["replay_rows"], w["added"], w["removed"], w["changed"], w["since"])
        for w in windows[:_MOST_WINDOWS]
    ]
    stdout.print(table(_WINDOW_COLUMNS, rows, title="\nwindows that differ"))
    if len(windows) > _MOST_WINDOWS:
        stdout.print(f"… and {_counted(len(windows) - _MOST_WINDOWS, 'more window')}; --json and the page have them all")


def _show_reasons(document: Mapping[str, Any]) -> None:
    rows = [(kind, why, count) for kind, reasons in document["why"].items() for why, count in reasons.items()]
    if rows:
        stdout.print(table(("", "why", "rows"), rows, title="\nreasons"))


def _show_ledgers(document: Mapping[str, Any]) -> None:
    rows, codes = [], []
    for source, sides in document["ledger"].items():
        rows += [(source, side, *(entry[name] for name in _LEDGER)) for side, entry in sides.items()]
        for code in sorted({*sides["live"]["codes"], *sides["replay"]["codes"]}):
            codes.append((source, code, *(sides[side]["codes"].get(code, 0) for side in ("live", "replay"))))
    if rows:
        stdout.print(table(("source", "ledger", *_ENTRY), rows, title="\nwhat became of the raw that the replay read"))
    if codes:
        stdout.print(table(("source", "dead letters", "live", "replay"), codes))


def _show_samples(document: Mapping[str, Any]) -> None:
    for kind, samples in document["samples"].items():
        for number, sample in enumerate(samples):
            if number == 0:
                stdout.print(f"\n{kind}, {len(samples)} of {document['totals'][kind]:,}", style="bold")
            where = f"{printable(sample['source'])} {printable(sample['raw_file'])[:24]}:{sample['position']}"
            stdout.print(f"  {printable(sample['event_id'])} at {sample['window_time']}, {where}: {sample['why']}")
            for cell in sample.get("columns", ()):
                values = [printable("no value" if cell[side] is None else str(cell[side])) for side in ("live", "replay")]
                stdout.print(f"      {cell['column']}: {_short(values[0])} → {_short(values[1])}")


def _short(text: str, most: int = 120) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def show_promotion(done: Promotion, word: str) -> None:
    """What a promotion, or its way back, came to."""
    counts = f"{done.added:,} rows added, {done.removed:,} removed, {done.changed:,} changed"
    stdout.print(f"{done.name} is {word}: {counts} in {done.dataset}")
    stdout.print(f"rows {done.rows:,}, content_hash {done.content_hash}, snapshot {done.snapshot_id}")
    stdout.print(f"changed rows for those who read the dataset: {done.changes}/")
