"""Folding into an Iceberg table: new data files by range and shard, and the one transaction that publishes them.

Safe with any number of writers: a fold notes which files it read; the committer compares that with the table as it holds it, folds
again what has changed, and replaces files in one transaction that is refused when the table has moved on since (the tables switch
pyiceberg's own retries off, see ``tables.py``); then it begins again. So no update is lost, and totals carried in snapshot
properties are exact.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from pyiceberg.expressions import And, BooleanExpression, EqualTo, GreaterThan, LessThan, Or
from pyiceberg.table import Table, Transaction
from pyiceberg.table.refs import MAIN_BRANCH

from contracts.errors import HeadraceError
from lake.location import Lake
from lake.tables.data_files import PROVENANCE_KEY, file_name, newer_rows, provenance_keys, read_rows, with_schema, write_rows
from lake.tables.fold import add_hashes, content_hash, fold_rows
from lake.tables.horizon import NO_MOVES, Ints, Moves, PairSet
from lake.tables.iceberg import PublishedFile, committed, dropped_branch, known_files
from lake.tables.ipc import decode_rows, encode_rows

ROWS_PROPERTY, HASH_PROPERTY, RUN_PROPERTY = "headrace.rows", "headrace.content-hash", "headrace.run-id"


@dataclass(frozen=True)
class RangeFold:
    """The fold of one range and shard, not yet published.

    path: the new data file; None where the published rows stay as they are. read: the published files that it took in.
    delta_rows, delta_hash: what the table's totals change by. positions: Arrow IPC of the positions that came in (source, raw file,
    position). losers, won: Arrow IPC of the rows that lost against another fingerprint, and of those that they lost against.
    emptied: none of the published rows is left, and path is None. dropped_path, dropped_read, dropped_emptied: the same of the rows
    that the horizon drops (horizon.py). beaten, displaced: Arrow IPC of the positions of rows that came in, or were known, and lost
    to a row of another position. Once this is committed such a row is in no table.
    """

    from_us: int
    to_us: int
    shard: int
    path: str | None
    read: tuple[str, ...]
    delta_rows: int
    delta_hash: int
    positions: tuple[bytes, ...]
    losers: tuple[bytes, ...]
    won: tuple[bytes, ...]
    emptied: bool = False  # savepoints of versions before hold folds without these
    dropped_path: str | None = None
    dropped_read: tuple[str, ...] = ()
    dropped_emptied: bool = False
    beaten: tuple[bytes, ...] | None = None  # None of versions before: see ``with_lost``
    displaced: tuple[bytes, ...] = ()

    @property
    def changes_published(self) -> bool:
        """Whether published rows are replaced."""
        return self.path is not None or self.emptied

    @property
    def changes_dropped(self) -> bool:
        """Whether dropped rows are replaced."""
        return self.dropped_path is not None or self.dropped_emptied

    @property
    def changes(self) -> bool:
        """Whether there is anything to commit."""
        return self.changes_published or self.changes_dropped

    @property
    def taken(self) -> frozenset[str]:
        """The files that it took in."""
        return frozenset((*self.read, *self.dropped_read))

    @property
    def given(self) -> frozenset[str]:
        """The files of its range once it is committed."""
        published = (self.path,) if self.changes_published else self.read
        dropped = (self.dropped_path,) if self.changes_dropped else self.dropped_read
        return frozenset(path for path in (*published, *dropped) if path is not None)

    def unchanged(self) -> RangeFold:
        """As it is once it is committed: nothing is left to do."""
        return replace(self, path=None, emptied=False, dropped_path=None, dropped_emptied=False)


def fold_range(
    table: Table,
    known: Sequence[PublishedFile],
    incoming: pa.Table,
    *,
    key: str,
    from_us: int,
    to_us: int,
    shard: int,
    moves: Moves = NO_MOVES,
) -> RangeFold:
    """Fold new rows with what is known of their range, and write the result: published rows as one data file, dropped as another.

    Args:
        table: the Iceberg table.
        known: its files, published and dropped, as of the state that the fold is built on.
        incoming: rows of the table's schema without range columns.
        key: the key column.
        from_us: where the incoming rows belong, and
        to_us: the end of that range;
        shard: and their shard.
        moves: pairs that are no longer published, or are again. Rows of pairs that are dropped already stay so.
    """
    from_us, to_us = _reach(known, from_us, to_us, shard)
    taken = [f for f in known if f.overlaps(from_us, to_us, shard)]
    files = [f for f in taken if not f.dropped], [f for f in taken if f.dropped]
    incoming, *old = aligned = _aligned([incoming, *(read_rows(f.path) for side in files for f in side)])
    published, dropped = old[: len(files[0])], old[len(files[0]) :]
    folded = fold_rows(aligned, key)
    is_out = moves.drop.within(from_us, to_us).holds(folded.rows, key)
    for rows in dropped:
        is_out |= PairSet.of(rows, key).holds(folded.rows, key)
    is_out &= ~moves.restore.within(from_us, to_us).holds(folded.rows, key)
    rows = folded.rows if not is_out.any() else folded.rows.filter(pa.array(~is_out))
    path, emptied = _written(table, rows, files[0], (from_us, to_us, shard))
    dropped_path, dropped_emptied = _written(table, folded.rows.filter(pa.array(is_out)), files[1], (from_us, to_us, shard))
    beaten, displaced = (_places(aligned, at) for at in np.split(folded.beaten, [np.searchsorted(folded.beaten, len(incoming))]))
    return RangeFold(
        from_us=from_us,
        to_us=to_us,
        shard=shard,
        path=path,
        read=tuple(f.path for f in files[0]),
        delta_rows=len(rows) - sum(map(len, published)),
        delta_hash=add_hashes(content_hash(rows), *(-content_hash(r) for r in published)),
        positions=(encode_rows(incoming.select(PROVENANCE_KEY)),),
        losers=(encode_rows(folded.losers),) if len(folded.losers) else (),
        won=(encode_rows(folded.won),) if len(folded.won) else (),
        emptied=emptied,
        dropped_path=dropped_path,
        dropped_read=tuple(f.path for f in files[1]),
        dropped_emptied=dropped_emptied,
        beaten=beaten,
        displaced=displaced,
    )


def _places(tables: Sequence[pa.Table], at: Ints) -> tuple[bytes, ...]:
    """Where the rows at these places, in the tables one after the other, come from; nothing for none."""
    if not len(at):
        return ()
    return (encode_rows(pa.concat_tables([t.select(PROVENANCE_KEY) for t in tables]).take(pa.array(at))),)


def _reach(known: Sequence[PublishedFile], from_us: int, to_us: int, shard: int) -> tuple[int, int]:
    """The range that takes in whole files: published ones are disjoint, and so are dropped ones, but not one from the other."""
    while True:
        taken = [f for f in known if f.overlaps(from_us, to_us, shard)]
        reached = min([from_us, *(f.from_us for f in taken)]), max([to_us, *(f.to_us for f in taken)])
        if reached == (from_us, to_us):
            return reached
        from_us, to_us = reached


def _written(table: Table, rows: pa.Table, files: Sequence[PublishedFile], place: tuple[int, int, int]) -> tuple[str | None, bool]:
    """Write rows in the place of these files: the new file, None for none; and whether nothing is left of what there was."""
    if not len(rows):
        return None, bool(files)
    if len(files) == 1 and files[0].path.rsplit("/", 1)[-1].startswith(file_name(rows, *place)):
        return None, False
    return write_rows(table, rows, *place), False


def publish(
    lake: Lake,
    name: str,
    folds: Sequence[RangeFold],
    *,
    key: str,
    run_id: str,
    before: Callable[[Sequence[RangeFold]], None] | None = None,
    moves: Moves = NO_MOVES,
) -> list[RangeFold]:
    """Publish folds in one transaction; what changed meanwhile is folded again.

    Args:
        lake: where the table lies.
        name: the table's name.
        folds: what to publish.
        key: its key column.
        run_id: goes into the snapshot's properties.
        before: is given the folds as they will be committed, before they are: once rows are replaced nobody knows them any more.
        moves: with which the folds were made.

    Returns:
        The folds as published: with all positions and losers that belong to them.

    Raises:
        ComponentDownError: no commit succeeded before the deadline.
    """
    settled = list(folds)

    def commit() -> list[RangeFold]:
        nonlocal settled
        table = lake.load(name)
        settled = rebase(table, known_files(table, lake.branch), settled, key, moves)
        if before:
            before(settled)
        if changed := [fold for fold in settled if fold.changes]:
            _commit(table, changed, run_id, lake.branch)
        return settled

    return committed(name, commit)


def rebase(
    table: Table, known: Sequence[PublishedFile], folds: Sequence[RangeFold], key: str, moves: Moves = NO_MOVES
) -> list[RangeFold]:
    """Folds that fit these files, published and dropped: overlapping ones merged, stale ones folded again."""
    rebased = [f for f in folds if not f.changes]  # what is known had taken in theirs, and what is known only grows
    for group, from_us, to_us in _overlapping([f for f in folds if f.changes], known):
        first = group[0]
        current = frozenset(f.path for f in known if f.overlaps(from_us, to_us, first.shard))
        if len(group) == 1 and current == first.taken:
            rebased.append(first)
        elif len(group) == 1 and current == first.given:  # committed by an attempt that then failed
            rebased.append(first.unchanged())
        else:
            incoming = pa.concat_tables(_aligned([_brought(f) for f in group]))
            again = fold_range(table, known, incoming, key=key, from_us=from_us, to_us=to_us, shard=first.shard, moves=moves)
            positions = tuple(p for f in group for p in f.positions)
            losers = again.losers + tuple(x for f in group for x in f.losers)
            won = again.won + tuple(x for f in group for x in f.won)
            beaten = tuple(x for f in (again, *group) for x in f.beaten or ())
            displaced = again.displaced + tuple(x for f in group for x in f.displaced)
            rebased.append(replace(again, positions=positions, losers=losers, won=won, beaten=beaten, displaced=displaced))
    return rebased


def _overlapping(folds: Sequence[RangeFold], known: Sequence[PublishedFile]) -> list[tuple[list[RangeFold], int, int]]:
    """Folds in groups that cannot be published side by side, and the range that each takes.

    Ranges of one shard meet, or would once each has taken in the files that it overlaps.
    """
    reaching = []
    for fold in folds:
        reaching.append((fold.shard, *_reach(known, fold.from_us, fold.to_us, fold.shard), fold))
    groups: list[tuple[list[RangeFold], int, int]] = []
    for shard, from_us, to_us, fold in sorted(reaching, key=lambda r: r[:3]):
        if groups and groups[-1][0][0].shard == shard and from_us < groups[-1][2]:
            group, start, end = groups[-1]
            groups[-1] = ([*group, fold], start, max(end, to_us))
        else:
            groups.append(([fold], from_us, to_us))
    return groups


def _commit(table: Table, folds: Sequence[RangeFold], run_id: str, branch: str | None) -> None:
    ref = branch or MAIN_BRANCH
    with warnings.catch_warnings(), table.transaction() as transaction:
        warnings.simplefilter("ignore")  # "Delete operation did not match any records" is how a new range begins
        dropped = [f for f in folds if f.changes_dropped]
        gone = [f for f in dropped if f.dropped_read]
        _replace(transaction, gone, [f.dropped_path for f in dropped], {RUN_PROPERTY: run_id}, dropped_branch(branch))
        published = [f for f in folds if f.changes_published]
        rows, digest = table_totals(table)
        totals = {
            RUN_PROPERTY: run_id,
            ROWS_PROPERTY: str(rows + sum(f.delta_rows for f in published)),
            HASH_PROPERTY: f"{add_hashes(digest, *(f.delta_hash for f in published)):032x}",
        }
        _replace(transaction, published, [f.path for f in published], totals, ref)


def _replace(
    transaction: Transaction, gone: Sequence[RangeFold], paths: Sequence[str | None], properties: dict[str, str], branch: str
) -> None:
    """Every file of these ranges by others.

    Where files come the snapshot in between is nobody's current one; it has no totals, so that nobody takes it for a whole state.
    """
    new = [path for path in paths if path]
    if gone:
        own = {RUN_PROPERTY: properties[RUN_PROPERTY]} if new else properties
        transaction.delete(_predicate(gone), snapshot_properties=own, branch=branch)
    if new:
        transaction.add_files(new, snapshot_properties=properties, branch=branch, check_duplicate_files=False)


def _predicate(folds: Sequence[RangeFold]) -> BooleanExpression:
    """Every row of the folds' ranges."""
    terms: list[BooleanExpression] = [
        And(EqualTo("_shard", f.shard), And(LessThan("_from", f.to_us), GreaterThan("_to", f.from_us))) for f in folds
    ]
    return any_of(terms)


def any_of(terms: Sequence[BooleanExpression]) -> BooleanExpression:
    """At least one of these; balanced, so that a thousand ranges do not nest a thousand deep."""
    left = list(terms)
    while len(left) > 1:
        left = [Or(*left[i : i + 2]) if len(left[i : i + 2]) > 1 else left[i] for i in range(0, len(left), 2)]
    return left[0]


def table_totals(table: Table) -> tuple[int, int]:
    """Rows and content hash of the current snapshot, as its properties carry them on from commit to commit."""
    snapshot = table.current_snapshot()
    summary = snapshot.summary.additional_properties if snapshot and snapshot.summary else {}
    return int(summary.get(ROWS_PROPERTY, 0)), int(summary.get(HASH_PROPERTY, "0"), 16)


def _brought(fold: RangeFold) -> pa.Table:
    """The rows of a stale fold that it brought itself.

    The others it had taken in from what was known then. They still are, or a replay took them away and they must not come back.
    """
    own = read_positions(fold)
    paths = [path for path in (fold.path, fold.dropped_path) if path is not None]
    return pa.concat_tables(_aligned([_at_positions(_read_pending(path), own) for path in paths]))


def with_lost(fold: RangeFold) -> RangeFold:
    """A fold that tells which rows lost in it; those of versions before do not, so it is worked out from the files.

    Raises:
        HeadraceError: a file is gone.
    """
    if fold.beaten is not None:
        return fold
    tables = {path: _read_pending(path) for path in {*fold.taken, *fold.given}}
    there = {place for path in fold.given for place in provenance_keys(tables[path])}
    came = read_positions(fold)
    known = pa.concat_tables([came.slice(0, 0), *(tables[path].select(PROVENANCE_KEY).cast(came.schema) for path in fold.taken)])
    beaten, displaced = (_places([rows], np.flatnonzero(newer_rows(rows, there))) for rows in (came, known))
    return replace(fold, beaten=beaten, displaced=displaced)


def _at_positions(rows: pa.Table, own: pa.Table) -> pa.Table:
    """Rows that have one of these positions."""
    files = pa.concat_arrays([t.column("_raw_file").cast(pa.string()).combine_chunks() for t in (rows, own)]).dictionary_encode()
    codes = files.indices.to_numpy(zero_copy_only=False)
    places, known = (t.column("_position").to_numpy() for t in (rows, own))
    chosen = np.zeros(len(rows), dtype=bool)
    for code in np.unique(codes[len(rows) :]):
        here = codes[: len(rows)] == code
        chosen[here] = np.isin(places[here], known[codes[len(rows) :] == code])
    return rows.filter(pa.array(chosen))


def _read_pending(path: str) -> pa.Table:
    """Rows of a data file that a fold wrote and that may not be published yet.

    Raises:
        HeadraceError: it is gone: the state that names it is older than what housekeeping keeps.
    """
    try:
        return read_rows(path)
    except FileNotFoundError:
        raise HeadraceError(
            f"data file {path.rsplit('/', 1)[-1]} is gone: the checkpoint or savepoint that names it is older than what "
            "housekeeping keeps. Start without it: headrace ingest … --start committed reads again what is not accounted for."
        ) from None


def _aligned(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """The tables with the first one's schema and what columns others have more: a contract may be newer or older than a file."""
    fields = {field.name: field for table in reversed(tables) for field in table.schema}
    schema = pa.schema([*tables[0].schema, *(field for name, field in fields.items() if name not in tables[0].column_names)])
    return [table if table.schema.equals(schema) else with_schema(table, schema) for table in tables]


def read_positions(fold: RangeFold) -> pa.Table:
    """Source, raw file and position of every row that came into a fold."""
    return pa.concat_tables([decode_rows(data) for data in fold.positions])
