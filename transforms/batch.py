"""The element of the hot path: a batch of rows as Arrow columns, with a deterministic coder.

Beam's price per element (coding, bundles, state, gRPC) is paid once per hundreds to thousands of rows; a batch is never exploded.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
from apache_beam import coders

from lake.tables.ipc import decode_rows, encode_rows


@dataclass(frozen=True, eq=False)
class RowBatch:
    """Rows of one table that belong to one shard and are folded with one event-time window.

    rows: columns of the table's schema without the range columns.
    """

    rows: pa.Table


class RowBatchCoder(coders.Coder):
    """See ``encode_rows``."""

    def encode(self, value: RowBatch) -> bytes:
        """To bytes."""
        return encode_rows(value.rows)

    def decode(self, encoded: bytes) -> RowBatch:
        """From bytes."""
        return RowBatch(decode_rows(encoded))

    def is_deterministic(self) -> bool:
        """True: needed where a batch crosses a checkpoint."""
        return True

    def to_type_hint(self) -> type[RowBatch]:
        """The type it codes."""
        return RowBatch


coders.registry.register_coder(RowBatch, RowBatchCoder)
