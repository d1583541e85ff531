"""Folding into an Iceberg table: new data files by range and shard, and the one transaction that publishes them.

Safe with any number of writers: a fold notes which files it read; the committer compares that with the table as it holds it, folds
again what has changed, and replaces files in one transaction that is refused when the table has moved on since (the tables switch
pyiceberg's own retries off, see ``tables.py``); then it begins again. So no update is lost, and totals carried in snapshot
properties are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Snapshot

from contracts.errors import ConfigurationError
from contracts.units import SECOND_US
from lake.location import Lake
from lake.tables.audit import load_to_write
from lake.tables.data_files import (
    PROVENANCE_KEY,
    file_name,
    newer_rows,
    no_rows,
    provenance_keys,
    read_columns,
    read_rows,
    with_schema,
    write_rows,
)
from lake.tables.exchange import exchange_files, note_state
from lake.tables.fold import GRID_S, add_hashes, content_hash, fold_rows
from lake.tables.holds import holds_token
from lake.tables.horizon import NO_MOVES, Moves, PairSet
from lake.tables.iceberg import (
    HASH_PROPERTY,
    ROWS_PROPERTY,
    RUN_PROPERTY,
    PublishedFile,
    Vacated,
    committed,
    dropped_branch,
    known_files,
)
from lake.tables.ipc import decode_rows, encode_rows
from lake.tables.ranges import Cutting, Ints, Span, cuttings, joint_ranges, tiles
from lake.tables.transactions import RefTransaction


@dataclass(frozen=True)
class RangeFold:
    """The fold of one range and shard, not yet published.

    path: the new data file; None where the published rows stay as they are. more: further ones, where the range was cut. most_rows:
    above which it is cut. read: the published files that it took in. emptied: none of the published rows is left, and path is None.
    dropped: new data files of rows that the horizon drops (horizon.py); none where these stay as they are. dropped_read: the files
    of such rows that it took in. dropped_emptied: none of these rows is left.
    delta_rows, delta_hash: what the table's totals change by. positions: Arrow IPC of the positions that came in (source, raw file,
    position, window time). losers, won: Arrow IPC of the rows that lost against another fingerprint, and of those that they lost
    against. beaten, displaced: Arrow IPC of the positions of rows that came in, or were known, and lost to one of another position:
    once this is committed such a row is in no table.
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
    more: tuple[str, ...] = ()  # savepoints of versions before hold folds without these
    most_rows: int | None = None
    emptied: bool = False
    dropped: tuple[str, ...] = ()
    dropped_read: tuple[str, ...] = ()
    dropped_emptied: bool = False
    beaten: tuple[bytes, ...] | None = None  # None of versions before: see ``with_lost``
    displaced: tuple[bytes, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """All new data files of published rows."""
        return () if self.path is None else (self.path, *self.more)

    @property
    def changes_published(self) -> bool:
        """Whether published rows are replaced."""
        return self.path is not None or self.emptied

    @property
    def changes_dropped(self) -> bool:
        """Whether dropped rows are replaced."""
        return bool(self.dropped) or self.dropped_emptied

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
        published = self.paths if self.changes_published else self.read
        dropped = self.dropped if self.changes_dropped else self.dropped_read
        return frozenset((*published, *dropped))

    def unchanged(self) -> RangeFold:
        """As it is once it is committed: nothing is left to do."""
        same = replace(self, path=None, more=(), emptied=False, dropped=(), dropped_emptied=False)
        return replace(same, delta_rows=0, delta_hash=0)


def fold_ranges(
    table: Table,
    known: Sequence[PublishedFile],
    incoming: pa.Table,
    spans: Callable[[Ints], Iterable[Span]],
    *,
    key: str,
    shard: int,
    most_rows: int | None = None,
) -> Iterator[RangeFold]:
    """Fold new rows of one shard and any time, range by range; see ``fold_range``.

    Args:
        table: the Iceberg table.
        known: its files, published and dropped, as of the state that the folds are built on.
        incoming: rows of the table's schema without range columns.
        spans: the ranges of sorted times, such as those of a ``Ranging``.
        key: the key column.
        shard: of the incoming rows.
        most_rows: of one data file; None for any number.
    """
    times = window_times(incoming)
    order = np.argsort(times, kind="stable")
    times = times[order]
    files = [file for file in known if file.shard == shard]
    for cut in cuttings(times, list(spans(times)), joint_ranges(files), most_rows):
        whole = cut.last - cut.first == len(times)
        rows = incoming if whole else incoming.take(pa.array(order[cut.first : cut.last]))
        yield fold_range(table, files, rows, key=key, from_us=cut.from_us, to_us=cut.to_us, shard=shard, most_rows=most_rows)


def window_times(rows: pa.Table) -> Ints:
    """What decides the range of each row, in microseconds."""
    times: Ints = rows.column("_window_time").cast(pa.int64()).to_numpy()
    return times


def fold_range(
    table: Table,
    known: Sequence[PublishedFile],
    incoming: pa.Table,
    *,
    key: str,
    from_us: int,
    to_us: int,
    shard: int,
    most_rows: int | None = None,
    moves: Moves = NO_MOVES,
) -> RangeFold:
    """Fold new rows with what is known of their range. Published and dropped rows get a data file each, or several.

    Args:
        table: the Iceberg table.
        known: its files, published and dropped, as of the state that the fold is built on.
        incoming: rows of the table's schema without range columns.
        key: the key column.
        from_us: where the incoming rows belong, and
        to_us: the end of that range;
        shard: and their shard.
        most_rows: of one data file; None for any number.
        moves: pairs that are no longer published, or are again. Rows of pairs that are dropped already stay so.
    """
    span = from_us, to_us = _reach(known, from_us, to_us, shard)
    taken = sorted(f for f in known if f.overlaps(from_us, to_us, shard))
    files, out_files = [f for f in taken if not f.dropped], [f for f in taken if f.dropped]
    incoming, *old = aligned = _aligned([incoming, *(read_rows(f.path) for f in (*files, *out_files))])
    folded = fold_rows(aligned, key)
    is_out = _is_out(folded.rows, old[len(files) :], key, span, moves)
    rows, out = (folded.rows, folded.rows.slice(0, 0)) if not is_out.any() else _parted(folded.rows, is_out)
    parts = tiles(window_times(rows), span, most_rows)
    paths = _written(table, rows, files, parts, shard)
    bounds = np.searchsorted(window_times(out), [part.from_us for part in parts[1:]]).tolist()
    out_parts = [
        replace(part, first=first, last=last) for part, first, last in zip(parts, [0, *bounds], [*bounds, len(out)], strict=True)
    ]
    beaten, displaced = (_places(aligned, at) for at in np.split(folded.beaten, [np.searchsorted(folded.beaten, len(incoming))]))
    return RangeFold(
        from_us=from_us,
        to_us=to_us,
        shard=shard,
        path=paths[0] if paths else None,
        read=tuple(file.path for file in files),
        delta_rows=len(rows) - sum(map(len, old[: len(files)])),
        delta_hash=add_hashes(content_hash(rows), *(-content_hash(r) for r in old[: len(files)])),
        positions=(encode_rows(incoming.select([*PROVENANCE_KEY, "_window_time"])),),
        losers=(encode_rows(folded.losers),) if len(folded.losers) else (),
        won=(encode_rows(folded.won),) if len(folded.won) else (),
        more=tuple(paths[1:]),
        most_rows=most_rows,
        emptied=bool(files) and not len(rows),
        dropped=tuple(_written(table, out, out_files, out_parts, shard)),
        dropped_read=tuple(file.path for file in out_files),
        dropped_emptied=bool(out_files) and not len(out),
        beaten=beaten,
        displaced=displaced,
    )


def _places(tables: Sequence[pa.Table], at: Ints) -> tuple[bytes, ...]:
    """Where the rows at these places, in the tables one after the other, come from; nothing for none."""
    if not len(at):
        return ()
    return _encoded(pa.concat_tables([t.select([*PROVENANCE_KEY, "_window_time"]) for t in tables]), at)


def _encoded(rows: pa.Table, at: Ints) -> tuple[bytes, ...]:
    return (encode_rows(rows.take(pa.array(at))),) if len(at) else ()


def _reach(known: Sequence[PublishedFile], from_us: int, to_us: int, shard: int) -> tuple[int, int]:
    """The range that takes in whole files: published ones are disjoint, and so are dropped ones, but not one from the other."""
    while True:
        taken = [f for f in known if f.overlaps(from_us, to_us, shard)]
        reached = min([from_us, *(f.from_us for f in taken)]), max([to_us, *(f.to_us for f in taken)])
        if reached == (from_us, to_us):
            return reached
        from_us, to_us = reached


def _is_out(rows: pa.Table, dropped: Sequence[pa.Table], key: str, span: Span, moves: Moves) -> npt.NDArray[np.bool_]:
    """Which folded rows are of pairs that are dropped."""
    found = moves.drop.within(*span).holds(rows, key)
    for other in dropped:
        found |= PairSet.of(other, key).holds(rows, key)
    found &= ~moves.restore.within(*span).holds(rows, key)
    return found


def _parted(rows: pa.Table, is_out: npt.NDArray[np.bool_]) -> tuple[pa.Table, pa.Table]:
    return rows.filter(pa.array(~is_out)), rows.filter(pa.array(is_out))


def _written(table: Table, rows: pa.Table, files: Sequence[PublishedFile], parts: Sequence[Cutting], shard: int) -> list[str]:
    """Write parts of rows in the place of these files: the new files, one for each part with rows; none where all are there."""
    parts = [part for part in parts if part.first < part.last]
    if len(parts) == len(files) and all(_is_file_of(file, rows, part) for file, part in zip(files, parts, strict=True)):
        return []
    return [write_rows(table, _slice(rows, part), part.from_us, part.to_us, shard) for part in parts]


def _slice(rows: pa.Table, part: Cutting) -> pa.Table:
    return rows.slice(part.first, part.last - part.first)


def _is_file_of(file: PublishedFile, rows: pa.Table, part: Cutting) -> bool:
    """Whether a data file holds this part of folded rows, and no others."""
    own = file_name(_slice(rows, part), part.from_us, part.to_us, file.shard)
    return file.rows == part.last - part.first and file.path.rsplit("/", 1)[-1].startswith(own)


def publish(
    lake: Lake,
    name: str,
    folds: Sequence[RangeFold],
    *,
    key: str,
    run_id: str,
    before: Callable[[Sequence[RangeFold]], None] | None = None,
) -> list[RangeFold]:
    """Publish folds in one transaction; what changed meanwhile is folded again.

    Args:
        lake: where the table lies.
        name: the table's name.
        folds: what to publish.
        key: its key column.
        run_id: goes into the snapshot's properties.
        before: is given the folds as they will be committed, before they are: once rows are replaced nobody knows them any more.

    Returns:
        The folds as published: with all positions and losers that belong to them.

    Raises:
        ComponentDownError: no commit succeeded before the deadline.
    """
    settled = list(folds)

    def commit() -> list[RangeFold]:
        nonlocal settled, lake
        lake, table = load_to_write(lake, name)
        settled = rebase(table, known_files(table, lake.branch_of(name)), settled, key)
        if before:
            before(settled)
        if changed := [fold for fold in settled if fold.changes]:
            _commit(table, changed, run_id, lake.branch_of(name))
        return settled

    return committed(name, commit, lake.table_folder(name))


def publish_moves(lake: Lake, name: str, moves: Moves, *, key: str, run_id: str, token: str) -> bool:
    """Move pairs between published and dropped rows, in one transaction.

    Does nothing where a replay has taken pairs away since the moves were worked out, or a gate holds others: they may be wrong now.

    Args:
        lake: where the table lies.
        name: the table's name.
        moves: which; pairs that are there already stay there.
        key: its key column.
        run_id: goes into the snapshot's properties.
        token: ``moves_token`` of the state that they were worked out on.

    Returns:
        Whether they are there now.

    Raises:
        ComponentDownError: no commit succeeded before the deadline.
    """
    made: dict[frozenset[str], RangeFold] = {}  # of attempts before, by the files that they took in

    def commit() -> bool:
        table = lake.load(name)
        if moves_token(table, lake.branch) != token:
            return False
        known = known_files(table, lake.branch_of(name))
        folds = list(_moved(table, known, moves, key, made))
        if changed := [fold for fold in folds if fold.changes]:
            _commit(table, changed, run_id, lake.branch_of(name))
        return True

    return committed(name, commit)


def moves_token(table: Table, branch: str | None) -> str:
    """Changes where moves that were worked out before may be wrong: pairs went, or others may be hidden by what is held now.

    branch: of a replay, of whose own branch that is no matter; None for all others.
    """
    return f"{Vacated.of(table).last} {holds_token(table)}" if branch is None else ""


def _moved(
    table: Table, known: Sequence[PublishedFile], moves: Moves, key: str, made: dict[frozenset[str], RangeFold]
) -> Iterator[RangeFold]:
    """Folds without new rows of every file that holds pairs that move."""
    done: dict[int, int] = {}  # by shard: up to where
    for file in sorted(known):
        moving = (moves.restore if file.dropped else moves.drop).within(file.from_us, file.to_us)
        if file.from_us < done.get(file.shard, file.from_us) or not len(moving):
            continue
        if not moving.holds(read_columns(file.path, (key, "_window_time")), key).any():
            continue
        from_us, to_us = _reach(known, file.from_us, file.to_us, file.shard)
        taken = frozenset(f.path for f in known if f.overlaps(from_us, to_us, file.shard))
        if taken not in made:
            nothing = no_rows(file.path)
            made[taken] = fold_range(table, known, nothing, key=key, from_us=from_us, to_us=to_us, shard=file.shard, moves=moves)
        done[file.shard] = to_us
        yield made[taken]


def rebase(table: Table, known: Sequence[PublishedFile], folds: Sequence[RangeFold], key: str) -> list[RangeFold]:
    """Folds that fit these files: overlapping ones merged, stale ones folded again, along what is published now."""
    rebased = [f for f in folds if not f.changes]  # what is known had taken in theirs, and what is known only grows
    stale: dict[int, list[tuple[Span, list[RangeFold]]]] = {}
    for group, from_us, to_us in _overlapping([f for f in folds if f.changes]):
        first = group[0]
        current = frozenset(f.path for f in known if f.overlaps(from_us, to_us, first.shard))
        if len(group) == 1 and current == first.taken:
            rebased.append(first)
        elif len(group) == 1 and current == first.given:  # committed by an attempt that then failed
            rebased.append(first.unchanged())
        else:
            stale.setdefault(first.shard, []).append(((from_us, to_us), group))
    for groups in stale.values():
        rebased += _folded_again(table, known, groups, key)
    return rebased


def _folded_again(
    table: Table, known: Sequence[PublishedFile], groups: Sequence[tuple[Span, list[RangeFold]]], key: str
) -> Iterator[RangeFold]:
    """Stale folds of one shard, by the ranges that they have now. The first of the new ones carries what is known of the old."""
    old = [fold for _, group in groups for fold in group]
    shard, most_rows = old[0].shard, old[0].most_rows
    incoming = pa.concat_tables(_aligned([_brought(fold) for fold in old]))
    times = window_times(incoming)
    order = np.argsort(times, kind="stable")
    files = [file for file in known if file.shard == shard]
    found = cuttings(times[order], [span for span, _ in groups], joint_ranges(files), most_rows)
    carried = replace(
        old[0],
        positions=tuple(p for f in old for p in f.positions),
        losers=tuple(x for f in old for x in f.losers),
        won=tuple(x for f in old for x in f.won),
        beaten=tuple(x for f in old for x in f.beaten or ()),
        displaced=tuple(x for f in old for x in f.displaced),
    )
    if not found:  # all that they brought had lost against what was known
        yield carried.unchanged()
    for number, cut in enumerate(found):
        rows = incoming.take(pa.array(order[cut.first : cut.last]))
        again = fold_range(table, files, rows, key=key, from_us=cut.from_us, to_us=cut.to_us, shard=shard, most_rows=most_rows)
        if number == 0:
            again = replace(
                again,
                positions=carried.positions,
                losers=again.losers + carried.losers,
                won=again.won + carried.won,
                beaten=(again.beaten or ()) + (carried.beaten or ()),
                displaced=again.displaced + carried.displaced,
            )
        yield again


def _overlapping(folds: Sequence[RangeFold]) -> list[tuple[list[RangeFold], int, int]]:
    """Folds in groups whose ranges meet, and the range that each takes."""
    groups: list[tuple[list[RangeFold], int, int]] = []
    for fold in sorted(folds, key=lambda f: (f.shard, f.from_us, f.to_us)):
        if groups and groups[-1][0][0].shard == fold.shard and fold.from_us < groups[-1][2]:
            group, start, end = groups[-1]
            groups[-1] = ([*group, fold], start, max(end, fold.to_us))
        else:
            groups.append(([fold], fold.from_us, fold.to_us))
    return groups


def _commit(table: Table, folds: Sequence[RangeFold], run_id: str, branch: str | None) -> None:
    if branch is not None and not table.metadata.snapshots:
        _begin_main(table, run_id)
    known = {file.path: file for file in known_files(table, branch)}
    both = branch or MAIN_BRANCH, dropped_branch(branch)  # folds rest on both, whichever they change
    with RefTransaction(table, reads=both) as transaction:
        dropped = [f for f in folds if f.changes_dropped]
        gone = [known[path] for fold in dropped for path in fold.dropped_read]
        paths = [path for fold in dropped for path in fold.dropped]
        exchange_files(table, transaction, gone, paths, {RUN_PROPERTY: run_id}, dropped_branch(branch))
        published = [f for f in folds if f.changes_published]
        rows, digest = table_totals(table)
        totals = {
            RUN_PROPERTY: run_id,
            ROWS_PROPERTY: str(rows + sum(f.delta_rows for f in published)),
            HASH_PROPERTY: f"{add_hashes(digest, *(f.delta_hash for f in published)):032x}",
        }
        gone = [known[path] for fold in published for path in fold.read]
        paths = [path for fold in published for path in fold.paths]
        exchange_files(table, transaction, gone, paths, totals, branch or MAIN_BRANCH)


def _begin_main(table: Table, run_id: str) -> None:
    """A snapshot of no rows: Iceberg takes no other branch before main has one."""
    totals = {RUN_PROPERTY: run_id, ROWS_PROPERTY: "0", HASH_PROPERTY: f"{0:032x}"}
    with RefTransaction(table) as transaction:
        note_state(transaction, totals, MAIN_BRANCH)


def table_totals(table: Table, snapshot: Snapshot | None = None) -> tuple[int, int]:
    """Rows and content hash of a snapshot, or of the current one, as its properties carry them on from commit to commit."""
    snapshot = snapshot or table.current_snapshot()
    summary = snapshot.summary.additional_properties if snapshot and snapshot.summary else {}
    return int(summary.get(ROWS_PROPERTY, 0)), int(summary.get(HASH_PROPERTY, "0"), 16)


def _brought(fold: RangeFold) -> pa.Table:
    """The rows of a stale fold that it brought itself.

    The others it had taken in from what was known then. They still are, or a replay took them away and they must not come back.
    """
    rows = pa.concat_tables(_aligned([_read_pending(path) for path in (*fold.paths, *fold.dropped)]))
    own = read_positions(fold)
    return _at_positions(rows, own)


def with_lost(fold: RangeFold) -> RangeFold:
    """A fold that tells which rows lost in it; those of versions before do not, so it is worked out from the files.

    Raises:
        ConfigurationError: a file is gone.
    """
    if fold.beaten is not None:
        return fold
    tables = {path: _read_pending(path) for path in {*fold.taken, *fold.given}}
    there = {place for path in fold.given for place in provenance_keys(tables[path])}
    came = read_positions(fold).select(PROVENANCE_KEY)
    known = pa.concat_tables([came.slice(0, 0), *(tables[path].select(PROVENANCE_KEY).cast(came.schema) for path in fold.taken)])
    beaten, displaced = (_encoded(rows, np.flatnonzero(newer_rows(rows, there))) for rows in (came, known))
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
        ConfigurationError: it is gone: the state that names it is older than what housekeeping keeps.
    """
    try:
        return read_rows(path)
    except FileNotFoundError:
        raise ConfigurationError(
            f"data file {path.rsplit('/', 1)[-1]} is gone: the checkpoint or savepoint that names it is older than what "
            "housekeeping keeps. Start without it: headrace ingest … --start committed reads again what is not accounted for."
        ) from None


def _aligned(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """The tables with the first one's schema and what columns others have more: a contract may be newer or older than a file."""
    fields = {field.name: field for table in reversed(tables) for field in table.schema}
    schema = pa.schema([*tables[0].schema, *(field for name, field in fields.items() if name not in tables[0].column_names)])
    return [table if table.schema.equals(schema) else with_schema(table, schema) for table in tables]


def read_positions(fold: RangeFold) -> pa.Table:
    """Source, raw file and position of every row that came into a fold, and as ``from`` and ``to`` its cell of time."""
    tables = [decode_rows(data) for data in fold.positions]
    return pa.concat_tables([with_cells(table, fold) for table in tables])


def with_cells(positions: pa.Table, fold: RangeFold) -> pa.Table:
    """Positions of a fold's rows, and as ``from`` and ``to`` the cell of time of each."""
    if "_window_time" in positions.column_names:
        cell_us = GRID_S * SECOND_US
        starts = window_times(positions) // cell_us * cell_us
        bounds = starts, starts + cell_us
    else:  # of a savepoint of the version before
        bounds = np.full(len(positions), fold.from_us), np.full(len(positions), fold.to_us)
    table = positions.select(PROVENANCE_KEY)
    for name, values in zip(("from", "to"), bounds, strict=True):
        table = table.append_column(name, pa.array(values, pa.int64()))
    return table
