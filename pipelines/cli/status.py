"""``headrace status``."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.cli.console import (
    LEDGER_COLUMNS,
    json_option,
    lake_option,
    ledger_cells,
    open_lake,
    plain_errors,
    print_json,
    project_option,
    stdout,
    table,
)
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
    later: set[str] = set()
    rows = []
    for run in runs:  # the newest first
        rows.append(_row(run, advise=run.manifest["source"] not in later))
        later |= {run.manifest["source"]} if run.state == "finished" else set()
    stdout.print(table(("run", "state", "seconds", *LEDGER_COLUMNS, "verdict"), rows))


def _row(run: RunSummary, *, advise: bool) -> list[object]:
    if run.state != "finished":
        advice = "run the same command again" if run.state == "stopped" and advise else ""
        return [run.run_id, run.state, None, *([None] * len(LEDGER_COLUMNS)), advice]
    entry = sum((LedgerEntry(**e) for e in run.manifest["ledger"].values()), LedgerEntry())
    verdict = run.manifest["verdict"]
    seconds = round(run.manifest["timings"]["total_s"])
    return [run.run_id, run.state, seconds, *ledger_cells(entry), "; ".join(verdict["reasons"]) or "ok"]
