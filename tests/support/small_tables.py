"""A small folded table of its own, to publish into from threads and processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from contracts.compiler.schemas import PROVENANCE
from lake.location import Lake
from lake.tables.iceberg import Layout, ensure_table, published_files
from lake.tables.publish import RangeFold, fold_range, publish
from tests.support.lake_state import row_digest
from transforms.cut import shards_of

NAME = "validated.thing"
NUM_SHARDS = 2
DAY_S = 86_400
SCHEMA = pa.schema([pa.field("event_id", pa.string()), pa.field("content", pa.string()), *PROVENANCE])
WIDER = pa.schema([pa.field("event_id", pa.string()), pa.field("content", pa.string()), pa.field("added", pa.int64()), *PROVENANCE])


def make(path: Path | Lake, schema: pa.Schema = SCHEMA, num_shards: int = NUM_SHARDS) -> Lake:
    """A lake with the table; or the table widened."""
    lake = path if isinstance(path, Lake) else Lake.at(str(path))
    lake.create()
    ensure_table(lake, NAME, schema, Layout(num_shards=num_shards))
    return lake


def row(event_id: str, second: int, rank: int = 0, content: str = "x", position: int = 0, **more: Any) -> dict[str, Any]:
    """A row of day 0 with real hashes."""
    public = {"event_id": event_id, "content": content, **more}
    return public | {
        "_window_time": second * 1_000_000,
        "_time_corrected": False,
        "_received_at": rank,
        "_source": "web",
        "_raw_file": "f",
        "_position": position,
        "_fingerprint": xxhash.xxh3_128_digest(content.encode()),
        "_row_hash": row_digest(public),
        "_rank": rank.to_bytes(8, "big"),
    }


def put(
    lake: Lake, rows: Sequence[dict[str, Any]], range_s: int, schema: pa.Schema = SCHEMA, run_id: str = "run"
) -> list[RangeFold]:
    """Fold and publish rows in ranges of this length: what one run does with them."""
    return publish(lake, NAME, folds_of(lake, rows, range_s, schema), key="event_id", run_id=run_id)


def folds_of(lake: Lake, rows: Sequence[dict[str, Any]], range_s: int, schema: pa.Schema = SCHEMA) -> list[RangeFold]:
    """The folds of rows on the table as it is now."""
    table = lake.catalog().load_table(NAME)
    published = published_files(table)
    cells: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for each, shard in zip(rows, shards_of([r["event_id"] for r in rows], NUM_SHARDS).tolist(), strict=True):
        cells.setdefault((each["_window_time"] // 1_000_000 // range_s, shard), []).append(each)
    return [
        fold_range(
            table, published, pa.Table.from_pylist(part, schema), key="event_id",
            from_us=number * range_s * 1_000_000, to_us=(number + 1) * range_s * 1_000_000, shard=shard,
        )
        for (number, shard), part in sorted(cells.items())
    ]  # fmt: skip


def put_many(path: str, parts: Sequence[tuple[Sequence[dict[str, Any]], int]]) -> int:
    """One process's work: several publications, one after the other."""
    lake = Lake.at(path)
    for rows, range_s in parts:
        put(lake, rows, range_s)
    return len(parts)
