"""INT96 of Parquet, at any depth: a Julian day and nanoseconds, which hold more years than any unit of Arrow does.

Arrow's nanoseconds wrap beyond 1677 to 2262, its microseconds beyond some 290,000 years. Milliseconds hold all days that there are,
so that a time that is another one in milliseconds has wrapped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_FAR = pa.scalar(2**62, pa.int64())  # a time that no year of ours holds


@dataclass
class Int96:
    """A file read in milliseconds, and its columns with INT96 in them."""

    parquet: pq.ParquetFile
    names: list[str]


def int96_columns(parquet: pq.ParquetFile, names: list[str]) -> list[str]:
    """Of these columns, those with INT96 in them."""
    leaves = (parquet.schema.column(i) for i in range(len(parquet.schema)))
    paths = [leaf.path for leaf in leaves if leaf.physical_type == "INT96"]
    return [name for name in names if any(path == name or path.startswith(f"{name}.") for path in paths)]


def without_wrapped(batch: pa.RecordBatch, coarse: pa.RecordBatch) -> pa.RecordBatch:
    """The same batch; times that do not fit microseconds are ones that no year of ours holds.

    Args:
        batch: with INT96 in microseconds.
        coarse: the columns with INT96, in milliseconds.
    """
    for name in coarse.schema.names:
        at = batch.schema.get_field_index(name)
        checked = _checked(batch.column(at), coarse.column(name))
        batch = batch.set_column(at, pa.field(name, checked.type), checked)
    return batch


def _checked(fine: pa.Array, coarse: pa.Array) -> pa.Array:
    kind: Any = fine.type
    if pa.types.is_timestamp(kind):
        return fine if kind == coarse.type else _times(fine, coarse)
    if not pa.types.is_nested(kind):
        return fine
    rows = pa.array(range(len(fine)))  # copies begin at no offset, so that children and offsets belong together
    fine, coarse = fine.take(rows), coarse.take(rows)
    if pa.types.is_struct(kind):
        parts = [_checked(fine.field(i), coarse.field(i)) for i in range(kind.num_fields)]
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=fine.is_null())
    if pa.types.is_map(kind):
        keys, items = (_checked(getattr(fine, part), getattr(coarse, part)) for part in ("keys", "items"))
        return pa.MapArray.from_arrays(fine.offsets, keys, items, type=kind, mask=fine.is_null())
    values = _checked(fine.values, coarse.values)
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(values, type=kind, mask=fine.is_null())
    return type(fine).from_arrays(fine.offsets, values, type=kind, mask=fine.is_null())


def _times(fine: pa.Array, coarse: pa.Array) -> pa.Array:
    micros, millis = fine.cast(pa.int64()), coarse.cast(pa.int64())
    whole = pa.array(micros.fill_null(0).to_numpy(zero_copy_only=False) // 1_000, mask=micros.is_null().to_numpy(False))
    return pc.if_else(pc.not_equal(whole, millis), _FAR, micros).cast(fine.type)
