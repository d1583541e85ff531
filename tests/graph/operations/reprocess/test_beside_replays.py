"""Reprocessing beside replays of the same windows gives one state, in whatever order they come."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import ConfigurationError
from lake.repairs import read_repairs
from lake.runs.replays import Step, add_event, replays
from tests.support.mended import MendedShop, State, repaired_state

ORDERS = [
    pytest.param("run reprocess promote rollback", id="begun before, promoted after, rolled back"),
    pytest.param("run promote reprocess rollback", id="promoted before, rolled back after", marks=pytest.mark.long),
    pytest.param("reprocess run promote rollback", id="begun after", marks=pytest.mark.long),
]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> State:
    return repaired_state(tmp_path_factory.mktemp("repaired") / "shop")


@pytest.mark.parametrize("order", ORDERS)
def test_repaired_rows_are_there_whatever_is_promoted_or_rolled_back(order: str, tmp_path: Path, expected: State) -> None:
    mended, reprocessed = MendedShop(tmp_path / "shop"), False
    for step in order.split():
        mended.step(step)
        reprocessed |= step == "reprocess"
        if reprocessed:
            assert mended.found() == expected, f"after {step}"
    assert {replay.step for replay in replays(mended.shop.lake()).values()} == {Step.ROLLED_BACK}


@pytest.mark.long
def test_a_later_replay_repairs_again(tmp_path: Path, expected: State) -> None:
    """Its rows come from raw/ and the repairs alone: those of before are replaced."""
    mended = MendedShop(tmp_path / "shop")
    mended.step("reprocess")
    mended.step("run")
    mended.step("promote")
    assert mended.found() == expected
    assert [repair.recipe for repair in read_repairs(mended.shop.lake(), "web").listed] == ["page"]


def test_while_a_replay_is_promoted_nothing_is_reprocessed(tmp_path: Path) -> None:
    mended = MendedShop(tmp_path / "shop")
    mended.step("run")
    before = mended.found()
    add_event(mended.shop.lake(), "mend", Step.PROMOTING, {})
    with pytest.raises(ConfigurationError, match="replay mend of customer_event is being promoted"):
        mended.reprocess()
    assert mended.found() == before


def test_a_promotion_that_comes_between_does_not_take_the_rows_away(tmp_path: Path, expected: State) -> None:
    """It takes a later number, and knows nothing of what is not on record yet: the step is done again."""
    mended = MendedShop(tmp_path / "shop")
    mended.step("run")
    told: list[str] = []

    def at(step: str) -> None:
        told.append(step)
        if step == "recorded" and told.count("recorded") == 1:
            mended.step("promote")

    mended.reprocess(at=at)
    assert told.count("published") == 2
    assert mended.found() == expected
