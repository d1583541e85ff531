"""Rows that somebody committed to main of a gated table beside the gate, taken into its audit branch."""

from __future__ import annotations

from functools import partial
from math import gcd

import pyarrow as pa
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Snapshot

from contracts.units import SECOND_US
from lake.location import AUDIT, Lake
from lake.tables.data_files import PROVENANCE_KEY, newer_rows, provenance_keys, read_columns, read_rows
from lake.tables.exchange import note_public, note_state, noted_heads, noted_public
from lake.tables.holds import partition_length_s
from lake.tables.iceberg import HASH_PROPERTY, ROWS_PROPERTY, RUN_PROPERTY, PublishedFile, committed, known_files, published_files
from lake.tables.publish import fold_ranges, publish, table_totals
from lake.tables.ranges import Ranging
from lake.tables.transactions import RefTransaction


def adopt(lake: Lake, name: str, key: str, run_id: str) -> int:
    """Fold rows into the audit branch that somebody committed to main beside the gate, as versions before do; how many.

    These are the rows that main has more than it had when it was last published.

    Raises:
        ComponentDownError: no commit succeeded before the deadline.
    """
    table = lake.public.load(name)
    if not is_beside(table):
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


def is_beside(table: Table) -> bool:
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
    if head is None or table.current_snapshot() != head or not is_beside(table):
        return
    rows, digest = table_totals(table)
    with RefTransaction(table) as transaction:  # a snapshot of its own, so that it is refused where main moves on
        note_state(transaction, {RUN_PROPERTY: run_id, ROWS_PROPERTY: str(rows), HASH_PROPERTY: f"{digest:032x}"}, MAIN_BRANCH)
        note_public(transaction)
