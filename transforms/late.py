"""Late data is an output, by one exact rule: a record is late when its window's end plus the allowed lateness is not after W.

W is the watermark that the source gave the record. Bounded input has the smallest W there is, so nothing of it is late.

A row that is far ahead of W does not wait for its window, which may be years away: it is folded with the window that is open at W.
It lies where its own time says, so this decides when it is published, and never what.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from contracts.units import HOUR_US

NEVER_LATE_US = -(2**63)
_AHEAD_US = HOUR_US  # as far as a client's clock is believed by default (rows.py): its window is waited for


def is_late(
    window_time_us: npt.NDArray[np.int64], watermark_us: npt.NDArray[np.int64] | int, *, window_us: int, allowed_lateness_us: int
) -> npt.NDArray[np.bool_]:
    """Which rows are late.

    Args:
        window_time_us: decides each row's window.
        watermark_us: W of each row, or of all.
        window_us: length of the (aligned) windows.
        allowed_lateness_us: how long after its end a window still takes rows.
    """
    ends = (window_time_us // window_us + 1) * window_us
    marks = np.maximum(watermark_us, NEVER_LATE_US + allowed_lateness_us)  # there is nothing smaller to compare with
    late: npt.NDArray[np.bool_] = ends <= marks - allowed_lateness_us
    return late


def fold_times_us(window_time_us: npt.NDArray[np.int64], watermark_us: npt.NDArray[np.int64], now_us: int) -> npt.NDArray[np.int64]:
    """The time whose window each row is folded with: its own, or W where it is far ahead.

    Args:
        window_time_us: decides where each row lies.
        watermark_us: W of each row. It is not behind the watermark of a runner, so none drops a row with this time.
        now_us: the clock, in place of W where there is none yet.
    """
    present = np.where(watermark_us == NEVER_LATE_US, now_us, watermark_us)
    return np.where(window_time_us > present + _AHEAD_US, present, window_time_us)
