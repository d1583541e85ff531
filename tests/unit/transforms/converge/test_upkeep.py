"""When a range is closed: behind the newest that was committed, and never ahead of the clock."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lake.location import Lake
from transforms.converge import upkeep
from transforms.converge.upkeep import UpkeepPlan

NOW_US, YEAR_US = 1_793_613_600_000_000, 31_536_000_000_000


@pytest.mark.parametrize(("newest_us", "reached_us"), [(NOW_US - YEAR_US, NOW_US - YEAR_US), (NOW_US + 64 * YEAR_US, NOW_US)])
def test_a_row_of_a_time_to_come_closes_no_range_that_is_open(
    newest_us: int, reached_us: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(upkeep, "maintain", lambda *_, **given: told.append(given))
    monkeypatch.setattr(time, "time", lambda: NOW_US / 1_000_000)
    UpkeepPlan(closed_after_s=720, keep_s=3_600, _last=-1e9).step(Lake.at("/nowhere"), "validated.x", newest_us, "run-1")
    assert [given["closed_before_us"] for given in told] == [reached_us - 720_000_000]
