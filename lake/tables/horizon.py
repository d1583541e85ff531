"""Which rows of one key in different cells of time are one event: the deduplication horizon.

A pair is a key in a cell of time (fold.py). K is the set of all pairs that were ever accepted, and H the horizon in cells. A pair
is published iff K has no pair of its key in [cell - H, cell); else it is dropped. So the earliest is published, and of a chain
whose links are no longer than H only the first. The state of a pair is a function of K alone: of no order, run, batch or crash. K
only grows but for a replay; while it does, a pair that is dropped stays so.

Dropped rows are kept, on a branch of the table: they are a part of K, and what a replay or a rollback brings back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts.units import SECOND_US
from lake.tables.fold import GRID_S

Ints = npt.NDArray[np.int64]
Pair = tuple[str, int]
CELL_US = GRID_S * SECOND_US


def cells_of(rows: pa.Table) -> Ints:
    """The cell of each row's window time."""
    cells: Ints = rows.column("_window_time").cast(pa.int64()).to_numpy() // CELL_US
    return cells


def has_predecessor(codes: Ints, cells: Ints, horizon: int) -> npt.NDArray[np.bool_]:
    """Which pairs have another of their key in the horizon before them.

    Args:
        codes: a number per key.
        cells: the pairs' cells. Pairs may repeat; a pair is no predecessor of itself.
        horizon: in cells.
    """
    order = np.lexsort((cells, codes))
    key, cell = codes[order], cells[order]
    first = np.ones(len(order), dtype=bool)  # of its pair
    first[1:] = (np.diff(key) != 0) | (np.diff(cell) != 0)
    starts = np.flatnonzero(first)
    near = np.zeros(len(starts), dtype=bool)
    near[1:] = (np.diff(key[starts]) == 0) & (np.diff(cell[starts]) <= horizon)
    found = np.zeros(len(order), dtype=bool)
    found[order] = np.repeat(near, np.diff(np.append(starts, len(order))))
    return found


class PairSet:
    """Some pairs, by cell. Meant for the few that move, not for all of a table."""

    def __init__(self, pairs: Iterable[Pair] = ()) -> None:
        self._keys: dict[int, set[str]] = {}
        for key, cell in pairs:
            self._keys.setdefault(cell, set()).add(key)

    @classmethod
    def of(cls, rows: pa.Table, key: str) -> PairSet:
        """Of rows, by their key column."""
        return cls(zip(rows.column(key).to_pylist(), cells_of(rows).tolist(), strict=True))

    def __iter__(self) -> Iterator[Pair]:
        return ((key, cell) for cell, keys in self._keys.items() for key in keys)

    def __len__(self) -> int:
        return sum(map(len, self._keys.values()))

    def __or__(self, other: PairSet) -> PairSet:
        return PairSet([*self, *other])

    def within(self, from_us: int, to_us: int) -> PairSet:
        """Those whose cell meets a range of time."""
        found = PairSet()
        found._keys = {cell: keys for cell, keys in self._keys.items() if from_us < (cell + 1) * CELL_US and to_us > cell * CELL_US}
        return found

    def holds(self, rows: pa.Table, key: str) -> npt.NDArray[np.bool_]:
        """Which rows are of these pairs."""
        mask = np.zeros(len(rows), dtype=bool)
        if not self._keys or not len(rows):
            return mask
        keys, cells = rows.column(key), cells_of(rows)
        mentioned = pa.array(sorted({k for cell in np.unique(cells).tolist() for k in self._keys.get(cell, ())}), keys.type)
        possible = np.flatnonzero(pc.is_in(keys, value_set=mentioned).to_numpy())
        pairs = zip(keys.take(pa.array(possible)).to_pylist(), cells[possible].tolist(), strict=True)
        mask[possible] = [k in self._keys.get(cell, ()) for k, cell in pairs]
        return mask


@dataclass(frozen=True)
class Moves:
    """Pairs that change their state."""

    drop: PairSet = field(default_factory=PairSet)
    restore: PairSet = field(default_factory=PairSet)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(len(self.drop) or len(self.restore))


NO_MOVES = Moves()
