"""``headrace ingest``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from cli.console import (
    LEDGER_COLUMNS,
    advise,
    balance,
    json_option,
    ledger_cells,
    load_project,
    plain_errors,
    print_json,
    progress,
    project_option,
    stderr,
    stdout,
    table,
)
from cli.hints import as_given
from cli.options import GroupedCommand, click_options
from contracts.spec.source import warnings_of
from pipelines.ingest.files import HandedOver, ingest_files
from pipelines.ingest.options import IngestOptions
from pipelines.ingest.run import IngestReport
from pipelines.ingest.topics import Submitted, ingest_topics
from runners.option_fields import parse

_EPILOG = """\b
Examples:
  headrace ingest web --input 'drop/web/*.jsonl.gz' --lake /srv/lake
  headrace ingest sources/crm.yaml --input exports/contacts.csv --allow-damaged --json
  headrace ingest web --input kafka://localhost:29092/web-events --lake /srv/lake --until now
  headrace ingest web --input kafka://localhost:29092/web-events --lake /srv/lake --runner flink

SOURCE names sources/SOURCE.yaml of the project, or is a path; it fixes dataset, contract, format and mapping. Running a command
again is safe: files and offsets are landed once, and rows are folded, never added twice. Kafka without --until never ends: on
Flink the command returns when the job runs (headrace job list), on the direct runner it runs until Ctrl-C. Options of Beam go
behind `--`.
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG)
@click.argument("source")
@click.argument("beam_options", nargs=-1, type=click.UNPROCESSED)
@click_options(IngestOptions)
@project_option
@json_option
@plain_errors
def ingest(source: str, beam_options: tuple[str, ...], project: Path | None, as_json: bool, **given: Any) -> None:
    """Land files or topics, check every record against its contract, and fold the good ones into the validated table."""
    options = parse(IngestOptions, {"source": source, "beam_options": beam_options, **given})
    options.check()
    loaded = load_project(project)
    for warning in warnings_of(*loaded.source(source)):
        stderr.print(f"warning: {warning}")
    with progress() as report_progress:
        run = ingest_topics if options.reads_kafka else ingest_files
        report: IngestReport | Submitted | HandedOver = run(options, loaded, report_progress)
    if isinstance(report, HandedOver):
        document = {"run_id": report.run_id, "state": "handed to the launcher"}
        print_json(document) if as_json else stdout.print(
            f"run {report.run_id}: landed, handed to the launcher; run again to see the ledger"
        )
        return
    if isinstance(report, Submitted):
        print_json(asdict(report)) if as_json else show_submitted(report)
        return
    if as_json:
        print_json(report.manifest)
    else:
        show_report(report)
    sys.exit(report.exit_code)


def show_submitted(job: Submitted) -> None:
    """What to do with a job that goes on."""
    stdout.print(
        f"run {job.run_id}: reads {', '.join(job.topics)} ({job.partitions} partitions) as Flink job {job.job_id} on {job.flink}"
    )
    advise(f"  look at it:  headrace job status {job.run_id}")
    advise(f"  stop it:     headrace job stop {job.run_id}")
    advise(f"  look after:  headrace job supervise {job.run_id}")


def show_report(report: IngestReport) -> None:
    """The summary at the end of a run."""
    dataset = report.manifest["datasets"][report.dataset]
    stdout.print(f"run {report.run_id}: {report.inputs}")
    stdout.print(table(("source", *LEDGER_COLUMNS, ""), [(report.source, *ledger_cells(report.ledger), balance(report.ledger))]))
    if report.ledger.codes:
        codes = ", ".join(f"{code} {count:,}" for code, count in sorted(report.ledger.codes.items()))
        stdout.print(f"dead letters: {codes}")
    stdout.print(f"{dataset['table']}: {dataset['rows']:,} rows, content_hash {dataset['content_hash']}")
    for warning in report.warnings:
        stderr.print(as_given(f"warning: {warning}"), style="yellow", markup=False)
    for reason in report.reasons:
        advise(f"exit 1: {reason}", style="red")
