"""Refused events sent again: by the delivery that there is, over the range in which they were refused, and no other event."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from contracts.units import SECOND_US, us_text
from lake.acts import note_act
from lake.location import Lake
from lake.runs.progress import Report
from lake.tables.letter_history import Act, ActOutcome, HistoryLine, append_history, history_table, last_acts
from operations.deadletters.selection import LetterSelection, select
from operations.deadletters.states import OPEN_STATES
from operations.reprocess.letters import DELIVER
from operations.reprocess.options import ReprocessOptions
from pipelines.deliver.options import DeliverOptions
from pipelines.deliver.run import DeliveryReport, SentAgain, SubmittedDelivery, deliver
from runners.option_fields import parse

_COLUMNS = ("dead_letter_id", "event_id", "source", "_raw_file", "_position", "dataset", "attempt", "code", "_window_time")
_BATCH = 50_000  # lines of history that are looked up together


def redeliver(
    destination: str, options: ReprocessOptions, project: Project, lake: Lake, report: Report
) -> tuple[DeliveryReport | None, int, int]:
    """Send what a destination refused once more: the events of the selected letters, and no other.

    A letter that is mended gets its line in the history, and is withdrawn after that. Killed at any point: done again, it sends
    what was not delivered yet, and the lines are there.

    Args:
        destination: its name.
        options: which letters.
        project: where the destination lies.
        lake: where.
        report: is told of progress.

    Returns:
        What the delivery did, None where nothing was refused or nothing is to be written; how many letters there were; how many
        are left.

    Raises:
        ConfigurationError: only letters of other sources, stages or states were asked for; see ``deliver`` too.
    """
    project.destination(destination)
    refused = _refused_by(destination, options.selection)
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
    history = _History(lake, options, act.by or act.user, before)
    delivery = parse(DeliverOptions, given)
    delivery.check()
    done = deliver(delivery, project, report, SentAgain(before.column("event_id").to_pylist(), history.recovered))
    if isinstance(done, SubmittedDelivery):
        raise ConfigurationError(f"destination {destination}: a delivery that never ends was begun; stop it: headrace job list")
    still = set(_letters(lake, refused).column("dead_letter_id").to_pylist())
    history.rest(done.run_id, still)
    return done, len(before), len(still)


def _refused_by(destination: str, selection: LetterSelection) -> LetterSelection:
    """Of a selection what this destination refused, and may be sent again."""
    for flag, wanted, own in (("--source", selection.sources, destination), ("--stage", selection.stages, DELIVER)):
        if wanted and own not in wanted:
            raise ConfigurationError(
                f"--destination {destination}: sends again what it refused, which is of {flag} {own}; leave out {flag} {wanted[0]}"
            )
    return replace(selection.in_states(OPEN_STATES, "reprocess"), sources=(destination,), stages=(DELIVER,))


def _letters(lake: Lake, selection: LetterSelection) -> pa.Table:
    batches = list(select(lake, selection, _COLUMNS))
    return pa.Table.from_batches(batches) if batches else pa.table({name: pa.array([], pa.string()) for name in _COLUMNS})


@dataclass
class _History:
    """Writes a line for each letter that was sent again. told: of which there is one."""

    lake: Lake
    options: ReprocessOptions
    by: str
    letters: pa.Table
    told: set[str] = field(default_factory=set)

    def recovered(self, run_id: str, ids: Sequence[str]) -> None:
        """These letters are about to be withdrawn; of others than ours nothing is said."""
        self._append(run_id, self._those(set(ids) - self.told), still=frozenset())

    def rest(self, run_id: str, still: Collection[str]) -> None:
        """The delivery is done, and these letters are left. What is neither left nor told another run has withdrawn."""
        names = set(self.letters.column("dead_letter_id").to_pylist())
        self._append(run_id, self._those(names - self.told), still)

    def _those(self, ids: Collection[str]) -> pa.Table:
        found = pc.is_in(self.letters.column("dead_letter_id"), value_set=pa.array(sorted(ids), pa.string()))
        return self.letters.filter(found)

    def _append(self, run_id: str, letters: pa.Table, still: Collection[str]) -> None:
        for start in range(0, len(letters), _BATCH):
            part = letters.slice(start, _BATCH)
            append_history(self.lake, history_table(self._lines(part, still, run_id), datetime.now(UTC)), moving=True)
            self.told.update(part.column("dead_letter_id").to_pylist())

    def _lines(self, letters: pa.Table, still: Collection[str], run_id: str) -> Iterator[HistoryLine]:
        places = pa.table(
            [letters.column(name) for name in ("source", "_raw_file", "_position")], names=["source", "raw_file", "position"]
        )
        last = last_acts(self.lake, places, Act.REPROCESSED, moving=True)
        for letter in letters.to_pylist():
            name = letter["dead_letter_id"]
            attempt = max(letter["attempt"], last.get(name, (0, ""))[0]) + 1
            fails = ActOutcome.GIVEN_UP if attempt >= self.options.max_attempts else ActOutcome.STILL_FAILING
            yield HistoryLine(
                dead_letter_id=name, source=letter["source"], raw_file=letter["_raw_file"], position=letter["_position"],
                dataset=letter["dataset"], attempt=attempt, act=Act.REPROCESSED, by=self.by, reason=self.options.reason,
                run_id=run_id, outcome=fails if name in still else ActOutcome.RECOVERED, code=letter["code"],
            )  # fmt: skip
