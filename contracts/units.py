"""Units of time; moments as microseconds since 1970; these, durations and sizes as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
HOUR_S, DAY_S = 3_600, 86_400
DURATION_UNITS = {"d": DAY_S, "h": HOUR_S, "m": 60, "s": 1}  # seconds, the longest first

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
Timespec = Literal["auto", "seconds", "milliseconds", "microseconds"]


def datetime_to_us(moment: datetime) -> int:
    """Microseconds since the epoch of an aware datetime, exactly."""
    return (moment - EPOCH) // _MICROSECOND


def us_to_datetime(us: int) -> datetime:
    """The aware UTC datetime of microseconds since the epoch."""
    return EPOCH + us * _MICROSECOND


def utc_text(moment: datetime, timespec: Timespec = "auto") -> str:
    """A UTC time in ISO 8601, with Z."""
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def us_text(us: int, timespec: Timespec = "auto") -> str:
    """Microseconds since 1970 in ISO 8601, with Z."""
    return utc_text(us_to_datetime(us), timespec)


def size_text(size_bytes: float) -> str:
    """Bytes as ``12.3 MB`` of 1,024."""
    value, unit = float(size_bytes), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def duration_text(seconds: float) -> str:
    """Seconds as a person says it: ``3d 4h``, ``12m 5s``."""
    left, parts = max(0, int(seconds)), []
    for unit, length in DURATION_UNITS.items():
        if left >= length:
            parts.append(f"{left // length}{unit}")
            left %= length
    return " ".join(parts[:2]) or "0s"
