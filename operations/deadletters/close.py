"""Closing letters: somebody says, by name and with a reason, that they will not be mended; and taking that back.

A closed letter stays a dead letter, and stays counted as one in the ledger: it only leaves the views of what is to be done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import ConfigurationError
from lake.acts import checked, note_act
from lake.location import Lake
from lake.tables.iceberg import committed
from lake.tables.letter_history import HISTORY, HISTORY_SCHEMA, Act, ensure_history
from operations.deadletters.selection import LetterSelection, select
from operations.deadletters.states import OPEN_STATES, State, read_states

_COLUMNS = ("dead_letter_id", "source", "_raw_file", "_position", "dataset", "attempt", "code")


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
    return sum(_append(lake, lines, act, before) for lines in _lines(lake, wanted, act, by, reason))


_VERBS = {Act.CLOSED: "close", Act.REOPENED: "reopen"}


def _lines(lake: Lake, selection: LetterSelection, act: Act, by: str, reason: str) -> Iterator[pa.Table]:
    """A line for each letter, by batches. States are those of the beginning, so that lines change nothing of what is selected."""
    for batch in select(lake, selection, _COLUMNS):
        letters = pa.Table.from_batches([batch]).rename_columns(
            ["dead_letter_id", "source", "raw_file", "position", "dataset", "attempt", "code"]
        )
        told = {"act": str(act), "outcome": str(act), "at": datetime.now(UTC), "by": by, "reason": reason}
        for field in HISTORY_SCHEMA:
            if field.name not in letters.column_names:
                letters = letters.append_column(field, pa.repeat(pa.scalar(told.get(field.name), field.type), len(letters)))
        yield letters.select(HISTORY_SCHEMA.names).cast(HISTORY_SCHEMA)


def _append(lake: Lake, lines: pa.Table, act: Act, before: tuple[State, ...]) -> int:
    """Append lines of the letters that still stand where they stood; looked up again where a rival was faster."""

    def attempt() -> int:
        table = lake.catalog().load_table(HISTORY)  # before the states: a commit on a stale one is refused
        closed = read_states(lake).ids.get(State.CLOSED)
        is_closed = closed.of(lines.column("dead_letter_id")) if closed else np.zeros(len(lines), dtype=bool)
        new = lines.filter(pa.array(is_closed == (State.CLOSED in before)))
        if len(new):
            table.append(new)
        return len(new)

    return committed(HISTORY, attempt)
