"""The immediate branch: validated rows to a Kafka topic as soon as they are decoded, fused behind the decoder.

No shuffle and no state: latency is that of a poll. What a bundle took in is acknowledged by the broker when the bundle ends, so
nothing is lost; after a crash rows come again with the same ``event_id``, by which consumers are idempotent. Repeats that come
close together are suppressed by a bounded set of hashes in memory, at best effort.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import xxhash
from apache_beam.metrics import Metrics
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from contracts.compiler.schemas import ROW_JSON
from contracts.errors import ComponentDownError
from contracts.spec.model import Contract
from transforms.batch import RowBatch
from transforms.kafka.connection import KafkaConnection, silent_logger

_FLUSH_S = 120.0
_MESSAGE_BYTES = 16 << 20  # of the client; what the broker takes is its own max.message.bytes
_REMEMBERED = 250_000  # hashes of 16 bytes; about 40 MB with their dictionary


@dataclass(frozen=True)
class RowsTopic:
    """Where rows go. connection: of the cluster. topic: its name; it exists."""

    connection: KafkaConnection
    topic: str


class PublishRows(beam.PTransform[Any, Any]):
    """Publish rows to a topic.

    Input: RowBatch with ROW_JSON in the order of their source. Output: number of rows published, per batch.
    Windowing: none needed.
    Guarantees: when a bundle ends every row of it is acknowledged by all in-sync replicas; rows of one key keep their order. A row
        may come again after a failure, with the same ``event_id`` header. A row that is larger than the broker takes is counted
        (rows_too_large) and left out; it is in the table.
    Message: key = the contract's first ``partitionKey`` column with a value, else the event id; value = the row's canonical JSON;
        headers = event_id, dataset, version, window_time (microseconds).
    """

    def __init__(self, topic: RowsTopic, contract: Contract) -> None:
        super().__init__()
        self._publish = _PublishFn(topic, contract)

    def expand(self, rows: beam.PCollection[RowBatch]) -> beam.PCollection[int]:
        """See the class."""
        return rows | "Publish" >> beam.ParDo(self._publish)


class RecentIds:
    """The last so many ids, as hashes. Forgets the oldest."""

    def __init__(self, limit: int = _REMEMBERED) -> None:
        self._limit = limit
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def add(self, key: str) -> bool:
        """Remember it; whether it is new."""
        digest = xxhash.xxh3_128_digest(key.encode())
        if digest in self._seen:
            return False
        self._seen[digest] = None
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        return True


class _Outgoing(NamedTuple):
    """A message on its way."""

    value: bytes
    key: str
    headers: list[Any]


@beam.typehints.with_output_types(int)
class _PublishFn(beam.DoFn):
    def __init__(self, topic: RowsTopic, contract: Contract) -> None:
        self._topic, self._contract = topic, contract
        self._published = Metrics.counter(f"immediate/{contract.dataset}", "rows_published")
        self._repeated = Metrics.counter(f"immediate/{contract.dataset}", "rows_repeated")
        self._too_large = Metrics.counter(f"immediate/{contract.dataset}", "rows_too_large")

    def setup(self) -> None:
        self._recent = RecentIds()
        self._producer = Producer(
            {
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "compression.type": "lz4",
                "delivery.timeout.ms": 120_000,
                "queue.buffering.max.messages": 200_000,
                "message.max.bytes": _MESSAGE_BYTES,
                **self._topic.connection.settings(),
                "logger": silent_logger(),
            }
        )

    def start_bundle(self) -> None:
        self._failure: KafkaError | None = None
        self._refused: list[_Outgoing] = []

    def process(self, batch: RowBatch) -> Iterator[int]:
        rows, contract = batch.rows, self._contract
        ids = rows.column(contract.event_id).to_pylist()
        new = [i for i, event_id in enumerate(ids) if self._recent.add(event_id)]
        self._repeated.inc(len(ids) - len(new))
        if len(new) < len(ids):
            rows, ids = rows.take(pa.array(new, pa.int64())), [ids[i] for i in new]
        keys = _keys(rows, contract)
        times = rows.column("_window_time").cast("int64").to_pylist()
        common = [("dataset", contract.dataset), ("version", contract.version)]
        for event_id, key, time_us, value in zip(ids, keys, times, rows.column(ROW_JSON.name).to_pylist(), strict=True):
            self._produce(_Outgoing(value, key, [("event_id", event_id), *common, ("window_time", str(time_us))]))
        self._producer.poll(0)
        self._published.inc(len(ids))
        yield len(ids)

    def _produce(self, row: _Outgoing) -> None:
        on_delivery = partial(self._delivered, row)
        while True:
            try:
                self._producer.produce(self._topic.topic, row.value, row.key, headers=row.headers, on_delivery=on_delivery)
                return
            except BufferError:  # the queue is full: wait until the broker has taken some
                self._producer.poll(0.1)
            except KafkaException as error:
                on_delivery(error.args[0])
                return

    def _delivered(self, row: _Outgoing, error: KafkaError | None, _message: Message | None = None) -> None:
        if error is None:
            return
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self._refused.append(row)
        else:
            self._failure = error

    def finish_bundle(self) -> None:
        left = self._flush()
        refused, self._refused = self._refused, []
        for row in refused:  # a broker refuses a batch as a whole: what is refused alone is too large itself
            self._produce(row)
            left += self._flush()
        if self._refused:  # would come again for ever; the table has the row
            self._too_large.inc(len(self._refused))
        if left or self._failure is not None:
            name = self._failure.name() if self._failure else "timed out"
            self._recent = RecentIds()  # what comes again must go out again
            raise ComponentDownError(f"topic {self._topic.topic}: rows were not acknowledged ({name}); is the broker reachable?")

    def _flush(self) -> int:
        """Wait until the broker has answered for all that was sent; how many it has not."""
        try:
            return self._producer.flush(_FLUSH_S)
        except KafkaException as error:
            self._failure = error.args[0]
            return 1

    def teardown(self) -> None:
        self._producer.flush(0)


def _keys(rows: Any, contract: Contract) -> list[str]:
    """Whose row it is: the first of the contract's identity columns that has a value, else the event id."""
    keys: list[str | None] = [None] * len(rows)
    for name in (*contract.partition_key, contract.event_id):
        keys = [b if a is None else a for a, b in zip(keys, rows.column(name).to_pylist(), strict=True)]
    return [str(key) for key in keys]
