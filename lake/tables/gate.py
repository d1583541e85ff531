"""What main lacks of the audit branch of a gated table, and its publication: everything but blocked partitions, in one commit.

Main takes the very files of the audit branch; only a file that reaches into a blocked partition is cut. So main is the audit branch
without these, and a compaction of the audit branch reaches main with the next publication.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from math import gcd

import numpy as np
import pyarrow as pa
from pyiceberg.table import Table, Transaction
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Snapshot

from contracts.units import SECOND_US
from lake.location import AUDIT, Lake
from lake.tables.data_files import PROVENANCE_KEY, newer_rows, provenance_keys, read_columns, read_rows
from lake.tables.exchange import note_public, note_state, noted_heads, noted_public
from lake.tables.fold import add_hashes, content_hash
from lake.tables.holds import (
    CLOSED_PROPERTY,
    LATENESS_PROPERTY,
    PASSED_PROPERTY,
    Hold,
    Range,
    closed_to,
    holds_of,
    holds_token,
    lateness_of,
    partition_length_s,
    passed_to,
    turned_ranges,
    turning,
)
from lake.tables.iceberg import (
    HASH_PROPERTY,
    ROWS_PROPERTY,
    RUN_PROPERTY,
    PublishedFile,
    Vacated,
    committed,
    dropped_branch,
    horizon_s,
    known_files,
    published_files,
    settled_refs,
)
from lake.tables.publish import fold_ranges, publish, table_totals
from lake.tables.ranges import Ranging
from lake.tables.swap import CommitLabels, clipped, cut_off, overlaps, replace_files
from lake.tables.sweep import settle_at, sweep

PUBLISHED_PROPERTY = "headrace.gate.published"  # of a table: sequence number of the audit snapshot that main has
_Sums = dict[tuple[int, bool], tuple[int, int]]  # by partition and whether they are dropped: rows, and their hash


@dataclass(frozen=True)
class Candidate:
    """A settled state of the audit branch beside main: what may be published.

    token: of what is held, see ``holds_token``. snapshot: of the audit branch. files: of it, published and dropped. main: the same
    of main. length_us: of a partition.
    """

    table: Table
    token: str
    snapshot: Snapshot
    files: tuple[PublishedFile, ...]
    main: tuple[PublishedFile, ...]
    length_us: int

    @classmethod
    def of(cls, lake: Lake, name: str, length_s: int) -> Candidate | None:
        """Of a table; None where there is something to sweep first, or no state at all."""
        table = lake.public.load(name)
        if turned_ranges(table) or Vacated.of(table).ranges:
            return None
        refs = settled_refs(AUDIT) if horizon_s(table) else (AUDIT, dropped_branch(AUDIT))
        snapshot, dropped = map(table.metadata.snapshot_by_name, refs)
        if snapshot is None:
            return None
        files = [*published_files(table, snapshot)]
        files += [replace(file, dropped=True) for file in (published_files(table, dropped) if dropped else ())]
        main = known_files(table, None)
        return cls(table, holds_token(table), snapshot, tuple(sorted(files)), tuple(main), length_s * SECOND_US)

    @classmethod
    def newest(cls, lake: Lake, name: str) -> Candidate:
        """What jobs committed last, settled or not, to be looked at; the table is gated."""
        table = lake.public.load(name)
        files = known_files(lake.auditing([name]).load(name), AUDIT)
        snapshot = table.metadata.snapshot_by_name(AUDIT) or table.metadata.snapshot_by_name(MAIN_BRANCH)
        assert snapshot is not None
        length_us = (partition_length_s(table) or 0) * SECOND_US
        return cls(table, holds_token(table), snapshot, tuple(files), tuple(known_files(table, None)), length_us)

    def public_rows(self, span: Range) -> int:
        """How many rows main has of a partition."""
        files = [file for file in self.main if not file.dropped and overlaps(file, [span])]
        return _sums(files, self.length_us).get((span[0] // self.length_us, False), (0, 0))[0]

    def span(self, number: int) -> Range:
        """The window times of a partition."""
        return number * self.length_us, (number + 1) * self.length_us

    def changed(self) -> list[int]:
        """Partitions with other published rows than main has, by number, in the order of time."""
        audit, main = (_sums(files, self.length_us) for files in _apart(self.files, self.main))
        keys = {key for key in {*audit, *main} if not key[1]}
        return sorted(number for number, dropped in keys if audit.get((number, dropped)) != main.get((number, dropped)))

    def content_of(self, number: int) -> str:
        """Names the published rows of a partition: their number, and the sum of their hashes."""
        low, high = self.span(number)
        files = [file for file in self.files if not file.dropped and file.from_us < high and file.to_us > low]
        rows, digest = _sums(files, self.length_us).get((number, False), (0, 0))
        return f"{rows}-{digest:032x}"

    def received_us(self) -> int:
        """When the newest record was received whose row is on the audit branch, microseconds; 0 where there is none."""
        files = (file for file in self.files if not file.dropped)
        return max((_received(f.path) if f.received_us is None else f.received_us for f in files), default=0)


@lru_cache(maxsize=20_000)
def _received(path: str) -> int:
    """Of a file whose manifest does not tell."""
    received = read_columns(path, ("_received_at",)).column("_received_at").cast(pa.int64()).to_numpy()
    return int(received.max(initial=0))


@lru_cache(maxsize=20_000)
def _file_sums(path: str, length_us: int) -> tuple[tuple[int, int, int], ...]:
    """By partition, rows and hash of a data file."""
    rows = read_columns(path, ("_window_time", "_row_hash"))
    numbers = rows.column("_window_time").cast(pa.int64()).to_numpy() // length_us
    found = []
    for number in np.unique(numbers).tolist():
        own = rows.filter(pa.array(numbers == number))
        found.append((number, len(own), content_hash(own)))
    return tuple(found)


def _sums(files: Iterable[PublishedFile], length_us: int) -> _Sums:
    found: _Sums = {}
    for file in files:
        for number, rows, digest in _file_sums(file.path, length_us):
            known = found.get((number, file.dropped), (0, 0))
            found[number, file.dropped] = known[0] + rows, add_hashes(known[1], digest)
    return found


def _apart(audit: Sequence[PublishedFile], main: Sequence[PublishedFile]) -> tuple[list[PublishedFile], list[PublishedFile]]:
    """Files that only the one has, and that only the other has."""
    known, there = ({(file.path, file.dropped) for file in files} for files in (audit, main))
    return [f for f in audit if (f.path, f.dropped) not in there], [f for f in main if (f.path, f.dropped) not in known]


@dataclass(frozen=True)
class _Exchange:
    """What goes from main, and what comes: files as they are, by path, with whether their rows are dropped."""

    gone: list[PublishedFile]
    new: list[tuple[str, bool]]


def publish_candidate(lake: Lake, name: str, candidate: Candidate, blocked: Collection[int], run_id: str) -> bool | None:
    """Publish a candidate: main becomes it, but for blocked partitions, which stay as they are. One commit, or none at all.

    Args:
        lake: where.
        name: the table's.
        candidate: what may be published.
        blocked: numbers of partitions.
        run_id: goes into the snapshot's properties.

    Returns:
        Whether main changed; None where a rival has published a later state, what is held has changed, or rows came to main beside
        the gate: take these in, and judge again.

    Raises:
        ComponentDownError: no commit succeeded before the deadline.
    """
    sequence = candidate.snapshot.sequence_number or 0

    def attempt() -> bool | None:
        table = lake.public.load(name)
        if holds_token(table) != candidate.token or int(table.properties.get(PUBLISHED_PROPERTY, "0")) > sequence:
            return None
        if _is_beside(table):
            return None
        current = known_files(table, None)
        exchanges = list(_exchanges(table, candidate, current, blocked))
        gone = [file for exchange in exchanges for file in exchange.gone]
        new = [path for exchange in exchanges for path, dropped in exchange.new if not dropped]
        dropped = [path for exchange in exchanges for path, dropped in exchange.new if dropped]
        if not gone and not new and not dropped:
            return False
        labels = CommitLabels(run_id, {"headrace.gate.audit-snapshot": str(candidate.snapshot.snapshot_id)})

        def note(transaction: Transaction) -> None:
            transaction.set_properties({PUBLISHED_PROPERTY: str(sequence)})

        replace_files(table, gone, new, labels, MAIN_BRANCH, dropped=dropped, also=note)
        return True

    return committed(name, attempt)


def _exchanges(
    table: Table, candidate: Candidate, current: Sequence[PublishedFile], blocked: Collection[int]
) -> Iterator[_Exchange]:
    coming, going = _apart(candidate.files, current)
    ranges = _merged([candidate.span(number) for number in sorted(blocked)])
    for ours, theirs in _components(coming, going):
        if not any(overlaps(file, ranges) for file in (*ours, *theirs)):
            yield _Exchange(theirs, [(file.path, file.dropped) for file in ours])
            continue
        sums = [_sums(files, candidate.length_us) for files in (ours, theirs)]
        open_keys = [key for key in {*sums[0], *sums[1]} if key[0] not in blocked]
        if all(sums[0].get(key) == sums[1].get(key) for key in open_keys):
            continue  # what is not blocked is there already, in pieces
        kept = list(clipped(table, theirs, ranges, None))
        whole = {file.path for file in kept} & {file.path for file in theirs}
        apart = [file for file in ours if not overlaps(file, ranges)]
        pieces = [*apart, *cut_off(table, [file for file in ours if overlaps(file, ranges)], ranges), *kept]
        gone = [file for file in theirs if file.path not in whole]
        yield _Exchange(gone, [(file.path, file.dropped) for file in pieces if file.path not in whole])


def _components(
    ours: Sequence[PublishedFile], theirs: Sequence[PublishedFile]
) -> Iterator[tuple[list[PublishedFile], list[PublishedFile]]]:
    """Files whose ranges meet, of one shard, published or dropped."""
    tagged = sorted([(f.dropped, f.shard, f.from_us, f.to_us, number, f) for number, fs in enumerate((ours, theirs)) for f in fs])
    group: tuple[list[PublishedFile], list[PublishedFile]] = ([], [])
    end: tuple[bool, int, int] | None = None
    for dropped, shard, from_us, to_us, number, file in tagged:
        if end is None or end[:2] != (dropped, shard) or from_us >= end[2]:
            if end is not None:
                yield group
            group, end = ([], []), (dropped, shard, to_us)
        group[number].append(file)
        end = dropped, shard, max(end[2], to_us)
    if end is not None:
        yield group


def _merged(ranges: Sequence[Range]) -> list[Range]:
    found: list[Range] = []
    for low, high in ranges:
        if found and found[-1][1] == low:
            found[-1] = found[-1][0], high
        else:
            found.append((low, high))
    return found


def turn_holds(lake: Lake, name: str, candidate: Candidate, held: Sequence[Hold], released: Sequence[Range], run_id: str) -> bool:
    """Put on record what is held from now on, and what no longer, in one commit; the next sweep sees to who hides whom.

    Returns:
        Whether that is done; not, where a rival turned others meanwhile.

    Raises:
        ComponentDownError: no commit succeeded before the deadline.
    """

    def attempt() -> bool:
        table = lake.auditing([name]).load(name)
        if holds_token(table) != candidate.token:
            return False
        known = holds_of(table)
        turned = [hold.span for hold in held if hold.span not in known] + [span for span in released if span in known]
        rows, digest = table_totals(table)
        totals = {RUN_PROPERTY: run_id, ROWS_PROPERTY: str(rows), HASH_PROPERTY: f"{digest:032x}"}
        with table.transaction() as transaction:
            properties = {key: value for hold in held for key, value in hold.properties().items()}
            transaction.set_properties(properties | (turning(turned) if turned and horizon_s(table) else {}))
            if gone := [key for span in released if span in known for key in known[span].properties()]:
                transaction.remove_properties(*gone)
            note_state(transaction, totals, AUDIT)  # so that a rival's commit that was worked out before is refused
        return True

    return committed(name, attempt)


def adopt(lake: Lake, name: str, key: str, run_id: str) -> int:
    """Fold rows into the audit branch that somebody committed to main beside the gate, as versions before do; how many.

    These are the rows that main has more than it had when it was last published.

    Raises:
        ComponentDownError: no commit succeeded before the deadline.
    """
    table = lake.public.load(name)
    if not _is_beside(table):
        return 0
    audit = lake.auditing([name])
    before = _files_before(table)
    there = {file.path for file in before}
    adopted = 0
    for file in (file for file in known_files(table, None) if file.path not in there):
        loaded = audit.load(name)
        files = known_files(loaded, AUDIT)
        near = {f.path for f in (*before, *files) if f.overlaps(file.from_us, file.to_us, file.shard)}
        known = {place for path in near for place in provenance_keys(read_columns(path, PROVENANCE_KEY))}
        rows = read_rows(file.path)
        rows = rows.filter(pa.array(newer_rows(rows, known)))
        if len(rows):
            spans = _within_partitions(table, (file.to_us - file.from_us) // SECOND_US).spans
            folds = list(fold_ranges(loaded, files, rows, spans, key=key, shard=file.shard))
            publish(audit, name, folds, key=key, run_id=run_id)
            adopted += len(rows)
    committed(name, partial(_note_adopted, lake, name, table.current_snapshot(), run_id))
    return adopted


def _is_beside(table: Table) -> bool:
    """Whether main has what nobody published through the gate."""
    head = table.metadata.snapshot_by_name(MAIN_BRANCH)
    return head is not None and noted_heads(table).get(MAIN_BRANCH) != head.snapshot_id


def _files_before(table: Table) -> list[PublishedFile]:
    """Files of main as it was last published, and of what it dropped; an expiry keeps these snapshots."""
    snapshots = map(table.snapshot_by_id, noted_public(table))
    return [file for snapshot in snapshots if snapshot for file in published_files(table, snapshot)]


def _within_partitions(table: Table, length_s: int) -> Ranging:
    partition_s = partition_length_s(table)
    return Ranging(gcd(length_s, partition_s) if partition_s else length_s)


def _note_adopted(lake: Lake, name: str, head: Snapshot | None, run_id: str) -> None:
    """Main has been taken in as it was then. Where it has moved on since, that is still to be done."""
    table = lake.public.load(name)
    if head is None or table.current_snapshot() != head or not _is_beside(table):
        return
    rows, digest = table_totals(table)
    with table.transaction() as transaction:  # a snapshot of its own, so that it is refused where main moves on
        note_state(transaction, {RUN_PROPERTY: run_id, ROWS_PROPERTY: str(rows), HASH_PROPERTY: f"{digest:032x}"}, MAIN_BRANCH)
        note_public(transaction)


def publish_settled(lake: Lake, name: str, key: str, run_id: str, blocked: Sequence[Range]) -> None:
    """Let readers of settled states see what was published.

    Where main has an earlier state of what is blocked, the horizon is applied to main by itself: a row that was published since may
    come before one of those. blocked: window times.
    """
    main = lake.public
    table = main.load(name)
    head = table.current_snapshot()
    if head is None or not horizon_s(table):
        return
    spans = _merged(sorted(blocked))
    if any(overlaps(file, spans) for file in known_files(table, None)):
        sweep(main, name, key=key, run_id=run_id)
    elif table.metadata.snapshot_by_name(settled_refs(None)[0]) != head:
        settle_at(main, name, head, table.metadata.snapshot_by_name(dropped_branch(None)))


def follow(lake: Lake, name: str, key: str, run_id: str) -> None:
    """Let main have the files of the audit branch where these hold the same rows, as after a compaction."""
    length_s = partition_length_s(lake.load(name))
    candidate = Candidate.of(lake, name, length_s) if length_s else None
    changed = candidate.changed() if candidate else []
    if candidate and publish_candidate(lake, name, candidate, set(changed), run_id):
        publish_settled(lake, name, key, run_id, [candidate.span(number) for number in changed])


def unjudged_s(lake: Lake, name: str, now_s: float) -> float:
    """For how long the oldest commit of rows to the audit branch has waited for a pass of the gate, seconds; 0 where none does.

    Args:
        lake: where.
        name: of a gated table.
        now_s: seconds since 1970; the clock's.
    """
    table = lake.auditing([name]).load(name)
    oldest, passed = table.current_snapshot(), passed_to(table)
    if oldest is None or (oldest.sequence_number or 0) <= passed:
        return 0.0
    candidate, holds = Candidate.newest(lake, name), holds_of(table)
    known = {hold.span: hold.content for hold in holds.values()}
    if all(known.get(candidate.span(number)) == candidate.content_of(number) for number in candidate.changed()):
        return 0.0  # only files were merged
    while (parent := table.snapshot_by_id(oldest.parent_snapshot_id or -1)) and (parent.sequence_number or 0) > passed:
        oldest = parent
    return max(now_s - oldest.timestamp_ms / 1_000, 0.0)


def note_passed(lake: Lake, name: str, candidate: Candidate, closed_us: int | None, lateness_s: int | None) -> None:
    """Note what a pass has judged. Nothing of it goes back.

    Args:
        lake: where.
        name: the table's.
        candidate: what was judged.
        closed_us: up to where records tell that partitions are over; None where no stream feeds the table.
        lateness_s: how the stream waits that takes the pass; None beside none.
    """
    sequence = candidate.snapshot.sequence_number or 0

    def attempt() -> None:
        table = lake.public.load(name)
        known = closed_to(table)
        wanted: dict[str, str] = {}
        if sequence > passed_to(table):
            wanted[PASSED_PROPERTY] = str(sequence)
        if closed_us is not None and (known is None or closed_us > known):
            wanted[CLOSED_PROPERTY] = str(max(closed_us, 0))
        if lateness_s not in (None, lateness_of(table)):
            wanted[LATENESS_PROPERTY] = str(lateness_s)
        if wanted:
            with table.transaction() as transaction:
                transaction.set_properties(wanted)

    committed(name, attempt)
