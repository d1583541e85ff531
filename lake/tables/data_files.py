"""Data files: rows in, rows out. Each holds rows of one range and shard, appears whole, and never changes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import ListType, MapType, NestedField, StructType

from lake.location import data_path
from lake.storage import read_parquet, read_parquet_schema, storage_of
from lake.tables.fold import identity_of
from lake.tables.iceberg import RANGE_COLUMNS

PROVENANCE_KEY = ("_source", "_raw_file", "_position")
_DICTIONARY_SAMPLE = 1_000
_FIELD_ID = b"PARQUET:field_id"


def with_schema(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows with these columns: nulls where a file was written before there was a column."""
    have = set(rows.column_names)
    columns = [rows.column(f.name) if f.name in have else pa.nulls(len(rows), f.type) for f in schema]
    columns = [c if c.type == f.type else c.cast(f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema)


def file_name(rows: pa.Table, from_us: int, to_us: int, shard: int) -> str:
    """How the names of data files with these rows begin."""
    return f"{from_us}-{to_us}-{shard}-{identity_of(rows)}-"


def write_rows(table: Table, rows: pa.Table, from_us: int, to_us: int, shard: int) -> str:
    """A data file that appears whole or not at all, and never changes. Its URI."""
    count, name = len(rows), file_name(rows, from_us, to_us, shard)
    for field, value in zip(RANGE_COLUMNS, (from_us, to_us, shard), strict=True):
        rows = rows.append_column(field, pa.repeat(pa.scalar(value, field.type), count))
    name += f"{os.urandom(4).hex()}.parquet"  # a rival with the same rows may be publishing its own file of them
    target = f"{data_path(table.location())}/data/{name}"
    storage = storage_of(target)
    temporary = storage.scratch(target)
    try:
        numbered = pa.Table.from_arrays(rows.columns, schema=numbered_schema(rows.schema, table.schema()))
        pq.write_table(numbered, temporary, compression="zstd", use_dictionary=_repeating(rows))
        storage.upload(temporary, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    return f"{table.location()}/data/{name}"


def numbered_schema(rows: pa.Schema, schema: Schema) -> pa.Schema:
    """The schema of these rows with the table's field ids, by which readers find columns that were renamed since.

    Without any where the table, as it was loaded, lacks a column of the rows: readers take a file that has some ids by ids alone,
    and one that has none by names.
    """
    fields = {field.name: field for field in schema.fields}
    if not fields.keys() >= set(rows.names):
        return pa.schema([field.remove_metadata() for field in rows])
    return pa.schema([_numbered(field, fields[field.name]) for field in rows])


def _numbered(field: pa.Field, known: NestedField) -> pa.Field:
    inner, kind = field.type, known.field_type
    if isinstance(kind, MapType):
        inner = pa.map_(_numbered(inner.key_field, kind.key_field), _numbered(inner.item_field, kind.value_field))
    elif isinstance(kind, ListType):
        inner = pa.list_(_numbered(inner.value_field, kind.element_field))
    elif isinstance(kind, StructType):
        known_inside = {one.name: one for one in kind.fields}
        inner = pa.struct([_numbered(inner.field(i), known_inside[inner.field(i).name]) for i in range(inner.num_fields)])
    return pa.field(field.name, inner, field.nullable, {_FIELD_ID: str(known.field_id).encode()})


def _repeating(rows: pa.Table) -> list[str]:
    """Columns worth a dictionary: at most half of their first values are distinct. Saves a fifth of the time of writing."""
    head = rows.slice(0, _DICTIONARY_SAMPLE)
    return [f.name for f in head.schema if not pa.types.is_nested(f.type) and 2 * len(head.column(f.name).unique()) <= len(head)]


def read_rows(path: str) -> pa.Table:
    """Rows of a data file without its range columns."""
    return read_parquet(path).drop_columns(RANGE_COLUMNS.names)


def no_rows(path: str) -> pa.Table:
    """An empty table as ``read_rows`` would give it of this data file."""
    return read_parquet_schema(path).remove_metadata().empty_table().drop_columns(RANGE_COLUMNS.names)


def read_columns(path: str, columns: Sequence[str]) -> pa.Table:
    """Some columns of a data file."""
    return read_parquet(path, list(columns))


def provenance_keys(rows: pa.Table) -> list[tuple[str, str, int]]:
    """Where each row comes from."""
    return list(zip(*(rows.column(name).to_pylist() for name in PROVENANCE_KEY), strict=True))


def newer_rows(rows: pa.Table, known: Collection[tuple[str, str, int]]) -> npt.NDArray[np.bool_]:
    """Which rows do not come from a known place."""
    return np.fromiter((key not in known for key in provenance_keys(rows)), dtype=bool, count=len(rows))


def rows_at(files: Sequence[str], wanted: pa.Table) -> pa.Table:
    """Whole rows of data files, by provenance, in the order of the files."""
    keys = set(provenance_keys(wanted))
    tables = map(read_rows, files)
    parts = [rows.filter(pa.array([key in keys for key in provenance_keys(rows)], pa.bool_())) for rows in tables]
    return pa.concat_tables(parts, promote_options="permissive")


def whole_rows(files: Sequence[str], wanted: pa.Table) -> pa.Table:
    """Whole rows of data files, by provenance, in the order of the rows that are wanted."""
    rows = rows_at(files, wanted)
    places = {key: place for place, key in enumerate(provenance_keys(rows))}
    return rows.take(pa.array([places[key] for key in provenance_keys(wanted)], pa.int64()))
