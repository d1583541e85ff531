"""What became of letters since they were made: the newest line of ``ops.dead_letter_history`` about each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import NoSuchTableError

from lake.location import Lake
from lake.tables.iceberg import WITHDRAWN

HISTORY = "ops.dead_letter_history"
_ID_DIGITS = 32
_ID_WORDS = _ID_DIGITS // 8
_COLUMNS = ("dead_letter_id", "outcome", "at", "code")


class State(StrEnum):
    """Where a letter stands."""

    OPEN = "open"
    GIVEN_UP = "given_up"  # reprocessed as often as may be, and still failing
    CLOSED = "closed"  # somebody said that it will not be mended
    RECOVERED = "recovered"  # its record is published


_STATES = tuple(State)
OPEN_STATES = (State.OPEN, State.GIVEN_UP)
_BY_OUTCOME = {"closed": State.CLOSED, "recovered": State.RECOVERED, "given_up": State.GIVEN_UP}


class Ids:
    """A set of ids. Most ids that are looked up are in none: their first digits tell, as numbers."""

    def __init__(self, ids: pa.Array) -> None:
        self.all = ids
        self._beginnings = np.unique(_beginnings(ids))

    def of(self, ids: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """Which of these ids are in the set."""
        ids = ids.combine_chunks()
        beginnings = _beginnings(ids)
        places = np.searchsorted(self._beginnings, beginnings).clip(max=len(self._beginnings) - 1)
        found: npt.NDArray[np.bool_] = self._beginnings[places] == beginnings
        found[found] = pc.is_in(ids.filter(pa.array(found)), value_set=self.all).to_numpy(zero_copy_only=False)
        return found


def _beginnings(ids: pa.Array) -> npt.NDArray[np.uint64]:
    """The first eight digits of ids, which all have as many."""
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    fixed = ids.cast(pa.binary()).cast(pa.binary(_ID_DIGITS))
    digits = np.frombuffer(fixed.buffers()[1], dtype=np.uint64)[fixed.offset * _ID_WORDS :]
    found: npt.NDArray[np.uint64] = digits[: len(ids) * _ID_WORDS : _ID_WORDS]
    return found


@dataclass(frozen=True)
class States:
    """Letters by where they stand; those that no line is about are open. code: of recovered ones, whose own is withdrawn."""

    ids: dict[State, Ids] = field(default_factory=dict)
    recovered_codes: pa.Array | None = None

    @property
    def known(self) -> bool:
        """Whether any letter has a history."""
        return bool(self.ids)

    def apply(self, rows: pa.Table, wanted: Collection[State], name: str | None = None) -> pa.Table:
        """Rows that stand in one of these states. Recovered letters get back the code that they had.

        Args:
            rows: letters with ``code``, and ``dead_letter_id`` where ``known``.
            wanted: states.
            name: of a column with the state, which is added; None for none.
        """
        gone = pc.equal(rows.column("code"), WITHDRAWN).to_numpy()
        state = np.where(gone, np.int8(len(_STATES)), np.int8(_STATES.index(State.OPEN)))  # withdrawn, and by nobody: in none
        for one, ids in self.ids.items():
            here = ids.of(rows.column("dead_letter_id"))
            state[here & (gone if one is State.RECOVERED else ~gone)] = _STATES.index(one)
        kept = np.isin(state, [_STATES.index(one) for one in wanted])
        if not kept.all():
            rows, state = rows.filter(pa.array(kept)), state[kept]
        if name:
            rows = rows.append_column(name, pa.DictionaryArray.from_arrays(state, list(map(str, _STATES))).cast(pa.string()))
        return self._named(rows)

    def _named(self, rows: pa.Table) -> pa.Table:
        """With the codes that recovered letters had."""
        if self.recovered_codes is None or not pc.any(pc.equal(rows.column("code"), WITHDRAWN)).as_py():
            return rows
        places = pc.index_in(rows.column("dead_letter_id"), value_set=self.ids[State.RECOVERED].all)
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
        {state: Ids(found.column("dead_letter_id").combine_chunks()) for state, found in by_state.items() if len(found)},
        by_state[State.RECOVERED].column("code").combine_chunks(),
    )
