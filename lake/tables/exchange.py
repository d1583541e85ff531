"""Data files of a branch exchanged for others within a transaction, by name and by metadata that are known already.

A delete by predicate would plan a scan and compare every file with every range; ``add_files`` would compare each file's schema with
the table's. Both are known here: these files were listed from the manifests, or written with the table's own schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import compute_statistics_plan, data_file_statistics_from_parquet_metadata, parquet_path_to_id_mapping
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table, TableProperties, Transaction
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.typedef import Record

from lake.location import AUDIT
from lake.tables.iceberg import RUN_PROPERTY, PublishedFile, dropped_branch

AUDITED, PUBLIC = (AUDIT, dropped_branch(AUDIT)), (MAIN_BRANCH, dropped_branch(None))
_HEAD_PROPERTY = "headrace.gate.head."


def exchange_files(
    table: Table,
    transaction: Transaction,
    gone: Iterable[PublishedFile],
    new: Sequence[str],
    properties: dict[str, str],
    branch: str,
) -> None:
    """Take data files out of a branch and put others in; refused at the commit if the branch has moved on since it was loaded.

    Where files both go and come the snapshot in between is nobody's current one; it has no totals, so that nobody takes it for a
    whole state.

    Args:
        table: as it was loaded.
        transaction: of it.
        gone: files that the branch holds.
        new: URIs of files that were written with the table's schema.
        properties: of the last snapshot.
        branch: which; it begins with the new files where there is none.
    """
    if named := [_named(file) for file in gone]:
        own = {RUN_PROPERTY: properties[RUN_PROPERTY]} if new else properties
        with transaction.update_snapshot(snapshot_properties=own, branch=branch).overwrite() as out:
            for file in named:
                out.delete_data_file(file)
        _note_heads(transaction, branch)
    if not new:
        return
    _map_names(transaction)
    with transaction.update_snapshot(snapshot_properties=properties, branch=branch).merge_append() as added:
        for file in _described(table, new):
            added.append_data_file(file)
    _note_heads(transaction, branch)


def note_state(transaction: Transaction, properties: dict[str, str], branch: str) -> None:
    """A snapshot of the same files, for what its properties say."""
    with transaction.update_snapshot(snapshot_properties=properties, branch=branch).merge_append():
        pass
    _note_heads(transaction, branch)


def _note_heads(transaction: Transaction, branch: str) -> None:
    """After a commit to a branch of a gated table, in the same transaction.

    What was committed to main beside the gate stays unnoted, whatever comes after it, until it was taken in.
    """
    metadata = transaction.table_metadata
    head, is_gated = metadata.snapshot_by_name(branch), _noted(metadata.properties, MAIN_BRANCH) is not None
    is_next = head is not None and _noted(metadata.properties, branch) == head.parent_snapshot_id
    if branch in AUDITED or (branch in PUBLIC and is_gated and is_next):
        note_head(transaction, branch)


def note_head(transaction: Transaction, branch: str) -> None:
    """Say in a property of a gated table what a branch names: somebody may delete it, or commit to it beside the gate.

    Each branch has a property of its own, so that a commit to one says nothing of another.
    """
    metadata, key = transaction.table_metadata, f"{_HEAD_PROPERTY}{branch}"
    if head := metadata.snapshot_by_name(branch):
        transaction.set_properties({key: str(head.snapshot_id)})
    elif key in metadata.properties:
        transaction.remove_properties(key)


def note_public(transaction: Transaction) -> None:
    """Main as it is now came through the gate, or was there before it."""
    for branch in PUBLIC:
        note_head(transaction, branch)


def noted_heads(table: Table) -> dict[str, int]:
    """What the branches of a gated table named last, by branch; main and its dropped rows as the gate knows them."""
    found = {branch: _noted(table.properties, branch) for branch in (*AUDITED, *PUBLIC)}
    return {branch: head for branch, head in found.items() if head is not None}


def noted_public(table: Table) -> list[int]:
    """Ids of the snapshots that main, and what is dropped of it, named when they were last published through the gate."""
    return [head for branch, head in noted_heads(table).items() if branch in PUBLIC]


def _noted(properties: Mapping[str, str], branch: str) -> int | None:
    said = properties.get(f"{_HEAD_PROPERTY}{branch}")
    return None if said is None else int(said)


def _map_names(transaction: Transaction) -> None:
    """Data files of versions before this one have no field ids: readers find columns by name."""
    metadata = transaction.table_metadata
    if metadata.name_mapping() is None:
        transaction.set_properties({TableProperties.DEFAULT_NAME_MAPPING: metadata.schema().name_mapping.model_dump_json()})


def _named(file: PublishedFile) -> DataFile:
    """As much of a file's entry as takes it out of a manifest and out of the totals in a summary."""
    named = DataFile.from_args(
        content=DataFileContent.DATA, file_path=file.path, file_format=FileFormat.PARQUET, partition=Record(),
        record_count=file.rows, file_size_in_bytes=file.size_bytes,
    )  # fmt: skip
    named.spec_id = 0  # from_args forgets it
    return named


def _described(table: Table, paths: Sequence[str]) -> Iterator[DataFile]:
    schema, io = table.schema(), table.io
    plan, columns = compute_statistics_plan(schema, table.properties), parquet_path_to_id_mapping(schema)
    for path in paths:
        source = io.new_input(path)
        with source.open() as stream:
            footer = pq.read_metadata(stream)
        statistics = data_file_statistics_from_parquet_metadata(footer, plan, columns)
        yield DataFile.from_args(
            content=DataFileContent.DATA, file_path=path, file_format=FileFormat.PARQUET, partition=Record(),
            file_size_in_bytes=len(source), sort_order_id=None, equality_ids=None, key_metadata=None,
            **statistics.to_serialized_dict(),
        )  # fmt: skip
