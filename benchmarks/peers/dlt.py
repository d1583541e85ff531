"""The work of ``headrace ingest web`` as a dlt user writes it: a generator that checks each event, merged into DuckDB by its id.

    python -m benchmarks.peers.dlt SAMPLE OUTPUT [--threads 2] [--as-it-comes]

Parquet between the steps and several workers, as its page on performance tells; as it comes, dlt loads text of INSERT statements
and normalises in one process.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.peers.judged import EPOCH, IDS, JSON_COLUMNS, NESTED, RejectedError, Row, event_of, is_filtered, row_of

BATCH = 5_000
COLUMNS: dict[str, dict[str, Any]] = {
    **{name: {"data_type": "timestamp"} for name in ("original_timestamp", "sent_at", "event_time")},
    "received_at": {"data_type": "timestamp", "dedup_sort": "asc"},
    **{name: {"data_type": "json"} for name in JSON_COLUMNS},
    **{name: {"data_type": "text"} for name in ("event_id", "event_type", "event_name", *list(IDS)[1:], *NESTED)},
}


def batches(sample: Path) -> Iterator[tuple[str, list[Row]]]:
    """Rows and rejects, some thousand at a time."""
    for path in sorted(sample.glob("*.jsonl")):
        modified = EPOCH + timedelta(microseconds=path.stat().st_mtime_ns // 1_000)
        rows: list[Row] = []
        rejects: list[Row] = []
        with path.open("rb") as file:
            for ended in file:
                line = ended.rstrip(b"\n")
                try:
                    event = event_of(line)
                    if not is_filtered(event):
                        rows.append(row_of(event, modified))
                except RejectedError as reason:
                    rejects.append({"code": str(reason), "raw": line})
                if len(rows) >= BATCH:
                    yield "events", rows
                    rows = []
        yield "events", rows
        yield "dead_letters", rejects


def run(sample: Path, output: Path, threads: int, *, as_it_comes: bool = False) -> None:
    """All of it."""
    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
    os.environ |= (
        {}
        if as_it_comes
        else {
            "NORMALIZE__WORKERS": str(threads),
            "NORMALIZE__START_METHOD": "spawn",
            "DATA_WRITER__FILE_MAX_ITEMS": "50000",
            "NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION": "true",
        }
    )
    import dlt  # noqa: PLC0415 - after its settings

    @dlt.resource(name="web", max_table_nesting=0)
    def web() -> Iterator[Any]:
        events = dlt.mark.make_hints(table_name="events", primary_key="event_id", write_disposition="merge", columns=COLUMNS)
        letters = dlt.mark.make_hints(
            table_name="dead_letters", write_disposition="append", columns={"raw": {"data_type": "binary"}}
        )
        told: set[str] = set()
        for table, items in batches(sample):
            if items and table not in told:
                told.add(table)
                yield dlt.mark.with_hints(items, events if table == "events" else letters, create_table_variant=True)
            elif items:
                yield dlt.mark.with_table_name(items, table)

    output.mkdir(parents=True)
    pipeline = dlt.pipeline(
        "peer",
        destination=dlt.destinations.duckdb(str(output / "loaded.duckdb")),
        dataset_name="shop",
        pipelines_dir=str(output / "pipelines"),
    )
    pipeline.run(web(), loader_file_format=None if as_it_comes else "parquet")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.dlt")
    parser.add_argument("sample", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--as-it-comes", action="store_true")
    options = parser.parse_args()
    run(options.sample, options.output, options.threads, as_it_comes=options.as_it_comes)


if __name__ == "__main__":
    main()
