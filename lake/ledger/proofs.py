"""What is known of source positions: what the ledger table says, and the rows that prove it.

An accepted position is published; or its row is held: it lies on the audit branch of a gated table, and main has not got it; or its
row was taken away on purpose, and that is noted; or it lost to another row: then it has a
dead letter, or lies among the rows that the horizon drops, or its losing is noted. What has none of these was lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, auto
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import (
    And,
    BooleanExpression,
    EqualTo,
    GreaterThan,
    GreaterThanOrEqual,
    LessThan,
    NotEqualTo,
)
from pyiceberg.table import Table

from contracts.codes import Code
from lake.ledger.outcomes import Outcome
from lake.ledger.sidecars import NUMBERS, FileOutcomes, bounds_of, outcomes_of
from lake.location import AUDIT, Lake
from lake.raw.positions import Extent, Ints, Positions
from lake.tables.data_files import PROVENANCE_KEY, read_columns
from lake.tables.iceberg import DEAD_LETTERS, WITHDRAWN, dropped_branch
from lake.tables.swap import files_at

Mask = npt.NDArray[np.bool_]


class Verdict(IntEnum):
    """What became of a position. LOST: it was accepted, and nothing proves what became of it."""

    PENDING = 0
    OUT = auto()
    CORRECTED = auto()  # out too
    CONFLICT = auto()
    DUPLICATE = auto()
    LOST = auto()
    ERASED = auto()
    EXPIRED = auto()
    FILTERED = auto()
    DEAD_LETTER = auto()
    LATE = auto()
    HELD = auto()
    OUTSIDE = auto()


_BY_STATE = np.array(
    [Verdict.PENDING, *(Verdict.LOST if o is Outcome.ACCEPTED else Verdict[o.name] for o in NUMBERS)], dtype=np.uint8
)  # an accepted position is lost until something proves the contrary
_NOTED = (Outcome.ERASED, Outcome.EXPIRED, Outcome.DUPLICATE)  # the first holds


@dataclass
class Judged:
    """Some positions of one raw file or log. verdicts: of each, by place. letters: positions with a dead letter, by code."""

    raw_file: str
    positions: Positions
    verdicts: npt.NDArray[np.uint8]
    letters: Mapping[Code, Ints]

    def prove(self, verdict: Verdict, mask: Mask) -> None:
        """This is what became of those in the mask that nothing was proved of yet."""
        self.verdicts[(self.verdicts == Verdict.LOST) & mask] = verdict

    def prove_at(self, verdict: Verdict, chosen: Ints | None) -> None:
        """The same of these positions, in any order."""
        if chosen is not None:
            self.prove(verdict, self.at(chosen))

    def at(self, chosen: Ints) -> Mask:
        """By place, whether a position is among the chosen."""
        mask = np.zeros(len(self.positions), dtype=bool)
        mask[self.positions.places(chosen)] = True
        return mask

    @property
    def unproven(self) -> Mask:
        """Those that are lost, as far as was looked."""
        lost: Mask = self.verdicts == Verdict.LOST
        return lost


def judge(lake: Lake, source: str, table_name: str, extents: Sequence[Extent], before_epoch: int | None = None) -> list[Judged]:
    """What became of these positions of one source.

    Jobs may be at work. So outcomes are read first: what they accept is in the table by then. Published, held and dropped rows are
    read of one state of it: a sweep moves rows from the ones to the others, and a gate publishes what it held. Notes are read again
    last: a row that is gone from that state was noted before it went.

    Args:
        lake: where.
        source: whose they are.
        table_name: the table that the source's rows are published in.
        extents: which; few enough to be looked up together.
        before_epoch: what was said before this promotion; None for what holds.
    """
    lake = lake.public
    outcomes = outcomes_of(lake, source, extents, before_epoch)
    table = _load(lake, table_name)
    condition = _reached(source, extents, outcomes)
    published = _positions_by(table, condition, "_time_corrected", extents) if table and condition else {}
    letters = _dead_letters(lake, source, extents)
    kept_back = _kept_back(lake, table, condition, source, extents) if table and condition else ({}, {})
    found = []
    for name, positions in ((extent.raw_file, extent.positions) for extent in extents):
        said = outcomes.get(name, FileOutcomes())
        judged = Judged(name, positions, _BY_STATE[said.states(positions)], letters.get(name, {}))
        rows = published.get(name, {})
        judged.prove_at(Verdict.CORRECTED, rows.get(True))
        judged.prove_at(Verdict.OUT, rows.get(False))
        judged.prove_at(Verdict.HELD, kept_back[0].get(name))
        for outcome in (Outcome.ERASED, Outcome.EXPIRED):
            judged.prove(Verdict[outcome.name], said.said(outcome, positions))
        judged.prove_at(Verdict.CONFLICT, judged.letters.get(Code.CONFLICTING_DUPLICATE))
        judged.prove(Verdict.DUPLICATE, said.said(Outcome.DUPLICATE, positions))
        found.append(judged)
    if table and condition and any(judged.unproven.any() for judged in found):
        dropped = _dropped(lake, table, condition, extents)
        for judged in found:
            judged.prove_at(Verdict.DUPLICATE, dropped.get(judged.raw_file))
            judged.prove_at(Verdict.DUPLICATE, kept_back[1].get(judged.raw_file))
    if any(judged.unproven.any() for judged in found):
        again = outcomes_of(lake, source, extents, before_epoch)
        for judged in found:
            said = again.get(judged.raw_file, FileOutcomes())
            for outcome in _NOTED:
                judged.prove(Verdict[outcome.name], said.said(outcome, judged.positions))
    return found


def _reached(source: str, extents: Sequence[Extent], outcomes: Mapping[str, FileOutcomes]) -> BooleanExpression | None:
    """Rows of these positions, in the windows that the accepted ones reach; None where they reach none."""
    low = min((o.window_from for o in outcomes.values() if o.window_from is not None), default=0)
    high = max((o.window_to for o in outcomes.values() if o.window_to is not None), default=0)
    return None if low >= high else And(_provenance(source, extents), And(LessThan("_from", high), GreaterThan("_to", low)))


def _dropped(lake: Lake, table: Table, condition: BooleanExpression, extents: Sequence[Extent]) -> dict[str, Ints]:
    """Positions of rows that the horizon drops, per raw file."""
    head = table.metadata.snapshot_by_name(dropped_branch(lake.branch))
    found = {} if head is None else _positions_by(table, condition, "_time_corrected", extents, head.snapshot_id)
    return {name: np.concatenate(list(parts.values())) for name, parts in found.items()}


def _kept_back(
    lake: Lake, table: Table, condition: BooleanExpression, source: str, extents: Sequence[Extent]
) -> tuple[dict[str, Ints], dict[str, Ints]]:
    """Positions per raw file that the audit branch of a gated table has in other files than main: of its rows, and dropped ones.

    Only files are read that may hold such rows by their statistics: much may be held, and this is asked for a part at a time.
    """
    found: list[dict[str, list[Ints]]] = [{}, {}]
    refs = ("main", dropped_branch(None)), (AUDIT, dropped_branch(AUDIT))
    if lake.branch is not None or AUDIT not in table.metadata.refs:
        return {}, {}
    low, high = bounds_of(extents)
    wanted = pa.array(sorted({extent.raw_file for extent in extents}))
    for number, pair in enumerate(zip(*refs, strict=True)):
        known = {file.path for file in files_at(table, pair[0])}
        head = table.metadata.snapshot_by_name(pair[1])
        near = {task.file.file_path for task in table.scan(condition, snapshot_id=head.snapshot_id).plan_files()} if head else set()
        for path in sorted(near - known):
            rows = read_columns(path, PROVENANCE_KEY)
            of_it = pc.and_(
                pc.equal(rows.column("_source").cast(pa.string()), source), _between(rows.column("_position"), low, high)
            )
            rows = rows.filter(of_it)
            places = pc.index_in(rows.column("_raw_file").cast(pa.string()), value_set=wanted)
            rows, places = rows.filter(places.is_valid()), places.drop_null()
            for place, positions in _grouped(places.cast(pa.int64()).to_numpy(), rows.column("_position").to_numpy()):
                found[number].setdefault(wanted[place].as_py(), []).append(positions)
    held, dropped = ({name: np.concatenate(parts) for name, parts in by_name.items()} for by_name in found)
    return held, dropped


def _between(values: pa.ChunkedArray, low: int, high: int) -> pa.ChunkedArray:
    return pc.and_(pc.greater_equal(values, low), pc.less(values, high))


def _dead_letters(lake: Lake, source: str, extents: Sequence[Extent]) -> dict[str, dict[Code, Ints]]:
    """Positions with a dead letter, per raw file and code."""
    table = _load(lake, DEAD_LETTERS)
    if table is None:
        return {}
    condition = And(_provenance(source, extents), NotEqualTo("code", WITHDRAWN))
    found = _positions_by(table, condition, "code", extents)
    return {name: {Code(code): positions for code, positions in codes.items()} for name, codes in found.items()}


def _provenance(source: str, extents: Sequence[Extent]) -> BooleanExpression:
    """Rows of these positions, and perhaps of others; what a data file's statistics can tell."""
    low, high = bounds_of(extents)
    condition = And(EqualTo("_source", source), And(GreaterThanOrEqual("_position", low), LessThan("_position", high)))
    names = {extent.raw_file for extent in extents}
    return And(condition, EqualTo("_raw_file", extents[0].raw_file)) if len(names) == 1 else condition


def _positions_by(
    table: Table, condition: BooleanExpression, column: str, extents: Sequence[Extent], snapshot_id: int | None = None
) -> dict[str, dict[Any, Ints]]:
    """Positions of the rows that fit, per raw file and per value of a column. snapshot_id: None for the current one."""
    wanted = pa.array(sorted({extent.raw_file for extent in extents}))
    names = ["_raw_file", "_position", column]
    parts: dict[tuple[str, Any], list[Ints]] = {}
    for batch in table.scan(condition, tuple(names), snapshot_id=snapshot_id).to_arrow_batch_reader():
        files = pc.index_in(batch.column("_raw_file").cast(pa.string()), value_set=wanted).cast(pa.int64())
        rows = pa.table([files, *(batch.column(n) for n in names[1:])], names=names).filter(files.is_valid())
        for value in rows.column(column).unique().to_pylist():
            own = rows.filter(pc.equal(rows.column(column), value))
            for file, positions in _grouped(own.column("_raw_file").to_numpy(), own.column("_position").to_numpy()):
                parts.setdefault((wanted[file].as_py(), value), []).append(positions)
    found: dict[str, dict[Any, Ints]] = {}
    for (name, value), pieces in parts.items():
        found.setdefault(name, {})[value] = np.concatenate(pieces)
    return found


def _grouped(keys: Ints, values: Ints) -> Iterator[tuple[int, Ints]]:
    """Values by key; keys are not negative."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    edges = [*np.flatnonzero(np.diff(ordered, prepend=-1)).tolist(), len(keys)]
    for start, end in pairwise(edges):
        yield int(ordered[start]), values[order[start:end]]


def _load(lake: Lake, name: str) -> Table | None:
    try:
        return lake.load(name)
    except NoSuchTableError:
        return None
