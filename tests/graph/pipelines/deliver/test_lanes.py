"""What a delivery of a table's range reads."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from contracts.spec.project import Project
from lake.location import Lake
from lake.tables.data_files import read_rows
from lake.tables.iceberg import known_files, published_files
from lake.tables.publish import fold_range, publish
from pipelines.deliver.lanes import rows_of_table
from tests.support.copies import at, ingest, lines, project

TABLE, DAY_MS = "validated.thing", 86_400_000


def test_of_copies_that_a_stream_has_not_swept_yet_one_row_is_delivered_and_what_is_new_is_too(tmp_path: Path) -> None:
    project(tmp_path)
    ingest(tmp_path, "a.jsonl", lines([at(1), at(1, id="b")]))
    lake, (_, contract) = Lake.at(str(tmp_path / "lake")), Project.load(tmp_path).source("src")
    table = lake.load(TABLE)
    for file in published_files(table):  # as a stream publishes: two days later, before its next sweep
        rows = read_rows(file.path)
        later = (rows.column("_window_time").cast("int64").to_numpy() + 2 * DAY_MS * 1_000).astype("datetime64[us]")
        ids = ["c" if event_id == "b" else event_id for event_id in rows.column("event_id").to_pylist()]
        rows = rows.set_column(rows.column_names.index("event_id"), "event_id", [ids])
        index = rows.column_names.index("_window_time")
        rows = rows.set_column(index, "_window_time", [later]).cast(rows.schema)
        from_us, to_us = file.from_us + 2 * DAY_MS * 1_000, file.to_us + 2 * DAY_MS * 1_000
        fold = fold_range(table, known_files(table, None), rows, key="event_id", from_us=from_us, to_us=to_us, shard=file.shard)
        publish(lake, TABLE, [fold], key="event_id", run_id="stream")
    start = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp() * 1_000)
    options: Any = SimpleNamespace(start=start, end=start + 9 * DAY_MS, rows=None)
    destination: Any = SimpleNamespace(name="cdp", limits=SimpleNamespace(in_flight=2))
    read = rows_of_table(options, lake, destination, contract, None, "deliver")
    assert read.places == 3, "a, b and c"
