"""``headrace changes``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from cli.console import json_option, lake_option, open_lake, plain_errors, print_json, project_option, stdout
from contracts.errors import ConfigurationError
from operations.changes.changes import changes_between, moment_of
from operations.changes.entries import ChangeEntry, ChangeKind

_EPILOG = """\b
Examples:
  headrace changes --since 20261123T040743842691Z-web-c8093f
  headrace changes --since 2026-11-22T00:00:00Z --until 2026-11-23T00:00:00Z --dataset customer_event --json

Of a run: what is otherwise than when it began. Everything is told from manifests and records of the lake, so it is the same whoever
asks. A change is told by the first run that worked by it: a file that was edited and never run is no change yet, and headrace
contract check tells of it.
"""


@click.command(epilog=_EPILOG)
@click.option("--since", required=True, metavar="RUN|TIME", help="From when on.")
@click.option("--until", metavar="RUN|TIME", help="To when.  [default: now]")
@click.option("--dataset", "datasets", metavar="NAME", multiple=True, help="Only what may concern this one; may be repeated.")
@click.option(
    "--kind", "kinds", type=click.Choice([str(kind) for kind in ChangeKind]), multiple=True, help="Only this kind; may be repeated."
)
@lake_option
@project_option
@json_option
@plain_errors
def changes(
    since: str, until: str | None, datasets: tuple[str, ...], kinds: tuple[str, ...], lake: str | None, project: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """What changed: contracts, sources, destinations, versions, options, volume by source, gates, and what people did."""
    opened, _ = open_lake(lake, project)
    first = moment_of(opened, since)
    last = moment_of(opened, until) if until else datetime.now(UTC)
    if last <= first:
        raise ConfigurationError("--until: must be after --since")
    found = changes_between(opened, first, last, datasets, [ChangeKind(kind) for kind in kinds])
    if as_json:
        print_json(found)
    else:
        _show(found)


def _show(found: Sequence[ChangeEntry]) -> None:
    if not found:
        stdout.print("nothing changed")
        return
    for entry in found:
        stdout.print(f"{entry.at}  {entry.kind:11}  {entry.what}" + "".join(f"; {who}" for who in (entry.by, entry.run_id) if who))
        for told in entry.details:
            stdout.print(f"{'':39}{told}")
