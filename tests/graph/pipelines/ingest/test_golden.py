"""Golden files: a small input of each source, and the rows, dead letters and manifest that it gives, to the last byte.

After a wanted change: ``UPDATE_GOLDEN=1 python -m pytest tests/graph/pipelines/ingest/test_golden.py``, and read the difference.
"""

from __future__ import annotations

import json
import os
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from contracts.spec.project import Project
from lake.location import Lake
from pipelines.ingest.files import ingest_files
from pipelines.ingest.options import IngestOptions

GOLDEN = Path(__file__).parents[3] / "fixtures" / "golden"
PROJECT = Path(__file__).parents[4] / "examples" / "webshop"
MODIFIED_S = 1_793_615_000  # the inputs' file time: received_at where the payload has none
UNSTABLE = ("run_id", "started_at", "finished_at", "timings", "cost", "version")


@pytest.mark.parametrize("source", ["web", "mobile", "crm", "orders"])
def test_golden_input_gives_golden_tables_dead_letters_and_manifest(source: str, tmp_path: Path) -> None:
    folder = GOLDEN / source
    (given,) = (p for p in folder.iterdir() if p.suffix != ".json")
    copy = tmp_path / given.name
    copy.write_bytes(given.read_bytes())
    os.utime(copy, (MODIFIED_S, MODIFIED_S))
    options = IngestOptions(source=source, input=(str(copy),), lake=str(tmp_path / "lake"), max_rejected=1.0)
    report = ingest_files(options, Project.load(PROJECT), lambda _progress: None)
    lake = Lake.at(str(tmp_path / "lake"))
    found = {
        "rows": _rows(lake, f"validated.{report.dataset}"),
        "dead_letters": _rows(lake, "ops.dead_letter"),
        "manifest": _stable(json.loads((lake.runs / report.run_id / "manifest.json").read_text()), tmp_path),
    }
    for name, content in found.items():
        text = json.dumps(content, indent=1, ensure_ascii=False, default=_plain, sort_keys=True) + "\n"
        path = folder / f"expected_{name}.json"
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(text, "utf-8")
        assert text == path.read_text("utf-8"), f"{source} {name}"


def _rows(lake: Lake, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = lake.catalog().load_table(table).scan().to_arrow().to_pylist()
    for row in rows:
        row.pop("run_id", None)
    return sorted(rows, key=lambda row: (row["_raw_file"], row["_position"]))


def _stable(manifest: dict[str, Any], folder: Path) -> dict[str, Any]:
    for name in UNSTABLE:
        assert manifest.pop(name)
    assert manifest["datasets"]
    for dataset in manifest["datasets"].values():
        assert dataset.pop("snapshot_id")
    found: dict[str, Any] = json.loads(json.dumps(manifest).replace(str(folder), "TMP"))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    assert isinstance(value, bytes)
    return value.decode("utf-8", "backslashreplace") if len(value) != 16 else value.hex()
