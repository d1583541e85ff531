"""Two who reprocess the same letters, late rows, and what is done again."""

from __future__ import annotations

import pytest

from lake.repairs import read_repairs
from tests.support.mended import BAD, OTHER, RECIPE, MendedShop, State, repaired_state
from tests.support.repairs import open_letters

_AT_ONCE = ("published",)
STEPS = ("judged", "repairs", "recorded", "published", "history", "letters", "settled")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> State:
    return repaired_state(tmp_path_factory.mktemp("repaired") / "shop")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> MendedShop:
    mended = MendedShop(tmp_path_factory.mktemp("kept") / "shop")
    mended.save()
    return mended


@pytest.mark.parametrize(
    "moment", [step if step in ("judged", "published") else pytest.param(step, marks=pytest.mark.long) for step in STEPS]
)
def test_a_rival_that_does_the_same_in_between_changes_nothing(moment: str, kept: MendedShop, expected: State) -> None:
    kept.put_back()
    rivals = []

    def at(step: str) -> None:
        if step == moment and not rivals:
            rivals.append(kept.reprocess())

    kept.reprocess(at=at)
    assert rivals and kept.found() == expected
    recovered = [line for line in kept.outcomes() if line[2] == "recovered"]
    assert [position for position, _, _ in recovered] == list(range(10, 16)), "a line each"


def test_of_two_different_repairs_the_first_holds_and_the_second_is_told(kept: MendedShop, expected: State) -> None:
    kept.put_back()
    firsts = []

    def at(step: str) -> None:
        if step == "judged" and not firsts:
            firsts.append(kept.reprocess(RECIPE))

    second = kept.reprocess(OTHER, at)
    assert second.others == {RECIPE: len(BAD)}
    assert kept.found() == expected, "as the first repaired them"
    assert [repair.recipe for repair in read_repairs(kept.shop.lake(), "web").listed] == [RECIPE, OTHER]


@pytest.mark.long
def test_done_again_it_changes_nothing_but_the_attempts_of_what_still_fails(kept: MendedShop, expected: State) -> None:
    kept.put_back()
    assert kept.reprocess().count("recovered") == len(BAD)
    state = kept.found()
    again = kept.reprocess()
    assert (again.selected, again.count("recovered"), again.count("still_failing")) == (1, 0, 1)
    assert kept.found() == state == expected
    assert open_letters(kept.shop.lake()) == [("not_in_enum", 3)]


def test_a_dry_run_writes_nothing_and_masks_what_the_contract_classifies(kept: MendedShop) -> None:
    kept.put_back()
    files = sorted(path for path in kept.shop.folder.rglob("*") if path.is_file())
    result = kept.shop.headrace("deadletter", "reprocess", "--dry-run", "--recipe", RECIPE, "--json")
    assert result.exit_code == 1 and '"recovered"' in result.output and '"event_type": "nothing"' in result.output
    assert "m-2" not in result.output and '"anonymous_id": "(masked)"' in result.output
    assert sorted(path for path in kept.shop.folder.rglob("*") if path.is_file()) == files
