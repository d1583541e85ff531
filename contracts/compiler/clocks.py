"""Which times that a machine wrote are believed: by functions of the record and of its log, never of a worker's clock.

A record's *clock* is the time at which a collector or a log received it. Three things may say it: the record itself
(``receivedAt``), the record time of a log, and nothing. A file's modification time is no clock: it says when a copy was made.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from contracts.units import DAY_US

NO_TIME_US = 0  # the record time of a message that has none
# Kafka's -1 and 0 ("no time"), and seconds, micro- and nanoseconds read as milliseconds lie outside of these two.
_CLOCKS_FROM_US = 10_957 * DAY_US  # 2000-01-01
LATEST_US = 47_482 * DAY_US - 1  # the end of 2099
_CLOCKS_TO_US = 29_220 * DAY_US - 1  # the end of 2049: a clock shows the present, and no release of this lasts so long
EARLIEST_US = -25_567 * DAY_US  # 1900-01-01
_CLOCKS_FROM_MS, _CLOCKS_TO_MS = _CLOCKS_FROM_US // 1_000, _CLOCKS_TO_US // 1_000


def is_clock_time(us: int) -> bool:
    """Whether a collector or a log can have shown this time."""
    return _CLOCKS_FROM_US <= us <= _CLOCKS_TO_US


def record_times_us(times_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Record times of messages as microseconds; NO_TIME_US where there is none that can be believed."""
    believed = (times_ms >= _CLOCKS_FROM_MS) & (times_ms <= _CLOCKS_TO_MS)
    return np.where(believed, times_ms, 0) * 1_000


def within_reason(us: int) -> int:
    """The nearest time that an event can have."""
    return min(max(us, EARLIEST_US), LATEST_US)
