"""How a run ended that wrote no manifest: by a person, by an error, or without a word."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts.errors import ComponentDownError
from lake.runs.manifest import recent_runs, started
from tests.support.shop import LINES, Shop


def ended(shop: Shop) -> tuple[str, str | None]:
    (run,) = recent_runs(shop.lake(), 5)
    return run.state, run.why


def status(shop: Shop) -> str:
    (line,) = [line for line in shop.headrace("status").stdout.splitlines() if "-web-" in line]
    return " ".join(line.split()[1:])


def start(shop: Shop) -> subprocess.Popen[bytes]:
    """A run that waits in the midst of its work."""
    path = shop.write_lines("web.jsonl", LINES)
    code = (
        "import time, sys; from pipelines.ingest.graph import IngestGraph; IngestGraph.gate = lambda graph: time.sleep(60); "
        "from cli.main import run; run()"
    )
    command = [sys.executable, "-c", code, "ingest", "web", "--input", str(path), "--lake", str(shop.folder / "lake")]
    process = subprocess.Popen([*command, "--project", str(shop.folder)], stderr=subprocess.PIPE)
    until = time.monotonic() + 30
    while not list(shop.folder.glob("lake/warehouse/validated/customer_event/data/*.parquet")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    return process


ENDS: dict[str, tuple[Callable[[subprocess.Popen[bytes]], None], str]] = {
    "stopped": (lambda process: process.send_signal(signal.SIGINT), "stopped run the same command again"),
    "killed": (lambda process: process.kill(), "killed run the same command again"),
}


@pytest.mark.parametrize("state", ENDS)
def test_a_run_that_is_stopped_is_told_from_one_that_is_killed(state: str, tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    process = start(shop)
    assert ended(shop) == ("running", None)
    end, told = ENDS[state]
    began = time.monotonic()
    end(process)
    process.communicate(timeout=30)
    assert time.monotonic() - began < 5, "Ctrl-C acts at once"
    assert ended(shop) == (state, None) and status(shop) == told


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.lake().create()
    with pytest.raises(ComponentDownError), started(shop.lake(), "20261102T100000000000Z-web-abc123", datetime.now(UTC), "web"):
        raise ComponentDownError("catalog postgresql://db/x: no answer")
    assert ended(shop) == ("failed", "catalog postgresql://db/x: no answer")
    assert status(shop) == "failed catalog postgresql://db/x: no answer; run the same command again"


def test_of_a_fault_only_its_kind_is_noted(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.lake().create()
    with pytest.raises(ValueError, match="jane"), started(shop.lake(), "r", datetime.now(UTC), "web"):
        raise ValueError("jane@example.com")
    assert ended(shop) == ("failed", "ValueError")


def test_a_run_that_goes_on_under_its_name_is_running_again(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.lake().create()
    with pytest.raises(ComponentDownError), started(shop.lake(), "r", datetime.now(UTC), "web"):
        raise ComponentDownError("x")
    with started(shop.lake(), "r", datetime.now(UTC), "web"):
        assert ended(shop) == ("running", None)
