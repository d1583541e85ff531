"""The lateness rule, on each side of its boundary."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.late import NEVER_LATE_US, fold_times_us, is_late

MINUTE_US = 60_000_000


def late(window_time_us: int, watermark_us: int) -> bool:
    times = np.array([window_time_us], dtype=np.int64)
    return bool(is_late(times, watermark_us, window_us=MINUTE_US, allowed_lateness_us=10 * MINUTE_US)[0])


@pytest.mark.parametrize("time", [0, 1, MINUTE_US - 1])
def test_a_row_is_late_when_its_windows_end_plus_the_lateness_is_not_after_the_watermark(time: int) -> None:
    closing = MINUTE_US + 10 * MINUTE_US
    assert not late(time, closing - 1)
    assert late(time, closing)
    assert late(time, closing + 1)


def test_the_first_moment_of_a_window_belongs_to_it() -> None:
    assert not late(MINUTE_US, 11 * MINUTE_US)
    assert late(MINUTE_US - 1, 11 * MINUTE_US)


@pytest.mark.parametrize("time", [-(10**17), -1, 0, 10**17])
def test_bounded_input_has_no_late_rows(time: int) -> None:
    assert not late(time, NEVER_LATE_US)


def test_windows_before_1970_are_aligned_too() -> None:
    assert late(-1, 10 * MINUTE_US)
    assert not late(-1, 10 * MINUTE_US - 1)


HOUR_US = 60 * MINUTE_US
W = 1_793_613_600_000_000


def fold_time(window_time_us: int, watermark_us: int, now_us: int = 0) -> int:
    return int(fold_times_us(np.array([window_time_us]), np.array([watermark_us]), now_us)[0])


@pytest.mark.parametrize("ahead_us", [HOUR_US + 1, 48 * HOUR_US, 64 * 365 * 24 * HOUR_US])
def test_a_row_far_ahead_of_the_watermark_is_folded_with_the_window_that_is_open(ahead_us: int) -> None:
    assert fold_time(W + ahead_us, W) == W
    assert fold_time(W + ahead_us, NEVER_LATE_US, now_us=W) == W


@pytest.mark.parametrize("time", [-(10**17), W - HOUR_US, W, W + HOUR_US])
def test_any_other_row_is_folded_with_its_own_window(time: int) -> None:
    assert fold_time(time, W) == time
    assert fold_time(time, NEVER_LATE_US, now_us=W) == time


def test_a_clock_that_is_behind_moves_no_row_behind_the_watermark() -> None:
    assert fold_time(W + HOUR_US, W, now_us=0) == W + HOUR_US
    assert fold_time(W + 2 * HOUR_US, W, now_us=0) == W
