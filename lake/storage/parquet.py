"""Data files of tables, read whole, wherever they lie."""

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


def parquet_batches(uri: str, columns: Sequence[str], rows: int = 65_536) -> Iterator[pa.RecordBatch]:
    """Rows of a data file, some at a time.

    Args:
        uri: of the file.
        columns: that are wanted; those that it does not have are left out.
        rows: at most in a batch.

    Raises:
        FileNotFoundError: there is none.
    """
    with pq.ParquetFile(_source(uri)) as file:
        have = set(file.schema_arrow.names)
        yield from file.iter_batches(rows, columns=[name for name in columns if name in have], use_threads=False)


def read_parquet_schema(uri: str) -> pa.Schema:
    """Its schema."""
    return pq.read_schema(_source(uri))


def _source(uri: str) -> Any:
    """What pyarrow reads from. From a bucket in one request: the fold needs all columns, and a file holds a range at most."""
    location = location_of(uri, "data file")
    return pa.BufferReader(storage_of(location).read(location)) if is_object(location) else location
