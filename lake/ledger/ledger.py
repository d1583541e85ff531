"""The ledger: what became of every source position, from what was committed. Beam's counters count attempts; this does not.

in = out + duplicate + late + filtered + dead_letter. ``in`` are the records that ``raw/`` holds, in files and in logs; the rest
are sidecars that were written after the rows behind them (``PositionOutcomes``): accepted, filtered, dead_letter, late. Of the
accepted, those whose row is published are ``out``, those with a dead letter ``conflicting_duplicate`` count there, the others are
``duplicate``. Positions without an outcome are ``pending``: of bounded input nothing more can come, so they are lost; of a stream
they wait for their window, above the ``frontier`` of their log.

Everything is worked out batch by batch (``lake/raw/positions.py``), so memory does not grow with the length of a log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
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
from contracts.spec.source import SourceSpec
from lake.ledger.outcomes import Outcome
from lake.ledger.sidecars import NUMBERS, FileOutcomes, bounds_of, outcomes_of
from lake.location import Lake
from lake.raw.files import RawFile, raw_files
from lake.raw.log_ids import LogId, offset_of
from lake.raw.positions import Extent, Ints, Landed, Positions, extent_batches, landed_file, landed_log
from lake.raw.segments import logs_of
from lake.tables.iceberg import DEAD_LETTERS, WITHDRAWN


@dataclass
class LedgerEntry:
    """Counts of one source, file or log. ``codes`` splits ``dead_letter``. ``outside`` is of replays only: of other windows.

    corrected: of ``out``, those with a time that was not believed.
    """

    records_in: int = 0
    out: int = 0
    duplicate: int = 0
    late: int = 0
    filtered: int = 0
    dead_letter: int = 0
    pending: int = 0
    outside: int = 0
    corrected: int = 0
    codes: dict[str, int] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Whether every record is accounted for, once."""
        return self.pending == 0 and self.records_in == (
            self.out + self.duplicate + self.late + self.filtered + self.dead_letter + self.outside
        )

    def __add__(self, other: LedgerEntry) -> LedgerEntry:
        """Entries of disjoint positions add up."""
        codes = {code: self.codes.get(code, 0) + other.codes.get(code, 0) for code in {*self.codes, *other.codes}}
        numbers = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.name != "codes"}
        return LedgerEntry(**numbers, codes=codes)


def unfinished(lake: Lake, files: Sequence[RawFile]) -> list[RawFile]:
    """Raw files with positions that have no outcome yet."""
    missing: set[tuple[str, str]] = set()
    for source in sorted({f.source for f in files}):
        for extents in extent_batches(landed_file(f) for f in files if f.source == source):
            outcomes = outcomes_of(lake, source, extents)
            missing |= {(source, s.raw_file) for s in extents if _first_without(s, outcomes) is not None}
    return [f for f in files if (f.source, f.raw_file) in missing]


def frontier(lake: Lake, spec: SourceSpec, log: LogId, start: int = 0) -> int | None:
    """The smallest landed offset with a record that has no committed outcome, else the offset after what is landed.

    Everything landed below is accounted for, and stays so: the frontier never falls.

    Args:
        lake: where.
        spec: the source.
        log: which of its logs.
        start: offsets below are not looked at, such as an earlier frontier.

    Returns:
        The offset; None where nothing is landed from ``start`` on.
    """
    batched = spec.records is not None
    landed = landed_log(lake, spec.name, log, batched=batched, start=start)
    for extents in extent_batches([landed]):
        outcomes = outcomes_of(lake, spec.name, extents)
        for extent in extents:
            missing = _first_without(extent, outcomes)
            if missing is not None:
                return offset_of(missing, batched)
    return landed.end if landed.pieces else None


def _first_without(extent: Extent, outcomes: Mapping[str, FileOutcomes]) -> int | None:
    return extent.positions.first_outside(outcomes.get(extent.raw_file, FileOutcomes()).all_runs())


def compute_ledger(lake: Lake, dataset_tables: Mapping[str, str], files: Sequence[RawFile]) -> dict[str, LedgerEntry]:
    """The ledger of these raw files, per source.

    Args:
        lake: where.
        dataset_tables: source to the table that its rows are published in.
        files: which raw files.
    """
    return {
        source: sum(ledger_of(lake, source, name, [landed_file(f) for f in files if f.source == source]).values(), LedgerEntry())
        for source, name in dataset_tables.items()
    }


def log_ledger(lake: Lake, spec: SourceSpec, table: str, log: LogId, start: int = 0, end: int | None = None) -> LedgerEntry:
    """The ledger of a log, or of its offsets [start, end).

    Args:
        lake: where.
        spec: the source.
        table: the table that its rows are published in.
        log: which of its logs.
        start: first offset.
        end: the offset after the last; None for all that is landed.
    """
    landed = landed_log(lake, spec.name, log, batched=spec.records is not None, start=start, end=end)
    return ledger_of(lake, spec.name, table, [landed])[landed.raw_file]


def source_ledger(lake: Lake, spec: SourceSpec, table: str) -> dict[str, LedgerEntry]:
    """The ledger of everything that was landed of a source, by raw file and log."""
    batched = spec.records is not None
    logs = [landed_log(lake, spec.name, log, batched=batched) for log in logs_of(lake, spec.name)]
    return ledger_of(lake, spec.name, table, [*map(landed_file, raw_files(lake, spec.name)), *logs])


def ledger_of(
    lake: Lake, source: str, table: str, landed: Sequence[Landed], before_epoch: int | None = None
) -> dict[str, LedgerEntry]:
    """The ledger of raw files and logs, by name.

    Args:
        lake: where.
        source: whose they are.
        table: the table that the source's rows are published in.
        landed: which; all of this source.
        before_epoch: what the ledger was before this promotion; None for what it is.
    """
    entries = {unit.raw_file: LedgerEntry() for unit in landed}
    for extents in extent_batches(landed):
        outcomes = outcomes_of(lake, source, extents, before_epoch)  # before the rows: what is accepted there is published here
        published = _published(lake, source, table, extents, outcomes)
        letters = _dead_letters(lake, source, extents)
        for extent in extents:
            name = extent.raw_file
            states = outcomes.get(name, FileOutcomes()).states(extent.positions)
            entries[name] += _entry(extent.positions, states, published.get(name, {}), letters.get(name, {}))
    return entries


def _entry(
    positions: Positions, states: npt.NDArray[np.uint8], published: Mapping[bool, Ints], letters: Mapping[Code, Ints]
) -> LedgerEntry:
    """The ledger of some positions. published: of its rows, by whether their time was corrected. letters: dead letters, by code."""
    counts = np.bincount(states, minlength=len(NUMBERS) + 1).tolist()
    accepted = states == NUMBERS[Outcome.ACCEPTED]
    is_corrected = _at(positions, published.get(True)) & accepted
    is_out = (_at(positions, published.get(False)) & accepted) | is_corrected
    is_conflict = _at(positions, letters.get(Code.CONFLICTING_DUPLICATE)) & accepted & ~is_out
    rejected = states == NUMBERS[Outcome.DEAD_LETTER]
    out, conflicts = int(is_out.sum()), int(is_conflict.sum())
    codes = {str(c): int((_at(positions, p) & rejected).sum()) for c, p in letters.items() if c != Code.CONFLICTING_DUPLICATE}
    codes[str(Code.CONFLICTING_DUPLICATE)] = conflicts
    return LedgerEntry(
        records_in=len(positions),
        out=out,
        duplicate=counts[NUMBERS[Outcome.ACCEPTED]] - out - conflicts,
        late=counts[NUMBERS[Outcome.LATE]],
        filtered=counts[NUMBERS[Outcome.FILTERED]],
        dead_letter=counts[NUMBERS[Outcome.DEAD_LETTER]] + conflicts,
        pending=counts[0],
        outside=counts[NUMBERS[Outcome.OUTSIDE]],
        corrected=int(is_corrected.sum()),
        codes={code: count for code, count in codes.items() if count},
    )


def _at(positions: Positions, chosen: Ints | None) -> npt.NDArray[np.bool_]:
    """By place, whether a position is among the chosen."""
    mask = np.zeros(len(positions), dtype=bool)
    if chosen is not None:
        mask[positions.places(chosen)] = True
    return mask


def _published(
    lake: Lake, source: str, table_name: str, extents: Sequence[Extent], outcomes: Mapping[str, FileOutcomes]
) -> dict[str, dict[bool, Ints]]:
    """Published positions per raw file and by ``_time_corrected``, from the data files whose range and positions can hold them."""
    table = _load(lake, table_name)
    low = min((o.window_from for o in outcomes.values() if o.window_from is not None), default=0)
    high = max((o.window_to for o in outcomes.values() if o.window_to is not None), default=0)
    if table is None or low >= high:
        return {}
    condition = And(_provenance(source, extents), And(LessThan("_from", high), GreaterThan("_to", low)))
    return _positions_by(table, condition, "_time_corrected", extents)


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


def _positions_by(table: Table, condition: BooleanExpression, column: str, extents: Sequence[Extent]) -> dict[str, dict[Any, Ints]]:
    """Positions of the rows that fit, per raw file and per value of a column."""
    wanted = pa.array(sorted({extent.raw_file for extent in extents}))
    names = ["_raw_file", "_position", column]
    parts: dict[tuple[str, Any], list[Ints]] = {}
    for batch in table.scan(row_filter=condition, selected_fields=tuple(names)).to_arrow_batch_reader():
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
