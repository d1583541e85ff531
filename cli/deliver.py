"""``headrace deliver``."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from cli.console import advise, json_option, load_project, plain_errors, print_json, progress, project_option, stdout, table
from cli.options import GroupedCommand, click_options
from lake.receipts.receipts import BEFORE, DELIVERED, FILTERED, REFUSED, WITHHELD
from pipelines.deliver.options import DeliverOptions
from pipelines.deliver.run import DeliveryReport, SubmittedDelivery
from pipelines.deliver.run import deliver as run_delivery
from runners.option_fields import parse

_EPILOG = """\b
Examples:
  headrace deliver segment --input kafka://localhost:29092 --lake /srv/lake --runner flink
  headrace deliver segment --start 2026-11-01T00:00:00Z --end 2026-11-02T00:00:00Z --lake /srv/lake
  headrace deliver segment --start 2026-11-01T00:00:00Z --end 2026-11-02T00:00:00Z --rows refused

DESTINATION names destinations/DESTINATION.yaml of the project, or is a path; it fixes dataset, mapping, consent and limits. Running
a command again is safe: what has a final answer is on record and is not sent again, and what is sent again keeps its id. With
--input kafka://… and no --until it never ends: on Flink the command returns when the job runs (headrace job list), on the direct
runner it runs until Ctrl-C. Options of Beam go behind `--`.
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG)
@click.argument("destination")
@click.argument("beam_options", nargs=-1, type=click.UNPROCESSED)
@click_options(DeliverOptions)
@project_option
@json_option
@plain_errors
def deliver(destination: str, beam_options: tuple[str, ...], project: Path | None, as_json: bool, **given: Any) -> None:
    """Deliver validated rows to a destination: once in effect, in order per user, within its limits."""
    options = parse(DeliverOptions, {"destination": destination, "beam_options": beam_options, **given})
    options.check()
    loaded = load_project(project)
    with progress() as report_progress:
        report = run_delivery(options, loaded, report_progress)
    if isinstance(report, SubmittedDelivery):
        print_json(asdict(report)) if as_json else _show_submitted(report)
        return
    if as_json:
        print_json(report.manifest)
    else:
        _show(report)
    sys.exit(report.exit_code)


def _show_submitted(job: SubmittedDelivery) -> None:
    stdout.print(f"run {job.run_id}: delivers {job.topic} ({job.lanes} partitions) to {job.destination}")
    stdout.print(f"  as Flink job {job.job_id} on {job.flink}")
    advise("  how it goes:  headrace status")
    advise(f"  look at it:   headrace job status {job.run_id}")
    advise(f"  stop it:      headrace job stop {job.run_id}")


def _show(report: DeliveryReport) -> None:
    counts = report.counts
    withheld = Counter({name.partition(":")[2]: n for name, n in counts.items() if name.startswith(f"{WITHHELD}:")})
    rate = counts[DELIVERED] / report.seconds if report.seconds else 0.0
    stdout.print(f"run {report.run_id}: {report.rows_from}")
    columns = ("destination", "rows", "delivered", "withheld", "refused", "filtered", "settled before", "seconds", "events/s")
    cells = (
        report.destination, sum(counts.values()), counts[DELIVERED], withheld.total(), counts[REFUSED], counts[FILTERED],
        counts[BEFORE], round(report.seconds), round(rate),
    )  # fmt: skip
    stdout.print(table(columns, [cells]))
    if withheld:
        stdout.print("withheld: " + ", ".join(f"{reason} {count:,}" for reason, count in withheld.most_common()))
    for reason in report.reasons:
        advise(f"exit 1: {reason}", style="red")
