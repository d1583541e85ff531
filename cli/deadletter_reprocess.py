"""``headrace deadletter reprocess``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from cli.console import (
    advise,
    json_option,
    lake_option,
    open_lake,
    plain_errors,
    print_json,
    progress,
    project_option,
    stdout,
    table,
)
from cli.deadletter_options import selection_options
from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from lake.location import Lake
from operations.deadletters.selection import LetterSelection
from operations.reprocess.options import MOST_ATTEMPTS, ReprocessOptions, ReprocessReport

_EPILOG = """\b
Examples:
  headrace deadletter reprocess --code not_in_enum --dry-run
  headrace deadletter reprocess --code not_in_enum --reason "campaign is an event type now"
  headrace deadletter reprocess --source web --recipe decimal-comma --reason "ticket 4711"
  headrace deadletter reprocess --late --dataset customer_event --since 2026-11-01T00:00:00Z
  headrace deadletter reprocess --destination segment --reason "mapping mended"

Records are read from raw/ by their positions, and judged by the contract, the source spec and the policies of today. What is
repaired is on record, and every later replay repairs it too. Killed at any point: give the command again. Exit code 1 where letters
still fail.
"""
_OF_READING = ("recipe", "late", "samples", "workers")
_ASIDE = {
    "decode": "are rejected records, and --late reads late rows",
    "late": "are late rows: --late folds them in",
    "converge": "lost against another row: only a --recipe can help, headrace lake why EVENT_ID shows the rows",
    "deliver": "were refused by a destination: --destination NAME sends them again",
    "given up": "were read so often that they are given up: --max-attempts reads them once more",
}


@click.command("reprocess", epilog=_EPILOG)
@selection_options
@click.option("--recipe", metavar="NAME|FILE", help="Repair records by recipes/NAME.yaml of the project, or by this file.")
@click.option("--late", is_flag=True, help="Late rows in place of dead letters: fold them into their windows.")
@click.option("--destination", metavar="NAME", help="Send again what this destination refused, of these letters.")
@click.option(
    "--max-attempts",
    type=click.IntRange(2, 1_000),
    default=MOST_ATTEMPTS,
    show_default=True,
    metavar="N",
    help="Letters that were read so often, the first time included, are given up.",
)
@click.option("--dry-run", is_flag=True, help="Show what would come of it, side by side; write nothing.")
@click.option(
    "--samples",
    type=click.IntRange(0, 100),
    default=3,
    show_default=True,
    metavar="N",
    help="Of a dry run, examples of each outcome.",
)
@click.option("--reason", metavar="TEXT", help="Why; recorded.")
@click.option("--by", metavar="NAME", help="Who asked for it, where that is another than who gives the command; recorded.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, metavar="N", help="Processes.")
@lake_option
@project_option
@json_option
@plain_errors
def reprocess(
    selection: LetterSelection, recipe: str | None, destination: str | None, lake: str | None, project: Path | None, as_json: bool,
    **given: Any,
) -> None:  # fmt: skip
    """Read dead letters again: what passes now is published, and its letter goes.

    Without filters: all letters that are open.
    """
    opened, loaded = open_lake(lake, project)
    if destination:
        _refuse_for_destinations()
    from operations.reprocess.recipes import tried_recipe  # noqa: PLC0415
    from operations.reprocess.run import reprocess as run_reprocess  # noqa: PLC0415 - brings Beam

    options = ReprocessOptions(selection=selection, recipe=tried_recipe(loaded, recipe) if recipe else None, **given)
    if destination:
        _redeliver(destination, options, loaded, opened, as_json)
        return
    with progress() as show:
        report = run_reprocess(options, loaded, opened, show)
    if as_json:
        print_json(report.document())
    else:
        _show(report)
    raise SystemExit(report.exit_code)


def _refuse_for_destinations() -> None:
    """Options that say how records are read have no meaning for events that are sent."""
    context = click.get_current_context()
    wrong = [name for name in _OF_READING if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if wrong:
        raise ConfigurationError(f"--destination: sends events again, and reads no record: leave out --{', --'.join(wrong)}")


def _redeliver(destination: str, options: ReprocessOptions, project: Project, lake: Lake, as_json: bool) -> None:
    from operations.reprocess.destination import redeliver  # noqa: PLC0415 - brings Beam

    with progress() as show:
        done, refused, left = redeliver(destination, options, project, lake, show)
    if as_json:
        told = {"destination": destination, "refused": refused, "left": left, "dry_run": options.dry_run}
        print_json(told | {"delivery": done.manifest if done else None})
    elif done is None:
        stdout.print(f"{destination}: {refused:,} refused events" + (" would be sent again" if refused else ""))
    else:
        stdout.print(f"{destination}: {refused:,} refused events sent again in run {done.run_id}; {left:,} still refused")
    raise SystemExit(1 if left and not options.dry_run else 0)


def _show(report: ReprocessReport) -> None:
    if report.outcomes:
        rows = [(*key, count) for key, count in sorted(report.outcomes.items())]
        stdout.print(table(("source", "code", "would be" if report.dry_run else "outcome", "letters"), rows))
    elif not report.aside:
        stdout.print("no dead letters")
    for example in report.examples:
        _show_example(example)
    if report.repaired:
        stdout.print(f"{report.repaired:,} repaired by the recipe")
    for name, count in report.others.items():
        stdout.print(f"{count:,} were repaired by the recipe {name} before; that one holds", style="yellow")
    for why, count in sorted(report.aside.items()):
        advise(f"{count:,} letters {_ASIDE.get(why, why)}")
    if report.selected and not report.dry_run:
        stdout.print(f"run {report.run_id}")
    for warning in report.warnings:
        advise(warning)
    for reason in report.reasons:
        advise(f"exit 1: {reason}", style="red")


def _show_example(example: Mapping[str, Any]) -> None:
    """Before and after, a line for each column; of a record that fails, its violations."""
    place, before, after = example["position"], example["before"], example["after"]
    raw_file, _, number = place.rpartition(":")
    title = f"{example['source']}, {raw_file[:24]}:{number}: {example['outcome']}" + (", repaired" if example["repaired"] else "")
    if after is None:
        rows = [(v["path"], v["rule"], v["expected"]) for v in before["violations"]]
        stdout.print(table(("path", "rule", "expected"), rows, title=title))
        return
    names = [*before, *(name for name in after if name not in before)]
    rows = [(name, _text(before.get(name)), _text(after.get(name))) for name in names]
    stdout.print(table(("column", "as received", "row"), rows, title=title))


def _text(value: Any) -> str:
    return "" if value is None else str(value)
