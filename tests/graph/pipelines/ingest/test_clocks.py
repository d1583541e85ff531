"""Clocks through the whole graph: history that is imported twice, and what the ledger says of times that were not believed."""

from __future__ import annotations

import json
import os
from pathlib import Path

from contracts.spec.project import Project
from examples import webshop
from lake.location import Lake
from pipelines.ingest.files import ingest_files
from pipelines.ingest.options import IngestOptions
from pipelines.ingest.run import IngestReport
from tests.support.lake_state import scan

PROJECT = Project.load(Path(webshop.__file__).parent)
DAY_S = 86_400


def ingest(tmp_path: Path, *files: Path) -> IngestReport:
    options = IngestOptions(source="web", input=tuple(map(str, files)), lake=str(tmp_path / "lake"))
    return ingest_files(options, PROJECT, lambda _progress: None)


def export(path: Path, numbers: range, mtime_s: int, **changed: str) -> Path:
    """An export of events of March 2024 without a time of receipt, written long after."""
    events = (
        {
            "messageId": f"m{i}", "type": "track", "event": "Viewed", "userId": "u",
            "originalTimestamp": f"2024-03-{i + 1:02d}T10:00:00Z", "sentAt": f"2024-03-{i + 1:02d}T10:00:01Z", **changed,
        }
        for i in numbers
    )  # fmt: skip
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    os.utime(path, (mtime_s, mtime_s))
    return path


def test_history_in_overlapping_files_is_one_row_per_event(tmp_path: Path) -> None:
    first = export(tmp_path / "a.jsonl", range(3), 1_793_000_000)
    second = export(tmp_path / "b.jsonl", range(4), 1_793_000_000 + DAY_S)
    ledgers = [ingest(tmp_path, first).ledger, ingest(tmp_path, second).ledger]
    rows = scan(Lake.at(str(tmp_path / "lake")), "validated.customer_event").to_pylist()
    assert sorted(row["event_id"] for row in rows) == ["m0", "m1", "m2", "m3"]
    assert all(row["_window_time"] == row["original_timestamp"] and row["event_time"] is None for row in rows)
    assert [(entry.balanced, entry.corrected) for entry in ledgers] == [(True, 0)] * 2
    assert ledgers[1].duplicate == 3


def test_corrected_times_are_counted_and_many_are_warned_of(tmp_path: Path) -> None:
    file = export(tmp_path / "a.jsonl", range(4), 1_793_000_000, receivedAt="2026-11-20T10:00:00Z")
    report = ingest(tmp_path, file)
    assert (report.ledger.corrected, report.manifest["ledger"]["web"]["corrected"]) == (4, 4)
    assert report.warnings[0].startswith("4 of 4 rows (100.0%)")
    assert report.exit_code == 0
