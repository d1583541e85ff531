"""When the circuit breaker opens, how it probes, and what closes it."""

from __future__ import annotations

import math

from transforms.deliver.http.pacing import Breaker


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
