"""What the tables of a dataset hold, in as few lines as can say it: the specification of fold and horizon, apart from their code.

Rows are dictionaries with ``event_id``, ``_window_time`` (microseconds), ``_rank``, ``_fingerprint``, ``_row_hash``, ``_position``,
``_revision``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

CELL_US = 60_000_000
Row = dict[str, Any]
Pair = tuple[str, int]


def pair_of(row: Row) -> Pair:
    """The key and the cell of time."""
    return row["event_id"], row["_window_time"] // CELL_US


def winners(accepted: Iterable[Row]) -> dict[Pair, Row]:
    """One row for each pair: of the highest revision the smallest."""
    found: dict[Pair, Row] = {}
    for row in sorted(
        accepted, key=lambda r: (-r.get("_revision", 0), r["_rank"], r["_fingerprint"], r["_row_hash"], r["_position"])
    ):
        found.setdefault(pair_of(row), row)
    return found


def is_dropped(pair: Pair, known: Iterable[Pair], horizon: int) -> bool:
    """Whether another pair of its key lies in the horizon, so many cells, before it."""
    return any(key == pair[0] and pair[1] - horizon <= cell < pair[1] for key, cell in known)


def settled(accepted: Iterable[Row], horizon: int) -> tuple[list[Row], list[Row]]:
    """What is published and what is dropped once everything is swept, of all rows that were ever accepted."""
    known = winners(accepted)
    cells: dict[str, list[Pair]] = {}
    for pair in known:
        cells.setdefault(pair[0], []).append(pair)
    out = {pair for pair in known if is_dropped(pair, cells[pair[0]], horizon)}
    return [row for pair, row in known.items() if pair not in out], [row for pair, row in known.items() if pair in out]


def conflicts(accepted: Iterable[Row], horizon: int) -> set[int]:
    """Positions of dropped rows of another content than every row that was accepted of their key in the horizon before them.

    Of another revision is not of another content.
    """
    rows = list(accepted)
    return {
        row["_position"]
        for row in settled(rows, horizon)[1]
        for key, cell in [pair_of(row)]
        if all(
            other["_fingerprint"] != row["_fingerprint"] and other.get("_revision") == row.get("_revision")
            for other in rows
            if other["event_id"] == key and cell - horizon <= pair_of(other)[1] < cell
        )
    }
