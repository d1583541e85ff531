"""The ledger: what became of every source position, from what was committed. Beam's counters count attempts; this does not.

in = out + duplicate + late + filtered + dead_letter. ``in`` are the records that raw files hold; the rest are sidecars that were written
after the rows behind them (``PositionOutcomes``): accepted, filtered, dead_letter, late. Of the accepted, those whose row is
published are ``out``, those with a dead letter ``conflicting_duplicate`` count there, the others are ``duplicate``. Positions without an
outcome are ``pending`` (``lost`` once nothing can come any more).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.transforms.window import GlobalWindows
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import And, BooleanExpression, EqualTo, GreaterThan, In, LessThan
from pyiceberg.table import Table

from contracts.codes import Code
from transforms.lake.location import Lake
from transforms.lake.raw import RawFile
from transforms.lake.tables import DEAD_LETTERS, LEDGER, LEDGER_SCHEMA
from transforms.outcomes import Outcome, PositionOutcomes, positions_of

_ORDER = (Outcome.ACCEPTED, Outcome.FILTERED, Outcome.DEAD_LETTER, Outcome.LATE)
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
        return self.pending == 0 and self.records_in == (
            self.out + self.duplicate + self.late + self.filtered + self.dead_letter
        )

    def __add__(self, other: LedgerEntry) -> LedgerEntry:
        """Entries of disjoint files add up."""
        codes = {code: self.codes.get(code, 0) + other.codes.get(code, 0) for code in {*self.codes, *other.codes}}
        numbers = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.name != "codes"}
        return LedgerEntry(**numbers, codes=codes)


class CommitLedger(beam.PTransform):  # type: ignore[misc]
    """Append outcomes to the ledger table.

    Input: PositionOutcomes, each emitted after its rows are committed. Output: none of interest.
    Guarantees: at least once; the ledger is a union, so repeats change nothing.
    """

    def __init__(self, lake: Lake, run_id: str) -> None:
        super().__init__()
        self._append = _AppendFn(lake, run_id)

    def expand(self, outcomes: beam.PCollection[PositionOutcomes]) -> beam.PCollection[int]:
        """See the class."""
        return (
            outcomes
            | "Global" >> beam.WindowInto(GlobalWindows())
            | "Key" >> beam.Map(_with_one_key)
            | "OneCommitter" >> beam.GroupByKey()
            | "Append" >> beam.ParDo(self._append)
        )


def _with_one_key(outcome: PositionOutcomes) -> tuple[int, PositionOutcomes]:
    return 0, outcome


@beam.typehints.with_output_types(int)
class _AppendFn(beam.DoFn):
    def __init__(self, lake: Lake, run_id: str) -> None:
        self._lake, self._run_id = lake, run_id

    def process(self, element: tuple[int, Iterable[PositionOutcomes]]) -> Iterator[int]:
        outcomes = list(element[1])
        if outcomes:
            append_outcomes(self._lake, outcomes, self._run_id)
        yield len(outcomes)


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
    lake.catalog().load_table(LEDGER).append(pa.table(columns, schema=LEDGER_SCHEMA))


@dataclass
class FileOutcomes:
    """What the sidecars say of one raw file: each position under the outcome that holds, sorted, disjoint."""

    positions: dict[Outcome, npt.NDArray[np.int64]]
    window_from: int | None
    window_to: int | None

    @property
    def count(self) -> int:
        """Positions with an outcome."""
        return sum(map(len, self.positions.values()))


def file_outcomes(lake: Lake, files: Iterable[str]) -> dict[str, FileOutcomes]:
    """The union of all sidecars of these raw files, by raw file."""
    grouped: dict[str, dict[Outcome, list[npt.NDArray[np.int64]]]] = {}
    bounds: dict[str, list[tuple[int, int]]] = {}
    table = lake.catalog().load_table(LEDGER)
    for part in _slices(sorted(set(files))):
        rows = table.scan(row_filter=In("raw_file", part)).to_arrow().to_pylist()
        for row in rows:
            grouped.setdefault(row["raw_file"], {}).setdefault(Outcome(row["outcome"]), []).append(positions_of(row["runs"]))
            if row["window_from"] is not None:
                bounds.setdefault(row["raw_file"], []).append((row["window_from"], row["window_to"]))
    found = {}
    for raw_file, by_outcome in grouped.items():
        taken = np.empty(0, dtype=np.int64)
        positions = {}
        for outcome in _ORDER:
            own = np.unique(np.concatenate(by_outcome.get(outcome, [taken[:0]])))
            positions[outcome] = np.setdiff1d(own, taken, assume_unique=True)
            taken = np.union1d(taken, own)
        reach = bounds.get(raw_file)
        found[raw_file] = FileOutcomes(positions, min(b[0] for b in reach) if reach else None, max(b[1] for b in reach) if reach else None)
    return found


def unfinished(lake: Lake, files: Sequence[RawFile]) -> list[RawFile]:
    """Raw files with positions that have no outcome yet."""
    outcomes = file_outcomes(lake, [f.raw_file for f in files])
    return [f for f in files if (outcomes[f.raw_file].count if f.raw_file in outcomes else 0) < f.records]


def compute_ledger(lake: Lake, dataset_tables: Mapping[str, str], files: Sequence[RawFile]) -> dict[str, LedgerEntry]:
    """The ledger of these raw files, per source.

    Args:
        lake: where.
        dataset_tables: source to the table that its rows are published in.
        files: which raw files.
    """
    outcomes = file_outcomes(lake, [f.raw_file for f in files])
    entries: dict[str, LedgerEntry] = {}
    for source, table_name in dataset_tables.items():
        own = [f for f in files if f.source == source]
        reach = [outcomes[f.raw_file] for f in own if f.raw_file in outcomes]
        bounds = [(r.window_from, r.window_to) for r in reach if r.window_from is not None and r.window_to is not None]
        low, high = min((b[0] for b in bounds), default=0), max((b[1] for b in bounds), default=0)
        ids = [f.raw_file for f in own]
        published = _positions_in(lake, table_name, source, ids, low, high)
        letters = _dead_letters_of(lake, source, ids)
        entry = LedgerEntry()
        for file in own:
            empty = np.empty(0, dtype=np.int64)
            mine = outcomes.get(file.raw_file)
            by_outcome = mine.positions if mine else {}
            accepted = by_outcome.get(Outcome.ACCEPTED, empty)
            codes = letters.get(file.raw_file, {})
            out = np.intersect1d(accepted, published.get(file.raw_file, empty))
            conflicts = np.setdiff1d(np.intersect1d(accepted, codes.get(Code.CONFLICTING_DUPLICATE, empty)), out)
            rejected = by_outcome.get(Outcome.DEAD_LETTER, empty)
            late, filtered = by_outcome.get(Outcome.LATE, empty), by_outcome.get(Outcome.FILTERED, empty)
            counted = {str(c): n for c, p in codes.items() if c != Code.CONFLICTING_DUPLICATE and (n := len(np.intersect1d(p, rejected)))}
            if len(conflicts):
                counted[str(Code.CONFLICTING_DUPLICATE)] = len(conflicts)
            entry += LedgerEntry(
                records_in=file.records,
                out=len(out),
                duplicate=len(accepted) - len(out) - len(conflicts),
                late=len(late),
                filtered=len(filtered),
                dead_letter=len(rejected) + len(conflicts),
                pending=file.records - (mine.count if mine else 0),
                codes=counted,
            )
        entries[source] = entry
    return entries


def _positions_in(  # noqa: PLR0913
    lake: Lake, table_name: str, source: str, files: Sequence[str], low: int, high: int
) -> dict[str, npt.NDArray[np.int64]]:
    """Published positions per raw file, from the data files whose range can hold them."""
    table = _load(lake, table_name)
    if table is None or not files:
        return {}
    reach = And(And(LessThan("_from", high), GreaterThan("_to", low)), EqualTo("_source", source))
    return _by_file(table, reach, files)


def _dead_letters_of(lake: Lake, source: str, files: Sequence[str]) -> dict[str, dict[Code, npt.NDArray[np.int64]]]:
    """Positions with a dead letter, per raw file and code."""
    table = _load(lake, DEAD_LETTERS)
    found: dict[str, dict[Code, npt.NDArray[np.int64]]] = {}
    if table is None or not files:
        return found
    rows = table.scan(row_filter=EqualTo("_source", source), selected_fields=("_raw_file", "_position", "code")).to_arrow()
    for code in rows.column("code").unique().to_pylist():
        part = rows.filter(pc.equal(rows.column("code"), code))
        for raw_file, positions in _grouped(part, set(files)).items():
            found.setdefault(raw_file, {})[Code(code)] = positions
    return found


def _by_file(table: Table, where: BooleanExpression, files: Sequence[str]) -> dict[str, npt.NDArray[np.int64]]:
    rows = table.scan(row_filter=where, selected_fields=("_raw_file", "_position")).to_arrow()
    return _grouped(rows, set(files))


def _grouped(rows: pa.Table, wanted: set[str]) -> dict[str, npt.NDArray[np.int64]]:
    """Sorted positions per raw file."""
    if len(rows) == 0:
        return {}
    encoded = rows.column("_raw_file").combine_chunks().dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    positions = rows.column("_position").to_numpy()
    order = np.lexsort((positions, codes))
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
