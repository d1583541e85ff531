"""When a request may leave: no second is too full, the breaker opens, probes and closes, waits grow."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.deliver.http.pacing import Breaker, Pace, backoff_s


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


def opened() -> Breaker:
    breaker = Breaker(failures=1, first_s=1.0, longest_s=30.0)
    breaker.failed(0.0, probe=breaker.depart(), at_once=False)
    return breaker


def test_five_failures_in_a_row_open_it_and_a_success_in_between_does_not_count_them_together() -> None:
    breaker = Breaker()
    for number in range(4):
        breaker.failed(float(number), probe=breaker.depart(), at_once=False)
    breaker.succeeded()
    for number in range(4):
        breaker.failed(float(number), probe=breaker.depart(), at_once=False)
    assert not breaker.open
    assert breaker.may_leave_s() == -math.inf
    breaker.failed(10.0, probe=breaker.depart(), at_once=False)
    assert breaker.open
    assert 10.5 <= breaker.ready_s <= 11.0


def test_what_is_no_use_to_repeat_opens_it_at_once() -> None:
    breaker = Breaker()
    breaker.failed(0.0, probe=breaker.depart(), at_once=True)
    assert breaker.open


def test_one_probe_at_a_time() -> None:
    breaker = opened()
    assert breaker.depart()
    assert breaker.may_leave_s() is None
    breaker.failed(2.0, probe=True, at_once=False)
    assert breaker.may_leave_s() == breaker.ready_s


def test_waits_double_up_to_the_longest() -> None:
    breaker, now, waits = opened(), 0.0, []
    for _ in range(9):
        waits.append(breaker.ready_s - now)
        now = breaker.ready_s
        breaker.failed(now, probe=breaker.depart(), at_once=False)
    for wait_s, most in zip(waits, [1, 2, 4, 8, 16, 30, 30, 30, 30], strict=True):
        assert most / 2 <= wait_s <= most


def test_a_probe_that_succeeds_closes_it_and_the_waits_begin_anew() -> None:
    breaker = opened()
    breaker.failed(5.0, probe=breaker.depart(), at_once=False)
    breaker.depart()
    breaker.succeeded()
    assert breaker.may_leave_s() == -math.inf
    breaker.failed(9.0, probe=breaker.depart(), at_once=False)
    assert breaker.ready_s <= 10.0


def test_failures_of_requests_that_had_left_before_change_nothing() -> None:
    breaker = opened()
    ready_s = breaker.ready_s
    for _ in range(5):
        breaker.failed(0.2, probe=False, at_once=True)
    assert breaker.ready_s == ready_s
    breaker.depart()
    breaker.failed(1.5, probe=False, at_once=False)
    assert breaker.may_leave_s() is None, "the probe is still under way"


def test_a_probe_that_fails_after_another_request_has_succeeded_is_one_failure_of_many() -> None:
    breaker = Breaker(failures=2)
    breaker.failed(0.0, probe=breaker.depart(), at_once=True)
    probe = breaker.depart()
    breaker.succeeded()  # one that had left before
    breaker.failed(3.0, probe=probe, at_once=False)
    assert not breaker.open


def test_backoff_grows_to_a_limit_and_is_spread() -> None:
    waits = [[backoff_s(attempt) for _ in range(200)] for attempt in range(1, 30)]
    for attempt, found in enumerate(waits, start=1):
        most = min(20.0, 0.2 * 2 ** (attempt - 1))
        assert 0 <= min(found) < 0.2 * most, attempt
        assert 0.8 * most < max(found) <= most, attempt


def test_a_breaker_that_is_open_for_a_day_goes_on_probing() -> None:
    breaker, now_s = Breaker(), 0.0
    for _ in range(5_000):
        breaker.failed(now_s, probe=breaker.depart(), at_once=True)
        assert 0 < breaker.ready_s - now_s <= 30
        now_s = breaker.ready_s
    assert now_s > 86_400 / 2
