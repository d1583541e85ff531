"""Late data is an output, by one exact rule: a record is late when its window's end plus the allowed lateness is not after W.

W is the watermark that the source gave the record. Bounded input has the smallest W there is, so nothing of it is late.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

NEVER_LATE_US = -(2**63)


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
