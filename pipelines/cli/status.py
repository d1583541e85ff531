"""``headrace status``."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.cli.console import json_option, lake_option, open_lake, plain_errors, print_json, project_option, stdout, table
from pipelines.cli.ingest import LEDGER_COLUMNS, ledger_cells
from pipelines.manifest import RunSummary, recent_runs
from transforms.lake.ledger import LedgerEntry


@click.command(epilog="\b\nExample:\n  headrace status --lake lake --limit 5")
@click.option("--limit", default=10, show_default=True, metavar="N", type=click.IntRange(1, 10_000), help="How many runs.")
@lake_option
@project_option
@json_option
@plain_errors
def status(limit: int, lake: str | None, project: Path | None, as_json: bool) -> None:
    """The last runs: what came in, what became of it, and the verdict."""
    opened, _ = open_lake(lake, project)
    runs = list(recent_runs(opened, limit))
    if as_json:
        print_json(runs)
        return
    if not runs:
        stdout.print("no runs yet")
        return
    stdout.print(table(("run", "state", "seconds", *LEDGER_COLUMNS, "verdict"), [_row(run) for run in runs]))


def _row(run: RunSummary) -> list[object]:
    if run.state != "finished":
        advice = "run the same command again" if run.state == "stopped" else ""
        return [run.run_id, run.state, None, *([None] * len(LEDGER_COLUMNS)), advice]
    entry = sum((LedgerEntry(**e) for e in run.manifest["ledger"].values()), LedgerEntry())
    verdict = run.manifest["verdict"]
    seconds = round(run.manifest["timings"]["total_s"])
    return [run.run_id, run.state, seconds, *ledger_cells(entry), "; ".join(verdict["reasons"]) or "ok"]
