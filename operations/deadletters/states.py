"""What became of letters since they were made: the newest line of ``ops.dead_letter_history`` about each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import NoSuchTableError

from lake.location import Lake
from lake.tables.iceberg import WITHDRAWN

HISTORY = "ops.dead_letter_history"
_COLUMNS = ("dead_letter_id", "outcome", "at", "code")


class State(StrEnum):
    """Where a letter stands."""

    OPEN = "open"
    GIVEN_UP = "given_up"  # reprocessed as often as may be, and still failing
    CLOSED = "closed"  # somebody said that it will not be mended
    RECOVERED = "recovered"  # its record is published


OPEN_STATES = (State.OPEN, State.GIVEN_UP)
_BY_OUTCOME = {"closed": State.CLOSED, "recovered": State.RECOVERED, "given_up": State.GIVEN_UP}


@dataclass(frozen=True)
class States:
    """Letters by where they stand; those that no line is about are open. code: of recovered ones, whose own is withdrawn."""

    ids: dict[State, pa.Array] = field(default_factory=dict)
    recovered_codes: pa.Array | None = None

    @property
    def known(self) -> bool:
        """Whether any letter has a history."""
        return bool(self.ids)

    def apply(self, rows: pa.Table, wanted: Collection[State], name: str) -> pa.Table:
        """Rows that stand in one of these states.

        Args:
            rows: letters with ``code``, and ``dead_letter_id`` where ``known``.
            wanted: states.
            name: of a column with the state, which is added. Recovered letters get back the code that they had.
        """
        withdrawn = pc.equal(rows.column("code"), WITHDRAWN)
        if not self.known:
            rows = rows.filter(pc.invert(withdrawn)) if pc.any(withdrawn).as_py() else rows
            rows = rows if State.OPEN in wanted else rows.slice(0, 0)
            return rows.append_column(name, pa.repeat(pa.scalar(str(State.OPEN)), len(rows)))
        gone = withdrawn.to_numpy(zero_copy_only=False)
        found = np.full(len(rows), str(State.OPEN), dtype=object)
        kept = ~gone if State.OPEN in wanted else np.zeros(len(rows), dtype=bool)
        for state, ids in self.ids.items():
            here = pc.is_in(rows.column("dead_letter_id"), value_set=ids).to_numpy(zero_copy_only=False)
            here &= gone if state is State.RECOVERED else ~gone
            found[here] = str(state)
            kept[here] = state in wanted
        return self._named(rows.append_column(name, pa.array(found, pa.string())).filter(pa.array(kept)))

    def _named(self, rows: pa.Table) -> pa.Table:
        """With the codes that recovered letters had."""
        if self.recovered_codes is None or not pc.any(pc.equal(rows.column("code"), WITHDRAWN)).as_py():
            return rows
        places = pc.index_in(rows.column("dead_letter_id"), value_set=self.ids[State.RECOVERED])
        codes = pc.if_else(
            pc.equal(rows.column("code"), WITHDRAWN), self.recovered_codes.take(places.combine_chunks()), rows.column("code")
        )
        return rows.set_column(rows.schema.get_field_index("code"), rows.schema.field("code"), codes)


def read_states(lake: Lake) -> States:
    """The states of all letters with a history. One entry a letter is held, of 50 bytes."""
    try:
        table = lake.catalog().load_table(HISTORY)
    except NoSuchTableError:
        return States()
    lines = table.scan(selected_fields=_COLUMNS).to_arrow()
    lines = lines.filter(pc.is_valid(lines.column("outcome"))).sort_by([("dead_letter_id", "ascending"), ("at", "descending")])
    if not len(lines):
        return States()
    ids = lines.column("dead_letter_id").combine_chunks()
    first = np.ones(len(ids), dtype=bool)
    first[1:] = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    newest = lines.filter(pa.array(first))
    by_state = {state: newest.filter(pc.equal(newest.column("outcome"), outcome)) for outcome, state in _BY_OUTCOME.items()}
    return States(
        {state: found.column("dead_letter_id").combine_chunks() for state, found in by_state.items() if len(found)},
        by_state[State.RECOVERED].column("code").combine_chunks(),
    )
