"""No second has more requests than allowed, as the destination sees them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.deliver.http.pacing import Pace


def most_in_one_second(arrivals: list[float]) -> int:
    """Of all half-open seconds."""
    ordered = sorted(arrivals)
    return max(sum(1 for other in ordered if start <= other < start + 1.0 - 1e-9) for start in ordered)


@given(
    per_s=st.sampled_from([1, 2, 3, 7, 20]),
    journeys=st.lists(st.tuples(st.floats(0, 0.25), st.floats(0, 2)), min_size=1, max_size=60),
    late=st.lists(st.floats(0, 0.4), min_size=60, max_size=60),
)
def test_requests_that_are_held_up_on_their_way_do_not_make_a_second_too_full(
    per_s: int, journeys: list[tuple[float, float]], late: list[float]
) -> None:
    """journeys: until arrival, and from there to the answer. late: how late a thread wakes."""
    pace, now, arrivals, answers = Pace(per_s), 0.0, [], []
    for (way_s, answer_s), late_s in zip(journeys, late, strict=False):
        now = max(now, pace.ready_s()) + late_s * (late_s > 0.2)
        for at, departure in [one for one in answers if one[0] <= now]:
            pace.arrived(departure, at)
        arrivals.append(now + way_s)
        answers.append((now + way_s + answer_s, pace.depart(now)))
    assert most_in_one_second(arrivals) <= per_s


@pytest.mark.parametrize(("per_s", "in_ten_seconds"), [(50, 500), (1, 10), (0.5, 5), (1.9, 10), (100 * 0.29, 290)])
def test_fast_answers_leave_the_rate_as_it_was_asked_for(per_s: float, in_ten_seconds: int) -> None:
    pace, now, sent = Pace(per_s), 0.0, 0
    while True:
        now = max(now, pace.ready_s())
        if now >= 10 - 1e-6:
            break
        pace.arrived(pace.depart(now), now)
        sent += 1
    assert sent == pytest.approx(in_ten_seconds, abs=1)


def test_requests_are_spaced_and_come_in_no_burst_after_a_pause() -> None:
    pace = Pace(10)
    for start in (0.0, 60.0):
        now = start
        for number in range(5):
            now = max(now, pace.ready_s())
            assert now == pytest.approx(start + number * 0.1)
            pace.depart(now)
