"""The gate killed at every moment, beside rivals, and on a full disk: done again it gives what an undisturbed pass gives.

A process that is killed is one that ends at that moment and cleans nothing up: an exception that nobody catches.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from lake.location import AUDIT, Lake
from lake.tables.audit import begin_audit
from lake.tables.holds import holds_of, turned_ranges
from lake.tables.iceberg import dropped_branch
from quality.acceptances import accept
from quality.verdicts import Partition
from tests.support.gated_table import HOUR_S, judging, pairs_at, passed
from tests.support.lake_state import claimed, content_hash, scan
from tests.support.moments import Teller, commit_moments
from tests.support.small_tables import NAME, make, put, row

HORIZON_S = 5_400
REFS = ("main", "settled", dropped_branch(None), AUDIT, dropped_branch(AUDIT))
Disturb = Callable[[Lake], None]


class _Killed(BaseException):
    """The end of a process."""


@pytest.fixture(autouse=True)
def _judge() -> Iterator[None]:
    with judging():
        yield


def prepare(path: Path) -> Lake:
    """Hour 1 is held, with an earlier good state, hour 2 has copies of its rows; new rows wait, some of them bad."""
    lake = make(path, horizon_s=HORIZON_S)
    begin_audit(lake, NAME, HOUR_S, "begin")
    put(lake, [row("a", 60), row("b", 3_700), row("c", 7_300)], HOUR_S)
    passed(lake)
    put(lake, [row("d", 3_900, content="bad"), row("e", 4_000), row("e", 7_500), row("b", 7_600)], HOUR_S)
    passed(lake)
    put(lake, [row("f", 11_000, content="bad"), row("g", 4_100), row("f", 15_000), row("h", 7_700)], HOUR_S)
    return lake


def accept_all(lake: Lake) -> None:
    """A person accepts everything that is held."""
    for hold in holds_of(lake.catalog().load_table(NAME)).values():
        accept(lake, Partition("thing", *hold.span), hold.content, hold.rules, by="Ada", reason="ok")


def state(lake: Lake) -> tuple[object, ...]:
    """All that a gate decides; its totals are right and nothing is left to look at."""
    table = lake.catalog().load_table(NAME)
    rows = scan(lake, NAME)
    assert claimed(lake, NAME) == (len(rows), content_hash(rows))
    assert not turned_ranges(table)
    return (*(frozenset(pairs_at(lake, ref)) for ref in REFS), tuple(holds_of(table)))


def whole_states(lake: Lake) -> frozenset[tuple[str, int]]:
    """What a reader sees."""
    return frozenset(pairs_at(lake, "main"))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake before its pass, in its place; and a copy to put back."""
    home = tmp_path_factory.mktemp("gate")
    with judging():
        prepare(home / "lake")
    shutil.copytree(home / "lake", home / "copy")
    return home


def fresh(home: Path) -> Lake:
    """The lake put back: paths in Iceberg's metadata stay true."""
    shutil.rmtree(home / "lake")
    shutil.copytree(home / "copy", home / "lake")
    return Lake.at(str(home / "lake"))


def to_the_end(lake: Lake) -> tuple[object, ...]:
    """A pass that holds, then one that releases all of it."""
    passed(lake)
    accept_all(lake)
    passed(lake, held_too=True)
    return state(lake)


def moments(home: Path) -> list[str]:
    """Every moment of both passes."""
    told: list[str] = []
    with Teller(told.append).commits():
        to_the_end(fresh(home))
    return told


def killed_at(lake: Lake, moment: str) -> None:
    """Take both passes until this moment."""

    def at(told: str) -> None:
        if told == moment:
            raise _Killed

    with pytest.raises(_Killed), Teller(at).commits():
        to_the_end(lake)


@pytest.fixture(params=[5, pytest.param(1, marks=pytest.mark.long)], ids=["some", "all"])
def step(request: pytest.FixtureRequest) -> int:
    """Of how many moments one is taken."""
    found: int = request.param
    return found


def test_killed_at_any_moment_and_done_again(prepared: Path, step: int) -> None:
    lake = fresh(prepared)
    before = whole_states(lake)
    passed(lake)
    held = whole_states(lake)
    expected = to_the_end(fresh(prepared))
    allowed = {before, held, expected[0]}
    for moment in moments(prepared)[::step]:
        lake = fresh(prepared)
        killed_at(lake, moment)
        assert whole_states(lake) in allowed, f"{moment}: half published"
        assert to_the_end(lake) == expected, moment


def test_a_rival_that_does_the_same_in_between_changes_nothing(prepared: Path, step: int) -> None:
    expected = to_the_end(fresh(prepared))
    for moment in [told for told in moments(prepared) if told.startswith("before")][::step]:
        lake = fresh(prepared)

        def rival(told: str, moment: str = moment, lake: Lake = lake) -> None:
            if told == moment:
                to_the_end(lake)

        with Teller(rival).commits():
            found = to_the_end(lake)
        assert found == expected, moment


def test_what_a_job_commits_in_between_is_neither_lost_nor_published_unjudged(prepared: Path, step: int) -> None:
    more = [row("i", 300, content="bad"), row("a", 3_500), row("k", 18_100)]
    lake = fresh(prepared)
    put(lake, more, HOUR_S)
    passed(lake)
    expected = state(lake)
    for moment in [told for told in moments(prepared) if told.startswith("before")][::step]:
        lake = fresh(prepared)

        def job(told: str, moment: str = moment, lake: Lake = lake) -> None:
            if told == moment:
                put(lake, more, HOUR_S)

        with Teller(job).commits():
            passed(lake)
        assert ("i", 5) not in whole_states(lake)
        put(lake, more, HOUR_S)
        passed(lake)
        assert state(lake) == expected, moment


def test_a_full_disk_leaves_what_was_and_is_made_up_for(prepared: Path) -> None:
    expected = to_the_end(fresh(prepared))
    lake = fresh(prepared)
    before = whole_states(lake)
    full = OSError(28, "No space left on device")
    with mock.patch.object(SqlCatalog, "_write_metadata", side_effect=full), pytest.raises(OSError, match="No space left"):
        passed(lake)
    assert whole_states(lake) == before
    assert to_the_end(lake) == expected


def test_every_moment_is_one_of_a_commit(prepared: Path) -> None:
    told = moments(prepared)
    assert {*commit_moments(NAME)} <= {*told}
    assert len([each for each in told if each.startswith("before")]) >= 6
