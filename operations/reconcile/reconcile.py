"""``headrace reconcile``: rows, export, receipts, in this order, so that what happens meanwhile is told as such."""

from __future__ import annotations

import time
from typing import Any

from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table

from contracts.encode.events import EventEncoder
from contracts.errors import ConfigurationError
from contracts.spec.destination import Destination
from contracts.spec.model import Contract
from contracts.spec.project import Project
from contracts.units import DURATION_UNITS, SECOND_US, us_text
from lake.acts import note_act
from lake.location import Lake
from lake.privacy import hidden_ids
from lake.runs.progress import Progress, Report
from lake.tables.iceberg import horizon_s, published_files, settled_snapshot
from operations.reconcile.causes import Commands
from operations.reconcile.compare import Comparison
from operations.reconcile.document import Samples, alarms_of, causes_of, classes_of, header, windows_of
from operations.reconcile.export import Export, Fields
from operations.reconcile.file_export import FileExport
from operations.reconcile.judge import Judge, Judgement
from operations.reconcile.options import ReconcileOptions
from operations.reconcile.rows import RangeRows, RowIndex, time_columns
from operations.reconcile.url_export import UrlExport, spans_of


def reconcile(options: ReconcileOptions, project: Project, lake: Lake, report: Report) -> dict[str, Any]:
    """Compare what should be at a destination with what it has.

    Args:
        options: which destination and range.
        project: where destinations, contracts and policies lie.
        lake: with the rows and the receipts.
        report: is told of progress.

    Returns:
        The document. Its values are texts, numbers, lists and mappings; times are ISO 8601.

    Raises:
        ConfigurationError: options, destination, table or export do not fit.
        ComponentDownError: the export, the catalog or the store does not answer.
    """
    destination, contract = project.destination(options.destination)
    encoder = EventEncoder(destination, contract, project.suppressions(contract))
    rows = RangeRows(destination, contract, encoder, options.start * 1_000, options.end * 1_000)
    fields = Fields(options.id_field, options.event_field)
    given = FileExport(destination.name, fields, options.export, _us(options.exported_at)) if options.export else None
    if given is None:
        _check_url(destination)
    settle_s = destination.limits.queue_age_s if options.settle is None else options.settle
    as_of_us = given.as_of_us if given else time.time_ns() // 1_000
    young_us = as_of_us - round(settle_s * SECOND_US)

    table = contract.table
    loaded = _load(lake, table)
    index = _index(loaded, table, rows, young_us, report)
    export: Export = given or UrlExport(destination, fields, _spans(destination, contract, rows, index, options.margin))
    sent = frozenset(path.steps[0] for path in destination.paths)
    comparison = Comparison(index, sent, rows.start_us, rows.end_us, contents=not options.ids_only)
    for page in export.pages():
        comparison.add([event for event in page if event.event_id != destination.probe_id])
        report(Progress("compare", comparison.counts["events"], 0, f"{comparison.counts['events']:,} events of the export"))
    judge = Judge(lake, table, contract, destination.name, export.as_of_us, young_us, horizon_s(loaded) * SECOND_US)
    judgement = judge.judge(rows, index, comparison)

    hidden = None if options.reveal else hidden_ids(lake)
    if options.reveal:
        note_act(lake, "reconcile", {"destination": destination.name, "start": us_text(rows.start_us), "end": us_text(rows.end_us)})
    commands = Commands(options.destination, us_text(rows.start_us), us_text(rows.end_us), _duration(settle_s))
    samples = Samples(rows, index, judgement, destination, contract, options.samples, hidden)
    causes = causes_of(judgement, commands, samples)
    return {
        **header(destination, rows.start_us, rows.end_us, index, judgement),
        **_compared(export, comparison, judgement),
        "settle_s": settle_s,
        "classes": classes_of(judgement),
        "causes": causes,
        **_windows(rows, index, judgement),
        **_verdict(judgement, alarms_of(causes)),
    }


def _compared(export: Export, comparison: Comparison, judgement: Judgement) -> dict[str, Any]:
    counts = comparison.counts
    return {
        "export": {
            "from": export.origin,
            "as_of": us_text(export.as_of_us),
            "events": counts["events"],
            "repeated": counts["repeated"],
            "of_other_ranges": counts["other_times"] + judgement.elsewhere,
            "ahead_of_the_table": judgement.ahead,
        },
        "contents": {"compared": counts["compared"], "ids_only": counts["ids_only"]},
    }


def _windows(rows: RangeRows, index: RowIndex, judgement: Judgement) -> dict[str, Any]:
    minutes, windows = windows_of(judgement, index, rows.start_us, rows.end_us)
    return {"window_minutes": minutes, "windows": windows}


def _verdict(judgement: Judgement, alarms: list[str]) -> dict[str, Any]:
    return {
        "adds_up": judgement.adds_up,
        "verdict": {"exit_code": 1 if alarms or not judgement.adds_up else 0, "reasons": alarms},
    }


def _load(lake: Lake, table: str) -> Table:
    try:
        return lake.load(table)
    except NoSuchTableError:
        raise ConfigurationError(f"lake {lake.root}: there is no table {table}; headrace ingest makes it") from None


def _index(loaded: Table, table: str, rows: RangeRows, young_us: int, report: Report) -> RowIndex:
    """The rows of the settled snapshot."""
    files = [
        file
        for file in published_files(loaded, settled_snapshot(loaded))
        if file.from_us < rows.end_us and file.to_us > rows.start_us
    ]
    return rows.index(files, young_us, lambda done, total: report(Progress("compare", done, total, f"{done:,} rows of {table}")))


def _check_url(destination: Destination) -> None:
    if destination.export is None:
        raise ConfigurationError(f"destination {destination.name} names no export: URL; give its export as files with --export")
    destination.write_key.read()


def _spans(
    destination: Destination, contract: Contract, rows: RangeRows, index: RowIndex, margin_s: int
) -> list[tuple[int, int]] | None:
    """Which times of the export to read; all where an event of the range has no time that it could be found by."""
    if index.untimed or not time_columns(destination, contract):
        return None
    return spans_of(rows.start_us, rows.end_us, index.hours, margin_s * SECOND_US)


def _us(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds * 1_000


def _duration(seconds: float) -> str:
    for unit, size in DURATION_UNITS.items():
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
