"""``make demo``: every ledger adds up, the explained letters are there, and a second run changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def _demo(folder: Path) -> str:
    command = [sys.executable, "-m", "examples.webshop.demo", "--records", "5000"]
    done = subprocess.run(
        [*command, "--data", str(folder / "data"), "--lake", str(folder / "lake")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_second_demo_is_already_landed_and_changes_no_hash(tmp_path: Path) -> None:
    first = _demo(tmp_path)
    assert first.count("ledger adds up") == 5
    assert "cross_field" in first
    second = _demo(tmp_path)
    assert second.count("already landed") == 5  # four sources, and the hint at the end

    def tables(output: str) -> list[str]:
        return [
            line for line in output.splitlines() if line.startswith(("validated.", "web ", "mobile ", "crm ", "orders ", "all "))
        ]

    assert tables(first) == tables(second)
    manifests = sorted((tmp_path / "lake" / "_runs").glob("*/manifest.json"))
    snapshots = [json.loads(path.read_text())["datasets"] for path in manifests]
    assert snapshots[-3:] == snapshots[1:4]
