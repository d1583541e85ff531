"""Rows as pandas gives them to Great Expectations: Python's own values, so that none is rounded or read as another type.

As pandas would have it, whole numbers beside a null are floats, a decimal of Arrow is compared by its own rules, and times before
1677 are none. Columns of objects know none of that; they take more memory, and a partition is what is held at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd


def frame_of(batches: Iterable[pa.RecordBatch], columns: Sequence[str]) -> pd.DataFrame:
    """Rows with these columns, numbered from 0."""
    import pandas as pd  # noqa: PLC0415 - of the extra quality

    values: dict[str, list[object]] = {name: [] for name in columns}
    for batch in batches:
        for name, found in values.items():
            found.extend(batch.column(name).to_pylist())
    return pd.DataFrame({name: pd.Series(found, dtype=object) for name, found in values.items()}, columns=list(columns))
