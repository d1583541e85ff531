"""The element of the hot path: a batch of rows as Arrow columns, with a deterministic coder.

Beam's price per element (coding, bundles, state, gRPC) is paid once per hundreds to thousands of rows; a batch is never exploded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Never

import pyarrow as pa
from apache_beam import coders

from lake.tables.ipc import ZSTD_MAGIC, decode_rows, encode_rows

_ANY = coders.FastPrimitivesCoder()


@dataclass(frozen=True, eq=False)
class RowBatch:
    """Rows of one table that belong to one shard and are folded with one event-time window.

    rows: columns of the table's schema without the range columns.
    """

    rows: pa.Table

    def __reduce__(self) -> Never:
        """No pickle: a table's many small buffers cost a hundred times what one compressed stream costs.

        Raises:
            TypeError: always. A PCollection of batches lacks its element type, so that Beam found no better coder.
        """
        raise TypeError("a RowBatch is never pickled: declare the element type of its PCollection, as in with_output_types")


class RowBatchCoder(coders.Coder):
    """See ``encode_rows``."""

    def encode(self, value: RowBatch) -> bytes:
        """To bytes."""
        return encode_rows(value.rows)

    def decode(self, encoded: bytes) -> RowBatch:
        """From bytes; also from those that savepoints of the version before hold of dead letters and late rows."""
        if encoded.startswith(ZSTD_MAGIC):
            return RowBatch(decode_rows(encoded))
        batch: RowBatch = _ANY.decode(encoded)
        return batch

    def is_deterministic(self) -> bool:
        """True: needed where a batch crosses a checkpoint."""
        return True

    def to_type_hint(self) -> type[RowBatch]:
        """The type it codes."""
        return RowBatch


coders.registry.register_coder(RowBatch, RowBatchCoder)
