"""Catalog, metadata files and data files of a lake's tables."""

from __future__ import annotations

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table

from lake.location import AUDIT, Lake, data_path
from lake.storage import read_parquet, storage_of
from lake.tables.audit import is_whole
from lake.tables.fold import add_hashes, content_hash
from lake.tables.holds import partition_length_s
from lake.tables.iceberg import PublishedFile, dropped_branch, files_of, manifests_of, settled_refs
from lake.tables.publish import table_totals
from operations.catalog import tables_on_disk
from operations.check.findings import Notes, State

_FROM_RAW = "headrace lake repair, then headrace replay of the windows that it held, which brings the rows back"
_FROM_BEFORE = (
    "bring it back from a backup; or go back to a metadata file before it, headrace lake rebuild-catalog --use, and replay since"
)


def check_tables(lake: Lake, notes: Notes, verify: bool) -> set[str]:
    """Look at catalog, metadata and data files; the tables that the catalog knows and whose metadata can be read."""
    catalog, usable = lake.catalog(), set()
    on_disk = tables_on_disk(lake)
    known = {".".join(name) for (space,) in catalog.list_namespaces() for name in catalog.list_tables(space)}
    for name in sorted(on_disk.keys() - known):
        notes.add("catalog", "tables that it does not know", State.MISSING, "headrace lake rebuild-catalog", name)
    for name in sorted(known):
        notes.looked("tables", 1)
        table = _load(catalog, name)
        if table is None:
            told = "metadata files that it names"
            notes.add("catalog", told, State.MISSING, "headrace lake rebuild-catalog takes the newest that is there", name)
            continue
        usable.add(name)
        _check_table(lake, table, name, notes, verify)
    return usable


def _load(catalog: Catalog, name: str) -> Table | None:
    try:
        return catalog.load_table(name)
    except (FileNotFoundError, NoSuchTableError):
        return None


def _check_table(lake: Lake, table: Table, name: str, notes: Notes, verify: bool) -> None:
    root = data_path(table.location())
    there = {file.location: file for file in storage_of(root).files(root)}

    def missing(location: str) -> bool:
        return location not in there and not _exists(location)

    refs = table.metadata.refs
    live = ("main", dropped_branch(None), *settled_refs(None), AUDIT, dropped_branch(AUDIT), *settled_refs(AUDIT))
    current = {refs[name].snapshot_id for name in live if name in refs}
    if partition_length_s(table) is not None and not is_whole(table):
        remedy = "the next run finds it again by its last snapshot; else headrace lake repair begins it anew"
        notes.add(name, "audit branches", State.MISSING, remedy, f"{name}, branch {AUDIT}")
    named: dict[str, tuple[PublishedFile, bool]] = {}
    for snapshot in sorted(table.snapshots(), key=lambda snapshot: snapshot.snapshot_id in current):
        is_current = snapshot.snapshot_id in current
        if missing(data_path(snapshot.manifest_list)):
            notes.add(name, *_lost("manifest lists", _FROM_BEFORE, is_current), snapshot.manifest_list)
            continue
        for manifest in manifests_of(table, snapshot):
            if missing(data_path(manifest.manifest_path)):
                notes.add(name, *_lost("manifests", _FROM_BEFORE, is_current), manifest.manifest_path)
                continue
            named |= {data_path(file.path): (file, is_current) for file in files_of(table, manifest)}
    notes.looked("data files", len(named))
    for location, (file, is_current) in sorted(named.items()):
        if missing(location):
            notes.add(name, *_lost("data files", _FROM_RAW, is_current), location)
        elif location in there and there[location].size_bytes != file.size_bytes:
            what, state, remedy = _lost("data files of another size than was written", _FROM_RAW, is_current)
            notes.add(name, what, State.CHANGED if is_current else state, remedy, location)
    if verify and "_row_hash" in table.schema().column_names and not notes.has({name}):
        _verify_rows(table, name, notes)


def _lost(what: str, remedy: str, is_current: bool) -> tuple[str, State, str]:
    """Older states are read by nothing but rollbacks and by who asks for them; they expire."""
    if is_current:
        return what, State.MISSING, remedy
    return f"{what} of older states", State.NOTED, "headrace lake expire forgets those that no branch and no tag holds"


def _verify_rows(table: Table, name: str, notes: Notes) -> None:
    rows = digest = 0
    for task in table.scan().plan_files():
        try:
            hashes = read_parquet(task.file.file_path, ["_row_hash"])
        except (pa.ArrowInvalid, OSError):
            notes.add(name, "data files that cannot be read", State.CHANGED, _FROM_RAW, task.file.file_path)
            return
        rows, digest = rows + len(hashes), add_hashes(digest, content_hash(hashes))
    if (rows, digest) != table_totals(table):
        notes.add(name, "rows that do not give the content hash of the snapshot", State.CHANGED, _FROM_RAW, name)


def _exists(location: str) -> bool:
    try:
        storage_of(location).stat(location)
    except FileNotFoundError:
        return False
    return True
