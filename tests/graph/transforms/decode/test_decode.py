"""Batches: cut by window and shard, stamped inside their window, carried by a coder, routed when late."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import xxhash
from apache_beam import coders
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from contracts.spec.paths import PayloadPath
from contracts.spec.project import Project
from lake.formats import ParsedRecords
from lake.raw.batch import RawBlock
from lake.raw.log_ids import BATCH_BITS
from transforms.batch import RowBatch
from transforms.cut import Cut, cut_batches, shards_of
from transforms.decode.decode import DecodeRecords
from transforms.decode.kernel import RecordDecoder
from transforms.late import NEVER_LATE_US
from transforms.read.messages import MessageBatch

PROJECT = Project.load(Path(__file__).parents[4] / "examples" / "webshop")
HOUR_US = 3_600_000_000
START_US = 1_793_577_600_000_000  # 2026-11-02T00:00:00Z


def event(number: int, hour: int) -> dict[str, Any]:
    time = f"2026-11-02T{hour:02d}:00:00Z"
    return {"messageId": f"m-{number}", "type": "page", "anonymousId": "a", "originalTimestamp": time, "receivedAt": time}


def rows_of(records: list[dict[str, Any]]) -> pa.Table:
    spec, contract = PROJECT.source("web")
    count = len(records)
    block = RawBlock(ParsedRecords(records, lambda _i: b""), np.arange(count), ["f"] * count, [0] * count)
    return RecordDecoder(contract, spec, "run").decode_block(block).rows


def test_batches_hold_every_row_once_in_its_window_and_shard() -> None:
    rows = rows_of([event(n, n % 24) for n in range(300)])
    cut = Cut(window_s=3_600, num_shards=3)
    seen: list[str] = []
    for stamped in cut_batches(rows, "event_id", cut):
        shard, batch = stamped.value
        ids = batch.rows.column("event_id").to_pylist()
        seen += ids
        assert set(shards_of(ids, 3).tolist()) == {shard}
        windows = {us // HOUR_US for us in batch.rows.column("_window_time").cast(pa.int64()).to_pylist()}
        assert windows == {stamped.timestamp.micros // HOUR_US}
    assert sorted(seen) == sorted(f"m-{n}" for n in range(300))


def test_a_shard_is_the_documented_hash_of_the_key() -> None:
    assert shards_of(["m-1", "ü"], 7).tolist() == [xxhash.xxh3_128_intdigest(key.encode()) % 7 for key in ("m-1", "ü")]


def test_the_coder_gives_back_the_rows_and_the_same_bytes_for_them() -> None:
    coder = coders.registry.get_coder(RowBatch)
    rows = rows_of([event(n, 1) for n in range(50)])
    encoded = coder.encode(RowBatch(rows))
    assert coder.is_deterministic()
    assert coder.decode(encoded).rows.equals(rows)
    assert coder.encode(RowBatch(pa.concat_tables([rows.slice(0, 20), rows.slice(20)]))) == encoded


@pytest.mark.parametrize(("watermark_hour", "late_hours"), [(4, []), (5, [3]), (6, [3, 4])])
def test_rows_behind_the_watermark_come_out_as_late_rows_and_only_those(watermark_hour: int, late_hours: list[int]) -> None:
    """Windows of an hour, an hour of allowed lateness: at W = 05:00 the window that ended at 04:00 is closed."""
    spec, contract = PROJECT.source("web")
    hours = np.arange(3, 8)
    values = [json.dumps(event(hour, hour)).encode() for hour in hours.tolist()]
    marks = np.full(len(hours), START_US + watermark_hour * HOUR_US)
    batch = MessageBatch(["kafka:t:id:0"] * len(hours), hours, START_US + hours * HOUR_US, marks, values)
    cut = Cut(window_s=3_600, num_shards=1, allowed_lateness_s=3_600)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        messages = pipeline | beam.Create([batch])
        decoded = messages | DecodeRecords(contract, spec, cut, "run")
        late, on_time = decoded.late | "LateIds" >> beam.FlatMap(_ids), decoded.rows | "Ids" >> beam.FlatMap(_ids)
        assert_that(late, equal_to([f"m-{h}" for h in late_hours]), label="late")
        assert_that(on_time, equal_to([f"m-{h}" for h in range(3, 8) if h not in late_hours]), label="on time")


@pytest.mark.parametrize("known", [True, False], ids=["W", "no-W-yet"])
def test_rows_far_ahead_come_with_the_window_that_is_open_and_keep_their_time(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """W is 05:00 where there is one, else the clock says so. Windows of an hour."""
    spec, contract = PROJECT.source("web")
    hours, five_us = np.array([4, 5, 6, 20]), START_US + 5 * HOUR_US
    monkeypatch.setattr("transforms.decode.decode._DecodeFn._clock", staticmethod(lambda: 0 if known else five_us / 1e6))
    values = [json.dumps(event(hour, hour)).encode() for hour in hours.tolist()]
    marks = np.full(len(hours), five_us if known else NEVER_LATE_US)
    batch = MessageBatch(["kafka:t:id:0"] * len(hours), hours, START_US + hours * HOUR_US, marks, values)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        decoded = pipeline | beam.Create([batch]) | DecodeRecords(contract, spec, Cut(window_s=3_600, num_shards=1), "run")
        found = decoded.rows | beam.FlatMap(_stamped)
        assert_that(found, equal_to([("m-4", 4, 4), ("m-5", 5, 5), ("m-6", 6, 6), ("m-20", 20, 5)]))


def _stamped(element: tuple[int, RowBatch], timestamp: Any = beam.DoFn.TimestampParam) -> list[tuple[str, int, int]]:
    """Id, and the hours of its own time and of its stamp."""
    times = element[1].rows.column("_window_time").cast(pa.int64()).to_pylist()
    stamp = (timestamp.micros - START_US) // HOUR_US
    return [(name, (time - START_US) // HOUR_US, stamp) for name, time in zip(_ids(element), times, strict=True)]


def _ids(element: tuple[int, RowBatch]) -> list[str]:
    ids: list[str] = element[1].rows.column("event_id").to_pylist()
    return ids


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("tombstones", ["filter", "reject"])
def test_messages_without_a_value_are_filtered_where_the_source_says_so(tombstones: Any, batched: bool) -> None:
    spec, contract = PROJECT.source("web")
    spec = replace(spec, tombstones=tombstones, records=PayloadPath(("batch",)) if batched else None)
    payload = [event(n, 1) for n in range(2)]
    good = json.dumps({"batch": payload} if batched else payload[0]).encode()
    count = np.arange(4)
    batch = MessageBatch(["l"] * 4, count, count * 0, count * 0, [good, b"", b" ", b""])
    found = RecordDecoder(contract, spec, "run").decode(batch)
    dead = found.dead_letters.column("code").to_pylist()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _ = pipeline | beam.Create([batch]) | DecodeRecords(contract, spec, Cut(), "run")
    counted = pipeline.result.metrics().query(MetricsFilter().with_name("records_filtered"))["counters"]
    assert [c.committed for c in counted] == [2 if tombstones == "filter" else 0]
    assert found.records == (5 if batched else 4) and len(found.rows) == (2 if batched else 1)
    assert dead == ["malformed"] * (1 if tombstones == "filter" else 3)
    positions = [offset << BATCH_BITS if batched else offset for offset in (1, 3)]
    assert {log: own.tolist() for log, own in found.filtered.items()} == ({"l": positions} if tombstones == "filter" else {})
