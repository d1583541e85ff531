"""Refused events sent again: by the delivery that there is, over the range in which they were refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from contracts.units import SECOND_US, us_text
from lake.acts import note_act
from lake.location import Lake
from lake.runs.progress import Report
from lake.tables.letter_history import Act, ActOutcome, HistoryLine, append_history, history_table, last_acts
from operations.deadletters.selection import LetterSelection, select
from operations.deadletters.states import State
from operations.reprocess.letters import DELIVER
from operations.reprocess.options import ReprocessOptions
from pipelines.deliver.options import DeliverOptions
from pipelines.deliver.run import DeliveryReport, SubmittedDelivery, deliver
from runners.option_fields import parse

_COLUMNS = ("dead_letter_id", "source", "_raw_file", "_position", "dataset", "attempt", "code", "_window_time")
_BATCH = 50_000  # lines of history that are looked up together


def redeliver(
    destination: str, options: ReprocessOptions, project: Project, lake: Lake, report: Report
) -> tuple[DeliveryReport | None, int, int]:
    """Send what a destination refused once more.

    Args:
        destination: its name.
        options: which letters; of them the range of their rows is taken, and in it everything that the destination refused.
        project: where the destination lies.
        lake: where.
        report: is told of progress.

    Returns:
        What the delivery did, None where nothing was refused or nothing is to be written; how many letters there were; how many
        are left.
    """
    project.destination(destination)
    refused = replace(options.selection, sources=(destination,), stages=(DELIVER,), states=(State.OPEN, State.GIVEN_UP))
    before = _letters(lake, refused)
    if not len(before) or options.dry_run:
        return None, len(before), len(before)
    times = before.column("_window_time").cast(pa.int64()).to_numpy()
    given = {
        "destination": destination, "lake": lake.root, "rows": "refused",
        "start": us_text(int(times.min()) // SECOND_US * SECOND_US),
        "end": us_text((int(times.max()) // SECOND_US + 1) * SECOND_US),
    }  # fmt: skip
    act = note_act(
        lake, "deadletter reprocess", {"destination": destination, "letters": len(before)}, by=options.by, reason=options.reason
    )
    delivery = parse(DeliverOptions, given)
    delivery.check()
    done = deliver(delivery, project, report)
    if isinstance(done, SubmittedDelivery):
        raise ConfigurationError(f"destination {destination}: a delivery that never ends was begun; stop it: headrace job list")
    left = _letters(lake, refused)
    still = set(left.column("dead_letter_id").to_pylist())
    for start in range(0, len(before), _BATCH):
        part = before.slice(start, _BATCH)
        lines = _lines(lake, part, still, options, act.by or act.user, done.run_id)
        append_history(lake, history_table(lines, datetime.now(UTC)), moving=True)
    return done, len(before), len(still)


def _letters(lake: Lake, selection: LetterSelection) -> pa.Table:
    batches = list(select(lake, selection, _COLUMNS))
    return pa.Table.from_batches(batches) if batches else pa.table({name: [] for name in _COLUMNS})


def _lines(
    lake: Lake, letters: pa.Table, still: set[str], options: ReprocessOptions, by: str, run_id: str
) -> Iterator[HistoryLine]:
    places = pa.table(
        [letters.column(name) for name in ("source", "_raw_file", "_position")], names=["source", "raw_file", "position"]
    )
    last = last_acts(lake, places, Act.REPROCESSED, moving=True)
    for letter in letters.to_pylist():
        name = letter["dead_letter_id"]
        attempt = max(letter["attempt"], last.get(name, (0, ""))[0]) + 1
        fails = ActOutcome.GIVEN_UP if attempt >= options.max_attempts else ActOutcome.STILL_FAILING
        yield HistoryLine(
            dead_letter_id=name, source=letter["source"], raw_file=letter["_raw_file"], position=letter["_position"],
            dataset=letter["dataset"], attempt=attempt, act=Act.REPROCESSED, by=by, reason=options.reason, run_id=run_id,
            outcome=fails if name in still else ActOutcome.RECOVERED, code=letter["code"],
        )  # fmt: skip
