"""Timestamps against datetime: random values, boundaries, magnitudes, zones with summer time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.compiler.timestamps import MAX_US, MIN_US, epoch_to_us, parse_column, parse_timestamp
from contracts.units import EPOCH, datetime_to_us, us_to_datetime
from tests.support.mutate import TIMESTAMPS
from tests.support.reference import is_date_time, is_epoch

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
        ("2026-11-02T10:00:00.1234567890Z", None),
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
    ("number", "expected"),
    [
        (0, 0),
        (99_999_999_999, 99_999_999_999_000_000),  # the last second
        (100_000_000_000, 100_000_000_000_000),  # the first millisecond
        (99_999_999_999_999, 99_999_999_999_999_000),
        (100_000_000_000_000, 100_000_000_000_000),  # the first microsecond
        (99_999_999_999_999_999, 99_999_999_999_999_999),
        (100_000_000_000_000_000, None),
        (-62_135_596_800, MIN_US),
        (-62_135_596_801, None),
        (-99_999_999_999_999, None),
        (-99_999_999_999_999_999, None),
        (1_762_077_600.5, 1_762_077_600_500_000),
        (1_762_077_600_123.5, 1_762_077_600_123_500),
        (-0.0, 0),
        (10**400, None),
        (float("inf"), None),
        (float("nan"), None),
    ],
    ids=lambda value: str(value)[:24],
)
def test_numbers_since_the_epoch_have_a_unit_by_magnitude(number: float, expected: int | None) -> None:
    assert epoch_to_us(number) == expected


@given(st.integers(-(10**18), 10**18) | st.floats(-1e18, 1e18))
def test_random_numbers_since_the_epoch_are_accepted_as_the_reference_accepts_them(number: float) -> None:
    found = epoch_to_us(number)
    assert (found is not None) == is_epoch(number)
    if found is not None:
        unit = 1 if abs(number) < 10**11 else 1_000 if abs(number) < 10**14 else 1_000_000
        assert abs(us_to_datetime(found) - (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=number / unit))) < timedelta(
            microseconds=20
        )
