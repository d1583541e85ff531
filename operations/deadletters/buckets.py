"""Letters by stretch of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.units import DAY_US, HOUR_US
from operations.deadletters.selection import LetterSelection

_MOST_BUCKETS = 48  # marks of a sparkline
_LENGTHS_US = (HOUR_US, 4 * HOUR_US, DAY_US, 7 * DAY_US, 28 * DAY_US, 364 * DAY_US)


@dataclass(frozen=True)
class Buckets:
    """Stretches of time, so long that they are few."""

    from_us: int
    length_us: int
    count: int

    @classmethod
    def of(cls, groups: pa.Table, selection: LetterSelection) -> Buckets:
        """From the time since when, or the first letter, to the time until when, or the last."""
        hours = groups.column("hour")
        first = pc.min(hours).as_py() or 0 if selection.since_us is None else selection.since_us // HOUR_US
        last = pc.max(hours).as_py() or 0 if selection.until_us is None else (selection.until_us - 1) // HOUR_US
        first_us, last_us = first * HOUR_US, last * HOUR_US
        fits = (n for n in _LENGTHS_US if last_us // n - first_us // n < _MOST_BUCKETS)
        length_us = next(fits, -(-(last_us - first_us) // _MOST_BUCKETS))
        from_us = first_us // length_us * length_us
        return cls(from_us, length_us, (last_us - from_us) // length_us + 1)

    def counts(self, groups: pa.Table) -> tuple[int, ...]:
        """Letters by bucket."""
        places = (groups.column("hour").to_numpy() * HOUR_US - self.from_us) // self.length_us
        letters = groups.column("letters").to_numpy()
        return tuple(np.bincount(places, weights=letters, minlength=self.count).astype(np.int64).tolist())
