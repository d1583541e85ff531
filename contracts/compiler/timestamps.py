"""Timestamps to microseconds since 1970-01-01T00:00:00Z: one value at a time, and a column at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from contracts.units import MINUTE_US, SECOND_US, datetime_to_us

# RFC 3339, section 5.6, with a blank for T as its note allows; fractions beyond microseconds are cut.
_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|z|[+-]\d\d:\d\d)?\Z", re.ASCII)
# Beyond year 9999 no client means what it says; the bounds are those of datetime.
MIN_US, MAX_US = -62_135_596_800_000_000, 253_402_300_799_999_999


def parse_timestamp(text: str, zone: ZoneInfo | None) -> int | None:
    """RFC 3339 text to microseconds. ``zone`` is for texts without one; None refuses those.

    A local time that a zone skips or repeats is read as Python's ``fold=0``: the offset before the change.

    Returns:
        None where the text is no timestamp.
    """
    match = _RFC3339.match(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    microsecond = int((match[7] or "0")[:6].ljust(6, "0"))
    offset = match[8]
    if offset is None and zone is None:
        return None
    try:
        moment = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=UTC if offset else zone)
        us = datetime_to_us(moment)
    except (ValueError, OverflowError):
        return None
    if offset not in (None, "Z", "z"):
        hours, minutes = int(offset[1:3]), int(offset[4:])
        if hours > 23 or minutes > 59:
            return None
        us -= (1 if offset[0] == "+" else -1) * (hours * 60 + minutes) * MINUTE_US
    return us if MIN_US <= us <= MAX_US else None


def epoch_to_us(number: int | float) -> int | None:
    """A number since the epoch, unit by magnitude: below 1e11 seconds, below 1e14 milliseconds, below 1e17 microseconds.

    So seconds reach to the year 5138, and milliseconds begin in March 1973.
    """
    size = abs(number)
    if size < 100_000_000_000:
        us = number * SECOND_US
    elif size < 100_000_000_000_000:
        us = number * 1_000
    elif size < 100_000_000_000_000_000:
        us = number
    else:
        return None
    rounded = round(us)
    return rounded if MIN_US <= rounded <= MAX_US else None


_DAYS_BEFORE_MONTH = np.array([0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334], dtype=np.int64)
_DAYS_IN_MONTH = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], dtype=np.int64)
_DIGITS_AT = np.array([0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18])
_MARKS_AT = np.array([4, 7, 10, 13, 16])
_MARKS = np.frombuffer(b"--T::", dtype=np.uint8)
_FRACTION_LENGTH = {20: 0, 24: 3, 27: 6}  # YYYY-MM-DDTHH:MM:SS[.fff[fff]]Z


def parse_column(values: Sequence[Any]) -> tuple[list[int | None], list[int]]:
    """A whole column at once: the form ``YYYY-MM-DDTHH:MM:SS[.fff[fff]]Z`` in the length that its first text has, the rest by one.

    Args:
        values: strings, None, or anything else.

    Returns:
        Microseconds (None where there is none), and the indexes of values that ``parse_timestamp`` refuses without a zone.
    """
    length = next((len(value) for value in values if type(value) is str), 0)
    if length not in _FRACTION_LENGTH:
        length = 24
    filler = "x" * length
    texts = [value if type(value) is str and len(value) == length else filler for value in values]
    parsed, good = _parse_fixed(texts, length)
    out: list[int | None] = parsed.tolist()
    rest: list[int] = []
    for i in np.flatnonzero(~good).tolist():
        value = values[i]
        out[i] = parse_timestamp(value, None) if type(value) is str else None
        if out[i] is None and value is not None:
            rest.append(i)
    return out, rest


def _parse_fixed(texts: list[str], length: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    raw = np.frombuffer("".join(texts).encode("ascii", "replace"), dtype=np.uint8).reshape(-1, length)
    fraction = _FRACTION_LENGTH[length]
    digits = raw[:, _DIGITS_AT].astype(np.int64) - 48
    good = (raw[:, _MARKS_AT] == _MARKS).all(axis=1) & (raw[:, -1] == ord("Z"))
    good &= ((digits >= 0) & (digits <= 9)).all(axis=1)
    sub = np.zeros(len(texts), dtype=np.int64)
    if fraction:
        places = raw[:, 20 : 20 + fraction].astype(np.int64) - 48
        good &= (raw[:, 19] == ord(".")) & ((places >= 0) & (places <= 9)).all(axis=1)
        sub = places @ (10 ** np.arange(5, 5 - fraction, -1, dtype=np.int64))
    year = digits[:, 0] * 1000 + digits[:, 1] * 100 + digits[:, 2] * 10 + digits[:, 3]
    month, day, hour, minute, second = (digits[:, k] * 10 + digits[:, k + 1] for k in (4, 6, 8, 10, 12))
    good &= (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (hour <= 23) & (minute <= 59) & (second <= 59)
    month = np.clip(month, 1, 12)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    good &= (day <= _DAYS_IN_MONTH[month]) & ~((month == 2) & (day == 29) & ~leap)
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 + _DAYS_BEFORE_MONTH[month] + (leap & (month > 2)) + day - 1
    seconds = ((days - 719_162) * 24 + hour) * 3600 + minute * 60 + second  # 719162 = days from 0001-01-01 to 1970-01-01
    return seconds * SECOND_US + sub, good
