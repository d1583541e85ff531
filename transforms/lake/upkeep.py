"""Housekeeping of a lake: what lies in it, fewer and larger files, and away with what crashes left behind."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from pyiceberg.table import Table

from transforms.converge.fold import add_hashes, content_hash
from transforms.converge.publish import fold_range, publish, table_totals
from transforms.lake.location import NAMESPACES, Lake, data_path
from transforms.lake.tables import DEAD_LETTERS, RANGE_COLUMNS, published_files

MAX_COMPACTED_ROWS = 2_000_000


@dataclass(frozen=True)
class TableFiles:
    """What a table's current snapshot holds. verified: whether its files give the hash it claims; None if not asked."""

    table: str
    files: int
    rows: int
    size_bytes: int
    content_hash: str | None
    verified: bool | None = None


def folded_tables(lake: Lake) -> list[str]:
    """Tables that are folded into, by name."""
    catalog = lake.catalog()
    names = [".".join(name) for namespace in NAMESPACES for name in catalog.list_tables(namespace)]
    return sorted(n for n in names if "_shard" in catalog.load_table(n).schema().column_names)


def key_of(table: str) -> str:
    """The key column of a folded table."""
    return "dead_letter_id" if table == DEAD_LETTERS else "event_id"


def list_tables(lake: Lake, *, verify: bool = False) -> Iterator[TableFiles]:
    """Every table with its files; with ``verify`` the rows' hashes are added up again."""
    catalog = lake.catalog()
    names = sorted(".".join(name) for namespace in NAMESPACES for name in catalog.list_tables(namespace))
    for name in names:
        table = catalog.load_table(name)
        tasks = list(table.scan().plan_files())
        folded = "_shard" in table.schema().column_names
        rows, digest = table_totals(table)
        checked: bool | None = None
        if verify and folded:
            parts = [pq.read_table(data_path(t.file.file_path), columns=["_row_hash"], partitioning=None) for t in tasks]
            checked = (rows, digest) == (sum(map(len, parts)), add_hashes(*map(content_hash, parts)))
        yield TableFiles(
            table=name,
            files=len(tasks),
            rows=sum(t.file.record_count for t in tasks),
            size_bytes=sum(t.file.file_size_in_bytes for t in tasks),
            content_hash=f"{digest:032x}" if folded else None,
            verified=checked,
        )


def compact(lake: Lake, name: str, *, to_s: int, run_id: str) -> tuple[int, int]:
    """Merge files of neighbouring ranges into ranges of ``to_s`` seconds: the fold without new rows.

    A range stays as it is where one file holds it already, or its rows would be more than MAX_COMPACTED_ROWS.

    Returns:
        Data files before and after.
    """
    table = lake.catalog().load_table(name)
    published = published_files(table)
    to_us = to_s * 1_000_000
    empty = table.schema().as_arrow().empty_table().drop_columns(RANGE_COLUMNS.names)
    groups: dict[tuple[int, int], list[int]] = {}
    for file in published:
        if file.from_us // to_us == (file.to_us - 1) // to_us:
            groups.setdefault((file.shard, file.from_us // to_us), []).append(file.rows)
    for (shard, number), rows in sorted(groups.items()):
        if len(rows) < 2 or sum(rows) > MAX_COMPACTED_ROWS:
            continue
        start = number * to_us
        first = pq.read_schema(data_path(next(f.path for f in published if f.overlaps(start, start + to_us, shard))))
        incoming = first.remove_metadata().empty_table().drop_columns(RANGE_COLUMNS.names) if first else empty
        fold = fold_range(table, published, incoming, key=key_of(name), from_us=start, to_us=start + to_us, shard=shard)
        publish(lake, name, [fold], key=key_of(name), run_id=run_id)
    return len(published), len(published_files(lake.catalog().load_table(name)))


def orphans(lake: Lake, older_than_s: int) -> Iterator[Path]:
    """Data files that no snapshot names, and unfinished files; only those that were last written this long ago.

    The age protects runs that are writing now: their files are named by a snapshot only when they commit.
    """
    before = time.time() - older_than_s
    catalog = lake.catalog()
    for namespace in NAMESPACES:
        for name in catalog.list_tables(namespace):
            folder = Path(data_path(catalog.load_table(name).location())) / "data"
            old = _older(folder, before)
            named = _named_files(catalog.load_table(name))  # loaded after the list was made: it knows what was committed by then
            yield from (path for path in old if str(path) not in named)
    yield from _older(lake.temporary, before)


def _older(folder: Path, before: float) -> list[Path]:
    """Files of a folder that were last written before this time; those that vanish meanwhile are not there."""
    found = []
    for path in sorted(folder.glob("*")):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                found.append(path)
    return found


def _named_files(table: Table) -> set[str]:
    """Every data file that some snapshot of the table names."""
    named: set[str] = set()
    for snapshot in table.snapshots():
        for manifest in snapshot.manifests(table.io):
            entries = manifest.fetch_manifest_entry(table.io, discard_deleted=False)
            named.update(data_path(entry.data_file.file_path) for entry in entries)
    return named
