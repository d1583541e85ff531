"""Kafka as a PTransform: a splittable DoFn that reads whole polls, and lands what it read before its bundle ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import msgspec
import numpy as np
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.metrics import Metrics
from apache_beam.transforms.core import WatermarkEstimatorProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Duration, Timestamp

from contracts.compiler.clocks import record_times_us
from contracts.errors import ConfigurationError, HeadraceError, OffsetGapError, RegistryDownError
from contracts.spec.registry import Registry
from contracts.spec.source import SourceSpec
from lake.location import Lake
from lake.raw.log_ids import LogId
from lake.raw.segment_files import RawMessage
from lake.raw.segments import PartitionLog
from transforms.late import NEVER_LATE_US
from transforms.read.discover import with_new_partitions
from transforms.read.messages import Headers, MessageBatch, payload_of
from transforms.read.partitions import PartitionProgress, PartitionsProgress, far_ahead, watermarks, with_partitions
from transforms.read.poll import PartitionsReader, Polled
from transforms.read.schemas import WriterSchemas
from transforms.read.topics import KafkaSource
from transforms.readers.pool import POOL
from transforms.readers.progress import END_OF_TIME_US
from transforms.readers.restriction import ReaderName, ReaderRestrictions, reader_names

_POLL_S = 0.1
_POLL_MESSAGES = 10_000
_BUNDLE_BYTES = 32 << 20
_WAIT_S = 2  # between two bundles that find the registry down
_SURE_EVERY_S = 0.1  # rows that go out at once wait so long; each time costs a question to the broker


@dataclass
class ReadKafka(beam.PTransform):
    """Read partitions of topics, and land every message in ``raw/`` (segments.py).

    Input: a pipeline. Output: MessageBatch, one per poll, stamped with the reader's W at the start of the poll.
    Windowing: none needed. The watermark is the smallest W of the readers.
    Guarantees: what a bundle gave out is in ``raw/`` when the bundle ends, each position once. At least once after a crash, from
        the last checkpoint on. Every message carries its W (late.py), so that whatever a runner would drop as late was told apart
        before. Of messages that name a schema (``wire_format``) the schema is in ``raw/`` first; while the registry does not answer
        nothing is read, and nothing rejected: a stream waits, a run with an end raises when its patience ends.
        Memory of a bundle is bounded by its length and _BUNDLE_BYTES, that of the client by its queue.
    """

    source: KafkaSource
    spec: SourceSpec
    lake: Lake
    registry: Registry | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[MessageBatch]:
        """See the class."""
        return (
            pipeline
            | "Readers" >> beam.Create(reader_names(self.source.salts), reshuffle=False)
            | "Read" >> beam.ParDo(_ReadFn(self.source, self.spec, self.lake, registry=self.registry))
        )


class _WatermarkOfProgress(WatermarkEstimatorProvider):
    def initial_estimator_state(self, element: bytes, restriction: PartitionsProgress) -> Timestamp:
        return _timestamp(restriction.watermark_us)

    def create_watermark_estimator(self, estimator_state: Timestamp) -> ManualWatermarkEstimator:
        return ManualWatermarkEstimator(estimator_state)


_TRACKER = beam.DoFn.RestrictionParam()
_WATERMARK = beam.DoFn.WatermarkEstimatorParam(_WatermarkOfProgress())


@dataclass
class _Unlanded:
    """What a bundle has read of one partition. [start, end): offsets that it covers."""

    start: int
    end: int
    messages: list[RawMessage] = field(default_factory=list)


@beam.typehints.with_output_types(MessageBatch)
class _ReadFn(beam.DoFn, ReaderRestrictions):
    _source: KafkaSource
    _registry: Registry | None = None  # of the class: jobs of the version before bring none
    _schemas: WriterSchemas | None = None

    def __init__(
        self,
        source: KafkaSource,
        spec: SourceSpec,
        lake: Lake,
        clock: Callable[[], float] = time.time,
        registry: Registry | None = None,
    ) -> None:
        self._source, self._spec, self._lake, self._clock, self._registry = source, spec, lake, clock, registry
        self._messages = Metrics.counter(f"kafka/{spec.name}", "messages")
        self._bytes = Metrics.counter(f"kafka/{spec.name}", "bytes")
        self._lag = Metrics.gauge(f"kafka/{spec.name}", "lag")
        self._registry_down = Metrics.gauge(f"kafka/{spec.name}", "registry_down_s")

    def setup(self) -> None:
        self._logs: dict[LogId, PartitionLog] = {}
        if self._spec.wire_format:
            self._schemas = WriterSchemas(self._lake, self._registry)

    def teardown(self) -> None:
        if self._schemas is not None:
            self._schemas.close()

    def start_bundle(self) -> None:
        self._unlanded: dict[LogId, _Unlanded] = {}

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: bytes,
        finalizer: Any = beam.DoFn.BundleFinalizerParam,
        tracker: Any = _TRACKER,  # behind the finalizer: Beam gives these two by name, and that one by place
        watermark: Any = _WATERMARK,
    ) -> Iterator[TimestampedValue]:
        source = self._source
        progress: PartitionsProgress = tracker.current_restriction()
        name = ReaderName.parse(element)
        key = self._spec.name, name.number, source.connection, source.group, source.on_gap
        with POOL.borrow(key, lambda: PartitionsReader(source.connection, source.group, source.on_gap)) as reader:
            progress = sure = with_new_partitions(reader, source, name, progress)
            until, size, stopped, looked = self._clock() + source.slice_s, 0, False, self._clock()
            waiting = False
            again: list[str] = []
            read: list[TimestampedValue] = []  # given on once it is sure that it is of these topics
            while not progress.finished:
                reader.resume(progress.lanes)
                reader.pause(far_ahead(progress))
                polled = reader.poll(_POLL_MESSAGES, _POLL_S)
                try:
                    batches, after = self._judge(reader, progress, polled)
                except (RegistryDownError, ConfigurationError) as error:
                    waiting = self._may_wait(error, progress)  # what was polled is polled again
                    break
                after = self._with_idle(reader, after)
                if stopped := not tracker.try_claim(after):
                    break
                for log, part in polled.items():
                    self._keep(log, progress, part, batches.get(log))
                if batches:
                    joined = MessageBatch.joined(list(batches.values()))
                    size += sum(map(len, joined.values))
                    read.append(TimestampedValue(joined, _timestamp(progress.watermark_us)))
                progress = after
                if size > _BUNDLE_BYTES or self._clock() > until:
                    break
                if read and self._clock() > looked + _SURE_EVERY_S:
                    if again := reader.made_again(progress.lanes):
                        break
                    yield from read
                    read, sure, looked = [], progress, self._clock()
            if again or (again := reader.made_again(progress.lanes)):
                progress, read = sure, []
                self._forget(sure, again, tracker.try_claim(sure))
            yield from read
            watermark.set_watermark(_timestamp(progress.watermark_us))
            self._lag.set(reader.lag())
            self._registry_down.set(int(self._schemas.down_s) if self._schemas else 0)
            self._commit_later(finalizer, reader, progress)
        if not (progress.finished or stopped):
            tracker.defer_remainder(Duration(_WAIT_S if waiting else 0))

    def finish_bundle(self) -> None:
        for log, part in self._unlanded.items():
            if log not in self._logs:
                self._logs[log] = PartitionLog(self._lake, self._spec.raw_source, log, batched=self._spec.records is not None)
            self._logs[log].land(part.start, part.end, part.messages)
        self._unlanded = {}

    def _may_wait(self, error: HeadraceError, progress: PartitionsProgress) -> bool:
        """A stream waits for a registry for as long as it takes, a run with an end for as long as the project says.

        Raises:
            RegistryDownError: it waited long enough.
            ConfigurationError: there is nothing to wait for.
        """
        assert self._schemas is not None
        patience_s = self._registry.patience_s if self._registry else 0.0
        if not progress.endless and (isinstance(error, ConfigurationError) or self._schemas.down_s > patience_s):
            raise error
        return True

    def _judge(
        self, reader: PartitionsReader, progress: PartitionsProgress, polled: Mapping[LogId, Polled]
    ) -> tuple[dict[LogId, MessageBatch], PartitionsProgress]:
        """The messages as batches with their W, and the progress after them."""
        batches: dict[LogId, MessageBatch] = {}
        changed: dict[LogId, PartitionProgress] = {}
        now_us = int(self._clock() * 1_000_000)
        for p in progress.lanes:
            part = polled.get(p.log)
            if part is None:
                continue
            messages = part.messages if p.end is None else [m for m in part.messages if int(m.offset() or 0) < p.end]
            max_us, moved = p.max_us, False
            if messages:
                times = record_times_us(np.fromiter((m.timestamp()[1] for m in messages), np.int64, len(messages)))
                marks, max_us = watermarks(
                    times, max_us=max_us, watermark_us=progress.watermark_us, bound_us=self._source.bound_us, now_us=now_us
                )
                offsets = np.fromiter((int(m.offset() or 0) for m in messages), np.int64, len(messages))
                values = [payload_of(m.value(), self._spec) for m in messages]
                headers = [_headers(m) for m in messages] if self._spec.reads_headers else None
                batches[p.log] = MessageBatch([str(p.log)] * len(messages), offsets, times, marks, values, headers)
                if self._schemas is not None:
                    self._schemas.land(batches[p.log], p.topic)
                if moved := max_us != p.max_us:  # a clock that stands moves nothing
                    reader.moved(p.log, now_us / 1e6)
            following = part.next if p.end is None else min(part.next, p.end)
            changed[p.log] = msgspec.structs.replace(p, next=following, max_us=max_us, idle=p.idle and not moved)
        return batches, with_partitions(progress, changed, self._source.bound_us)

    def _with_idle(self, reader: PartitionsReader, progress: PartitionsProgress) -> PartitionsProgress:
        """Partitions in which nothing has moved W for long no longer hold it; where all are, W follows the clock (silence.py)."""
        now, idle_s = self._clock(), self._source.idle_us / 1e6
        changed: dict[LogId, PartitionProgress] = {}
        for p in progress.lanes:
            since = reader.seen_s.setdefault(p.log, now)
            if p.idle or p.finished or now - since < idle_s:
                continue
            if reader.read_up_to(p.log, now, idle_s) is not None:
                changed[p.log] = msgspec.structs.replace(p, idle=True)
            else:
                reader.seen_s[p.log] = now - idle_s / 2  # asked again after half that time
        after = with_partitions(progress, changed, self._source.bound_us)
        if after.endless and all(p.idle for p in after.lanes):
            return self._all_idle(reader, after, now)
        return after

    def _all_idle(self, reader: PartitionsReader, progress: PartitionsProgress, now: float) -> PartitionsProgress:
        idle_us, bound_us = self._source.idle_us, self._source.bound_us
        if int(now * 1e6) - bound_us - progress.watermark_us < idle_us // 2:
            return progress
        moments = [reader.read_up_to(p.log, now, idle_us / 1e6) for p in progress.lanes]
        known = [moment for moment in moments if moment is not None]
        if len(known) < len(moments):
            return progress
        target = int(min(known, default=now) * 1e6) - bound_us
        return msgspec.structs.replace(progress, watermark_us=max(progress.watermark_us, target))

    def _keep(self, log: LogId, before: PartitionsProgress, part: Polled, batch: MessageBatch | None) -> None:
        """For landing at the end of the bundle."""
        p = next(p for p in before.lanes if p.log == log)
        end = part.next if p.end is None else min(part.next, p.end)
        kept = self._unlanded.setdefault(log, _Unlanded(p.next, end))
        kept.end = max(kept.end, end)
        if batch is not None:
            counts = batch.records_per_message(self._spec).tolist() if self._spec.records else [1] * len(batch.values)
            headers = batch.headers or list(map(_headers, part.messages))
            kept.messages += map(_raw_message, part.messages, counts, headers)  # counts end where the partition's end is
            self._messages.inc(len(batch.values))
            self._bytes.inc(sum(map(len, batch.values)))

    def _forget(self, sure: PartitionsProgress, again: Sequence[str], given_back: bool) -> None:
        """Nothing was read since this progress: some of it may be of another topic than it was taken for.

        Raises:
            OffsetGapError: the rest was given away meanwhile, from a place further on.
        """
        if not given_back:
            raise OffsetGapError(f"topic {again[0]}: was deleted and made again while it was read; the bundle is to be done again")
        for p in sure.lanes:
            part = self._unlanded.get(p.log)
            if part is None:
                continue
            part.end = min(part.end, p.next)
            part.messages = [message for message in part.messages if message.offset < p.next]
            if part.start >= part.end:
                del self._unlanded[p.log]

    def _commit_later(self, finalizer: Any, reader: PartitionsReader, progress: PartitionsProgress) -> None:
        """Tell the broker once the runner has made this bundle durable."""
        offsets = {(p.topic, p.partition): p.next for p in progress.lanes}
        finalizer.register(lambda: reader.commit(offsets))


def _raw_message(message: Any, records: int, headers: Headers) -> RawMessage:
    kind, ms = message.timestamp()
    return RawMessage(message.offset(), ms, kind, message.key(), message.value(), headers, records)


def _headers(message: Any) -> Headers:
    return tuple(message.headers() or ())


def _timestamp(watermark_us: int) -> Timestamp:
    if watermark_us == NEVER_LATE_US:
        return MIN_TIMESTAMP
    return MAX_TIMESTAMP if watermark_us == END_OF_TIME_US else Timestamp(micros=watermark_us // 1000 * 1000)
