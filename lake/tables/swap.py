"""Putting other rows in the place of whole ranges of a table, in one commit: what promoting a replay and a rollback share.

In the fold rows only grow. Here they are replaced: of some ranges by the rows of another snapshot. What came into those ranges
since that snapshot's rows were worked out is folded in, so that nothing is lost that a live job published meanwhile. Rows outside
the ranges stay as they are; a data file that reaches over a bound is cut there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table, Transaction
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.update.snapshot import ManageSnapshots

from lake.location import Lake
from lake.raw.positions import Positions
from lake.tables.audit import load_to_write
from lake.tables.data_files import PROVENANCE_KEY, newer_rows, provenance_keys, read_columns, read_rows, write_rows
from lake.tables.exchange import exchange_files, note_state
from lake.tables.fold import add_hashes, content_hash
from lake.tables.horizon import NO_MOVES, Moves, PairSet
from lake.tables.iceberg import (
    HASH_PROPERTY,
    ROWS_PROPERTY,
    RUN_PROPERTY,
    PublishedFile,
    committed,
    dropped_branch,
    horizon_s,
    known_files,
    published_files,
    vacating,
)
from lake.tables.publish import RangeFold, fold_range, rebase, table_totals
from lake.tables.transactions import RefTransaction

Range = tuple[int, int]
Covered = Mapping[tuple[str, str], Positions]  # by source and raw file or log
Keep = Callable[[pa.Table], npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class Swap:
    """What takes the place of some ranges.

    ranges: [from, to) in microseconds, sorted and disjoint, on the table's grid. replacement: the files whose rows go there. base:
    the files that there were when the replacement was worked out; rows that are in neither came later. Both with those of dropped
    rows. covered: positions that
    the replacement speaks for, wherever they were published since. keep: which rows may be published at all; None for every row.
    """

    ranges: Sequence[Range]
    replacement: Sequence[PublishedFile] = ()
    base: Sequence[PublishedFile] = ()
    covered: Covered = field(default_factory=dict)
    keep: Keep | None = None


@dataclass(frozen=True)
class CommitLabels:
    """What a commit is known by. properties: of the snapshot. before, after: tags of the state before and after; None for none."""

    run_id: str
    properties: dict[str, str] = field(default_factory=dict)
    before: str | None = None
    after: str | None = None


def swap_ranges(
    lake: Lake,
    name: str,
    swap: Swap,
    labels: CommitLabels,
    *,
    key: str,
    before_commit: Callable[[Sequence[RangeFold]], None] | None = None,
) -> int | None:
    """Swap ranges of a table in one commit. Does nothing where the tag ``labels.after`` says that it was done.

    Args:
        lake: where; its branch is what is changed.
        name: the table's.
        swap: what for what.
        labels: what it is known by.
        key: the table's key column.
        before_commit: is given the folds of rows that came since, with what lost in them.

    Returns:
        The id of the snapshot afterwards; None where the table has none.

    Raises:
        ComponentDownError: no commit succeeded before the deadline.
    """

    def attempt() -> int | None:
        nonlocal lake
        lake, table = load_to_write(lake, name)
        if labels.after and labels.after in table.metadata.refs:
            return table.metadata.refs[labels.after].snapshot_id
        current = known_files(table, lake.branch_of(name))
        gone = [file for file in current if overlaps(file, swap.ranges)]
        within = list(clipped(table, swap.replacement, swap.ranges, swap.keep))
        folds = rebase(table, within, list(_newer(table, gone, within, swap, key)), key)
        if before_commit:
            before_commit(folds)
        taken = {path for fold in folds if fold.changes_published for path in fold.read}
        taken |= {path for fold in folds if fold.changes_dropped for path in fold.dropped_read}
        staying = [*(file for file in within if file.path not in taken), *cut_off(table, gone, swap.ranges)]
        new = [file.path for file in staying if not file.dropped] + [path for fold in folds for path in fold.paths]
        dropped = [file.path for file in staying if file.dropped] + [path for fold in folds for path in fold.dropped]
        if not gone and not new and not dropped and not labels.after:
            snapshot = table.current_snapshot()
            return snapshot.snapshot_id if snapshot else None
        vacated = swap.ranges if lake.branch is None and horizon_s(table) else ()
        return replace_files(table, gone, new, labels, lake.branch_of(name) or MAIN_BRANCH, dropped=dropped, vacated=vacated)

    return committed(name, attempt)


def overlaps(file: PublishedFile, ranges: Sequence[Range]) -> bool:
    """Whether a file may hold rows of one of the ranges."""
    return any(file.from_us < high and file.to_us > low for low, high in ranges)


def at_positions(rows: pa.Table, covered: Covered) -> npt.NDArray[np.bool_]:
    """Which rows come from these positions."""
    mask = np.zeros(len(rows), dtype=bool)
    if not covered:
        return mask
    positions = rows.column("_position").to_numpy()
    by_name: dict[tuple[str, str], list[int]] = {}
    for index, name in enumerate(zip(*(rows.column(n).to_pylist() for n in ("_source", "_raw_file")), strict=True)):
        if name in covered:
            by_name.setdefault(name, []).append(index)
    for name, indexes in by_name.items():
        at = positions[indexes]
        mask[indexes] = covered[name].ranks(at + 1) > covered[name].ranks(at)
    return mask


def files_at(table: Table, ref: str, ranges: Sequence[Range] | None = None) -> list[PublishedFile]:
    """Files of a branch or tag, or those that meet the ranges; none where there is no such reference."""
    snapshot = table.metadata.snapshot_by_name(ref)
    if snapshot is None:
        return []
    return [file for file in published_files(table, snapshot) if ranges is None or overlaps(file, ranges)]


def known_at(table: Table, ref: str, ranges: Sequence[Range] | None = None) -> list[PublishedFile]:
    """As ``files_at``, with what the horizon dropped in the same state."""
    dropped = files_at(table, dropped_branch(ref), ranges)
    return sorted([*files_at(table, ref, ranges), *(replace(file, dropped=True) for file in dropped)])


def in_ranges(rows: pa.Table, ranges: Sequence[Range]) -> npt.NDArray[np.bool_]:
    """Which rows lie in one of the ranges, by their window time."""
    times = rows.column("_window_time").cast(pa.int64()).to_numpy()
    inside: npt.NDArray[np.bool_] = np.searchsorted(np.array(ranges, dtype=np.int64).ravel(), times, side="right") % 2 == 1
    return inside


def clipped(table: Table, files: Sequence[PublishedFile], ranges: Sequence[Range], keep: Keep | None) -> Iterator[PublishedFile]:
    """Files with the rows that lie in the ranges and may be kept; written again only where some do not."""
    for file in files:
        for low, high in ranges:
            from_us, to_us = max(file.from_us, low), min(file.to_us, high)
            if from_us >= to_us:
                continue
            whole = (from_us, to_us) == (file.from_us, file.to_us)
            if whole and keep is None:
                yield file
                continue
            rows = read_rows(file.path)
            chosen = in_ranges(rows, [(from_us, to_us)])
            if keep is not None:
                chosen &= keep(rows)
            if whole and chosen.all():
                yield file
            elif chosen.any():
                part = rows.filter(pa.array(chosen))
                path = write_rows(table, part, from_us, to_us, file.shard)
                yield PublishedFile(from_us, to_us, file.shard, path, len(part), file.dropped)


def _newer(
    table: Table, gone: Sequence[PublishedFile], within: Sequence[PublishedFile], swap: Swap, key: str
) -> Iterator[RangeFold]:
    """Folds of the rows that came into the ranges since the base, with the replacement."""
    known_paths = {file.path for file in swap.base}
    for file in gone:
        if file.path in known_paths:
            continue
        base = [f for f in swap.base if f.overlaps(file.from_us, file.to_us, file.shard)]
        known = {place for f in base for place in provenance_keys(read_columns(f.path, PROVENANCE_KEY))}
        rows = read_rows(file.path)
        rows = rows.filter(pa.array(newer_rows(rows, known) & ~at_positions(rows, swap.covered) & in_ranges(rows, swap.ranges)))
        if swap.keep is not None and len(rows):
            rows = rows.filter(pa.array(swap.keep(rows)))
        for low, high in swap.ranges:
            from_us, to_us = max(file.from_us, low), min(file.to_us, high)
            part = rows.filter(pa.array(in_ranges(rows, [(from_us, to_us)]))) if from_us < to_us else rows.slice(0, 0)
            if len(part):
                moves = Moves(PairSet.of(part, key)) if file.dropped else NO_MOVES
                yield fold_range(table, within, part, key=key, from_us=from_us, to_us=to_us, shard=file.shard, moves=moves)


def cut_off(table: Table, gone: Sequence[PublishedFile], ranges: Sequence[Range]) -> Iterator[PublishedFile]:
    """Files with what the replaced files hold outside the ranges."""
    for file in gone:
        pieces = list(_outside(file, ranges))
        rows = read_rows(file.path) if pieces else None
        for from_us, to_us in pieces:
            assert rows is not None
            part = rows.filter(pa.array(in_ranges(rows, [(from_us, to_us)])))
            if len(part):
                path = write_rows(table, part, from_us, to_us, file.shard)
                yield PublishedFile(from_us, to_us, file.shard, path, len(part), file.dropped)


def _outside(file: PublishedFile, ranges: Sequence[Range]) -> Iterator[Range]:
    start = file.from_us
    for low, high in ranges:
        if low >= file.to_us:
            break
        if low > start:
            yield start, low
        start = max(start, high)
    if start < file.to_us:
        yield start, file.to_us


def replace_files(
    table: Table,
    gone: Sequence[PublishedFile],
    new: Sequence[str],
    labels: CommitLabels,
    branch: str,
    *,
    dropped: Sequence[str] = (),
    vacated: Sequence[Range] = (),
    also: Callable[[Transaction], None] | None = None,
) -> int:
    """Replace data files by others in one commit, which is refused if the table has moved on.

    Args:
        table: as the branch has it.
        gone: what goes, published and dropped.
        new: what comes.
        labels: what the commit is known by. Dropped rows get tags of their own beside them.
        branch: which is changed.
        dropped: what comes of dropped rows.
        vacated: ranges for the next sweep to look at, see iceberg.py.
        also: what else belongs into the commit.

    Returns:
        The id of the snapshot.
    """
    rows, digest = table_totals(table)
    gone_rows, gone_hash = _totals_of_gone(table, [file.path for file in gone if not file.dropped])
    new_rows, new_hash = files_totals(new)
    properties = {
        RUN_PROPERTY: labels.run_id,
        ROWS_PROPERTY: str(rows - gone_rows + new_rows),
        HASH_PROPERTY: f"{add_hashes(digest, -gone_hash, new_hash):032x}",
        **labels.properties,
    }
    head = table.current_snapshot()
    beside = dropped_branch(None if branch == MAIN_BRANCH else branch)
    with _refused_if_stale(), RefTransaction(table) as transaction:
        if labels.before and head and labels.before not in table.metadata.refs:
            _tag(transaction, head.snapshot_id, labels.before, beside)
        exchange_files(table, transaction, [f for f in gone if f.dropped], dropped, {RUN_PROPERTY: labels.run_id}, beside)
        if vacated:
            transaction.set_properties(vacating(vacated))
        if also:
            also(transaction)
        going = [f for f in gone if not f.dropped]
        exchange_files(table, transaction, going, new, properties, branch)
        if not going and not new:
            note_state(transaction, properties, branch)
        snapshot = transaction.table_metadata.snapshot_by_name(branch)
        assert snapshot is not None
        if labels.after:
            _tag(transaction, snapshot.snapshot_id, labels.after, beside)
    return snapshot.snapshot_id


def _tag(transaction: Transaction, snapshot_id: int, name: str, beside: str) -> None:
    """Tag a state: its published rows, and those that are dropped."""
    ManageSnapshots(transaction).create_tag(snapshot_id, name).commit()
    dropped = transaction.table_metadata.snapshot_by_name(beside)
    if dropped is not None:
        ManageSnapshots(transaction).create_tag(dropped.snapshot_id, dropped_branch(name)).commit()


@contextmanager
def _refused_if_stale() -> Iterator[None]:
    """A transaction with tags that a rival's commit went before ends, in pyiceberg 0.12, with a bare ValueError."""
    try:
        yield
    except ValueError as error:
        if "sequence number" not in str(error):
            raise
        raise CommitFailedException("the table has moved on") from error


def _totals_of_gone(table: Table, paths: Sequence[str]) -> tuple[int, int]:
    """Rows and content hash of files of a state; where one of them is lost, what the state has more than its other files."""
    try:
        return files_totals(paths)
    except (OSError, pa.ArrowInvalid):  # gone or cut
        rows, digest = table_totals(table)
        rest_rows, rest_hash = files_totals([file.path for file in published_files(table) if file.path not in paths])
        return rows - rest_rows, add_hashes(digest, -rest_hash)


def files_totals(paths: Sequence[str]) -> tuple[int, int]:
    """Rows and content hash of data files."""
    rows, digest = 0, 0
    for path in paths:
        own = read_columns(path, ("_row_hash",))
        rows, digest = rows + len(own), add_hashes(digest, content_hash(own))
    return rows, digest
