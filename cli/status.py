"""``headrace status``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from cli.console import (
    LEDGER_COLUMNS,
    advise,
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
from cli.status_deliveries import advice_on, show_delivery, show_delivery_runs
from lake.runs.manifest import RunSummary, read_run, recent_runs
from operations.deliveries import DeliveryState, deliveries
from operations.quality.gates import GateNote, gate_notes
from operations.streams import SUBMITTED, StreamState, as_submitted, stream_state, streaming, submitted_last
from pipelines.deliver.options import PIPELINE

_LOG_COLUMNS = ("log", "landed to", "frontier", *LEDGER_COLUMNS, "pending", "lost")


_EPILOG = """\b
Examples:
  headrace status --lake /srv/lake --limit 5
  headrace status --lake /srv/lake --check || page-somebody

--check is for probes: exit code 1 when a queue is older than its destination's limits.queue_age_s, a worker of a delivery has
given no sign for 30 s, rows of a stream have waited five minutes to be settled, or rows of a gated dataset ten to be judged.
"""


@click.command(epilog=_EPILOG)
@click.option("--limit", default=10, show_default=True, metavar="N", type=click.IntRange(1, 10_000), help="How many runs.")
@click.option("--check", is_flag=True, help="Exit 1 when a delivery, a stream or a gate is late, or a worker silent.")
@lake_option
@project_option
@json_option
@plain_errors
def status(limit: int, check: bool, lake: str | None, project: Path | None, as_json: bool) -> None:
    """The last runs: what came in, what became of it, and the verdict; where each log of a stream stands, and each delivery."""
    opened, loaded = open_lake(lake, project)
    latest = list(recent_runs(opened, limit))
    found = {state.run_id: state for state in deliveries(opened, loaded, latest)}
    named = {run.run_id for run in latest}
    older = (read_run(opened, run_id) for run_id in sorted((found.keys() | submitted_last(opened)) - named, reverse=True))
    runs = [as_submitted(opened, run) for run in (*latest, *filter(None, older))]
    streams = {run.run_id: stream_state(opened, loaded, run) for run in streaming(opened, loaded, runs)}
    notes = list(gate_notes(opened)) if opened.exists() else []
    if as_json:
        print_json([asdict(run) | _more(run.run_id, streams, found) for run in runs])
    else:
        _show(runs, streams, list(found.values()))
        for note in notes:
            _print_gate(note)
    late = [state for state in (*found.values(), *streams.values()) if not isinstance(state, str) and state.problems]
    if check and (late or any(note.is_stuck for note in notes)):
        sys.exit(1)


def _print_gate(note: GateNote) -> None:
    if note.held:
        advise(f"the gate of {note.dataset} holds {note.held} partitions: headrace quality status {note.dataset}")
    if note.is_stuck:
        advise(
            f"the gate of {note.dataset} has not judged what was committed {note.unjudged_s / 60:,.0f} min ago, and readers do not "
            f"see it: does its job run, and what does its log say? headrace quality release {note.dataset} judges it now",
            style="red",
        )


def _more(run_id: str, streams: dict[str, StreamState | str], found: dict[str, DeliveryState]) -> dict[str, Any]:
    """What a document says of a run beside its manifest."""
    more: dict[str, Any] = {"stream": streams[run_id]} if run_id in streams else {}
    return more | ({"delivery": found[run_id]} if run_id in found else {})


def _show(runs: Sequence[RunSummary], streams: dict[str, StreamState | str], found: Sequence[DeliveryState]) -> None:
    if not runs:
        stdout.print("no runs yet")
        return
    delivering = [run for run in runs if run.pipeline == PIPELINE]
    later: set[str] = set()
    rows = []
    for run in runs:  # the newest first
        if run.pipeline != PIPELINE:
            rows.append(_row(run, advise=run.source not in later))
            later |= {run.source} if run.state == "finished" else set()
    if rows:
        stdout.print(table(("run", "state", "seconds", *LEDGER_COLUMNS, "verdict"), rows))
    for run_id, stream in streams.items():
        stdout.print()
        _print_stream(run_id, stream)
    if delivering:
        if rows:
            stdout.print()
        show_delivery_runs(delivering)
    for state in found:
        stdout.print()
        show_delivery(state)


def _print_stream(run_id: str, stream: StreamState | str) -> None:
    if isinstance(stream, str):
        stdout.print(f"run {run_id}: its logs cannot be shown: {stream}")
        return
    age = "no rows yet" if stream.newest_row_age_s is None else f"newest row {stream.newest_row_age_s:,.0f} s old"
    if stream.settled_age_s is not None:
        age += "; settled" if not stream.settled_age_s else f"; settled but for the last {stream.settled_age_s:,.0f} s"
    cells = [
        (f"{s.topic}[{s.partition}]", s.landed_to, s.frontier, *ledger_cells(s.ledger), s.ledger.pending, s.ledger.lost)
        for s in stream.logs
    ]
    stdout.print(table(_LOG_COLUMNS, cells, title=f"run {run_id}: logs of {stream.source}; {stream.table}: {age}"))
    for problem in stream.problems:
        stdout.print(f"LATE: {problem}", style="red", markup=False)


def _row(run: RunSummary, *, advise: bool) -> list[Any]:
    if run.ledger is None:
        advice = advice_on(run) if advise else ""
        if run.state == SUBMITTED:
            advice = f"headrace job status {run.run_id}"
        return [run.run_id, run.state, None, *([None] * len(LEDGER_COLUMNS)), advice]
    return [run.run_id, run.state, round(run.timings["total_s"]), *ledger_cells(run.ledger), run.verdict]
