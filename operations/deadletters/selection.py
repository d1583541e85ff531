"""Which dead letters: by what they are, whose, when and in which state; read batch by batch, in bounded memory.

A letter is a row of ``ops.dead_letter``, or a late row (``late.<dataset>``) in the same shape (late.py). Files are passed over by
the bounds of their times and by their shards; of the others the columns are read that decide, or are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import ConfigurationError
from contracts.units import us_text
from lake.location import Lake
from lake.storage import read_batches
from lake.tables.data_files import with_schema
from lake.tables.iceberg import DEAD_LETTER_SCHEMA, WITHDRAWN
from operations.deadletters.files import LetterFile, letter_files
from operations.deadletters.late import LATE, late_letters
from operations.deadletters.states import OPEN_STATES, STATES, State, States, read_states

BATCH_ROWS = 1 << 16
ID_DIGITS = 32
STATE = "state"
ROW = "_row"  # a column for whoever comes back to a row: its number in its file
FIRST = ("path", "rule")  # columns of the first violation
SCHEMA = pa.schema([*DEAD_LETTER_SCHEMA, pa.field(STATE, pa.string(), nullable=False)])
_FIRST_FIELD = pa.field("violations", pa.list_(pa.struct([pa.field(name, pa.string()) for name in FIRST])))
_FIRST_LEAVES = tuple(f"violations.list.element.{name}" for name in FIRST)
_DIGITS = frozenset("0123456789abcdef")
_INSTEAD = "Closed letters are opened by headrace deadletter reopen first; recovered ones need nothing more"
_FILTERS = ("dead_letter_id", "code", "violations", "stage", "dataset", "contract_version", "source")
Mask = npt.NDArray[np.bool_]


class TimeOf(StrEnum):
    """Which time of a letter a span of time means."""

    RECEIVED = "received"
    EVENT = "event"  # the window time of a row; of what could not be read, and so has none, the time received


@dataclass(frozen=True, kw_only=True)
class LetterSelection:
    """Which letters; an empty field selects by nothing. Fields hold together by *and*, the values of one by *or*.

    datasets, codes, rules, sources, contract_versions: as letters have them; a rule counts wherever it stands in a letter. stages:
    where letters come from: decode, converge, deliver, late. since_us, until_us: microseconds since 1970, half open, of the time
    that ``time_of`` names. ids: whole ids or beginnings of them. states: those that were asked for; where none was, the
    usual ones, and closed and recovered letters are not among them.
    """

    datasets: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    contract_versions: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    since_us: int | None = None
    until_us: int | None = None
    time_of: TimeOf = TimeOf.RECEIVED
    states: tuple[State, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what can select nothing.

        Raises:
            ConfigurationError: an id that is none, a span that ends before it begins.
        """
        for one in self.ids:
            if not 0 < len(one) <= ID_DIGITS or not _DIGITS.issuperset(one):
                raise ConfigurationError(
                    f"{one!r}: no id of a dead letter, which has {ID_DIGITS} digits 0-9 and a-f, nor its beginning"
                )
        if self.since_us is not None and self.until_us is not None and self.since_us >= self.until_us:
            raise ConfigurationError("the time until which letters are looked for is not after the time since when")

    @property
    def whole_ids(self) -> tuple[str, ...]:
        """The ids, if all of them are whole; else none."""
        return self.ids if self.ids and all(len(one) == ID_DIGITS for one in self.ids) else ()

    @property
    def narrowed(self) -> bool:
        """Whether it says anything but in which states."""
        return bool(self.described().keys() - {"states"})

    @property
    def standing(self) -> tuple[State, ...]:
        """The states that letters are selected in."""
        return self.states or OPEN_STATES

    def in_states(self, states: tuple[State, ...], verb: str) -> LetterSelection:
        """What a verb acts on, which is about letters in some states only: of those that were asked for, the ones in these states.

        Args:
            states: that the verb is about.
            verb: for the message.

        Raises:
            ConfigurationError: only other states were asked for, so that nothing can be selected.
        """
        both = tuple(state for state in states if state in (self.states or states))
        if not both:
            raise ConfigurationError(
                f"headrace deadletter {verb} acts on letters that are {' or '.join(states)}, and --state says "
                f"{' or '.join(self.states)}. {_INSTEAD}"
            )
        return replace(self, states=both)

    @property
    def time_column(self) -> str:
        """The column that the span of time is about."""
        return "_received_at" if self.time_of is TimeOf.RECEIVED else "_window_time"

    def described(self) -> dict[str, Any]:
        """What it says, for records of people's acts and for JSON."""
        said = {
            name: list(getattr(self, name))
            for name in ("datasets", "codes", "rules", "sources", "stages", "contract_versions", "ids")
            if getattr(self, name)
        }
        given = {"since": self.since_us, "until": self.until_us}
        span = {name: us_text(us) for name, us in given.items() if us is not None}
        return said | span | ({"time_of": str(self.time_of)} if span else {}) | {"states": [str(one) for one in self.standing]}


def select(lake: Lake, selection: LetterSelection, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The selected letters, batch by batch.

    Args:
        lake: where; of its branch.
        selection: which.
        columns: names of SCHEMA, which are those of ``ops.dead_letter`` and ``state``.

    Returns:
        Batches with these columns, none of them empty; in no order that means anything. One file is open at a time, and of it a
        batch of BATCH_ROWS rows is held.
    """
    states = read_states(lake)
    for file in selected_files(lake, selection):
        yield from rows_of(file, selection, states, columns)


def selected_files(lake: Lake, selection: LetterSelection) -> list[LetterFile]:
    """The files that may hold selected letters, by their bounds; those with the newest letters first."""
    files = [file for file in letter_files(lake, whole_ids=selection.whole_ids) if _may_hold(file, selection)]
    return sorted(files, key=lambda file: (-file.times[selection.time_column].high, file.path))


def _may_hold(file: LetterFile, selection: LetterSelection) -> bool:
    times = file.times[selection.time_column]
    if selection.since_us is not None and times.high < selection.since_us:
        return False
    if selection.until_us is not None and times.low >= selection.until_us:
        return False
    if file.late_of is None:
        return not selection.stages or set(selection.stages) != {LATE}
    fits = ((LATE, selection.stages), (LATE, selection.codes), (file.late_of, selection.datasets))
    return all(not wanted or value in wanted for value, wanted in fits)


def rows_of(file: LetterFile, selection: LetterSelection, states: States, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The selected letters of one file; see ``select``. Columns may be ROW and of FIRST too."""
    if selection.ids and not _holds_an_id(file, selection):
        return
    asked = ("violations" if name in FIRST else name for name in columns if name not in (STATE, ROW))
    needed = dict.fromkeys((*_needed(selection, states), *asked))
    reached = 0
    if file.late_of is None:
        firsts_only = not selection.rules and "violations" not in columns
        batches = read_batches(file.path, _leaves(needed) if firsts_only else list(needed), BATCH_ROWS)
        schema = pa.schema(
            [_FIRST_FIELD if name == "violations" and firsts_only else DEAD_LETTER_SCHEMA.field(name) for name in needed]
        )
    else:
        batches, schema = late_letters(file, list(needed), BATCH_ROWS)
    for batch in batches:
        rows = with_schema(pa.Table.from_batches([batch]), schema)
        if ROW in columns:
            rows = rows.append_column(ROW, pa.array(np.arange(reached, reached + len(rows))))
        reached += len(rows)
        for name in FIRST:  # before rows are picked: they are a third of what lists hold
            if name in columns:
                rows = rows.append_column(name, _first(rows.column("violations").combine_chunks(), name))
        chosen, standing = _chosen(rows, selection), states.of(rows)
        chosen &= np.isin(standing, [STATES.index(state) for state in selection.standing])
        if State.RECOVERED in selection.standing and chosen.any():
            rows = states.codes(rows)
            chosen &= _mask(pc.is_in(rows.column("code"), value_set=pa.array(selection.codes or rows.column("code").unique())))
        if chosen.any():
            yield from _picked(rows, chosen, standing, columns).combine_chunks().to_batches()


def _first(violations: pa.ListArray, name: str) -> pa.Array:
    """A field of each first violation; "" of letters without one, which are withdrawn."""
    offsets = violations.offsets.to_numpy()
    places = pa.array(offsets[:-1], mask=np.diff(offsets) == 0)
    return pc.fill_null(pc.struct_field(violations.values, name).take(places), "")


def _holds_an_id(file: LetterFile, selection: LetterSelection) -> bool:
    """Whether a letter with one of the ids is in a file: ids alone are read, since most files hold none."""
    if file.late_of is None:
        batches = read_batches(file.path, ["dead_letter_id"], BATCH_ROWS)
    else:
        batches, _ = late_letters(file, ["dead_letter_id"], BATCH_ROWS)
    return any(_with_ids(batch.column("dead_letter_id"), selection).any() for batch in batches)


def _picked(rows: pa.Table, chosen: Mask, standing: npt.NDArray[np.int8], columns: Sequence[str]) -> pa.Table:
    """The chosen rows with these columns; STATE is made of where they stand."""
    picked = rows.select([name for name in columns if name != STATE])
    if not chosen.all():
        picked, standing = picked.filter(pa.array(chosen)), standing[chosen]
    if STATE in columns:
        states = pa.DictionaryArray.from_arrays(standing, list(map(str, STATES))).cast(pa.string())
        picked = picked.append_column(STATE, states).select(list(columns))
    return picked


def _leaves(columns: Iterable[str]) -> list[str]:
    """Columns as a data file has them, of violations without what was expected: it is more than all the rest."""
    return [leaf for name in columns for leaf in (_FIRST_LEAVES if name == "violations" else (name,))]


def _needed(selection: LetterSelection, states: States) -> Iterator[str]:
    """Columns that decide."""
    yield "code"
    given = dict(zip(_FILTERS, (selection.ids, (), selection.rules, selection.stages, selection.datasets,
                                selection.contract_versions, selection.sources), strict=True))  # fmt: skip
    yield from (name for name, wanted in given.items() if wanted)
    if selection.since_us is not None or selection.until_us is not None:
        yield selection.time_column
    if states.known:
        yield "dead_letter_id"


def _chosen(rows: pa.Table, selection: LetterSelection) -> Mask:
    """Which rows the selection takes, but for their states."""
    chosen = np.ones(len(rows), dtype=bool)
    for name, wanted in (
        ("code", selection.codes),
        ("stage", selection.stages),
        ("dataset", selection.datasets),
        ("contract_version", selection.contract_versions),
        ("source", selection.sources),
    ):
        if wanted:
            values = (
                (*wanted, WITHDRAWN) if name == "code" else wanted
            )  # what was recovered has lost its code: states.py gives it back
            chosen &= _mask(pc.is_in(rows.column(name), value_set=pa.array(values, pa.string())))
    if selection.ids:
        chosen &= _with_ids(rows.column("dead_letter_id"), selection)
    if selection.since_us is not None or selection.until_us is not None:
        times = rows.column(selection.time_column).cast(pa.int64()).to_numpy()
        low = -(2**63) if selection.since_us is None else selection.since_us
        high = 2**63 - 1 if selection.until_us is None else selection.until_us
        chosen &= (times >= low) & (times < high)
    if selection.rules and chosen.any():
        chosen &= _with_rules(rows.column("violations"), selection.rules)
    return chosen


def _mask(found: Any) -> Mask:
    mask: Mask = pc.fill_null(found, False).to_numpy(zero_copy_only=False)
    return mask


def _with_ids(ids: pa.Array | pa.ChunkedArray, selection: LetterSelection) -> Mask:
    whole = [one for one in selection.ids if len(one) == ID_DIGITS]
    found = _mask(pc.is_in(ids, value_set=pa.array(whole, pa.string())))
    for beginning in {one for one in selection.ids if len(one) < ID_DIGITS}:
        found |= _mask(pc.starts_with(ids, beginning))
    return found


def _with_rules(violations: pa.ChunkedArray, rules: Sequence[str]) -> Mask:
    """Letters in which one of these rules is broken, first or later."""
    listed = violations.combine_chunks()
    hit = pc.is_in(pc.struct_field(listed.flatten(), "rule"), value_set=pa.array(rules, pa.string()))
    found = np.zeros(len(listed), dtype=bool)
    found[pc.list_parent_indices(listed).filter(hit).to_numpy()] = True
    return found
