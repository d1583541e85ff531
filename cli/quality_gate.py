"""``headrace quality status | accept | release``: what gates hold, and what people do about it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cli.console import advise, json_option, lake_option, open_lake, plain_errors, print_json, project_option, stdout, table
from contracts.errors import ConfigurationError
from contracts.units import us_text
from lake.tables.holds import Range
from operations.quality.gates import GateState, HeldPartition, accept_held, gates, release
from quality.gate_report import GateReport
from runners.option_readers import moment

_TIME = moment(unit_us=1)
_STATUS = """\b
Examples:
  headrace quality status
  headrace quality status customer_event --check || page-somebody
"""
_ACCEPT = """\b
Examples:
  headrace quality accept customer_event --partition 2026-11-02T09:00:00Z --by "Ada Lovelace" --reason "the sale was real"
  headrace quality accept customer_event --all --by "Ada Lovelace" --reason "one-off import" --release

It holds for the rows that were judged and the rules that they broke: rows that come later are judged again. With --as-of it is
refused where rows came after you looked.
"""
_RELEASE = """\b
Examples:
  headrace quality release customer_event --dry-run
  headrace quality release customer_event

Exit code 1 where something is still held. What a rule holds that the contract has no more is published too: with --by NAME.
Partitions that a stream may still fill wait, as beside the stream; with --complete they do not.
"""


@click.command("status", epilog=_STATUS)
@click.argument("datasets", nargs=-1, metavar="[DATASET]...")
@click.option("--check", is_flag=True, help="Exit 1 when something is held.")
@lake_option
@project_option
@json_option
@plain_errors
def status_(datasets: tuple[str, ...], check: bool, lake: str | None, project: Path | None, as_json: bool) -> None:
    """What gates hold, and why."""
    opened, _ = open_lake(lake, project)
    found = list(gates(opened, datasets))
    if as_json:
        print_json([document(state) for state in found])
    elif not found:
        stdout.print("no dataset of this lake has a gate: a contract has one where a rule says quarantine or stop")
    for state in [] if as_json else found:
        show(state)
    if check and any(state.held for state in found):
        sys.exit(1)


def document(state: GateState) -> dict[str, Any]:
    """A gate as JSON."""
    return {
        "dataset": state.dataset, "partition_s": state.partition_s, "behind": state.behind,
        "held": [_document(held) for held in state.held],
    }  # fmt: skip


def _document(held: HeldPartition) -> dict[str, Any]:
    hold = held.hold
    return {
        "from": us_text(hold.from_us, "seconds"), "to": us_text(hold.to_us, "seconds"), "severity": hold.severity,
        "rules": list(hold.rules), "rows": held.rows, "public_rows": held.public_rows, "content": hold.content,
        "since": hold.since, "run_id": hold.run_id,
        "verdicts": [
            {"rule": v.rule, "verdict": str(v.verdict), "observed": v.observed, "expected": v.expected, "failing": v.failing,
             "detail": v.detail, "samples": v.samples}
            for v in (each.verdict for each in held.verdicts)
        ],
        "accepted": held.accepted and {"by": held.accepted.by, "reason": held.accepted.reason, "at": held.accepted.at},
    }  # fmt: skip


def show(state: GateState) -> None:
    """A gate for people."""
    if not state.held:
        stdout.print(f"{state.dataset}: nothing is held; {state.behind:,} partitions have rows that were not published yet")
        return
    rows = [
        (
            us_text(held.hold.from_us, "seconds"), held.hold.severity, ", ".join(held.hold.rules), held.rows, held.public_rows,
            held.hold.since, f"accepted by {held.accepted.by}" if held.accepted else "",
        )
        for held in state.held
    ]  # fmt: skip
    columns = ("partition", "severity", "rules", "rows", "readers see", "held since", "")
    stdout.print(table(columns, rows, title=f"{state.dataset}: {len(state.held)} held of {state.behind:,} not published"))
    for held in state.held:
        for each in held.verdicts:
            stdout.print(f"{us_text(held.hold.from_us, 'seconds')} {each.verdict.rule}: {each.verdict.detail}", markup=False)
    if any(held.accepted for held in state.held):
        advise(f"what was accepted is published with: headrace quality release {state.dataset}")
    advise(
        f"the rows: headrace quality run {state.dataset} --audit. Mend the source and ingest or replay again, or overrule: "
        f"headrace quality accept {state.dataset} --partition TIME --by NAME --reason TEXT"
    )


@click.command("accept", epilog=_ACCEPT)
@click.argument("dataset")
@click.option("--partition", "times", multiple=True, metavar="TIME", callback=lambda *given: _times(given[2]),
              help="A held partition, by a time in it; may be given again.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="All that is held.")
@click.option("--by", required=True, metavar="NAME", help="Who overrules.")
@click.option("--reason", required=True, metavar="TEXT", help="Why.")
@click.option("--new-normal", is_flag=True, help="What came is to be expected from now on: baselines learn from it.")
@click.option("--as-of", metavar="TIME", callback=lambda *given: _times([given[2]])[0] if given[2] else None,
              help="When you looked, as status tells it: refuse what was judged after that.")  # fmt: skip
@click.option("--release", "releases", is_flag=True, help="Publish it at once.")
@lake_option
@project_option
@json_option
@plain_errors
def accept_(
    dataset: str, times: Sequence[int], everything: bool, by: str, reason: str, new_normal: bool, as_of: int | None, releases: bool,
    lake: str | None, project: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Overrule the verdict on held partitions of DATASET: by name, with a reason, on record."""
    if bool(times) == everything:
        raise ConfigurationError("say which partitions: --partition TIME (again for more), or --all")
    opened, loaded = open_lake(lake, project)
    chosen: list[Range] = [(at, at + 1) for at in times]
    found = accept_held(opened, dataset, chosen, by=by, reason=reason, new_normal=new_normal, as_of_us=as_of)
    report = release(opened, loaded, dataset, by=by, dry_run=False) if releases else None
    if as_json:
        told = [{"from": us_text(a.partition.from_us, "seconds"), "by": a.by, "reason": a.reason, "new": new} for a, new in found]
        print_json({"accepted": told, "released": report and report.document()})
    else:
        for acceptance, is_new in found:
            before = "" if is_new else f" already, by {acceptance.by} at {acceptance.at}"
            stdout.print(f"{acceptance.partition}: accepted{before}")
        if not found:
            stdout.print(f"{dataset}: nothing is held")
        if report:
            _show_report(report, dry_run=False)
        elif found:
            advise(f"headrace quality release {dataset} publishes it, and so does the next run")
    if report and report.held:
        sys.exit(1)


def _times(given: Sequence[str]) -> list[int]:
    try:
        return [int(_TIME(text)) for text in given]
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("release", epilog=_RELEASE)
@click.argument("dataset")
@click.option("--by", metavar="NAME", help="Who releases; needed where a rule that the contract has no more holds something.")
@click.option("--complete", is_flag=True, help="Nothing more comes: judge partitions as a whole that a stream may fill.")
@click.option("--dry-run", is_flag=True, help="Publish nothing; tell what would come of it.")
@lake_option
@project_option
@json_option
@plain_errors
def release_(
    dataset: str, by: str | None, complete: bool, dry_run: bool, lake: str | None, project: Path | None, as_json: bool
) -> None:
    """Judge what is held of DATASET again, and publish what passes now or was accepted."""
    opened, loaded = open_lake(lake, project)
    report = release(opened, loaded, dataset, by=by, dry_run=dry_run, is_complete=complete)
    if as_json:
        print_json({"dataset": dataset, **report.document(), "published": report.published, "pending": report.pending})
    else:
        _show_report(report, dry_run=dry_run)
    if report.held:
        sys.exit(1)


def _show_report(report: GateReport, *, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    for low, high in report.released:
        stdout.print(f"{us_text(low, 'seconds')} to {us_text(high, 'seconds')}: {would}released")
    for hold in report.held:
        stdout.print(f"{us_text(hold.from_us, 'seconds')} to {us_text(hold.to_us, 'seconds')}: held, {', '.join(hold.rules)}")
    if report.stopped:
        stdout.print(f"{report.stopped:,} later partitions wait: a rule says stop", style="yellow")
    for warning in report.warnings if report.waiting else ():
        stdout.print(warning, style="yellow", markup=False)
    if dry_run:
        stdout.print(f"{report.pending:,} partitions would be published; nothing was changed")
    elif not report.released and not report.held:
        stdout.print(f"{report.dataset}: nothing is held" + (", and what was new is published" if report.published else ""))


COMMANDS = (status_, accept_, release_)
