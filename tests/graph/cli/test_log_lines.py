"""What a run says on stderr: its own lines in one form, from worker processes too, and nothing of the libraries beneath."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.shop import Shop, event

FILES = 12
SECRET = "jane.canary@example.com"


def lines_of(shop: Shop, *options: str, workers: int) -> list[str]:
    """stderr of a run over records of which some are wrong, as a process of its own."""
    wrong = [event(n, 9, type=SECRET, context={"ip": SECRET}) for n in range(20, 25)]
    lines = [*(event(n, 9, userId=SECRET) for n in range(20)), *wrong, "{" + SECRET]
    for number in range(FILES):  # a slice each: this process does not do all of them before another is up
        shop.write_lines(f"web-{number}.jsonl", [*lines, "{" * (number + 1)])
    command = [
        sys.executable,
        "-m",
        "cli.main",
        *options,
        "ingest",
        "web",
        "--input",
        str(shop.folder / "drop"),
        "--lake",
        str(shop.folder / "lake"),
    ]
    command += ["--project", str(shop.folder), "--max-rejected", "100%", "--allow-damaged", "--workers", str(workers)]
    command += ["--slice-bytes", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if " s: " not in line]  # of progress


@pytest.mark.parametrize("workers", [1, 2])
def test_by_default_a_run_that_goes_well_logs_nothing(workers: int, tmp_path: Path) -> None:
    assert lines_of(Shop(tmp_path), workers=workers) == []


def test_lines_of_worker_processes_tell_run_source_and_stage_and_no_value(tmp_path: Path) -> None:
    lines = lines_of(Shop(tmp_path), "--log-level", "info", "--log-format", "json", workers=2)
    found = [json.loads(line) for line in lines]
    assert {entry["source"] for entry in found} == {"web"} and len({entry["run_id"] for entry in found}) == 1
    stages = {entry.get("stage", "").partition("/")[0] for entry in found}
    assert {"", "ConvergeRows", "ConvergeDeadLetters", "CommitLedger"} <= stages
    assert not [line for line in lines if SECRET in line]
    assert len([line for line in lines if "landed" in line]) == FILES
