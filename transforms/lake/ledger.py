"""The ledger: what became of every source position, from what was committed. Beam's counters count attempts; this does not.

in = out + duplicate + late + filtered + dead_letter. ``in`` are the records that raw files hold; the rest are sidecars that were
written after the rows behind them (``PositionOutcomes``): accepted, filtered, dead_letter, late. Of the accepted, those whose row
is published are ``out``, those with a dead letter ``conflicting_duplicate`` count there, the others are ``duplicate``. Positions
without an outcome are ``pending`` (``lost`` once nothing can come any more).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import And, BooleanExpression, EqualTo, GreaterThan, In, LessThan, NotEqualTo
from pyiceberg.table import Table

from contracts.codes import Code
from transforms.lake.location import Lake
from transforms.lake.raw import RawFile
from transforms.lake.tables import DEAD_LETTERS, LEDGER, LEDGER_SCHEMA, WITHDRAWN, committed
from transforms.outcomes import Outcome, PositionOutcomes

_FILES_AT_ONCE = 500


@dataclass
class LedgerEntry:
    """Counts of one source (or file). ``codes`` splits ``dead_letter``."""

    records_in: int = 0
    out: int = 0
    duplicate: int = 0
    late: int = 0
    filtered: int = 0
    dead_letter: int = 0
    pending: int = 0
    codes: dict[str, int] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Whether every record is accounted for, once."""
        return self.pending == 0 and self.records_in == (self.out + self.duplicate + self.late + self.filtered + self.dead_letter)

    def __add__(self, other: LedgerEntry) -> LedgerEntry:
        """Entries of disjoint files add up."""
        codes = {code: self.codes.get(code, 0) + other.codes.get(code, 0) for code in {*self.codes, *other.codes}}
        numbers = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.name != "codes"}
        return LedgerEntry(**numbers, codes=codes)


def append_outcomes(lake: Lake, outcomes: Sequence[PositionOutcomes], run_id: str) -> None:
    """Append outcomes to the ledger table, in a fixed order."""
    ordered = sorted(outcomes, key=lambda o: (o.source, o.raw_file, o.outcome, o.runs))
    columns: dict[str, list[object]] = {
        "source": [o.source for o in ordered],
        "raw_file": [o.raw_file for o in ordered],
        "outcome": [str(o.outcome) for o in ordered],
        "runs": [list(o.runs) for o in ordered],
        "window_from": [o.window_from for o in ordered],
        "window_to": [o.window_to for o in ordered],
        "run_id": [run_id] * len(ordered),
    }
    rows = pa.table(columns, schema=LEDGER_SCHEMA)
    committed(LEDGER, lambda: lake.catalog().load_table(LEDGER).append(rows))


@dataclass
class FileOutcomes:
    """What the sidecars say of one raw file.

    runs: flat runs per outcome, as they were written; they may overlap. window_from, window_to: what they reach, microseconds.
    """

    runs: dict[Outcome, list[int]]
    window_from: int | None = None
    window_to: int | None = None

    def states(self, records: int) -> npt.NDArray[np.uint8]:
        """Per position the outcome that holds: its place in ``Outcome`` from 1; 0 where there is none."""
        states = np.zeros(records, dtype=np.uint8)
        for number, outcome in reversed(list(enumerate(Outcome, 1))):  # the first in the list holds, so it is written last
            runs = self.runs.get(outcome, [])
            for first, length in zip(runs[::2], runs[1::2], strict=True):
                states[first : first + length] = number
        return states


def file_outcomes(lake: Lake, source: str, files: Iterable[str]) -> dict[str, FileOutcomes]:
    """The union of all sidecars of these raw files of one source, by raw file; two sources may hold the same bytes."""
    found: dict[str, FileOutcomes] = {}
    table = lake.catalog().load_table(LEDGER)
    for part in _slices(sorted(set(files))):
        for row in table.scan(row_filter=And(EqualTo("source", source), In("raw_file", part))).to_arrow().to_pylist():
            file = found.setdefault(row["raw_file"], FileOutcomes({}))
            file.runs.setdefault(Outcome(row["outcome"]), []).extend(row["runs"])
            if row["window_from"] is not None:
                file.window_from = min(row["window_from"], file.window_from if file.window_from is not None else row["window_from"])
                file.window_to = max(row["window_to"], file.window_to if file.window_to is not None else row["window_to"])
    return found


def unfinished(lake: Lake, files: Sequence[RawFile]) -> list[RawFile]:
    """Raw files with positions that have no outcome yet."""
    missing: list[RawFile] = []
    for source in sorted({f.source for f in files}):
        own = [f for f in files if f.source == source]
        outcomes = file_outcomes(lake, source, [f.raw_file for f in own])
        missing += [f for f in own if not outcomes.get(f.raw_file, FileOutcomes({})).states(f.records).all()]
    return missing


def compute_ledger(lake: Lake, dataset_tables: Mapping[str, str], files: Sequence[RawFile]) -> dict[str, LedgerEntry]:
    """The ledger of these raw files, per source.

    Args:
        lake: where.
        dataset_tables: source to the table that its rows are published in.
        files: which raw files.
    """
    entries: dict[str, LedgerEntry] = {}
    for source, table_name in dataset_tables.items():
        own = [f for f in files if f.source == source]
        outcomes = file_outcomes(lake, source, [f.raw_file for f in own])
        reach = [outcomes[f.raw_file] for f in own if f.raw_file in outcomes]
        low = min((r.window_from for r in reach if r.window_from is not None), default=0)
        high = max((r.window_to for r in reach if r.window_to is not None), default=0)
        published = _positions_in(lake, table_name, source, {f.raw_file for f in own}, low, high)
        letters = _dead_letters_of(lake, source, {f.raw_file for f in own})
        none = FileOutcomes({})
        parts = [_entry(f, outcomes.get(f.raw_file, none), published.get(f.raw_file), letters.get(f.raw_file, {})) for f in own]
        entries[source] = sum(parts, LedgerEntry())
    return entries


def _entry(
    file: RawFile, outcomes: FileOutcomes, published: npt.NDArray[np.int64] | None, letters: Mapping[Code, npt.NDArray[np.int64]]
) -> LedgerEntry:
    """The ledger of one raw file, from the sidecars, the positions of its published rows, and those of its dead letters by code."""
    states = outcomes.states(file.records)
    number = {outcome: i for i, outcome in enumerate(Outcome, 1)}
    counts = np.bincount(states, minlength=len(Outcome) + 1).tolist()
    accepted = states == number[Outcome.ACCEPTED]
    is_out = np.zeros(file.records, dtype=bool)
    if published is not None:
        is_out[published] = True
    is_out &= accepted
    is_conflict = np.zeros(file.records, dtype=bool)
    is_conflict[letters.get(Code.CONFLICTING_DUPLICATE, [])] = True
    is_conflict &= accepted & ~is_out
    out, conflicts = int(is_out.sum()), int(is_conflict.sum())
    rejected = states == number[Outcome.DEAD_LETTER]
    codes = {str(c): int(rejected[p].sum()) for c, p in letters.items() if c != Code.CONFLICTING_DUPLICATE}
    codes[str(Code.CONFLICTING_DUPLICATE)] = conflicts
    return LedgerEntry(
        records_in=file.records,
        out=out,
        duplicate=counts[number[Outcome.ACCEPTED]] - out - conflicts,
        late=counts[number[Outcome.LATE]],
        filtered=counts[number[Outcome.FILTERED]],
        dead_letter=counts[number[Outcome.DEAD_LETTER]] + conflicts,
        pending=counts[0],
        codes={code: count for code, count in codes.items() if count},
    )


def _positions_in(
    lake: Lake, table_name: str, source: str, files: set[str], low: int, high: int
) -> dict[str, npt.NDArray[np.int64]]:
    """Published positions per raw file, from the data files whose range can hold them."""
    table = _load(lake, table_name)
    if table is None or not files:
        return {}
    reach = And(And(LessThan("_from", high), GreaterThan("_to", low)), EqualTo("_source", source))
    return _by_file(table, reach, files)


def _dead_letters_of(lake: Lake, source: str, files: set[str]) -> dict[str, dict[Code, npt.NDArray[np.int64]]]:
    """Positions with a dead letter, per raw file and code."""
    table = _load(lake, DEAD_LETTERS)
    found: dict[str, dict[Code, npt.NDArray[np.int64]]] = {}
    if table is None or not files:
        return found
    own = And(EqualTo("_source", source), NotEqualTo("code", WITHDRAWN))
    rows = table.scan(row_filter=own, selected_fields=("_raw_file", "_position", "code")).to_arrow()
    for code in rows.column("code").unique().to_pylist():
        part = rows.filter(pc.equal(rows.column("code"), code))
        for raw_file, positions in _grouped(part, files).items():
            found.setdefault(raw_file, {})[Code(code)] = positions
    return found


def _by_file(table: Table, where: BooleanExpression, files: set[str]) -> dict[str, npt.NDArray[np.int64]]:
    rows = table.scan(row_filter=where, selected_fields=("_raw_file", "_position")).to_arrow()
    return _grouped(rows, files)


def _grouped(rows: pa.Table, wanted: set[str]) -> dict[str, npt.NDArray[np.int64]]:
    """Positions per raw file."""
    if len(rows) == 0:
        return {}
    encoded = rows.column("_raw_file").combine_chunks().dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    positions = rows.column("_position").to_numpy()
    order = np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes[order], np.arange(len(encoded.dictionary) + 1))
    names = encoded.dictionary.to_pylist()
    return {name: positions[order[edges[i] : edges[i + 1]]] for i, name in enumerate(names) if name in wanted}


def _load(lake: Lake, name: str) -> Table | None:
    try:
        return lake.catalog().load_table(name)
    except NoSuchTableError:
        return None


def _slices(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), _FILES_AT_ONCE):
        yield names[start : start + _FILES_AT_ONCE]
