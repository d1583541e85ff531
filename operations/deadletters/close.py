"""Closing letters: somebody says, by name and with a reason, that they will not be mended; and taking that back.

A closed letter stays a dead letter, and stays counted as one in the ledger: it only leaves the views of what is to be done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import Table

from contracts.compiler.schemas import TIMESTAMP
from contracts.errors import ConfigurationError
from lake.acts import checked, note_act
from lake.location import Lake
from lake.tables.iceberg import committed
from lake.tables.letter_history import HISTORY, HISTORY_SCHEMA, Act, after, ensure_history
from operations.deadletters.selection import LetterSelection, select
from operations.deadletters.states import OPEN_STATES, State, States, read_states

LINE_COLUMNS = ("dead_letter_id", "source", "_raw_file", "_position", "dataset", "attempt", "code")


def count_selected(lake: Lake, selection: LetterSelection, column: str = "code") -> Counter[str]:
    """Selected letters by one of their columns."""
    counts: Counter[str] = Counter()
    for batch in select(lake, selection, [column]):
        counts.update({entry["values"].as_py(): entry["counts"].as_py() for entry in pc.value_counts(batch.column(column))})
    return counts


def close_letters(lake: Lake, selection: LetterSelection, *, by: str, reason: str) -> int:
    """Close the selected letters; done again, or by two at once, each has one line in the history.

    Args:
        lake: where.
        selection: which; of them those that are open or given up.
        by: who says so.
        reason: why they will not be mended.

    Returns:
        How many were closed by this call. Killed half way, the same call closes the rest.

    Raises:
        ConfigurationError: the selection takes everything, or name or reason are blank.
        ComponentDownError: no commit succeeded before its deadline.
    """
    return _changed(lake, selection, Act.CLOSED, OPEN_STATES, by, reason)


def reopen_letters(lake: Lake, selection: LetterSelection, *, by: str, reason: str) -> int:
    """Take back that letters are closed; see ``close_letters``."""
    return _changed(lake, selection, Act.REOPENED, (State.CLOSED,), by, reason)


def _changed(lake: Lake, selection: LetterSelection, act: Act, before: tuple[State, ...], by: str, reason: str) -> int:
    if not selection.narrowed:
        raise ConfigurationError("say which letters: give at least one of --source, --code, --rule, --dataset, --since, --id, …")
    wanted = selection.in_states(before, _VERBS[act])
    by, reason = checked(by, "name") or "", checked(reason, "reason") or ""
    count = sum(count_selected(lake, wanted).values())
    if not count:
        return 0
    note_act(lake, f"deadletter {_VERBS[act]}", {"letters": count, "selection": wanted.described()}, by=by, reason=reason)
    ensure_history(lake)
    standing = _Standing(lake)
    return sum(standing.append(lines, before) for lines in _lines(lake, wanted, act, by, reason))


_VERBS = {Act.CLOSED: "close", Act.REOPENED: "reopen"}


def _lines(lake: Lake, selection: LetterSelection, act: Act, by: str, reason: str) -> Iterator[pa.Table]:
    """A line for each letter, by batches. States are those of the beginning, so that lines change nothing of what is selected."""
    for batch in select(lake, selection, LINE_COLUMNS):
        yield lines_of(batch, act, by, reason)


def lines_of(letters: pa.RecordBatch, act: Act, by: str, reason: str) -> pa.Table:
    """A line of the history for each of these letters, which have LINE_COLUMNS."""
    lines = pa.Table.from_batches([letters.select(LINE_COLUMNS)]).rename_columns(
        ["dead_letter_id", "source", "raw_file", "position", "dataset", "attempt", "code"]
    )
    told = {"act": str(act), "outcome": str(act), "at": datetime.now(UTC), "by": by, "reason": reason}
    for column in HISTORY_SCHEMA:
        if column.name not in lines.column_names:
            lines = lines.append_column(column, pa.repeat(pa.scalar(told.get(column.name), column.type), len(lines)))
    return lines.select(HISTORY_SCHEMA.names).cast(HISTORY_SCHEMA)


@dataclass
class _Standing:
    """Where letters stood in a snapshot of the history: read again only where somebody else wrote lines since."""

    lake: Lake
    snapshot_id: int | None = None
    states: States = field(default_factory=States)

    def append(self, lines: pa.Table, before: tuple[State, ...]) -> int:
        """Append lines of the letters that still stand where they stood; looked up again where a rival was faster."""

        def attempt() -> int:
            table = self.lake.catalog().load_table(HISTORY)  # before the states: a commit on a stale one is refused
            self._read(table)
            closed = self.states.ids.get(State.CLOSED)
            is_closed = closed.of(lines.column("dead_letter_id")) if closed else np.zeros(len(lines), dtype=bool)
            new = lines.filter(pa.array(is_closed == (State.CLOSED in before)))
            if len(new):
                at = after(datetime.now(UTC), self.states.newest)
                place = new.schema.get_field_index("at")
                table.append(new.set_column(place, HISTORY_SCHEMA.field("at"), pa.repeat(pa.scalar(at, TIMESTAMP), len(new))))
                self.states, self.snapshot_id = replace(self.states, newest=at), _snapshot_id(table)  # of others nothing changed
            return len(new)

        return committed(HISTORY, attempt)

    def _read(self, table: Table) -> None:
        if self.snapshot_id is None or self.snapshot_id != _snapshot_id(table):
            self.states, self.snapshot_id = read_states(self.lake), _snapshot_id(table)


def _snapshot_id(table: Table) -> int | None:
    snapshot = table.current_snapshot()
    return snapshot.snapshot_id if snapshot else None
