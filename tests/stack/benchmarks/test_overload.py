"""More than a streaming job takes, for long, and a large backlog: lag comes and goes, memory stays, everything is exact."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.support.processes import ROOT

_GROWTH = 1.3  # of resident memory, from the first half of the time over load to the second


def benchmark(module: str, *arguments: str) -> dict[str, Any]:
    """What a benchmark found; it fails by itself where something restarted or is not exact."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.stream.{module}", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_ten_minutes_of_more_than_it_takes_are_worked_off_in_the_same_memory() -> None:
    found = benchmark("overload", "--rate", "20000", "--seconds", "600", "--then", "5000")
    assert found["restarts"] == 0 and found["lag_max"] > 100_000, "it was overloaded"
    assert found["heap_left_mib"] < found["heap_max_mib"]
    grown = {name: (first, second) for name, (first, second) in found["resident_mib"].items() if second > _GROWTH * first}
    assert not grown


@pytest.mark.long
@pytest.mark.timeout(14_400)
def test_a_backlog_of_twenty_million_is_read_from_its_beginning() -> None:
    found = benchmark("backlog", "--messages", "20000000", "--layouts", "1x2")
    used, left, limit = found["heap_mib"]
    assert left < limit and used <= limit
