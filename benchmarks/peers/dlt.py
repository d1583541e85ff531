"""The work of ``headrace ingest web`` as a dlt user writes it: a generator that checks each event, merged into DuckDB by its id.

    python -m benchmarks.peers.dlt SAMPLE OUTPUT [--threads 2] [--as-it-comes]

Parquet between the steps and several workers, as its page on performance tells; as it comes, dlt loads text of INSERT statements
and normalises in one process. Nesting is told by counting brackets.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

BATCH = 5_000
IDS = {
    "event_id": "messageId", "user_id": "userId", "anonymous_id": "anonymousId", "previous_id": "previousId",
    "group_id": "groupId",
}  # fmt: skip
TIMES = {"original_timestamp": ("originalTimestamp", "timestamp"), "sent_at": ("sentAt",), "received_at": ("receivedAt",)}
NESTED = {
    "ip": ("ip", 64), "user_agent": ("userAgent", 2048), "locale": ("locale", 64), "page_url": ("page.url", 8192),
    "campaign_name": ("campaign.name", None), "campaign_source": ("campaign.source", None),
    "campaign_medium": ("campaign.medium", None), "campaign_term": ("campaign.term", None),
    "campaign_content": ("campaign.content", None), "device_id": ("device.id", None), "library": ("library.name", None),
    "library_version": ("library.version", None),
}  # fmt: skip
OBJECTS = ("context", "properties", "traits", "integrations")
JSON_COLUMNS = (*OBJECTS, "consent", "unknown_fields")
KNOWN = frozenset(
    (*IDS.values(), *OBJECTS, "type", "event", "name", "originalTimestamp", "timestamp", "sentAt", "receivedAt", "schemaVersion",
     "channel", "writeKey")
)  # fmt: skip
UNSTABLE = ("event_id", "sent_at", "received_at", "event_time", "unknown_fields")
NO_VALUE = ("", "null", "undefined", "None", "00000000-0000-0000-0000-000000000000")
TYPES = ("track", "identify", "page", "screen", "group", "alias")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS = {10: 1_000_000, 13: 1_000, 16: 1}
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d{1,12})?)? ?(Z|z|UTC|[+-]\d\d(:?\d\d)?)\Z", re.ASCII)
COLUMNS: dict[str, dict[str, Any]] = {
    **{name: {"data_type": "timestamp"} for name in ("original_timestamp", "sent_at", "event_time")},
    "received_at": {"data_type": "timestamp", "dedup_sort": "asc"},
    **{name: {"data_type": "json"} for name in JSON_COLUMNS},
    **{name: {"data_type": "text"} for name in ("event_id", "event_type", "event_name", *list(IDS)[1:], *NESTED)},
}
Row = dict[str, Any]


class RejectedError(Exception):
    """What is wrong with an event: a code."""


def text(value: Any, limit: int | None) -> str | None:
    if value is not None and not isinstance(value, str):
        raise RejectedError("wrong_type")
    if value is not None and limit and len(value) > limit:
        raise RejectedError("bad_length")
    return value


def identifier(value: Any) -> str | None:
    return None if value in NO_VALUE else text(value, 256)


def time(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        if isinstance(value, str) and RFC_3339.match(value):
            return datetime.fromisoformat(value)
        if type(value) is int and len(str(value)) in UNITS:
            return EPOCH + timedelta(microseconds=value * UNITS[len(str(value))])
    except (ValueError, OverflowError):
        pass
    raise RejectedError("bad_timestamp")


def at(value: Any, path: str) -> Any:
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def event_of(line: bytes) -> Row:
    """The event of a line."""
    if len(line) > 1_048_576:
        raise RejectedError("too_large")
    if line.count(b"{") + line.count(b"[") > 64:
        raise RejectedError("too_deep")
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            line.decode()
        except UnicodeDecodeError:
            raise RejectedError("invalid_encoding") from None
        raise RejectedError("malformed") from None
    if not isinstance(event, dict):
        raise RejectedError("malformed")
    return event


def row_of(event: Row, modified: datetime) -> Row:
    """The contract's columns."""
    if str(event.get("schemaVersion") or 1) not in ("1", "2"):
        raise RejectedError("unknown_schema_version")
    row: Row = {"event_id": identifier(event.get("messageId")), "event_type": text(event.get("type"), None)}
    if row["event_type"] is None:
        raise RejectedError("missing_required")
    if row["event_type"] not in TYPES:
        raise RejectedError("not_in_enum")
    name = event.get("event")
    row["event_name"] = text(event.get("name") if name is None else name, 256)
    row |= {column: identifier(event.get(key)) for column, key in IDS.items() if column != "event_id"}
    for column, keys in TIMES.items():
        row[column] = time(next((event[key] for key in keys if event.get(key) is not None), None))
    row["consent"] = at(event, "context.consent.categoryPreferences")
    if row["consent"] is not None and not all(type(choice) is bool for choice in row["consent"].values()):
        raise RejectedError("wrong_type")
    row |= {column: text(at(event, f"context.{path}"), limit) for column, (path, limit) in NESTED.items()}
    for column in OBJECTS:
        row[column] = event.get(column)
        if row[column] is not None and not isinstance(row[column], dict):
            raise RejectedError("wrong_type")
    row["unknown_fields"] = {key: value for key, value in event.items() if key not in KNOWN} or None
    if breaks_rules(row):
        raise RejectedError("missing_required")
    set_times(row, modified)
    if row["event_id"] is None:
        stable = {name: value for name, value in row.items() if name not in UNSTABLE}
        row["event_id"] = f"fp-{hashlib.md5(orjson.dumps(stable, option=orjson.OPT_SORT_KEYS)).hexdigest()}"
    return row


def breaks_rules(row: Row) -> bool:
    """The rules over several columns."""
    kind, user = row["event_type"], row["user_id"]
    return (
        (user is None and row["anonymous_id"] is None)
        or (kind == "track" and row["event_name"] is None)
        or (kind == "group" and row["group_id"] is None)
        or (kind == "alias" and (row["previous_id"] is None or user is None))
        or (kind == "identify" and user is None and row["traits"] is None)
    )


def set_times(row: Row, modified: datetime) -> None:
    """When it was received, and when it happened by the collector's clock."""
    has_clock = row["received_at"] is not None
    received = row["received_at"] = row["received_at"] or modified
    original, sent = row["original_timestamp"], row["sent_at"]
    low, high = received - timedelta(days=30), received + timedelta(hours=1)
    estimate = received - (sent - original) if sent and original else None
    within = estimate is not None and low <= estimate <= high and (has_clock or low <= original <= high)
    row["event_time"] = estimate if within else None


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
                    if at(event, "context.traffic") not in ("synthetic", "bot"):
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
