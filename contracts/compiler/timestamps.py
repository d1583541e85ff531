"""Timestamps to microseconds since 1970-01-01T00:00:00Z: one value at a time, and a column at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from contracts.units import MINUTE_US, SECOND_US, datetime_to_us, us_to_datetime

# RFC 3339, section 5.6, with a blank for T as its note allows, and what ISO 8601 allows beyond it and exporters write: no seconds
# (HubSpot), a comma before the fraction (log4j), zones as +0000 (Salesforce), +00 (PostgreSQL), behind a blank (Shopify), UTC
# (BigQuery). Fractions beyond microseconds are cut.
TIMESTAMP_FORM = r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,12}))?)?"
ZONE_FORM = r"(?: ?(Z|z|UTC|[+-]\d\d(?::?\d\d)?))"
_TIMESTAMP = re.compile(TIMESTAMP_FORM + ZONE_FORM + r"?\Z", re.ASCII)
_LEAP_SECOND = 60
EPOCH_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_UNIT_US: dict[str | None, int] = {"s": SECOND_US, "ms": 1_000, "us": 1}
PLAUSIBLE_DIGITS = {"s": 10, "ms": 13, "us": 16}
# Beyond year 9999 no client means what it says; the bounds are those of datetime.
_LARGEST_EXPONENT = 21
_EXACT = Context(prec=400)
MIN_US, MAX_US = -62_135_596_800_000_000, 253_402_300_799_999_999


def parse_timestamp(text: str, zone: ZoneInfo | None) -> int | None:
    """Text to microseconds; see ``_TIMESTAMP``. ``zone`` is for texts without one; None refuses those.

    A local time that a zone skips or repeats is read as Python's ``fold=0``: the offset before the change. A leap second (23:59:60
    UTC on the last day of a month) is the second after 23:59:59, as in POSIX.

    Returns:
        None where the text is no timestamp.
    """
    match = _TIMESTAMP.match(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    microsecond = int((match[7] or "0")[:6].ljust(6, "0"))
    offset = match[8]
    if offset is None and zone is None:
        return None
    leaps = second == _LEAP_SECOND
    try:
        moment = datetime(year, month, day, hour, minute, second - leaps, microsecond, tzinfo=UTC if offset else zone)
        us = datetime_to_us(moment) + leaps * SECOND_US
    except (ValueError, OverflowError):
        return None
    if offset not in (None, "Z", "z", "UTC"):
        hours, minutes = int(offset[1:3]), int(offset[3:].lstrip(":") or 0)
        if hours > 23 or minutes > 59:
            return None
        us -= (1 if offset[0] == "+" else -1) * (hours * 60 + minutes) * MINUTE_US
    if not MIN_US <= us <= MAX_US or (leaps and not _begins_month(us - microsecond)):
        return None
    return us


def _begins_month(us: int) -> bool:
    moment = us_to_datetime(us)
    return (moment.day, moment.hour, moment.minute, moment.second) == (1, 0, 0, 0)


def epoch_to_us(number: float | Decimal, unit: str | None = None) -> int | None:
    """A number since the epoch to microseconds, the nearest one; of nanoseconds what is beyond microseconds is cut.

    Without a unit it is told by the digits before the point: 10 are seconds, 13 milliseconds, 16 microseconds (2001 to 2286).
    Anything else could be one or the other, and is refused.
    """
    if type(number) is int and unit != "ns":
        us = number * _UNIT_US.get(unit or _unit_by_digits(number), 0)
    else:
        exact = Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
        if not exact.is_finite() or exact.adjusted() > _LARGEST_EXPONENT:
            return None
        if unit == "ns":
            us = int(exact.to_integral_value(ROUND_FLOOR)) // 1_000
        else:
            us = round(_EXACT.multiply(exact, _UNIT_US.get(unit or _unit_by_digits(exact), 0)))
    return us if MIN_US <= us <= MAX_US and (unit or us) else None


def _unit_by_digits(number: int | Decimal) -> str | None:
    return next((unit for unit, digits in PLAUSIBLE_DIGITS.items() if 10 ** (digits - 1) <= number < 10**digits), None)


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
