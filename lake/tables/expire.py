"""Away with what is no longer needed: snapshots that are old, the files that only they named, and what crashes left behind.

A file goes only if it was committed once (an expired snapshot names it) and no snapshot that stays holds it, or if nothing names
it and it is old. So what a rival has written and not yet committed is safe: a rival builds on the current snapshot, which always
stays, and its new files are young.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import AssertRefSnapshotId

from lake.location import NAMESPACES, Lake, data_path
from lake.storage import StoredFile, is_object, storage_of
from lake.tables.exchange import noted_public
from lake.tables.iceberg import committed, files_of, horizon_s, manifests_of
from lake.tables.key_filters import filter_file


@dataclass(frozen=True)
class Expired:
    """What an expiry took away. size_bytes: of the files."""

    snapshots: int = 0
    files: int = 0
    size_bytes: int = 0


def expire_snapshots(lake: Lake, name: str, *, keep_s: float, at_least: int = 1) -> Expired:
    """Expire a table's snapshots that are older, and delete the files that only they named. Branches and tags stay.

    A crash in between leaves files that ``orphans`` finds.

    Args:
        lake: where.
        name: the table's.
        keep_s: age up to which snapshots stay. It must be more than readers take for one scan, and than the time for which a fold
            may wait for its commit: a checkpoint or savepoint holds folds by the names of their files.
        at_least: do nothing for fewer snapshots.

    Raises:
        ComponentDownError: no commit succeeded before the deadline.
    """
    table, old = committed(name, lambda: _expire(lake, name, keep_s, at_least))
    gone = storage_of(data_path(table.location())).map(_delete, _named_only_by(table, old))
    return Expired(len(old), sum(size is not None for size in gone), sum(size or 0 for size in gone))


def _delete(location: str) -> int | None:
    """Delete a file; its size, None where there was none."""
    storage = storage_of(location)
    try:
        size = storage.stat(location).size_bytes
    except FileNotFoundError:
        return None
    return size if storage.delete(location) else None


def _expire(lake: Lake, name: str, keep_s: float, at_least: int) -> tuple[Table, list[Snapshot]]:
    """The table afterwards, and what was expired."""
    table = lake.catalog().load_table(name)
    refs = {ref: head.snapshot_id for ref, head in table.metadata.refs.items()}
    before_ms = (time.time() - keep_s) * 1_000
    kept = {*refs.values(), *noted_public(table)}  # what came to main beside a gate is told by what was there
    old = [s for s in table.snapshots() if s.timestamp_ms <= before_ms and s.snapshot_id not in kept]
    if not old or len(old) < at_least:
        return table, []
    expiry = table.maintenance.expire_snapshots().by_ids([s.snapshot_id for s in old])
    # Without it a rival that moved a reference to one of these meanwhile would lose it.
    expiry._requirements += tuple(AssertRefSnapshotId.model_validate({"ref": r, "snapshot-id": head}) for r, head in refs.items())
    try:
        expiry.commit()
    except ValueError:  # somebody else expired one of them
        raise CommitFailedException(f"snapshots of {name} were expired by another process") from None
    return table, old


def _named_only_by(table: Table, expired: Sequence[Snapshot]) -> Iterator[str]:
    """Files that these snapshots name, and none of the table's: data files, manifests, manifest lists."""
    kept = {m.manifest_path: m for s in table.snapshots() for m in manifests_of(table, s)}
    gone = {m.manifest_path: m for s in expired for m in manifests_of(table, s) if m.manifest_path not in kept}
    live = {file.path for manifest in kept.values() for file in files_of(table, manifest)}
    named = {e.data_file.file_path for m in gone.values() for e in m.fetch_manifest_entry(table.io, discard_deleted=False)}
    filters = [filter_file(uri) for uri in sorted(named - live)] if horizon_s(table) else []
    yield from filters
    for uri in [*sorted(named - live), *sorted(gone), *(s.manifest_list for s in expired)]:
        yield data_path(uri)


def orphans(lake: Lake, older_than_s: float) -> Iterator[StoredFile]:
    """Files of tables that nothing names, and unfinished files; only those that were last written this long ago.

    The age protects runs that are writing now: their files are named by a snapshot only when they commit.
    """
    before = time.time() - older_than_s
    catalog = lake.catalog()
    for namespace in NAMESPACES:
        for name in catalog.list_tables(namespace):
            root = data_path(catalog.load_table(name).location())
            old = [*_older(f"{root}/data", before), *_older(f"{root}/metadata", before)]
            named = _named(catalog.load_table(name))  # loaded after the list was made: it knows what was committed by then
            yield from (file for file in old if file.location not in named)
    if not is_object(lake.root):
        yield from _older(str(lake.temporary), before)


def _older(folder: str, before: float) -> list[StoredFile]:
    """Files of a folder that were last written before this time; those that vanish meanwhile are not there."""
    return [file for file in storage_of(folder).files(folder) if file.updated_s < before]


def _named(table: Table) -> set[str]:
    """Every file that the table's metadata, or some snapshot of it, needs."""
    manifests = {m.manifest_path: m for s in table.snapshots() for m in manifests_of(table, s)}
    uris: Iterable[str] = (
        table.metadata_location,
        *(entry.metadata_file for entry in table.metadata.metadata_log),
        *(snapshot.manifest_list for snapshot in table.snapshots()),
        *manifests,
    )
    data = [file.path for manifest in manifests.values() for file in files_of(table, manifest)]
    return {*map(data_path, uris), *map(data_path, data), *map(filter_file, data)}
