"""What became of letters since they were made: the newest line of ``ops.dead_letter_history`` about each.

A letter that is gone is recovered where any line says so: somebody may have closed it while it was read again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
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


STATES = tuple(State)
WITHDRAWN_BY_NOBODY = np.int8(len(STATES))  # delivered after all, or the winner in the end: it stands nowhere
OPEN_STATES = (State.OPEN, State.GIVEN_UP)
_BY_OUTCOME = {"closed": State.CLOSED, "given_up": State.GIVEN_UP}  # of the newest line
_RECOVERED, _EXPORTED = "recovered", "exported"


class Ids:
    """A set of ids. They are looked up as numbers: building Arrow's own set for every batch took longer than reading it."""

    def __init__(self, ids: pa.Array) -> None:
        words = _words(ids)
        self.all = ids
        self._words = words[np.argsort(words[:, 0], kind="stable")]
        self._distinct = bool((np.diff(self._words[:, 0]) != 0).all())

    def of(self, ids: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """Which of these ids are in the set."""
        ids = ids.combine_chunks()
        words = _words(ids)
        places = np.searchsorted(self._words[:, 0], words[:, 0]).clip(max=len(self._words) - 1)
        found: npt.NDArray[np.bool_] = self._words[places, 0] == words[:, 0]
        if self._distinct:
            found[found] = (self._words[places[found]] == words[found]).all(axis=1)
        else:
            found[found] = pc.is_in(ids.filter(pa.array(found)), value_set=self.all).to_numpy(zero_copy_only=False)
        return found


def _words(ids: pa.Array) -> npt.NDArray[np.uint64]:
    """Ids as rows of four numbers: they all have as many digits."""
    offsets = np.frombuffer(ids.buffers()[1], dtype=np.int32)[ids.offset : ids.offset + len(ids) + 1]
    assert offsets[-1] - offsets[0] == _ID_DIGITS * len(ids)
    digits = np.frombuffer(ids.buffers()[2], dtype=np.uint64, count=len(ids) * _ID_WORDS, offset=int(offsets[0]))
    return digits.reshape(-1, _ID_WORDS)


@dataclass(frozen=True)
class States:
    """Letters by where they stand; those that no line is about are open.

    recovered_codes: of recovered ones, whose own is withdrawn. newest: the time of the newest line of all.
    """

    ids: dict[State, Ids] = field(default_factory=dict)
    recovered_codes: pa.Array | None = None
    newest: datetime | None = None

    @property
    def known(self) -> bool:
        """Whether any letter has a history."""
        return bool(self.ids)

    def of(self, rows: pa.Table) -> npt.NDArray[np.int8]:
        """Where letters stand: places in STATES, or WITHDRAWN_BY_NOBODY.

        Args:
            rows: letters with ``code``, and ``dead_letter_id`` where ``known``.
        """
        gone = pc.equal(rows.column("code"), WITHDRAWN).to_numpy()
        found = np.where(gone, WITHDRAWN_BY_NOBODY, np.int8(STATES.index(State.OPEN)))
        for state, ids in self.ids.items():
            here = ids.of(rows.column("dead_letter_id"))
            found[here & (gone if state is State.RECOVERED else ~gone)] = STATES.index(state)
        return found

    def codes(self, rows: pa.Table) -> pa.Table:
        """Recovered letters with the codes that they had, in the place of WITHDRAWN."""
        if self.recovered_codes is None or not len(self.recovered_codes):
            return rows
        places = pc.index_in(rows.column("dead_letter_id"), value_set=self.ids[State.RECOVERED].all)
        before = self.recovered_codes.take(places.combine_chunks())
        codes = pc.if_else(pc.equal(rows.column("code"), WITHDRAWN), before, rows.column("code").combine_chunks())
        return rows.set_column(rows.schema.get_field_index("code"), "code", pc.fill_null(codes, WITHDRAWN))


def read_states(lake: Lake) -> States:
    """The states of all letters with a history. One entry a letter is held, of 50 bytes."""
    try:
        table = lake.catalog().load_table(HISTORY)
    except NoSuchTableError:
        return States()
    lines = table.scan(selected_fields=_COLUMNS).to_arrow()
    lines = lines.filter(pc.is_valid(lines.column("outcome")))
    if not len(lines):
        return States()
    newest = pc.max(lines.column("at")).as_py()
    lines = lines.filter(pc.not_equal(lines.column("outcome"), _EXPORTED))  # says nothing of where a letter stands
    lines = lines.sort_by([("dead_letter_id", "ascending"), ("at", "descending")])
    recovered = _first_of_each(lines.filter(pc.equal(lines.column("outcome"), _RECOVERED)))
    last = _first_of_each(lines)
    by_state = {state: last.filter(pc.equal(last.column("outcome"), outcome)) for outcome, state in _BY_OUTCOME.items()}
    by_state[State.RECOVERED] = recovered
    ids = {state: Ids(found.column("dead_letter_id").combine_chunks()) for state, found in by_state.items() if len(found)}
    return States(ids, recovered.column("code").combine_chunks(), newest)


def _first_of_each(lines: pa.Table) -> pa.Table:
    """Of lines in order of their ids the first one of each."""
    ids = lines.column("dead_letter_id").combine_chunks()
    first = np.ones(len(ids), dtype=bool)
    first[1:] = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    return lines.filter(pa.array(first))
