"""The publication of a state of the audit branch of a gated table: everything but blocked partitions, in one commit.

Main takes the very files of the audit branch; only a file that reaches into a blocked partition is cut. So main is the audit branch
without these, and a compaction of the audit branch reaches main with the next publication.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from pyiceberg.table import Table, Transaction
from pyiceberg.table.refs import MAIN_BRANCH

from lake.location import AUDIT, Lake
from lake.tables.adopt import is_beside
from lake.tables.candidate import Candidate, files_apart, sums_of
from lake.tables.exchange import note_state
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
    turning,
)
from lake.tables.iceberg import (
    HASH_PROPERTY,
    ROWS_PROPERTY,
    RUN_PROPERTY,
    PublishedFile,
    committed,
    dropped_branch,
    horizon_s,
    known_files,
    settled_refs,
)
from lake.tables.publish import table_totals
from lake.tables.swap import CommitLabels, clipped, cut_off, overlaps, replace_files
from lake.tables.sweep import settle_at, sweep
from lake.tables.transactions import RefTransaction

PUBLISHED_PROPERTY = "headrace.gate.published"  # of a table: sequence number of the audit snapshot that main has


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
        if is_beside(table):
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
    coming, going = files_apart(candidate.files, current)
    ranges = _merged([candidate.span(number) for number in sorted(blocked)])
    for ours, theirs in _components(coming, going):
        if not any(overlaps(file, ranges) for file in (*ours, *theirs)):
            yield _Exchange(theirs, [(file.path, file.dropped) for file in ours])
            continue
        sums = [sums_of(files, candidate.length_us) for files in (ours, theirs)]
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
        with RefTransaction(table) as transaction:
            properties = {key: value for hold in held for key, value in hold.properties().items()}
            transaction.set_properties(properties | (turning(turned) if turned and horizon_s(table) else {}))
            if gone := [key for span in released if span in known for key in known[span].properties()]:
                transaction.remove_properties(*gone)
            note_state(transaction, totals, AUDIT)  # so that a rival's commit that was worked out before is refused
        return True

    return committed(name, attempt)


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
    """Note what a pass has judged.

    Nothing of it goes back by one pass. Of two at once that of the earlier state may hold: the next pass then looks again at what
    was judged, and finds the same.

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
            with RefTransaction(table) as transaction:
                transaction.set_properties(wanted)

    committed(name, attempt)
