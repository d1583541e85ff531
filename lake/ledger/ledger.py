"""The ledger: what became of every source position, from what was committed. Beam's counters count attempts; this does not.

in = out + duplicate + late + filtered + dead_letter + held + expired + erased. ``in`` are the records that ``raw/`` holds, in files
and in logs; the rest are sidecars that were written after the rows behind them (``PositionOutcomes``): accepted, filtered,
dead_letter, late, held. What became of the accepted, ``proofs.py`` tells; without a proof they are ``lost``, and nothing adds up.
Positions without an outcome are ``pending``: of bounded input nothing more can come, so they are lost; of a stream they wait for
their window, above the ``frontier`` of their log.

Everything is worked out batch by batch (``lake/raw/positions.py``), so memory does not grow with the length of a log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from pyiceberg.exceptions import NoSuchTableError

from contracts.codes import Code
from contracts.spec.source import SourceSpec
from lake.ledger.proofs import Judged, Verdict, judge
from lake.ledger.sidecars import FileOutcomes, outcomes_of
from lake.location import Lake
from lake.raw.files import RawFile, raw_files
from lake.raw.log_ids import LogId, offset_of
from lake.raw.positions import Extent, Landed, extent_batches, landed_file, landed_log
from lake.raw.segments import log_segments, logs_of
from lake.tables.iceberg import FORMAT, format_of


@dataclass
class LedgerEntry:
    """Counts of one source, file or log. ``codes`` splits ``dead_letter``. ``outside`` is of replays only: of other windows.

    corrected: of ``out``, those with a time that was not believed. lost: accepted, and no row or note says what became of them.
    """

    records_in: int = 0
    out: int = 0
    duplicate: int = 0
    late: int = 0
    filtered: int = 0
    dead_letter: int = 0
    held: int = 0
    expired: int = 0
    erased: int = 0
    lost: int = 0
    pending: int = 0
    outside: int = 0
    corrected: int = 0
    codes: dict[str, int] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Whether every record is accounted for, once."""
        accounted = self.out + self.duplicate + self.late + self.filtered + self.dead_letter
        accounted += self.held + self.expired + self.erased + self.outside
        return self.pending == 0 and self.lost == 0 and self.records_in == accounted

    @property
    def faults(self) -> list[str]:
        """Why it is not balanced, one sentence each; it ends a bounded run with exit code 1."""
        found = []
        if self.lost:
            found.append(
                f"{self.lost} accepted records have neither a published nor a dropped row: their rows were lost, please report it "
                "with the manifest"
            )
        if self.pending:
            found.append(f"the ledger does not add up: {self.pending} of {self.records_in} records have no outcome; run it again")
        if not found and not self.balanced:
            found.append("the ledger does not add up: its figures do not give what came in, please report it with the manifest")
        return found

    def __add__(self, other: LedgerEntry) -> LedgerEntry:
        """Entries of disjoint positions add up."""
        codes = {code: self.codes.get(code, 0) + other.codes.get(code, 0) for code in {*self.codes, *other.codes}}
        numbers = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.name != "codes"}
        return LedgerEntry(**numbers, codes=codes)


def unfinished(lake: Lake, source: str, files: Sequence[RawFile]) -> list[RawFile]:
    """Raw files with positions that have no outcome of this source yet."""
    missing: set[str] = set()
    for extents in extent_batches(map(landed_file, files)):
        outcomes = outcomes_of(lake, source, extents)
        missing |= {s.raw_file for s in extents if _first_without(s, outcomes) is not None}
    return [f for f in files if f.raw_file in missing]


def frontier(lake: Lake, spec: SourceSpec, log: LogId, start: int = 0) -> int | None:
    """The smallest landed offset with a record that has no committed outcome, else the offset after what is landed.

    Everything landed below is accounted for, and stays so: the frontier never falls. Where that offset is the first behind a gap,
    it is the first of the gap.

    Args:
        lake: where.
        spec: the source.
        log: which of its logs.
        start: offsets below are not looked at, such as an earlier frontier.

    Returns:
        The offset; None where nothing is landed from ``start`` on.
    """
    batched = spec.records is not None
    landed = landed_log(lake, spec.raw_source, log, batched=batched, start=start)
    for extents in extent_batches([landed]):
        outcomes = outcomes_of(lake, spec.name, extents)
        for extent in extents:
            missing = _first_without(extent, outcomes)
            if missing is not None:
                return _before_gap(lake, spec, log, offset_of(missing, batched), start)
    return landed.end if landed.pieces else None


def _before_gap(lake: Lake, spec: SourceSpec, log: LogId, missing: int, start: int) -> int:
    """The first offset that may have been skipped: what lies behind a gap another source may have landed, which shares the raw."""
    reached: int | None = None
    for segment in log_segments(lake, spec.raw_source, log):
        if segment.start <= missing < segment.end:
            begins = offset_of(segment.runs[0], spec.records is not None) if segment.runs else segment.start
            return reached if reached is not None and start <= reached < segment.start and missing <= begins else missing
        reached = segment.end
    return missing


def _first_without(extent: Extent, outcomes: Mapping[str, FileOutcomes]) -> int | None:
    return extent.positions.first_outside(outcomes.get(extent.raw_file, FileOutcomes()).all_runs())


def compute_ledger(lake: Lake, source: str, table: str, files: Sequence[RawFile]) -> LedgerEntry:
    """The ledger of some raw files of a source.

    Args:
        lake: where.
        source: whose rows.
        table: that they are published in.
        files: which raw files.
    """
    return sum(ledger_of(lake, source, table, [landed_file(f) for f in files]).values(), LedgerEntry())


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
    landed = landed_log(lake, spec.raw_source, log, batched=spec.records is not None, start=start, end=end)
    return ledger_of(lake, spec.name, table, [landed])[landed.raw_file]


def source_ledger(lake: Lake, spec: SourceSpec, table: str) -> dict[str, LedgerEntry]:
    """The ledger of everything that was landed of a source, by raw file and log."""
    return ledger_of(lake, spec.name, table, landed_of(lake, spec))


def landed_of(lake: Lake, spec: SourceSpec) -> list[Landed]:
    """Everything that was landed of a source."""
    batched = spec.records is not None
    logs = [landed_log(lake, spec.raw_source, log, batched=batched) for log in logs_of(lake, spec.raw_source)]
    return [*map(landed_file, raw_files(lake, spec.raw_source)), *logs]


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
    upgraded = _is_upgraded(lake, table)
    for extents in extent_batches(landed):
        for judged in judge(lake, source, table, extents, before_epoch):
            if not upgraded:
                judged.prove(Verdict.DUPLICATE, judged.unproven)
            entries[judged.raw_file] += _entry(judged)
    return entries


def _is_upgraded(lake: Lake, table: str) -> bool:
    """Whether jobs note what lost: those of format 1 did not, and an upgrade makes up for it (upgrade.py)."""
    try:
        return format_of(lake.load(table)) >= FORMAT
    except NoSuchTableError:
        return True


def _entry(judged: Judged) -> LedgerEntry:
    """The ledger of some positions."""
    count = dict(zip(Verdict, np.bincount(judged.verdicts, minlength=len(Verdict)).tolist(), strict=True))
    rejected = judged.verdicts == Verdict.DEAD_LETTER
    codes = {str(c): int((judged.at(p) & rejected).sum()) for c, p in judged.letters.items() if c != Code.CONFLICTING_DUPLICATE}
    codes[str(Code.CONFLICTING_DUPLICATE)] = count[Verdict.CONFLICT]
    return LedgerEntry(
        records_in=len(judged.positions),
        out=count[Verdict.OUT] + count[Verdict.CORRECTED],
        duplicate=count[Verdict.DUPLICATE],
        late=count[Verdict.LATE],
        filtered=count[Verdict.FILTERED],
        dead_letter=count[Verdict.DEAD_LETTER] + count[Verdict.CONFLICT],
        held=count[Verdict.HELD],
        expired=count[Verdict.EXPIRED],
        erased=count[Verdict.ERASED],
        lost=count[Verdict.LOST],
        pending=count[Verdict.PENDING],
        outside=count[Verdict.OUTSIDE],
        corrected=count[Verdict.CORRECTED],
        codes={code: count for code, count in codes.items() if count},
    )
