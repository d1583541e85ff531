"""Timestamps against datetime: random values, boundaries, magnitudes, zones with summer time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.compiler.timestamps import MAX_US, MIN_US, epoch_to_us, parse_column, parse_timestamp
from contracts.units import EPOCH, datetime_to_us, us_to_datetime
from tests.support.mutate import TIMESTAMPS
from tests.support.reference import epoch_us, is_date_time

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = st.sampled_from(("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC")).map(ZoneInfo)
OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
YEARS = {"min_value": datetime(2, 1, 1), "max_value": datetime(9998, 12, 31)}  # noqa: DTZ001


def us(text: str) -> int:
    """By datetime's own parser."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def format_us(moment_us: int) -> str:
    """RFC 3339 in UTC."""
    return us_to_datetime(moment_us).isoformat().replace("+00:00", "Z")


@given(st.datetimes(**YEARS, timezones=OFFSETS))
def test_random_times_with_an_offset_are_read_as_datetime_reads_them(moment: datetime) -> None:
    assert parse_timestamp(moment.isoformat(), None) == datetime_to_us(moment)
    assert us_to_datetime(datetime_to_us(moment)) == moment


@given(st.datetimes(**YEARS), ZONES)
def test_random_times_without_a_zone_are_read_in_the_zone_given(moment: datetime, zone: ZoneInfo) -> None:
    assert parse_timestamp(moment.isoformat(), zone) == datetime_to_us(moment.replace(tzinfo=zone))
    assert parse_timestamp(moment.isoformat(), None) is None


@given(st.integers(MIN_US, MAX_US))
def test_formatted_times_are_read_back(value: int) -> None:
    assert parse_timestamp(format_us(value), None) == value


@given(
    st.lists(
        st.none() | st.integers(MIN_US, MAX_US).map(format_us) | st.sampled_from(TIMESTAMPS) | st.text(max_size=27) | st.integers(),
        max_size=6,
    )
)
def test_a_column_is_read_as_its_values_are(values: list[object]) -> None:
    found, rest = parse_column(values)
    for i, value in enumerate(values):
        expected = parse_timestamp(value, None) if isinstance(value, str) else None
        if i in rest:
            assert found[i] is None and value is not None
        else:
            assert found[i] == expected
            assert value is None or expected is not None


@pytest.mark.parametrize("text", TIMESTAMPS)
def test_odd_texts_are_judged_as_the_reference_judges_them(text: str) -> None:
    zone_needed = parse_timestamp(text, None) is None
    assert (parse_timestamp(text, ZoneInfo("UTC")) is not None) == is_date_time(text)
    if not zone_needed:
        assert parse_timestamp(text, BERLIN) == parse_timestamp(text, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00.000001z", 1),
        ("1969-12-31 23:59:59.999999Z", -1),
        ("2026-11-02T10:00:00.1Z", us("2026-11-02T10:00:00.100000+00:00")),
        ("2026-11-02T10:00:00.123456789Z", us("2026-11-02T10:00:00.123456+00:00")),
        ("2026-11-02T10:00:00-00:00", us("2026-11-02T10:00:00+00:00")),
        ("0001-01-01T00:00:00Z", MIN_US),
        ("0001-01-01T00:00:00+00:01", None),
        ("9999-12-31T23:59:59.999999Z", MAX_US),
        ("9999-12-31T23:59:59.999999-00:01", None),
        ("2026-11-02T10:00:00.123456789012Z", us("2026-11-02T10:00:00.123456+00:00")),
        ("2026-11-02T10:00:00.1234567890123Z", None),
        # what exporters write, and ISO 8601 knows
        ("2026-11-02T10:00:00.000+0000", us("2026-11-02T10:00:00+00:00")),  # Salesforce
        ("2026-11-02 10:00:00 -0500", us("2026-11-02T10:00:00-05:00")),  # Shopify
        ("2026-11-02 10:00:00.123+00", us("2026-11-02T10:00:00.123000+00:00")),  # PostgreSQL
        ("2026-11-02 10:00:00.123 UTC", us("2026-11-02T10:00:00.123000+00:00")),  # BigQuery
        ("2026-11-02T10:00Z", us("2026-11-02T10:00:00+00:00")),
        ("2026-11-02 10:00:00,123Z", us("2026-11-02T10:00:00.123000+00:00")),
        # leap seconds are the second after
        ("2016-12-31T23:59:60Z", us("2017-01-01T00:00:00+00:00")),
        ("2017-01-01T00:59:60.5+01:00", us("2017-01-01T00:00:00.500000+00:00")),
        ("1990-06-30T23:59:60Z", us("1990-07-01T00:00:00+00:00")),
        ("2016-12-31T22:59:60Z", None),
        ("2016-12-30T23:59:60Z", None),
        ("2016-12-31T23:59:61Z", None),
        ("9999-12-31T23:59:60Z", None),
        # not without a rule that could be wrong
        ("2026-11-02", None),
        ("20261102T100000Z", None),
        ("2026-11-02T24:00:00Z", None),
        ("2026-11-02T10:00:00+5", None),
        ("2026-11-02T10:00:00 CET", None),
        ("11/02/2026 10:00 AM", None),
        ("Mon, 02 Nov 2026 10:00:00 GMT", None),
    ],
)
def test_texts_at_the_boundaries(text: str, expected: int | None) -> None:
    assert parse_timestamp(text, None) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-29T01:59:59", "2026-03-29T01:59:59+01:00"),
        ("2026-03-29T02:30:00", "2026-03-29T02:30:00+01:00"),  # skipped: the offset before the change
        ("2026-03-29T03:00:00", "2026-03-29T03:00:00+02:00"),
        ("2026-10-25T01:59:59", "2026-10-25T01:59:59+02:00"),
        ("2026-10-25T02:30:00", "2026-10-25T02:30:00+02:00"),  # repeated: the first of the two
        ("2026-10-25T03:00:00", "2026-10-25T03:00:00+01:00"),
    ],
)
def test_local_times_around_the_change_to_summer_time(text: str, expected: str) -> None:
    assert parse_timestamp(text, BERLIN) == us(expected)


@pytest.mark.parametrize(
    ("number", "unit", "expected"),
    [
        (999_999_999, None, None),
        (1_000_000_000, None, 1_000_000_000_000_000),
        (9_999_999_999, None, 9_999_999_999_000_000),
        (10_000_000_000, None, None),
        (31_536_000_000, None, None),  # 1971 in milliseconds, 2969 in seconds
        (31_536_000_000, "ms", 31_536_000_000_000),
        (-86_400_000, None, None),
        (-86_400_000, "ms", -86_400_000_000),
        (1_000_000_000_000, None, 1_000_000_000_000_000),
        (1_000_000_000_000_000, None, 1_000_000_000_000_000),
        (9_999_999_999_999_999, None, 9_999_999_999_999_999),
        (10_000_000_000_000_000, None, None),
        (1_793_613_600_000_000_123, "ns", 1_793_613_600_000_000),
        (-1, "ns", -1),
        (0, None, None),
        (0, "s", 0),
        (-0.0, "ms", 0),
        (-62_135_596_800, "s", MIN_US),
        (-62_135_596_801, "s", None),
        (253_402_300_799, "s", MAX_US // 1_000_000 * 1_000_000),
        (253_402_300_800, "s", None),
        (1_762_077_600.5, None, 1_762_077_600_500_000),
        (1_762_077_600_123.5, None, 1_762_077_600_123_500),
        (10**400, None, None),
        (10**400, "ns", None),
        (float("inf"), "s", None),
        (float("nan"), "s", None),
    ],
    ids=lambda value: str(value)[:24],
)
def test_numbers_since_the_epoch_have_the_stated_unit_or_one_by_their_digits(
    number: float, unit: str | None, expected: int | None
) -> None:
    assert epoch_to_us(number, unit) == expected


@given(
    st.integers(-(10**20), 10**20) | st.integers(0, 19).map(lambda n: 10**n) | st.floats(-1e20, 1e20),
    st.sampled_from((None, "s", "ms", "us", "ns")),
)
def test_random_numbers_since_the_epoch_are_read_as_the_reference_reads_them(number: float, unit: str | None) -> None:
    assert epoch_to_us(number, unit) == epoch_us(number, unit)
