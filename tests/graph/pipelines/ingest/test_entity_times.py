"""What people wrote as a date of an entity stays what it is: only where the row lies has bounds."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from cli.main import main
from lake.ledger.logs import newest_window_time
from lake.location import Lake
from tests.support.lake_state import scan

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: test:person
name: person
version: 1.0.0
status: active
customProperties:
  - {property: kind, value: entity}
  - {property: eventId, value: {column: event_id, from: [id, changed]}}
  - {property: windowTime, value: [changed]}
  - {property: order, value: [changed]}
schema:
  - name: person
    logicalType: object
    physicalType: table
    properties:
      - {name: event_id, logicalType: string}
      - {name: id, logicalType: string, required: true}
      - {name: born, logicalType: date}
      - {name: changed, logicalType: timestamp, required: true}
"""
# Year 1 is .NET's DateTime.MinValue, 1601 Windows' FILETIME of 0, 9999 a "for ever" of databases.
YEARS = {1: 1900, 1601: 1900, 1899: 1900, 1900: 1900, 2026: 2026, 2099: 2099, 2100: 2099, 9999: 2099}


def headrace(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_dates_of_years_1_to_9999_come_out_as_they_went_in_however_often(tmp_path: Path) -> None:
    for name, text in {
        "headrace.yaml": "lake: lake\ndatasets: [datasets]\nsources: [sources]\n",
        "datasets/person.v1.yaml": CONTRACT,
        "sources/people.yaml": "source: people\ndataset: person\nversion: 1\nformat: jsonl\n"
        "columns: {id: id, born: born, changed: changed}\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    lines = [json.dumps({"id": str(y), "born": f"{y:04}-12-31", "changed": f"{y:04}-12-31T23:59:59.999999Z"}) for y in YEARS]
    for number in range(2):  # the second is another file of the same, and one more
        path = tmp_path / f"{number}.jsonl"
        path.write_text("\n".join([*lines, *['{"id": "x", "changed": "2026-01-01T00:00:00Z"}'] * number]))
        done = headrace("ingest", "people", "--input", path, "--project", tmp_path)
        assert done.exit_code == 0, done.output
        assert "ledger adds up" in done.output
    lake = Lake.at(str(tmp_path / "lake"))
    rows = {row["id"]: row for row in scan(lake, "validated.person").to_pylist()}
    assert len(rows) == len(YEARS) + 1
    for year, filed in YEARS.items():
        row = rows[str(year)]
        assert (row["born"].isoformat(), row["changed"]) == (f"{year:04}-12-31", datetime(year, 12, 31, 23, 59, 59, 999_999, UTC))
        assert (row["_window_time"].year, row["_time_corrected"]) == (filed, filed != year)
    now_us = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp() * 1_000_000)  # what is newest is not to come
    assert newest_window_time(lake, "people", "validated.person", now_us) == now_us - 151 * 86_400_000_000
    for verb in (("lake", "compact"), ("lake", "files"), ("status",)):
        done = headrace(*verb, "--project", tmp_path)
        assert done.exit_code == 0, done.output
    assert len(scan(lake, "validated.person")) == len(YEARS) + 1
