"""What the streaming peers that run Python per message share: what becomes of a message, and Parquet files by minute."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers.judged import (
    EPOCH,
    IDS,
    JSON_COLUMNS,
    NESTED,
    TIMES,
    RejectedError,
    Row,
    event_of,
    is_filtered,
    row_of,
    window_time,
)

WINDOW_S = 60
MINUTE, CODE = "minute", "code"  # of a row: the end of its minute in seconds since 1970; of a dead letter: what is wrong
_TIME = pa.timestamp("us", tz="UTC")
_TEXTS = ("event_id", "event_type", "event_name", *list(IDS)[1:], *NESTED, *JSON_COLUMNS)
ROWS = pa.schema([(name, _TIME) for name in (*TIMES, "event_time")] + [(name, pa.string()) for name in _TEXTS])
LETTERS = pa.schema([(CODE, pa.string()), ("raw", pa.binary())])


def judge(payload: bytes, received_ms: int) -> Row | None:
    """A row with its minute, a dead letter, or nothing for traffic that nobody wants."""
    try:
        event = event_of(payload)
        if is_filtered(event):
            return None
        row = row_of(event, EPOCH + timedelta(milliseconds=received_ms))
    except RejectedError as reason:
        return {CODE: str(reason), "raw": payload}
    for name in JSON_COLUMNS:
        row[name] = None if row[name] is None else orjson.dumps(row[name]).decode()
    row[MINUTE] = minute_of(window_time(row))
    return row


def minute_of(time: datetime) -> int:
    """The end of its minute, in seconds since 1970."""
    return int(time.astimezone(UTC).timestamp()) // WINDOW_S * WINDOW_S + WINDOW_S


def write(output: Path, name: str, items: Iterable[Row]) -> None:
    """Write rows into one file per minute, and dead letters into one. name: of the files, another each time."""
    letters: list[Row] = []
    minutes: dict[int, list[Row]] = {}
    for item in items:
        if CODE in item:
            letters.append(item)
        else:
            minutes.setdefault(item[MINUTE], []).append(item)
    for minute, rows in minutes.items():
        _write(output / "rows" / f"{MINUTE}={minute}" / f"{name}.parquet", rows, ROWS)
    if letters:
        _write(output / "dead_letters" / f"{name}.parquet", letters, LETTERS)


def _write(path: Path, rows: list[Row], schema: pa.Schema) -> None:
    """A file that appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary, compression="zstd")
    temporary.replace(path)
