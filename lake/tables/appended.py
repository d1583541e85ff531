"""Tables that are only appended to, kept small: many little files become few. Their rows stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from uuid import uuid4

import numpy as np
import pyarrow as pa
from pyiceberg.io.pyarrow import _dataframe_to_data_files
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from lake.location import Lake
from lake.storage import read_parquet
from lake.tables.data_files import with_schema
from lake.tables.iceberg import committed
from lake.tables.transactions import RefTransaction

MERGE_AT = 16  # files of one size class
_CLASSES = (256 << 10, 4 << 20)  # bytes; larger files stay as they are, so that memory and work per merge are bounded
_TOTAL_BYTES = 64 << 20
Merge = Callable[[Iterable[pa.Table]], pa.Table]


def merge_appended(lake: Lake, name: str, *, at_least: int = MERGE_AT, merge: Merge = pa.concat_tables) -> tuple[int, int]:
    """Merge small files of a table into one, in one transaction. What rivals append meanwhile stays.

    Args:
        lake: where.
        name: of a table that is only appended to.
        at_least: do nothing where no size class has so many files.
        merge: gives the rows of these files, in the table's schema, as one.

    Returns:
        Data files before and after.

    Raises:
        ComponentDownError: no commit succeeded before the deadline.
    """

    def commit() -> tuple[int, int]:
        table = lake.catalog().load_table(name)
        files = [task.file for task in table.scan().plan_files()]
        chosen = small_files(files, at_least)
        if chosen:
            schema = table.schema().as_arrow()
            replace_appended(table, chosen, merge(with_schema(read_parquet(f.file_path), schema) for f in chosen))
        return len(files), len(files) - len(chosen) + bool(chosen)

    return committed(name, commit)


def small_files(files: Sequence[DataFile], at_least: int) -> list[DataFile]:
    """Files of the smallest size class that has enough of them."""
    below = 0
    for limit in _CLASSES:
        own = sorted((f for f in files if below <= f.file_size_in_bytes < limit), key=lambda f: f.file_size_in_bytes)
        if len(own) >= max(at_least, 2):
            sizes = np.cumsum([f.file_size_in_bytes for f in own])
            return own[: int(np.searchsorted(sizes, _TOTAL_BYTES, side="right"))]
        below = limit
    return []


def replace_appended(table: Table, old: Sequence[DataFile], rows: pa.Table) -> None:
    """Rows in place of files, in one commit; refused where somebody committed meanwhile: isolation is serializable."""
    with RefTransaction(table) as transaction, transaction.update_snapshot().overwrite() as overwrite:
        for file in old:
            overwrite.delete_data_file(file)
        for file in _dataframe_to_data_files(table.metadata, rows, table.io, write_uuid=uuid4()):
            overwrite.append_data_file(file)
