"""The streaming job in idiomatic Beam, a record at a time: what a competent Beam user would write for this topic today.

Same cluster, workers, decoder, rules and winner as the job; the record logic is that of ``benchmarks/ingest/row_job.py``. A
splittable DoFn per partition gives out one message per element with a watermark of its own; then parse and validate, minute
windows, ``GroupByKey`` by event id and its winner, ``GroupByKey`` by shard, one Parquet file per window and shard. It does less
than the job: no raw layer, no ledger, no late table, no Iceberg commit, no rows on a topic. It deduplicates by ``GroupByKey``
within the window, which costs least: state of the runner, where ``DeduplicatePerKey`` makes two calls for Python state per event.

    python -m benchmarks.stream.row_job --bootstrap HOST:PORT --topic NAME --flink HOST:PORT --worker COMMAND --output FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apache_beam as beam
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from apache_beam.io.iobase import RestrictionProgress
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.trigger import AccumulationMode, AfterWatermark
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp
from confluent_kafka import Consumer, KafkaException, TopicPartition

from benchmarks.ingest.row_job import (
    CONFLICTS,
    CONTRACT,
    LETTER_SCHEMA,
    LETTERS,
    ROW_SCHEMA,
    SPEC,
    Row,
    UncommonError,
    _PickWinnerFn,
    dead_letter,
    finish,
    row_of,
    with_sorted_map,
)
from benchmarks.stream.bed import PARTITIONS, ROOT, SLOTS, Sent, require_once, run_json
from benchmarks.stream.figures import Visible
from benchmarks.stream.on_flink import OnFlink
from contracts.codes import Violation
from contracts.compiler.judge import RecordJudge
from devstack.stack import Stack
from lake.formats.jsonl import parse_payloads
from runners.flink.key_groups import salts_for
from runners.flink.submit import FlinkJob, submit

WINDOW_S, SHARDS = 60, 4
_END = 2**62
_SLICE_S, _BOUND_MS, _IDLE_S, _POLL_S = 2.0, 5_000, 10.0, 0.1
Message = tuple[str, int, bytes]  # log, record time in microseconds, payload


def partition_name(partition: int, salt: int) -> bytes:
    """The element that stands for a partition."""
    return b"%d %d" % (partition, salt)


class _Tracker(OffsetRestrictionTracker):
    """Offsets of a partition, of which no end is known."""

    def current_progress(self) -> RestrictionProgress:
        return RestrictionProgress(fraction=0.0)

    def is_bounded(self) -> bool:
        return False


class _Offsets(RestrictionProvider):
    def initial_restriction(self, element: bytes) -> OffsetRange:
        return OffsetRange(0, _END)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return _Tracker(restriction)

    def restriction_size(self, element: bytes, restriction: OffsetRange) -> int:
        return 1

    def truncate(self, element: bytes, restriction: OffsetRange) -> None:
        """A drained job reads no further."""


_TRACKER = beam.DoFn.RestrictionParam(_Offsets())
_WATERMARK = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider())


@beam.typehints.with_output_types(tuple[str, int, bytes])
class _ReadFn(beam.DoFn):
    def __init__(self, bootstrap: str, topic: str, group: str) -> None:
        self._bootstrap, self._topic, self._group = bootstrap, topic, group

    def setup(self) -> None:
        self._consumers: dict[int, tuple[Consumer, int]] = {}

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: bytes,
        finalizer: Any = beam.DoFn.BundleFinalizerParam,
        tracker: Any = _TRACKER,
        watermark: Any = _WATERMARK,
    ) -> Iterator[TimestampedValue]:
        partition = int(element.split()[0])
        offset = tracker.current_restriction().start
        consumer = self._consumer(partition, offset)
        until = time.monotonic() + _SLICE_S
        heard = time.monotonic()
        while time.monotonic() < until:
            message = consumer.poll(_POLL_S)
            if message is None:
                if time.monotonic() - heard > _IDLE_S / 10 and self._is_idle(consumer, partition, offset):
                    _advance(watermark, int(time.time() * 1_000) - int(_IDLE_S * 1_000))
                continue
            if message.error() is not None:
                raise KafkaException(message.error())
            heard = time.monotonic()
            if not tracker.try_claim(message.offset()):
                return
            offset = int(message.offset() or 0) + 1
            time_ms = message.timestamp()[1]
            log = f"kafka:{self._topic}:{partition}"
            yield TimestampedValue((log, time_ms * 1_000, message.value() or b""), Timestamp(micros=time_ms * 1_000))
            _advance(watermark, time_ms - _BOUND_MS)
        self._consumers[partition] = consumer, offset
        place = TopicPartition(self._topic, partition, offset)
        finalizer.register(lambda: consumer.commit(offsets=[place], asynchronous=True))
        tracker.defer_remainder(Duration(0))

    def _consumer(self, partition: int, offset: int) -> Consumer:
        """The one that read the partition before, where it left off; else a new one."""
        known, at = self._consumers.pop(partition, (None, -1))
        if known is not None and at == offset:
            return known
        consumer = known or Consumer({"bootstrap.servers": self._bootstrap, "group.id": self._group, "enable.auto.commit": False})
        consumer.assign([TopicPartition(self._topic, partition, offset)])
        return consumer

    def _is_idle(self, consumer: Consumer, partition: int, offset: int) -> bool:
        _, end = consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=1.0, cached=False)
        return bool(offset >= end)

    def teardown(self) -> None:
        for consumer, _ in self._consumers.values():
            consumer.close()


def _advance(watermark: Any, ms: int) -> None:
    mark = Timestamp(micros=ms * 1_000)
    if watermark.current_watermark() is None or mark > watermark.current_watermark():
        watermark.set_watermark(mark)


@beam.typehints.with_input_types(tuple[str, int, bytes])
@beam.typehints.with_output_types(tuple[str, dict[str, Any]])
class _ParseAndValidateFn(beam.DoFn):
    def setup(self) -> None:
        self._judge = RecordJudge(CONTRACT, SPEC)
        self._decode = msgspec.json.Decoder().decode

    def process(self, element: Message) -> Iterator[Any]:
        log, received_us, payload = element
        try:
            if payload.count(b"{") + payload.count(b"[") > SPEC.max_depth or len(payload) > SPEC.record_bytes:
                raise ValueError
            event = self._decode(payload)
        except (ValueError, msgspec.MsgspecError):
            parsed = parse_payloads(SPEC, [payload])
            if parsed.failed:
                yield beam.pvalue.TaggedOutput(LETTERS, dead_letter(parsed.failed[0], None, log, received_us, parsed.raw(0)))
                return
            event = parsed.records[0]
        if type(event) is not dict:
            reason = [Violation("$", "syntax", "an object")]
            yield beam.pvalue.TaggedOutput(LETTERS, dead_letter(reason, None, log, received_us, payload))
            return
        if self._judge.is_filtered(event):
            return
        try:
            row = row_of(event)
        except UncommonError:
            verdict = self._judge.judge(event)
            if isinstance(verdict, list):
                yield beam.pvalue.TaggedOutput(LETTERS, dead_letter(verdict, event.get("messageId"), log, received_us, payload))
                return
            row = verdict
        row = finish(row, log, received_us)
        yield TimestampedValue((row["event_id"], row), Timestamp(micros=row["_window_time"]))


def shard_of(row: Row) -> tuple[int, Row]:
    """The row by its shard, as pyarrow wants it."""
    return xxhash.xxh3_128_intdigest(row["event_id"].encode()) % SHARDS, with_sorted_map(row)


@beam.typehints.with_output_types(int)
class _WriteWindowFn(beam.DoFn):
    """One file per window, key and pane, which appears whole."""

    def __init__(self, folder: str, schema: pa.Schema) -> None:
        self._folder, self._schema = folder, schema

    def process(self, element: tuple[int, Iterable[Row]], window: Any = beam.DoFn.WindowParam) -> Iterator[int]:
        shard, rows = element[0], list(element[1])
        if not rows:
            return
        digest = xxhash.xxh3_64_hexdigest(json.dumps([row["event_id"] for row in rows]).encode())
        name = f"{window.end.micros // 1_000}-{shard}-{digest}.parquet"
        temporary = Path(self._folder) / f".{name}.{os.getpid()}"
        pq.write_table(pa.Table.from_pylist(rows, schema=self._schema), temporary, compression="zstd")
        temporary.replace(Path(self._folder) / name)
        yield len(rows)


def build(pipeline: beam.Pipeline, bootstrap: str, topic: str, output: Path) -> None:
    """The graph."""
    elements = [partition_name(number, salt) for number, salt in enumerate(salts_for(partition_name, PARTITIONS, SLOTS))]
    checked = (
        pipeline
        | "Partitions" >> beam.Create(elements, reshuffle=False)
        | "ReadMessages" >> beam.ParDo(_ReadFn(bootstrap, topic, _group(topic)))
        | "ParseAndValidate" >> beam.ParDo(_ParseAndValidateFn()).with_outputs(LETTERS, main="rows")
    )
    picked = (
        checked.rows
        | "Minutes" >> _minutes()
        | "ByEventId" >> beam.GroupByKey()
        | "PickWinner" >> beam.ParDo(_PickWinnerFn()).with_outputs(CONFLICTS, main="winners")
    )
    _ = (
        picked.winners
        | "ByShard" >> beam.Map(shard_of).with_output_types(tuple[int, dict[str, Any]])
        | "GroupShard" >> beam.GroupByKey()
        | "WriteRows" >> beam.ParDo(_WriteWindowFn(str(output / "rows"), ROW_SCHEMA))
    )
    _ = (
        (checked[LETTERS] | "LetterMinutes" >> _minutes(), picked[CONFLICTS])
        | "AllDeadLetters" >> beam.Flatten()
        | "OneKey" >> beam.Map(lambda letter: (0, letter)).with_output_types(tuple[int, dict[str, Any]])
        | "GroupLetters" >> beam.GroupByKey()
        | "WriteDeadLetters" >> beam.ParDo(_WriteWindowFn(str(output / "dead_letters"), LETTER_SCHEMA))
    )


def _minutes() -> beam.WindowInto:
    return beam.WindowInto(FixedWindows(WINDOW_S), trigger=AfterWatermark(), accumulation_mode=AccumulationMode.DISCARDING)


def _group(topic: str) -> str:
    return f"row-job-{topic}"


@dataclass
class RowJob(OnFlink):
    """The row job over one topic, as a contestant."""

    stack: Stack
    folder: Path
    topic: str
    immediate: None = None
    _group_client: Any = field(default=None, repr=False)

    @property
    def _output(self) -> Path:
        return self.folder / "out"

    def start(self) -> None:
        """Submit it."""
        for name in ("rows", "dead_letters"):
            (self._output / name).mkdir(parents=True)
        self._group_client = Consumer(
            {"bootstrap.servers": self.stack.kafka_bootstrap, "group.id": _group(self.topic), "log_level": 2}
        )
        submitted = run_json(
            "benchmarks.stream.row_job", "--bootstrap", self.stack.kafka_bootstrap, "--topic", self.topic,
            "--flink", self.stack.flink_rest, "--output", str(self._output), "--worker", str(self._launcher()),
        )  # fmt: skip
        self._job_id = str(submitted["job_id"])

    def _launcher(self) -> Path:
        """Starts workers that find this package, which no installation has."""
        launcher = self.folder / "flink-worker"
        launcher.write_text(
            f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(str(self.stack.worker_command))} "$@"\n'
        )
        launcher.chmod(0o755)
        return launcher

    def taken(self) -> int:
        """Messages whose offsets are committed, which is with a checkpoint."""
        places = [TopicPartition(self.topic, number) for number in range(PARTITIONS)]
        return sum(max(place.offset, 0) for place in self._group_client.committed(places, timeout=10))

    def published(self) -> int:
        """Rows in its files."""
        return sum(window.rows for window in self.windows())

    def settled(self, sent: Sent) -> bool:
        """Whether as many rows are there as events were sent."""
        return self.published() >= len(sent.events)

    def check(self, sent: Sent) -> None:
        """Every event is in its files once.

        Raises:
            RunFailedError: it is not.
        """
        tables = [pq.read_table(path, columns=["event_id"], partitioning=None) for path in self._files()]
        require_once(pa.concat_tables(tables)["event_id"] if tables else pa.chunked_array([[]], pa.string()), sent)

    def windows(self) -> list[Visible]:
        """Its files, by window."""
        return [
            Visible(int(path.name.split("-")[0]) / 1_000, path.stat().st_mtime, pq.read_metadata(path).num_rows)
            for path in self._files()
        ]

    def written(self) -> dict[str, Any]:
        """It has no tables."""
        return {}

    def _files(self) -> list[Path]:
        return sorted((self._output / "rows").glob("[0-9]*.parquet"))


def submit_row_job(bootstrap: str, topic: str, flink: str, worker: str, output: Path) -> str:
    """Submit it; Flink's id of the job. worker: the command that starts a Python worker."""
    job = FlinkJob(rest=flink, parallelism=SLOTS, workers=f"process:{worker}")
    return submit(lambda pipeline: build(pipeline, bootstrap, topic, output), job, f"row-job-{topic}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream.row_job")
    for name in ("bootstrap", "topic", "flink", "worker"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    # Imported under its own name: what a Beam worker unpickles must not live in __main__.
    from benchmarks.stream.row_job import submit_row_job as run  # noqa: PLC0415

    json.dump({"job_id": run(options.bootstrap, options.topic, options.flink, options.worker, options.output)}, sys.stdout)


if __name__ == "__main__":
    main()
