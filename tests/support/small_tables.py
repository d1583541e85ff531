"""A small folded table of its own, to publish into from threads and processes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import xxhash

from contracts.compiler.schemas import PROVENANCE
from lake.location import Lake
from lake.tables.iceberg import Layout, ensure_table, known_files, published_files
from lake.tables.publish import RangeFold, fold_range, publish
from tests.support.lake_state import claimed, content_hash, row_digest, scan
from transforms.cut import shards_of

NAME = "validated.thing"
NUM_SHARDS = 2
DAY_S = 86_400
SCHEMA = pa.schema([pa.field("event_id", pa.string()), pa.field("content", pa.string()), *PROVENANCE])
Rows = list[dict[str, Any]]
WIDER = pa.schema([pa.field("event_id", pa.string()), pa.field("content", pa.string()), pa.field("added", pa.int64()), *PROVENANCE])


def make(path: Path | Lake, schema: pa.Schema = SCHEMA, num_shards: int = NUM_SHARDS, horizon_s: int = 0) -> Lake:
    """A lake with the table; or the table widened."""
    lake = path if isinstance(path, Lake) else Lake.at(str(path))
    lake.create()
    ensure_table(lake, NAME, schema, Layout(num_shards=num_shards, horizon_s=horizon_s))
    return lake


def row(
    event_id: str, second: int, rank: int = 0, content: str = "x", position: int = 0, revision: int = 1, **more: Any
) -> dict[str, Any]:
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
        "_revision": revision,
    }


def put(
    lake: Lake, rows: Sequence[dict[str, Any]], range_s: int, schema: pa.Schema = SCHEMA, run_id: str = "run"
) -> list[RangeFold]:
    """Fold and publish rows in ranges of this length: what one run does with them."""
    return publish(lake, NAME, folds_of(lake, rows, range_s, schema), key="event_id", run_id=run_id)


def folds_of(lake: Lake, rows: Sequence[dict[str, Any]], range_s: int, schema: pa.Schema = SCHEMA) -> list[RangeFold]:
    """The folds of rows on the table as it is now."""
    table = lake.load(NAME)
    known = known_files(table, lake.branch)
    cells: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for each, shard in zip(rows, shards_of([r["event_id"] for r in rows], NUM_SHARDS).tolist(), strict=True):
        cells.setdefault((each["_window_time"] // 1_000_000 // range_s, shard), []).append(each)
    return [
        fold_range(
            table, known, pa.Table.from_pylist(part, schema), key="event_id",
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


def assert_holds(lake: Lake, rows: Rows) -> None:
    """The table has the winners of these rows, each in a file of its range and shard, and claims its exact totals."""
    winners: dict[tuple[str, int], dict[str, Any]] = {}
    for each in sorted(rows, key=lambda r: (r["_rank"], r["_fingerprint"], r["_row_hash"], r["_position"])):
        winners.setdefault((each["event_id"], each["_window_time"] // 60_000_000), each)
    found = scan(lake, NAME)
    told = sorted(zip(found["event_id"].to_pylist(), found["content"].to_pylist(), found["_position"].to_pylist(), strict=True))
    assert told == sorted((w["event_id"], w["content"], w["_position"]) for w in winners.values())
    assert claimed(lake, NAME) == (len(winners), content_hash(found))
    times = found["_window_time"].cast(pa.int64()).to_pylist()
    shards = shards_of(found["event_id"].to_pylist(), NUM_SHARDS).tolist()
    for time, shard, low, high, own in zip(times, shards, *(found[c].to_pylist() for c in ("_from", "_to", "_shard")), strict=True):
        assert low <= time < high
        assert shard == own
    files = published_files(lake.catalog().load_table(NAME))
    by_shard = sorted(files, key=lambda f: (f.shard, f.from_us))
    assert all(a.shard != b.shard or a.to_us <= b.from_us for a, b in pairwise(by_shard)), "ranges of a shard overlap"


def some_rows(seed: int, count: int, ids: int) -> Rows:
    """Rows over a day: few ids, so that most come again, with other ranks and contents."""
    rng = Random(seed)
    times = {number: Random(number).randrange(DAY_S) for number in range(ids)}
    return [
        row(f"e{n}", times[n], rank=rng.randrange(4), content=rng.choice("xyz"), position=seed * 1_000 + i)
        for i in range(count)
        for n in [rng.randrange(ids)]
    ]
