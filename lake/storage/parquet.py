"""Data files of tables, read whole or batch by batch, wherever they lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lake.storage.places import is_object, location_of, storage_of

_ROWS_FOR_THREADS = 20_000  # below, sharing a file among threads takes longer than reading it


def read_parquet(uri: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Rows of a data file that Iceberg's metadata names.

    Args:
        uri: of the file.
        columns: that are wanted; those that it does not have are left out. None: all.

    Raises:
        FileNotFoundError: there is none.
    """
    with pq.ParquetFile(_source(uri)) as file:
        threads = file.metadata.num_rows >= _ROWS_FOR_THREADS
        return file.read(None if columns is None else list(columns), use_threads=threads)


def read_batches(uri: str, columns: Sequence[str], batch_rows: int = 65_536) -> Iterator[pa.RecordBatch]:
    """Some columns of a data file, in its order. Who stops early saves the rest.

    Args:
        uri: of the file.
        columns: that are wanted, or parts of nested ones as Parquet names them; those that it does not have are left out.
        batch_rows: how many rows at most a batch has.

    Raises:
        FileNotFoundError: there is none.
    """
    location = location_of(uri, "data file")
    if is_object(location):
        with storage_of(location).open(location) as stream, pq.ParquetFile(stream) as file:
            yield from _batches(file, columns, batch_rows)
    else:
        with pq.ParquetFile(location, memory_map=True) as file:
            yield from _batches(file, columns, batch_rows)


def _batches(file: pq.ParquetFile, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
    have = set(file.schema_arrow.names)
    threads = file.metadata.num_rows >= _ROWS_FOR_THREADS
    yield from file.iter_batches(
        batch_rows, columns=[name for name in columns if name.partition(".")[0] in have], use_threads=threads
    )


def read_parquet_schema(uri: str) -> pa.Schema:
    """Its schema."""
    return pq.read_schema(_source(uri))


def _source(uri: str) -> Any:
    """What pyarrow reads from. From a bucket in one request: the fold needs all columns, and a file holds a range at most."""
    location = location_of(uri, "data file")
    return pa.BufferReader(storage_of(location).read(location)) if is_object(location) else location
