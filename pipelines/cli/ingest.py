"""``headrace ingest``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from contracts.project import Project
from pipelines.cli.console import (
    LEDGER_COLUMNS,
    balance,
    json_option,
    ledger_cells,
    plain_errors,
    print_json,
    progress,
    project_option,
    stdout,
    table,
)
from pipelines.files import IngestOptions, IngestReport, ingest_files
from pipelines.options import click_options, parse

_EPILOG = """\b
Examples:
  headrace ingest web --input 'drop/web/*.jsonl.gz' --lake lake
  headrace ingest sources/crm.yaml --input exports/contacts.csv --allow-damaged --json

SOURCE names sources/SOURCE.yaml of the project, or is a path; it fixes dataset, contract, format and mapping. Running a command
again is safe: files are landed once, and rows are folded, never added twice. Options of Beam go behind `--`.
"""


@click.command(epilog=_EPILOG)
@click.argument("source")
@click.argument("beam_options", nargs=-1, type=click.UNPROCESSED)
@click_options(IngestOptions)
@project_option
@json_option
@plain_errors
def ingest(source: str, beam_options: tuple[str, ...], project: Path | None, as_json: bool, **given: Any) -> None:
    """Land files, check every record against its contract, and fold the good ones into the validated table."""
    options = parse(IngestOptions, {"source": source, "beam_options": beam_options, **given})
    loaded = Project.load(project)
    with progress() as report_progress:
        report = ingest_files(options, loaded, report_progress)
    if as_json:
        print_json(report.manifest)
    else:
        show_report(report)
    sys.exit(report.exit_code)


def show_report(report: IngestReport) -> None:
    """The summary at the end of a run."""
    counts: dict[str, int] = {}
    for landing in report.landings:
        counts[landing.status] = counts.get(landing.status, 0) + 1
    files = ", ".join(f"{count} {status}" for status, count in counts.items())
    dataset = report.manifest["datasets"][report.dataset]
    stdout.print(f"run {report.run_id}: files: {files}")
    stdout.print(table(("source", *LEDGER_COLUMNS, ""), [(report.source, *ledger_cells(report.ledger), balance(report.ledger))]))
    if report.ledger.codes:
        codes = ", ".join(f"{code} {count:,}" for code, count in sorted(report.ledger.codes.items()))
        stdout.print(f"dead letters: {codes}")
    stdout.print(f"{dataset['table']}: {dataset['rows']:,} rows, content_hash {dataset['content_hash']}")
    for reason in report.reasons:
        stdout.print(f"exit 1: {reason}", style="red", markup=False)
