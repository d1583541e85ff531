"""Units of time, and times as people read them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from contracts.compiler.timestamps import us_to_datetime

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
HOUR_S, DAY_S = 3_600, 86_400
DURATION_UNITS = {"d": DAY_S, "h": HOUR_S, "m": 60, "s": 1}  # seconds, the longest first

Timespec = Literal["auto", "seconds", "milliseconds", "microseconds"]


def utc_text(moment: datetime, timespec: Timespec = "auto") -> str:
    """A UTC time in ISO 8601, with Z."""
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def us_text(us: int, timespec: Timespec = "auto") -> str:
    """Microseconds since 1970 in ISO 8601, with Z."""
    return utc_text(us_to_datetime(us), timespec)
