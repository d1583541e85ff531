"""Ranges are disjoint, hold every row, respect what is published, and are few where rows are few."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.units import DAY_S, DAY_US, MINUTE_US, SECOND_US
from lake.tables.iceberg import PublishedFile
from lake.tables.ranges import LENGTHS_S, Cutting, Ints, Ranging, Span, cuttings, dense_spans, tiles

WHOLE_S = LENGTHS_S[-1]
MINUTES = 3 * 24 * 60
YEAR_1_US, YEAR_9999_US = -62_135_596_800 * SECOND_US, 253_402_300_799 * SECOND_US
NOW_US = 20_000 * DAY_US


def ordered(times: Sequence[int]) -> Ints:
    return np.sort(np.array(times, dtype=np.int64))


def files_between(bounds: Sequence[int], rows: int) -> list[PublishedFile]:
    """Every other stretch between these minutes is a published file."""
    edges = sorted(set(bounds))
    pairs = list(zip(edges[::2], edges[1::2], strict=False))
    return [PublishedFile(a * MINUTE_US, b * MINUTE_US, 0, f"f{a}", rows) for a, b in pairs]


minutes = st.lists(st.integers(0, MINUTES), max_size=30)
some_times = st.lists(st.integers(0, MINUTES * MINUTE_US - 1), min_size=1, max_size=60).map(ordered)
rangings = st.sampled_from([60, 7 * 60, 3_600, 5 * 3_600, DAY_S, None])


def spans_of(times: Ints, window_s: int | None, most_rows: int) -> list[Span]:
    return list(dense_spans(times, most_rows)) if window_s is None else list(Ranging(window_s).spans(times))


@given(some_times, minutes, st.integers(1, 40), rangings, st.integers(1, 50))
def test_cuttings_hold_every_time_are_disjoint_and_cut_no_published_range(
    times: Ints, bounds: list[int], rows: int, window_s: int | None, most_rows: int
) -> None:
    files = files_between(bounds, rows)
    found = cuttings(times, spans_of(times, window_s, most_rows), files, most_rows)
    assert [(cut.first, cut.last) for cut in found] == list(pairwise([0, *(cut.last for cut in found)]))
    assert found[-1].last == len(times)
    assert all(a.to_us <= b.from_us for a, b in pairwise(found))
    for cut in found:
        assert cut.from_us % MINUTE_US == cut.to_us % MINUTE_US == 0
        assert cut.from_us <= times[cut.first] and times[cut.last - 1] < cut.to_us
        for file in files:
            if file.overlaps(cut.from_us, cut.to_us, 0):
                assert cut.from_us <= file.from_us and file.to_us <= cut.to_us
        joined = [file for file in files if file.overlaps(cut.from_us, cut.to_us, 0)]
        assert len(joined) <= 1 or sum(f.rows for f in joined) + cut.last - cut.first <= most_rows


@given(some_times, st.integers(1, 50))
def test_tiles_adjoin_and_only_a_minute_holds_more_rows_than_asked_for(times: Ints, most_rows: int) -> None:
    span = (-5 * MINUTE_US, (MINUTES + 5) * MINUTE_US)
    found = tiles(times, span, most_rows)
    assert (found[0].from_us, found[-1].to_us, found[0].first, found[-1].last) == (*span, 0, len(times))
    for a, b in pairwise(found):
        assert (a.to_us, a.last) == (b.from_us, b.first)
    for tile in found:
        own = times[tile.first : tile.last]
        assert len(own) <= most_rows or len(np.unique(own // MINUTE_US)) == 1
        assert ((own >= tile.from_us) & (own < tile.to_us)).all()


@given(some_times, st.integers(1, 50))
def test_two_neighbours_by_density_hold_more_than_one_may(times: Ints, most_rows: int) -> None:
    """So there are at most twice as many files as rows need."""
    spans = list(dense_spans(times, most_rows))
    held = [int(np.searchsorted(times, high) - np.searchsorted(times, low)) for low, high in spans]
    assert sum(held) == len(times)
    assert all(a + b > most_rows for a, b in pairwise(held))


def one_event_a_day_for_ten_years() -> Ints:
    return ordered([NOW_US - day * DAY_US for day in range(3_650)])


def one_event_years_ago_and_a_million_last_week() -> Ints:
    return ordered([NOW_US - 2_500 * DAY_US, *np.linspace(NOW_US - 7 * DAY_US, NOW_US - 1, 1_000_000).astype(int).tolist()])


@pytest.mark.parametrize(
    ("times", "most_files"),
    [
        pytest.param(one_event_a_day_for_ten_years(), 1, id="one event a day for ten years"),
        pytest.param(one_event_years_ago_and_a_million_last_week(), 20, id="one event years ago, a million last week"),
        pytest.param(ordered([NOW_US] * 300_000), 1, id="all events in one second"),
        pytest.param(ordered([YEAR_1_US, -1, 0, YEAR_9999_US]), 4, id="years 1 to 9999"),
        pytest.param(ordered([]), 0, id="no event"),
    ],
)
def test_files_follow_rows_and_not_time(times: Ints, most_files: int) -> None:
    spans = list(Ranging(WHOLE_S, by_density=True).spans(times))
    assert len(spans) <= most_files
    held = [int(np.searchsorted(times, high) - np.searchsorted(times, low)) for low, high in spans]
    assert sum(held) == len(times)
    assert all(count <= 100_000 for count in held) or len(np.unique(times)) == 1


def test_a_range_ends_with_the_day_of_its_last_row() -> None:
    """A stream that begins after the import of history does not write into the history's file for ever."""
    (span,) = Ranging(WHOLE_S, by_density=True).spans(ordered([NOW_US - 500 * DAY_US + 5, NOW_US + 7]))
    assert span == (NOW_US - 500 * DAY_US, NOW_US + DAY_US)


def test_a_range_by_density_keeps_within_the_bounds_of_a_replay() -> None:
    bounds = ((NOW_US, NOW_US + 3_600 * SECOND_US), (NOW_US + 2 * DAY_US, NOW_US + 3 * DAY_US))
    times = ordered([NOW_US + 5, NOW_US + 2 * DAY_US + 5])
    assert list(Ranging(WHOLE_S, by_density=True, within=bounds).spans(times)) == list(bounds)


def test_a_range_by_density_keeps_within_the_window_that_it_fires_with() -> None:
    """Else the windows of a day would all take that day for themselves."""
    hour_us = 3_600 * SECOND_US
    times = ordered([NOW_US + hour * hour_us + 5 for hour in range(3)])
    spans = [(NOW_US + hour * hour_us, NOW_US + (hour + 1) * hour_us) for hour in range(3)]
    assert list(Ranging(3_600, by_density=True).spans(times)) == spans


def test_windows_that_do_not_divide_each_other_grow_no_range() -> None:
    """Files of 7 days, then a run with 30 days: weeks that reach over the end of a month keep their range."""
    weeks = [PublishedFile(n * 7 * DAY_US, (n + 1) * 7 * DAY_US, 0, f"w{n}", 10) for n in range(9)]
    times = ordered([day * DAY_US for day in range(63)])
    found = cuttings(times, list(Ranging(30 * DAY_S).spans(times)), weeks, None)
    assert [(cut.from_us // DAY_US, cut.to_us // DAY_US) for cut in found] == [(0, 28), (28, 35), (35, 56), (56, 63)]


def test_a_late_row_joins_the_one_file_that_holds_its_time() -> None:
    files = [PublishedFile(0, 400 * DAY_US, 0, "history", 99_999), PublishedFile(400 * DAY_US, 401 * DAY_US, 0, "day", 500_000)]
    times = ordered([5 * DAY_US, 400 * DAY_US + 7])
    found = cuttings(times, list(Ranging(WHOLE_S, by_density=True).spans(times)), files, 100_000)
    assert found == [Cutting(0, 400 * DAY_US, 0, 1), Cutting(400 * DAY_US, 401 * DAY_US, 1, 2)]
