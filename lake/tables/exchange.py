"""Data files of a branch exchanged for others within a transaction, by name and by metadata that are known already.

A delete by predicate would plan a scan and compare every file with every range; ``add_files`` would compare each file's schema with
the table's. Both are known here: these files were listed from the manifests, or written with the table's own schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import compute_statistics_plan, data_file_statistics_from_parquet_metadata, parquet_path_to_id_mapping
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table, TableProperties, Transaction
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.typedef import Record

from lake.location import AUDIT
from lake.tables.iceberg import RUN_PROPERTY, PublishedFile, dropped_branch

_AUDITED = (AUDIT, dropped_branch(AUDIT))
_HEADS_PROPERTY = "headrace.gate.heads"


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
    if branch in _AUDITED or _HEADS_PROPERTY in transaction.table_metadata.properties:
        note_audit_heads(transaction)


def note_audit_heads(transaction: Transaction) -> None:
    """Say in a property of a gated table what its branches name: somebody may delete one, or commit beside the gate."""
    heads = {branch: transaction.table_metadata.snapshot_by_name(branch) for branch in (*_AUDITED, MAIN_BRANCH)}
    known = {branch: head.snapshot_id for branch, head in heads.items() if head}
    transaction.set_properties({_HEADS_PROPERTY: json.dumps(known, sort_keys=True)})


def audit_heads(table: Table) -> dict[str, int]:
    """What the audit branch, that of its dropped rows and main named last, by branch."""
    heads: dict[str, int] = json.loads(table.properties.get(_HEADS_PROPERTY, "{}"))
    return heads


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
