"""``headrace reconcile``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli.console import advise, json_option, open_lake, plain_errors, print_json, progress, project_option, stdout, table
from cli.options import GroupedCommand, click_options
from contracts.text import printable
from operations.reconcile.options import ReconcileOptions
from operations.reconcile.page import write_page
from operations.reconcile.reconcile import reconcile as compare
from runners.option_fields import parse

_EPILOG = """\b
Examples:
  headrace reconcile segment --start 2026-11-01T00:00:00Z --end 2026-11-02T00:00:00Z --lake /srv/lake --html segment.html
  headrace reconcile segment --start 2026-11-01T00:00:00Z --end 2026-11-02T00:00:00Z --export 'export/*.jsonl.gz' --json

Every id of the range is in exactly one class. delivered: there, with the content of the row. pending: not there, and not answered
yet. refused: by the destination. withheld, filtered: must not be there, and is not. missing: should be there, and is not. extra: is
there, and should not be. different: is there with another content. Exit code 1 where something is missing, extra or different.
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG)
@click.argument("destination")
@click_options(ReconcileOptions)
@project_option
@json_option
@plain_errors
def reconcile(destination: str, project: Path | None, as_json: bool, **given: Any) -> None:
    """Compare what should be at a destination with what it has, id by id."""
    options = parse(ReconcileOptions, {"destination": destination, **given})
    options.check()
    lake, loaded = open_lake(options.lake, project)
    with progress() as report:
        document = compare(options, loaded, lake, report)
    if options.html:
        write_page(document, Path(options.html))
    if as_json:
        print_json(document)
    else:
        _show(document)
        if options.html:
            stdout.print(f"page: {options.html}")
    sys.exit(document["verdict"]["exit_code"])


def _show(document: Mapping[str, Any]) -> None:
    span, export, contents = document["range"], document["export"], document["contents"]
    stdout.print(
        f"{document['destination']}: {document['dataset']}, {span['start']} to {span['end']}: {document['ids']:,} ids; "
        f"{export['events']:,} events of {export['from']}"
    )
    stdout.print(table(tuple(document["classes"]), [tuple(document["classes"].values())]))
    notes = {
        f"{export['repeated']:,} events of the export have an id that came before": export["repeated"],
        f"{export['of_other_ranges']:,} events of the export are of other ranges": export["of_other_ranges"],
        f"{export['ahead_of_the_table']:,} ids were delivered a moment ago and are not in the table yet": export[
            "ahead_of_the_table"
        ],
        f"contents of {contents['ids_only']:,} events were not compared, their ids were": contents["ids_only"],
        "the classes do not add up to the ids: this is an error of the comparison": not document["adds_up"],
    }
    for note, holds in notes.items():
        if holds:
            stdout.print(note)
    for kind, causes in document["causes"].items():
        rows = [(cause["cause"], cause["ids"], cause["delivered_by_us"], cause["told"]) for cause in causes]
        stdout.print(table(("cause", "ids", "with receipt", ""), rows, title=f"\n{kind}"))
        for cause in causes:
            for sample in cause["samples"]:
                cells = (sample["id"], sample["window_time"] or "no time", sample["event_type"] or "no type")
                stdout.print(f"    {'  '.join(map(printable, cells))}  {cause['cause']}")
        for do in dict.fromkeys(cause["do"] for cause in causes if cause["do"]):
            advise(f"  what to do: {do}")
    for reason in document["verdict"]["reasons"]:
        advise(f"exit 1: {reason}", style="red")
