"""``headrace quality``: rules of contracts over what is published, and what came of them as a page."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cli.console import json_option, lake_option, open_lake, plain_errors, print_json, project_option, stdout, table
from cli.options import read_option
from cli.quality_gate import COMMANDS as GATE_COMMANDS
from contracts.errors import ConfigurationError
from contracts.spec.model import Contract, name_and_major
from contracts.spec.project import Project
from contracts.units import us_text
from operations.quality.kept import HEADRACE, EngineVerdict, QualityResults
from operations.quality.page import write_page
from operations.quality.report import Report, report_on_dataset, report_on_run
from operations.quality.run import ENGINES, QualityOptions, run_quality
from quality.verdicts import RuleVerdict, Verdict
from runners.option_readers import moment

_TIME = moment(unit_us=1)
_RUN = """\b
Examples:
  headrace quality run customer_event
  headrace quality run customer_event --start 2026-11-02T00:00:00Z --end 2026-11-03T00:00:00Z --engine both
  headrace quality run customer_event --run 20261123T040743842691Z-web-c8093f --json

Exit code 1 where a rule of severity quarantine or stop was broken, or could not be judged. Results lie in the lake, _quality/ID;
those of Great Expectations with them, as JSON and as pages (Data Docs). It comes with: pip install 'headrace[quality]'
"""
_REPORT = """\b
Examples:
  headrace quality report --dataset customer_event --page quality.html
  headrace quality report 20261123T040743842691Z-web-c8093f --page run.html
"""


@click.group()
def quality() -> None:
    """Rules beyond one record: judge partitions by hand, and see what came of them."""


for _command in GATE_COMMANDS:
    quality.add_command(_command)


@quality.command("run", epilog=_RUN)
@click.argument("dataset")
@read_option("--start", "TIME", None, _TIME, "Partitions from this window time on.  [default: a day before the end]")
@read_option("--end", "TIME", None, _TIME, "Partitions before this window time.  [default: the newest row]")
@click.option("--run", "of_run", metavar="RUN", help="The partitions that this run has rows of.")
@click.option("--engine", type=click.Choice(ENGINES), default=HEADRACE, show_default=True, help="Who judges.")
@click.option("--audit", is_flag=True, help="Of a gated dataset: rows as jobs write them, held partitions included.")
@click.option("--all", "everything", is_flag=True, help="Show rules that passed, or had nothing to judge, too.")
@lake_option
@project_option
@json_option
@plain_errors
def run_(
    dataset: str, start: int | None, end: int | None, of_run: str | None, engine: Any, audit: bool, everything: bool,
    lake: str | None, project: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Judge partitions of DATASET by the rules of its contract."""
    if of_run is not None and (start is not None or end is not None):
        raise ConfigurationError("--run names partitions by itself: give it without --start and --end")
    opened, loaded = open_lake(lake, project)
    options = QualityOptions(engine=engine, start_us=start, end_us=end, run=of_run, audit=audit)
    judged = run_quality(opened, _contract(loaded, dataset), options)
    if as_json:
        print_json(judged.results.document())
    else:
        _show(judged.results, everything=everything)
        for own, other in judged.differing:
            stdout.print(f"the engines differ: {own.rule} of {own.partition}: {own.verdict} and {other.verdict}", style="red")
    sys.exit(1 if judged.results.failed else 0)


def _contract(project: Project, dataset: str) -> Contract:
    return project.contract(*name_and_major(dataset))


def _show(results: QualityResults, *, everything: bool) -> None:
    of = f" of run {results.of_run}" if results.of_run else ""
    stdout.print(
        f"{results.dataset} {results.contract_version}{of}: {results.partitions:,} partitions{_span(results)}, "
        f"{len({(e.engine, e.verdict.rule) for e in results.verdicts}):,} rules"
    )
    shown = [each for each in results.verdicts if everything or each.verdict.verdict not in (Verdict.OK, Verdict.SKIPPED)]
    if shown:
        columns = ("partition", "rule", "engine", "severity", "verdict", "observed", "expected", "failing", "rows")
        stdout.print(table(columns, [_cells(each) for each in shown]))
    counts = Counter(str(each.verdict.verdict) for each in results.verdicts)
    told = ", ".join(f"{counts[verdict]:,} {verdict}" for verdict in Verdict if counts[verdict])
    stdout.print(told or "the contract has no rules about partitions: docs/guides/quality.md says how to write them")
    for rule, why in results.unmapped:
        stdout.print(f"not by Great Expectations: {rule}: {why}")
    for document in results.documents:
        if document.endswith(".html"):
            stdout.print(f"Data Docs: {document}")


def _span(results: QualityResults) -> str:
    """When they were: a row of a clock that is wrong makes the last day another one than people think."""
    judged = [each.verdict.partition for each in results.verdicts]
    if not judged:
        return ""
    first, last = min(one.from_us for one in judged), max(one.to_us for one in judged)
    return f" from {us_text(first, 'seconds')} to {us_text(last, 'seconds')}"


def _cells(each: EngineVerdict) -> Sequence[Any]:
    told = each.verdict
    return (
        us_text(told.partition.from_us, "seconds"), told.rule, each.engine, str(told.severity), str(told.verdict), _observed(told),
        told.expected, told.failing, told.rows,
    )  # fmt: skip


def _observed(verdict: RuleVerdict) -> str:
    return f"{verdict.observed:,.6g}" if isinstance(verdict.observed, float) else verdict.observed or ""


@quality.command("report", epilog=_REPORT)
@click.argument("run", required=False)
@click.option("--dataset", metavar="NAME", help="Of this one; where no run is given, all that is known of it.")
@click.option("--page", type=click.Path(path_type=Path), metavar="FILE", help="Write an HTML page that needs nothing else.")
@lake_option
@project_option
@json_option
@plain_errors
def report_(run: str | None, dataset: str | None, page: Path | None, lake: str | None, project: Path | None, as_json: bool) -> None:
    """What rules said of RUN, a run or the id of a quality run, or of a dataset over time; and what changed since all was well."""
    if run is None and dataset is None:
        raise ConfigurationError("of what? give a run that headrace status lists, or --dataset NAME")
    opened, loaded = open_lake(lake, project)
    if run is not None:
        reports = report_on_run(opened, loaded, run, dataset)
    else:
        assert dataset is not None
        reports = [report_on_dataset(opened, _contract(loaded, dataset))]
    if page:
        write_page(reports, page)
    if as_json:
        print_json([report.document() for report in reports])
        return
    for report in reports:
        _show_report(report)
    if page:
        stdout.print(f"page: {page}")


def _show_report(report: Report) -> None:
    stdout.print(f"{report.title}: {report.verdict_words}")
    rows = [
        (us_text(told.partition.from_us, "seconds"), told.rule, str(told.severity), str(told.verdict), told.detail)
        for told in report.bad
    ]
    if rows:
        stdout.print(table(("partition", "rule", "severity", "verdict", "what"), rows))
    if report.changes:
        stdout.print(f"changed since run {report.good_run}, which wrote the last good partition, {report.good}:")
        for entry in report.changes:
            stdout.print(f"  {entry.at}  {entry.kind}  {entry.what}")
