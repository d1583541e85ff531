"""What became of each source position, as elements: the ledger's entries on their way."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt


class Outcome(StrEnum):
    """What a committed position came to. Where attempts disagree the first in this list holds.

    What holds of an accepted position whose row is not published, ``ledger.py`` says. DUPLICATE is a note about such a row and no
    outcome: it lost to the row of another position. Written too early, or alone, it says nothing.
    """

    ACCEPTED = "accepted"
    ERASED = "erased"  # taken away for good, because somebody asked for it
    EXPIRED = "expired"  # taken away by age
    FILTERED = "filtered"
    DEAD_LETTER = "dead_letter"
    LATE = "late"
    HELD = "held"  # set aside, to be judged later
    OUTSIDE = "outside"  # of a replay only: its window is not among those that are rebuilt
    DUPLICATE = "duplicate"


@dataclass(frozen=True)
class PositionOutcomes:
    """One outcome for many positions of one raw file, emitted only after what it says is committed.

    runs: first position and length of each stretch, flat: [first, length, first, length, …]; sorted, disjoint.
    window_from, window_to: the range of event time that they reach, microseconds; None where they reach none. dataset: which they
    are of. item: which item of each record; None for the record as a whole.
    """

    source: str
    raw_file: str
    outcome: str
    runs: tuple[int, ...]
    window_from: int | None
    window_to: int | None
    dataset: str | None = None  # savepoints of versions before hold outcomes without these
    item: int | None = None


def runs_of(positions: npt.NDArray[np.int64]) -> tuple[int, ...]:
    """Positions (any order, repeats allowed) as runs."""
    if len(positions) == 0:
        return ()
    ordered = np.sort(positions)
    ordered = ordered[np.diff(ordered, prepend=ordered[0] - 1) != 0]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 2) != 1)
    lengths = np.diff(starts, append=len(ordered))
    return tuple(np.column_stack((ordered[starts], lengths)).ravel().tolist())


def positions_of(runs: Any) -> npt.NDArray[np.int64]:
    """The inverse of ``runs_of``: sorted positions."""
    pairs = np.asarray(runs, dtype=np.int64).reshape(-1, 2)
    if len(pairs) == 0:
        return np.empty(0, dtype=np.int64)
    return np.concatenate([np.arange(first, first + length) for first, length in pairs])
