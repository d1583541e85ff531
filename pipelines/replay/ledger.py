"""What the ledger on a replay's branch says of the raw that it reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lake.ledger.ledger import LedgerEntry, ledger_of
from lake.ledger.sidecars import outcomes_of
from lake.location import Lake
from lake.raw.positions import Landed, Positions, extent_batches
from pipelines.replay.select import Selection, positions_in
from transforms.read.raw import RawPiece


def unfinished_pieces(onto: Lake, selection: Selection) -> Iterator[RawPiece]:
    """Pieces with positions that have no outcome on the branch."""
    units = [Landed(selection.source, piece.raw_file, (positions_in(piece).runs,), 0) for piece in selection.pieces]
    for unit, piece in zip(units, selection.pieces, strict=True):
        outcomes = (outcomes_of(onto, selection.source, extents) for extents in extent_batches([unit]))
        runs = [found[unit.raw_file].all_runs() for found in outcomes if unit.raw_file in found]
        if not runs or Positions.of(unit.pieces[0]).first_outside(np.concatenate(runs)) is not None:
            yield piece


def selection_ledger(onto: Lake, selection: Selection, table: str) -> LedgerEntry:
    """The replay's own ledger of the raw that it read."""
    return sum(ledger_of(onto, selection.source, table, landed_pieces(selection)).values(), LedgerEntry())


def landed_pieces(selection: Selection) -> list[Landed]:
    """Pieces by raw file or log."""
    runs: dict[str, list[Any]] = {}
    for piece in selection.pieces:
        runs.setdefault(piece.raw_file, []).append(positions_in(piece).runs)
    return [
        Landed(selection.source, raw_file, tuple(parts), int(parts[-1][-2] + parts[-1][-1]) if len(parts[-1]) else 0)
        for raw_file, parts in runs.items()
    ]
