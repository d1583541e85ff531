"""Housekeeping of a lake: what lies in it, and fewer and larger files, also while a job writes into it."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd

from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.types import LongType

from contracts.compiler.revisions import revision_text
from contracts.spec.model import name_and_major
from contracts.units import DAY_S, HOUR_S, SECOND_US
from lake.ledger.upkeep import merge_ledger
from lake.location import NAMESPACES, Lake, data_path
from lake.storage import read_parquet
from lake.tables.appended import merge_appended
from lake.tables.audit import audited
from lake.tables.data_files import no_rows
from lake.tables.expire import Expired, expire_snapshots
from lake.tables.fold import add_hashes, content_hash
from lake.tables.gate import follow
from lake.tables.holds import partition_length_s
from lake.tables.iceberg import (
    DEAD_LETTERS,
    LEDGER,
    PublishedFile,
    dropped_rows,
    known_files,
    published_files,
    settled_age_s,
    settled_snapshot,
)
from lake.tables.publish import RangeFold, fold_range, publish, table_totals
from lake.tables.sweep import stay_settled

MAX_COMPACTED_ROWS = 2_000_000
STEP_ROWS = 200_000  # of one range while a job runs: 1.3 s of CPU with the 38 columns of customer_event
STEP_LENGTHS_S = (900, HOUR_S, DAY_S)
EXPIRE_AT = 20  # snapshots; an expiry is a commit itself


@dataclass(frozen=True)
class TableFiles:
    """What a table's current snapshot holds. dropped: rows beside it that the deduplication horizon keeps out.

    verified: whether its files give the hash it claims; None if not asked. settled_age_s: for how long the settled snapshot has not
    been the current one; 0 where it is, None of a table without a horizon. revisions: of contract and spec by which its rows were
    read, the oldest first; of a file with several the first and the last.
    """

    table: str
    files: int
    rows: int
    size_bytes: int
    content_hash: str | None
    dropped: int = 0
    verified: bool | None = None
    settled_age_s: float | None = None
    revisions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Upkeep:
    """What was done for a table. files_before, files_after: its data files; the first only where none were merged."""

    files_before: int
    files_after: int
    expired: Expired


def folded_tables(lake: Lake) -> list[str]:
    """Tables that are folded into, by name."""
    catalog = lake.catalog()
    return [name for name in all_tables(lake) if "_shard" in catalog.load_table(name).schema().column_names]


def all_tables(lake: Lake) -> list[str]:
    """Every table, by name; none of a lake whose first run has just begun."""
    catalog = lake.catalog()
    there = [namespace for namespace in NAMESPACES if catalog.namespace_exists(namespace)]
    return sorted(".".join(name) for namespace in there for name in catalog.list_tables(namespace))


def key_of(table: str) -> str:
    """The key column of a folded table."""
    return "dead_letter_id" if table == DEAD_LETTERS else "event_id"


def list_tables(lake: Lake, *, verify: bool = False) -> Iterator[TableFiles]:
    """Every table with its files; with ``verify`` the rows' hashes are added up again."""
    catalog = lake.catalog()
    for name in all_tables(lake):
        table = catalog.load_table(name)
        tasks = list(table.scan().plan_files())
        folded = "_shard" in table.schema().column_names
        rows, digest = table_totals(table)
        checked: bool | None = None
        if verify and folded:
            parts = [read_parquet(t.file.file_path, ["_row_hash"]) for t in tasks]
            checked = (rows, digest) == (sum(map(len, parts)), add_hashes(*map(content_hash, parts)))
        yield TableFiles(
            table=name,
            files=len(tasks),
            rows=sum(t.file.record_count for t in tasks),
            size_bytes=sum(t.file.file_size_in_bytes for t in tasks),
            content_hash=f"{digest:032x}" if folded else None,
            dropped=dropped_rows(table, None),
            verified=checked,
            settled_age_s=settled_age_s(table, time.time()),
            revisions=_revisions(table, [t.file for t in tasks]),
        )


def _revisions(table: Table, files: Sequence[DataFile]) -> tuple[str, ...]:
    namespace, dataset = table.name()
    if namespace not in ("validated", "late"):
        return ()
    ids = {field.name: field.field_id for field in table.schema().fields}
    column = ids.get("_revision", -1)
    found: set[int | None] = set()
    for file in files:
        bounds = [(limits or {}).get(column) for limits in (file.lower_bounds, file.upper_bounds)]
        found |= {None if bound is None else int(from_bytes(LongType(), bound)) for bound in bounds}
        if (file.null_value_counts or {}).get(column):
            found.add(None)
    major = name_and_major(dataset)[1]
    return tuple(revision_text(major, number) for number in sorted(found, key=lambda n: -1 if n is None else n))


def settled_paths(lake: Lake, name: str) -> list[str]:
    """Data files of what consumers read of a table: paths, or URIs of a bucket; in no order that means anything."""
    table = lake.catalog().load_table(name)
    return [data_path(file.path) for file in published_files(table, settled_snapshot(table))]


def maintain(
    lake: Lake, name: str, *, closed_before_us: int, run_id: str, keep_snapshots_s: float, budget_s: float = 1.0
) -> Upkeep:
    """A small step of upkeep, for a committer to take now and then between its own commits: merge files, expire snapshots.

    At most two commits, and none where there is little to do. Safe with rivals, and in any number of processes at once. Files of
    ranges that are closed become a quarter of an hour, an hour and a day as long, as far as STEP_ROWS allows; a range that gets
    rows after all is folded again, at a higher price.

    Args:
        lake: where.
        name: a folded table, or the ledger table.
        closed_before_us: ranges that end by then get no rows any more, as far as is known; microseconds. Of the ledger no matter.
        run_id: goes into the snapshot's properties.
        keep_snapshots_s: age up to which snapshots stay, see ``expire_snapshots``.
        budget_s: no further range is begun after so many seconds.

    Raises:
        ComponentDownError: no commit succeeded before the deadline.
    """
    if name == LEDGER:
        before, after = merge_ledger(lake, run_id)
    else:
        before, after = _merge_closed(lake, name, closed_before_us, run_id, time.monotonic() + budget_s)
    return Upkeep(before, after, expire_snapshots(lake, name, keep_s=keep_snapshots_s, at_least=EXPIRE_AT))


def _merge_closed(lake: Lake, name: str, before_us: int, run_id: str, deadline: float) -> tuple[int, int]:
    """Merge closed ranges of one length, the shortest that has any, in one commit."""
    lake = audited(lake, name)
    table = lake.load(name)
    known, most_s = _known(lake, name), partition_length_s(table) or STEP_LENGTHS_S[-1]
    for length_s in (length_s for length_s in STEP_LENGTHS_S if not most_s % length_s):
        folds: list[RangeFold] = []
        for group in _groups(known, length_s, STEP_ROWS, before_us):
            folds.append(_merged(lake, name, known, group))
            if time.monotonic() > deadline:
                break
        if folds:
            publish(lake, name, folds, key=key_of(name), run_id=run_id)
            return len(known), len(_known(lake, name))
    return len(known), len(known)


def _known(lake: Lake, name: str) -> list[PublishedFile]:
    return known_files(lake.load(name), lake.branch_of(name))


def compact(lake: Lake, name: str, *, to_s: int, run_id: str) -> tuple[int, int]:
    """Merge files of neighbouring ranges into ranges of ``to_s`` seconds: the fold without new rows.

    Of the ledger, and of a table that is only appended to, all small files. A range stays as it is where one file holds it already,
    or its rows would be more than MAX_COMPACTED_ROWS. A table that was settled is so afterwards. Files of a gated table do not
    reach over the ends of its partitions; main follows its audit branch.
    run_id: of no other commits.

    Returns:
        Data files before and after.
    """
    if name == LEDGER:
        before, after = merge_ledger(lake, run_id, at_least=2)
        while (again := merge_ledger(lake, run_id, at_least=2))[1] < after:
            after = again[1]
        return before, after
    if "_shard" not in lake.load(name).schema().column_names:
        return merge_appended(lake, name, at_least=2)
    lake = audited(lake, name)
    known, partition_s = _known(lake, name), partition_length_s(lake.load(name))
    for group in _groups(known, gcd(to_s, partition_s) if partition_s else to_s, MAX_COMPACTED_ROWS):
        publish(lake, name, [_merged(lake, name, known, group)], key=key_of(name), run_id=run_id)
    stay_settled(lake, name, run_id)
    if partition_s:
        follow(lake, name, key_of(name), run_id)
    return len(known), len(_known(lake, name))


@dataclass(frozen=True, order=True)
class _Group:
    """A range that several files share. sample: one of them."""

    from_us: int
    to_us: int
    shard: int
    sample: str


def _groups(known: Sequence[PublishedFile], length_s: int, most_rows: int, before_us: int | None = None) -> list[_Group]:
    """Ranges of this length that end by a time and that several files share, of not too many rows; the oldest first."""
    length_us = length_s * SECOND_US
    held: dict[tuple[int, int, bool], list[PublishedFile]] = {}  # published and dropped rows lie in files of their own
    for file in known:
        number = file.from_us // length_us
        if number == (file.to_us - 1) // length_us and (before_us is None or (number + 1) * length_us <= before_us):
            held.setdefault((number, file.shard, file.dropped), []).append(file)
    bounds = _bounds(known)
    several = {(number, shard) for (number, shard, _), files in held.items() if len(files) > 1}
    return sorted(
        _Group(*_free(bounds[shard], number * length_us, (number + 1) * length_us, files), shard, files[0].path)
        for number, shard in several
        for files in [[*held.get((number, shard, False), ()), *held.get((number, shard, True), ())]]
        if sum(file.rows for file in files) <= most_rows
    )


_Bounds = tuple[list[int], list[int]]


def _bounds(known: Sequence[PublishedFile]) -> dict[int, _Bounds]:
    """Where the ranges of each shard begin and end, in order."""
    found: dict[int, _Bounds] = {}
    for file in known:
        lows, highs = found.setdefault(file.shard, ([], []))
        lows.append(file.from_us)
        highs.append(file.to_us)
    return {shard: (sorted(lows), sorted(highs)) for shard, (lows, highs) in found.items()}


def _free(bounds: _Bounds, from_us: int, to_us: int, files: Sequence[PublishedFile]) -> tuple[int, int]:
    """A range, or that of its files where another file reaches over its end: what is published keeps its range."""
    lows, highs = bounds
    if bisect_left(lows, to_us) - bisect_right(highs, from_us) == len(files):
        return from_us, to_us
    return min(file.from_us for file in files), max(file.to_us for file in files)


def _merged(lake: Lake, name: str, known: Sequence[PublishedFile], group: _Group) -> RangeFold:
    """The fold of a range without new rows."""
    table = lake.load(name)
    return fold_range(
        table, known, no_rows(group.sample), key=key_of(name), from_us=group.from_us, to_us=group.to_us, shard=group.shard
    )
