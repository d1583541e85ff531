"""Values of rows that differ: which columns do, and how a value is shown to people who may not see personal data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts.spec.model import ColumnType, Contract
from contracts.units import utc_text

MASKED = "(masked)"


@dataclass(frozen=True)
class Masked:
    """Which columns are shown. open: their names; of every other column the value is masked."""

    open: frozenset[str]

    @classmethod
    def of(cls, contract: Contract) -> Masked:
        """Open is what the contract does not classify. JSON is masked too: it may hold the field that a classified column is of."""
        return cls(
            frozenset(c.name for c in contract.columns if c.classification is None and c.type is not ColumnType.JSON)
            | {contract.event_id}
        )

    def shown(self, column: str, value: Any) -> Any:
        """A value for JSON. No value is told as such, masked or not."""
        if value is None:
            return None
        return json_value(value) if column in self.open else MASKED


def json_value(value: Any) -> Any:
    """A value of a row as JSON can hold it; times as ISO 8601."""
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, date | Decimal):
        return str(value) if isinstance(value, Decimal) else value.isoformat()
    if isinstance(value, list):  # a map's pairs
        return dict(value)
    return value


def differing(before: pa.Table, after: pa.Table) -> dict[str, npt.NDArray[np.bool_]]:
    """By public column, which pairs of rows differ in it. A column that one side lacks has no values there."""
    names = [*after.column_names, *(name for name in before.column_names if name not in after.column_names)]
    return {name: _differs(_column(before, name), _column(after, name)) for name in names if not name.startswith("_")}


def _column(rows: pa.Table, name: str) -> pa.ChunkedArray | None:
    return rows.column(name) if name in rows.column_names else None


def _differs(old: pa.ChunkedArray | None, new: pa.ChunkedArray | None) -> npt.NDArray[np.bool_]:
    if old is None or new is None:
        known = new if old is None else old
        assert known is not None
        return np.asarray(known.is_valid())
    if pa.types.is_nested(new.type):
        return np.array([a != b for a, b in zip(old.to_pylist(), new.to_pylist(), strict=True)], dtype=bool)
    unequal = pc.fill_null(pc.not_equal(old.cast(new.type), new), False)
    return np.asarray(pc.or_(unequal, pc.xor(old.is_null(), new.is_null())))
