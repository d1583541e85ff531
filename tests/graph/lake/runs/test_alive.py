"""Whether a run goes on is asked of the process that began it, not of one that has its number by now."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lake.location import Lake
from lake.runs.manifest import STARTED, is_gone, read_run, run_file, write_started


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake.at(str(tmp_path / "lake"))
    write_started(lake, "r", datetime.now(UTC), "web")
    return lake


def changed(lake: Lake, **change: Any) -> None:
    place = Path(run_file(lake, "r", STARTED))
    note = json.loads(place.read_text()) | change
    place.write_text(json.dumps({name: value for name, value in note.items() if value is not None}))


def state(lake: Lake) -> tuple[str, bool]:
    run = read_run(lake, "r")
    assert run is not None
    return run.state, is_gone(lake, "r")


def test_the_process_that_began_it_runs(lake: Lake) -> None:
    assert state(lake) == ("running", False)


@pytest.mark.parametrize("change", [{"start_ticks": 1}, {"boot_id": "another"}])
def test_another_process_with_its_number_is_not_it(lake: Lake, change: dict[str, Any]) -> None:
    changed(lake, **change)
    assert state(lake) == ("killed", True)


def test_a_note_of_an_earlier_version_has_the_number_only(lake: Lake) -> None:
    changed(lake, start_ticks=None, boot_id=None)
    assert state(lake) == ("running", False)


def test_a_zombie_does_not_run(lake: Lake) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    changed(lake, pid=child.pid)
    assert state(lake) == ("killed", True)
    child.wait()


def test_a_process_that_is_not_there_does_not_run(lake: Lake) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    changed(lake, pid=child.pid)
    assert state(lake) == ("killed", True)
