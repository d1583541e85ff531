"""A small dataset whose events have an id, a time and a value, ingested through the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from cli.main import main
from contracts.spec.project import Project
from lake.ledger.ledger import LedgerEntry, source_ledger
from lake.location import Lake
from tests.support.lake_state import scan

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: test:thing
name: thing
version: 1.0.0
status: active
customProperties:
  - {{property: eventId, value: {{column: event_id}}}}
  - {{property: windowTime, value: [at]}}
  - {{property: receivedAt, value: received_at}}
  - {{property: deduplication, value: {deduplication}}}
schema:
  - name: thing
    logicalType: object
    physicalType: table
    properties:
      - {{name: event_id, logicalType: string, required: true}}
      - {{name: at, logicalType: timestamp, customProperties: [{{property: transport, value: true}}]}}
      - {{name: received_at, logicalType: timestamp, customProperties: [{{property: transport, value: true}}]}}
      - {{name: v, logicalType: string}}
"""
Record = dict[str, str]


def at(day: int, time: str = "10:00:00", **more: str) -> Record:
    return {"id": "a", "at": f"2026-10-{day:02d}T{time}Z", "v": "x"} | more


def project(
    path: Path,
    deduplication: str = "{horizon: 7d}",
    format_: str = "jsonl",
    sources: Sequence[str] = ("src",),
    more: str = "missing_event_id: derive",
) -> None:
    """A project with the dataset and its sources."""
    files = {
        "headrace.yaml": "lake: lake\ndatasets: [datasets]\nsources: [sources]\n",
        "datasets/thing.v1.yaml": CONTRACT.format(deduplication=deduplication),
    }
    for source in sources:
        files[f"sources/{source}.yaml"] = (
            f"source: {source}\ndataset: thing\nformat: {format_}\n"
            "columns: {event_id: id, at: at, received_at: received_at, v: v}\noptional: [received_at]\n" + more + "\n"
        )
    for name, content in files.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(content)


def ingest(path: Path, name: str, content: bytes, source: str = "src") -> dict[str, Any]:
    """A run over one file; its document."""
    file = path / "in" / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    told = CliRunner().invoke(
        main, ["ingest", source, "--input", str(file), "--project", str(path), "--max-rejected", "1", "--json"]
    )
    assert told.exit_code == 0, told.output
    document: dict[str, Any] = json.loads(told.stdout)
    return document


def lines(records: Sequence[Record]) -> bytes:
    return b"".join(json.dumps({k: v for k, v in r.items() if k != "id" or v}).encode() + b"\n" for r in records)


def published(path: Path) -> list[tuple[str, str]]:
    rows = scan(Lake.at(str(path / "lake")), "validated.thing").to_pylist()
    return sorted(("" if r["event_id"].startswith("fp-") else r["event_id"], f"{r['at']:%m-%d %H:%M}") for r in rows)


def conflicts(path: Path) -> int:
    letters = scan(Lake.at(str(path / "lake")), "ops.dead_letter").to_pylist()
    return sum(letter["code"] == "conflicting_duplicate" for letter in letters)


def ledger(path: Path) -> LedgerEntry:
    """Of everything that was landed."""
    spec, contract = Project.load(path).source("src")
    return sum(source_ledger(Lake.at(str(path / "lake")), spec, f"validated.{contract.name}").values(), LedgerEntry())
