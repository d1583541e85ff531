"""Reprocessing, killed after each of its steps and given again: the state of one that was not disturbed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kills import assert_killed, kill_at
from tests.support.lake_state import scan
from tests.support.mended import MendedShop, State, repaired_state
from tests.support.moments import At, Teller
from tests.support.shop import TABLE, event

MOMENTS = ("noted", "judged", "repairs", "recorded", "published", "history", "letters", "settled")
_AT_ONCE = {"repairs", "published", "history"}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> State:
    return repaired_state(tmp_path_factory.mktemp("repaired") / "shop")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> MendedShop:
    mended = MendedShop(tmp_path_factory.mktemp("kept") / "shop")
    mended.save()
    return mended


def _reprocess(mended: MendedShop, moment: str) -> None:
    mended.reprocess(at=kill_at(moment))


@pytest.mark.long
def test_every_moment_is_covered(kept: MendedShop) -> None:
    kept.put_back()
    told: list[str] = []
    kept.reprocess(at=told.append)
    assert tuple(told) == (*MOMENTS, "manifest")


@pytest.mark.parametrize("moment", [m if m in _AT_ONCE else pytest.param(m, marks=pytest.mark.long) for m in MOMENTS])
def test_killed_and_given_again_nothing_is_lost_and_nothing_twice(moment: str, kept: MendedShop, expected: State) -> None:
    kept.put_back()
    assert_killed(_reprocess, kept, moment)
    between = kept.shop.ledger()
    assert between.balanced
    assert between.dead_letter == (1 if MOMENTS.index(moment) >= MOMENTS.index("published") else 7), "one state, and no other"
    kept.reprocess()
    assert kept.found() == expected
    recovered = [position for position, _, outcome in kept.outcomes() if outcome == "recovered"]
    assert recovered == list(range(10, 16))


def test_killed_before_the_horizon_was_applied_and_given_again_a_copy_does_not_stay(tmp_path: Path) -> None:
    mended = MendedShop(tmp_path / "shop", [event(1, 8), event(2, 8), event(1, 9, type="nothing")])
    assert_killed(_reprocess, mended, "letters")
    assert _ids(mended) == ["m-1", "m-1", "m-2"], "in two cells"
    assert mended.reprocess().selected == 0, "every letter is recovered"
    assert _ids(mended) == ["m-1", "m-2"] and mended.shop.ledger().balanced


def _ids(mended: MendedShop) -> list[str]:
    found: list[str] = scan(mended.shop.lake(), TABLE).column("event_id").to_pylist()
    return sorted(found)


def _told(mended: MendedShop, at: At) -> None:
    teller = Teller(at)
    with teller.commits():
        mended.reprocess(at=teller.tell)


def _kill_told(mended: MendedShop, moment: str) -> None:
    _told(mended, kill_at(moment))


@pytest.mark.long
def test_killed_before_within_and_after_every_commit(kept: MendedShop, expected: State) -> None:
    kept.put_back()
    moments: list[str] = []
    _told(kept, moments.append)
    commits = [moment for moment in moments if "commit of" in moment]
    assert {"validated.customer_event", "ops.ledger", "ops.dead_letter", "ops.dead_letter_history"} <= {
        moment.split("commit of ")[1].split(",")[0] for moment in commits
    }
    for moment in commits:
        kept.put_back()
        assert_killed(_kill_told, kept, moment)
        assert kept.shop.ledger().balanced, moment
        kept.reprocess()
        assert kept.found() == expected, moment
