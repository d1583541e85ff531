"""Which request meets which fault, without a server."""

from __future__ import annotations

from collections import Counter

from devstack.cdp.faults import KINDS, FaultPlan, Faults

OTHERS = [f"u-{number}" for number in range(1_000)]  # each event another user's


def test_a_share_is_met_by_seed_and_by_all_of_its_kinds() -> None:
    def met(seed: int) -> list[str | None]:
        faults = Faults(FaultPlan(share=0.2, seed=seed))
        return [faults.next() for _ in range(5_000)]

    first = met(7)
    assert first == met(7)
    assert first != met(8)
    counts = Counter(first)
    assert set(counts) == {None, *KINDS}
    assert 800 < 5_000 - counts[None] < 1_200


def test_a_script_comes_before_the_share_and_ends() -> None:
    faults = Faults(FaultPlan(script=["ok", "503", "reset_after"]))
    assert faults.in_force
    assert [faults.next() for _ in range(5)] == [None, "503", "reset_after", None, None]
    assert not faults.in_force


def test_poison_is_in_force_until_the_plan_changes() -> None:
    assert Faults(FaultPlan(poison="x")).in_force
    assert not Faults().in_force


def test_the_rate_limit_is_of_any_second_and_says_how_long_to_wait() -> None:
    faults = Faults(FaultPlan(rate_limit_per_s=2))
    assert [faults.over_limit(at) for at in (10.0, 10.6, 10.9, 10.99)] == [None, None, 1, 1]
    assert faults.over_limit(11.0) is None  # the first has left the window
    assert faults.over_limit(11.5) == 1  # refused ones did not count
    assert faults.over_limit(11.7) is None


def test_of_a_partial_failure_at_least_one_event_fails_and_only_with_the_statuses_asked_for() -> None:
    faults = Faults(FaultPlan(partial_share=0.0, partial_statuses=[429, 503]))
    assert [len(faults.rejected(OTHERS[:10])) for _ in range(20)] == [1] * 20
    many = Faults(FaultPlan(partial_share=0.5, partial_statuses=[429, 503])).rejected(OTHERS)
    assert 400 < len(many) < 600
    assert set(many.values()) == {429, 503}
    assert set(many) <= set(range(1_000))


def test_what_may_come_again_fails_with_all_later_events_of_its_user() -> None:
    users = [f"u-{number % 7}" for number in range(100)]
    found = Faults(FaultPlan(partial_share=0.05, partial_statuses=[429, 503])).rejected(users)
    firsts = {user: min(i for i in found if users[i] == user) for user in {users[i] for i in found}}
    assert set(found) == {i for i, user in enumerate(users) if user in firsts and i >= firsts[user]}
    final = Faults(FaultPlan(partial_share=0.05, partial_statuses=[400])).rejected(users)
    assert 0 < len(final) < 15
