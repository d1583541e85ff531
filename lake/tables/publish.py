"""Folding into an Iceberg table: new data files by range and shard, and the one transaction that publishes them.

Safe with any number of writers: a fold notes which files it read; the committer compares that with the table as it holds it, folds
again what has changed, and replaces files in one transaction that is refused when the table has moved on since (the tables switch
pyiceberg's own retries off, see ``tables.py``); then it begins again. So no update is lost, and totals carried in snapshot
properties are exact.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from pyiceberg.expressions import And, BooleanExpression, EqualTo, GreaterThan, LessThan, Or
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH

from contracts.errors import HeadraceError
from contracts.units import SECOND_US
from lake.location import Lake
from lake.tables.data_files import PROVENANCE_KEY, file_name, read_rows, with_schema, write_rows
from lake.tables.fold import GRID_S, add_hashes, content_hash, fold_rows
from lake.tables.iceberg import PublishedFile, committed, published_files
from lake.tables.ipc import decode_rows, encode_rows
from lake.tables.ranges import Cutting, Ints, Span, cuttings, tiles

ROWS_PROPERTY, HASH_PROPERTY, RUN_PROPERTY = "headrace.rows", "headrace.content-hash", "headrace.run-id"


@dataclass(frozen=True)
class RangeFold:
    """The fold of one range and shard, not yet published.

    path: the new data file; None where the published rows stay as they are. read: the published files that it took in.
    delta_rows, delta_hash: what the table's totals change by. positions: Arrow IPC of the positions that came in (source, raw file,
    position, window time). losers, won: Arrow IPC of the rows that lost against another fingerprint, and of those that they lost
    against. more: further data files, where the range was cut. most_rows: above which it is cut.
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
    more: tuple[str, ...] = ()
    most_rows: int | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """All new data files."""
        return () if self.path is None else (self.path, *self.more)


def fold_ranges(
    table: Table,
    published: Sequence[PublishedFile],
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
        published: its files, as of the state that the folds are built on.
        incoming: rows of the table's schema without range columns.
        spans: the ranges of sorted times, such as those of a ``Ranging``.
        key: the key column.
        shard: of the incoming rows.
        most_rows: of one data file; None for any number.
    """
    times = window_times(incoming)
    order = np.argsort(times, kind="stable")
    times = times[order]
    files = [file for file in published if file.shard == shard]
    for cut in cuttings(times, list(spans(times)), files, most_rows):
        whole = cut.last - cut.first == len(times)
        rows = incoming if whole else incoming.take(pa.array(order[cut.first : cut.last]))
        yield fold_range(table, files, rows, key=key, from_us=cut.from_us, to_us=cut.to_us, shard=shard, most_rows=most_rows)


def window_times(rows: pa.Table) -> Ints:
    """What decides the range of each row, in microseconds."""
    times: Ints = rows.column("_window_time").cast(pa.int64()).to_numpy()
    return times


def fold_range(
    table: Table,
    published: Sequence[PublishedFile],
    incoming: pa.Table,
    *,
    key: str,
    from_us: int,
    to_us: int,
    shard: int,
    most_rows: int | None = None,
) -> RangeFold:
    """Fold new rows with what is published for their range, and write the result as one data file, or as several.

    Args:
        table: the Iceberg table.
        published: its files, as of the state that the fold is built on.
        incoming: rows of the table's schema without range columns.
        key: the key column.
        from_us: where the incoming rows belong, and
        to_us: the end of that range;
        shard: and their shard.
        most_rows: of one data file; None for any number.
    """
    taken = [file for file in published if file.overlaps(from_us, to_us, shard)]
    from_us, to_us = min([from_us, *(f.from_us for f in taken)]), max([to_us, *(f.to_us for f in taken)])
    known = sorted(f for f in published if f.overlaps(from_us, to_us, shard))  # no more than taken: ranges of a shard are disjoint
    incoming, *old = aligned = _aligned([incoming, *(read_rows(file.path) for file in known)])
    folded = fold_rows(aligned, key)
    fold = RangeFold(
        from_us=from_us,
        to_us=to_us,
        shard=shard,
        path=None,
        read=tuple(file.path for file in known),
        delta_rows=len(folded.rows) - sum(map(len, old)),
        delta_hash=add_hashes(content_hash(folded.rows), *(-content_hash(rows) for rows in old)),
        positions=(encode_rows(incoming.select([*PROVENANCE_KEY, "_window_time"])),),
        losers=(encode_rows(folded.losers),) if len(folded.losers) else (),
        won=(encode_rows(folded.won),) if len(folded.won) else (),
        most_rows=most_rows,
    )
    parts = tiles(window_times(folded.rows), (from_us, to_us), most_rows)
    if len(parts) == len(known) and all(_is_file_of(file, folded.rows, part) for file, part in zip(known, parts, strict=True)):
        return fold
    path, *more = [write_rows(table, _slice(folded.rows, part), part.from_us, part.to_us, shard) for part in parts]
    return replace(fold, path=path, more=tuple(more))


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
        nonlocal settled
        table = lake.load(name)
        settled = rebase(table, published_files(table), settled, key)
        if before:
            before(settled)
        if changed := [fold for fold in settled if fold.path is not None]:
            _commit(table, changed, run_id, lake.branch)
        return settled

    return committed(name, commit)


def rebase(table: Table, published: Sequence[PublishedFile], folds: Sequence[RangeFold], key: str) -> list[RangeFold]:
    """Folds that fit these published files: overlapping ones merged, stale ones folded again, along what is published now."""
    rebased = [f for f in folds if f.path is None]  # published rows had taken in theirs, and published rows only grow
    stale: dict[int, list[tuple[Span, list[RangeFold]]]] = {}
    for group, from_us, to_us in _overlapping([f for f in folds if f.path is not None]):
        first = group[0]
        current = {f.path for f in published if f.overlaps(from_us, to_us, first.shard)}
        if len(group) == 1 and current == set(first.read):
            rebased.append(first)
        elif len(group) == 1 and current == set(first.paths):  # committed by an attempt that then failed
            rebased.append(replace(first, path=None, more=()))
        else:
            stale.setdefault(first.shard, []).append(((from_us, to_us), group))
    for groups in stale.values():
        rebased += _folded_again(table, published, groups, key)
    return rebased


def _folded_again(
    table: Table, published: Sequence[PublishedFile], groups: Sequence[tuple[Span, list[RangeFold]]], key: str
) -> Iterator[RangeFold]:
    """Stale folds of one shard, by the ranges that they have now. The first of the new ones carries what is known of the old."""
    old = [fold for _, group in groups for fold in group]
    shard, most_rows = old[0].shard, old[0].most_rows
    incoming = pa.concat_tables(_aligned([_brought(fold) for fold in old]))
    times = window_times(incoming)
    order = np.argsort(times, kind="stable")
    files = [file for file in published if file.shard == shard]
    found = cuttings(times[order], [span for span, _ in groups], files, most_rows)
    carried = replace(
        old[0],
        positions=tuple(p for f in old for p in f.positions),
        losers=tuple(x for f in old for x in f.losers),
        won=tuple(x for f in old for x in f.won),
    )
    if not found:  # all that they brought had lost against what was published
        yield replace(carried, path=None, more=(), delta_rows=0, delta_hash=0)
    for number, cut in enumerate(found):
        rows = incoming.take(pa.array(order[cut.first : cut.last]))
        again = fold_range(table, published, rows, key=key, from_us=cut.from_us, to_us=cut.to_us, shard=shard, most_rows=most_rows)
        if number == 0:
            again = replace(
                again,
                positions=carried.positions,
                losers=again.losers + carried.losers,
                won=again.won + carried.won,
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
    rows, digest = table_totals(table)
    properties = {
        RUN_PROPERTY: run_id,
        ROWS_PROPERTY: str(rows + sum(f.delta_rows for f in folds)),
        HASH_PROPERTY: f"{add_hashes(digest, *(f.delta_hash for f in folds)):032x}",
    }
    with warnings.catch_warnings(), table.transaction() as transaction:
        warnings.simplefilter("ignore")  # "Delete operation did not match any records" is how a new range begins
        # The snapshot in between is nobody's current one; without totals, so that nobody takes it for a whole state in the history.
        ref = branch or MAIN_BRANCH
        transaction.delete(_predicate(folds), snapshot_properties={RUN_PROPERTY: run_id}, branch=ref)
        paths = [path for fold in folds for path in fold.paths]
        transaction.add_files(paths, snapshot_properties=properties, branch=ref, check_duplicate_files=False)


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

    The others it had taken in from what was published then. They still are, or a replay took them away and they must not come back.
    """
    rows = pa.concat_tables(_aligned([_read_pending(path) for path in fold.paths]))
    own = read_positions(fold)
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
    """Source, raw file and position of every row that came into a fold, and as ``from`` and ``to`` its cell of time."""
    tables = [decode_rows(data) for data in fold.positions]
    return pa.concat_tables([_with_cells(table, fold) for table in tables])


def _with_cells(positions: pa.Table, fold: RangeFold) -> pa.Table:
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
