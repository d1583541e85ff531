"""Sweeps beside a committer: one at a time, one after the last commit, and again where one failed."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable

import pytest

from contracts.errors import ComponentDownError
from lake.tables.sweep import Swept
from tests.support.stack import wait_for
from transforms.converge import upkeep
from transforms.converge.upkeep import SweepBeside

EVERY_S = 0.3


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_SWEEP_EVERY_S", EVERY_S)


class Sweeps:
    """What is done, and when each began, on the monotonic clock. fails: what the first ones raise."""

    def __init__(self, takes_s: float = 0.0, fails: list[Exception] | None = None) -> None:
        self.takes_s, self.fails = takes_s, fails or []
        self.began: list[float] = []
        self.at_once = self.most_at_once = 0

    def __call__(self) -> Swept:
        self.began.append(time.monotonic())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(self.takes_s)
        self.at_once -= 1
        if self.fails:
            raise self.fails.pop(0)
        return Swept(0, 0, None)


def is_idle(name: str) -> Callable[[], bool]:
    return lambda: all(thread.name != f"sweep {name}" for thread in threading.enumerate())


def test_a_sweep_follows_the_last_commit_though_no_other_follows() -> None:
    sweeps = Sweeps()
    beside = SweepBeside("last", sweeps)
    beside.step()
    wait_for(lambda: len(sweeps.began) == 1, "the first sweep")
    beside.step()
    wait_for(lambda: len(sweeps.began) == 2, "a sweep after the second commit")
    assert sweeps.began[1] - sweeps.began[0] >= EVERY_S
    wait_for(is_idle("last"), "the thread to end")
    assert len(sweeps.began) == 2


def test_a_commit_during_a_sweep_is_followed_by_another() -> None:
    sweeps = Sweeps(takes_s=EVERY_S / 2)
    beside = SweepBeside("during", sweeps)
    beside.step()
    wait_for(lambda: sweeps.at_once == 1, "the first sweep")
    beside.step()
    wait_for(is_idle("during"), "the thread to end")
    assert len(sweeps.began) == 2


def test_many_commits_get_one_sweep_at_a_time_and_no_more_than_half_of_a_core() -> None:
    sweeps = Sweeps(takes_s=EVERY_S)
    beside = SweepBeside("many", sweeps)
    end = time.monotonic() + 7 * EVERY_S
    while time.monotonic() < end:
        beside.step()
        time.sleep(0.01)
    wait_for(is_idle("many"), "the thread to end")
    assert sweeps.most_at_once == 1
    gaps = [b - a for a, b in zip(sweeps.began, sweeps.began[1:], strict=False)]
    assert gaps and min(gaps) >= 2 * EVERY_S - 0.01


def test_what_fails_is_tried_again_without_another_commit_and_a_defect_is_not(caplog: pytest.LogCaptureFixture) -> None:
    sweeps = Sweeps(fails=[ComponentDownError("the catalog does not answer")])
    SweepBeside("down", sweeps).step()
    wait_for(is_idle("down"), "the thread to end")
    assert len(sweeps.began) == 2 and "sweep of down put off: the catalog does not answer" in caplog.text
    sweeps = Sweeps(fails=[KeyError("secret")])
    SweepBeside("defect", sweeps).step()
    wait_for(is_idle("defect"), "the thread to end")
    assert len(sweeps.began) == 1 and "sweep of defect put off: KeyError" in caplog.text and "secret" not in caplog.text


def test_a_worker_gets_it_as_it_was_made() -> None:
    assert isinstance(pickle.loads(pickle.dumps(SweepBeside("copy", int))), SweepBeside)  # type: ignore[arg-type]
