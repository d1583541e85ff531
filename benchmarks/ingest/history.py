"""Figures of earlier runs, a line each in ``benchmarks/history.jsonl``: what plots over time are made of."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

HISTORY = Path(__file__).parents[1] / "history.jsonl"
_FIGURES = ("per_million_s", "cpu_per_million_s", "peak_mib")


def record(document: dict[str, Any]) -> None:
    """Add the figures of a run."""
    with HISTORY.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry_of(document)) + "\n")


def entry_of(document: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a run."""
    return {
        "date": document["date"],
        "commit": _commit(),
        "machine": document["machine"],
        "command": document["command"],
        "rounds": document["rounds"],
        "others_share": document["others_share"],
        "samples": {key: _short(sample) for key, sample in document["samples"].items()},
    }


def entries() -> list[dict[str, Any]]:
    """All of them, in the order in which they were recorded."""
    return [json.loads(line) for line in HISTORY.read_text("utf-8").splitlines()] if HISTORY.is_file() else []


def _short(sample: dict[str, Any]) -> dict[str, Any]:
    contestants = {
        name: {figure: figures[figure] for figure in _FIGURES} | {"output": figures["output"]}
        for name, figures in sample["contestants"].items()
        if figures["runs"]
    }
    return {
        "order": sample["order"],
        "events": sample["events"],
        "contestants": contestants,
        "ratios": sample["ratios"],
        "cpu_ratios": sample["cpu_ratios"],
    }


def _commit() -> str:
    """Of the code that was measured; with a plus where it had changes."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--abbrev=10"], cwd=HISTORY.parent, capture_output=True, text=True, check=False
    )
    return told.stdout.strip()
