"""Late rows in the shape of dead letters: rows that were right, and came after their window had closed.

The id of such a letter is the row's hash in hex: made of columns, so that a million of them cost no line of Python each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.storage import read_batches
from lake.tables.iceberg import DEAD_LETTER_SCHEMA
from operations.deadletters.files import LetterFile

LATE = "late"  # stage and code of such letters
RULE = "lateness"
_EXPECTED = "an event before its window had closed, allowed lateness included"
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_MADE_OF = {
    "dead_letter_id": ("_row_hash",),
    "source": ("_source",),
    "position": ("_raw_file", "_position"),
    "received_at": ("_received_at",),
    "event_id": ("event_id",),
}


def late_letters(file: LetterFile, columns: Sequence[str], batch_rows: int) -> tuple[Iterator[pa.RecordBatch], pa.Schema]:
    """Rows of a late table as dead letters, and their schema.

    Args:
        file: one of a late table.
        columns: names of DEAD_LETTER_SCHEMA.
        batch_rows: how many rows at most a batch has.
    """
    schema = pa.schema([DEAD_LETTER_SCHEMA.field(name) for name in columns])
    read = {made for name in columns for made in _MADE_OF.get(name, (name,) if name.startswith("_") else ())} | {"_row_hash"}
    return (_as_letters(batch, file.late_of or "", schema) for batch in read_batches(file.path, sorted(read), batch_rows)), schema


def _as_letters(rows: pa.RecordBatch, dataset: str, schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([_column(rows, dataset, field) for field in schema], schema=schema)


def _column(rows: pa.RecordBatch, dataset: str, field: pa.Field) -> pa.Array:
    name, have = field.name, set(rows.schema.names)
    if name == "dead_letter_id":
        return hex_texts(rows.column("_row_hash"))
    if name == "position":
        return pc.binary_join_element_wise(rows.column("_raw_file"), rows.column("_position").cast(pa.string()), ":")
    made = next(iter(_MADE_OF.get(name, (name,))))
    if made in have:
        return rows.column(made).cast(field.type)
    constants: dict[str, Any] = {
        "code": LATE,
        "stage": LATE,
        "dataset": dataset,
        "contract_version": "",
        "run_id": "",
        "attempt": 1,
    }
    constants["violations"] = [{"path": "$", "rule": RULE, "expected": _EXPECTED}]
    return pa.repeat(pa.scalar(constants.get(name), field.type), len(rows))


def hex_texts(hashes: pa.Array) -> pa.Array:
    """Fixed-size binaries as texts of hexadecimal digits."""
    width = hashes.type.byte_width
    raw = np.frombuffer(hashes.buffers()[1], dtype=np.uint8)
    raw = raw[hashes.offset * width : (hashes.offset + len(hashes)) * width]
    digits = np.empty(2 * len(raw), dtype=np.uint8)
    digits[0::2], digits[1::2] = _HEX[raw >> 4], _HEX[raw & 15]
    offsets = np.arange(len(hashes) + 1, dtype=np.int32) * (2 * width)
    return pa.StringArray.from_buffers(len(hashes), pa.py_buffer(offsets), pa.py_buffer(digits))
