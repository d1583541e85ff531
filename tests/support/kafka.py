"""Topics of a real broker for tests: made, filled with exact messages, read back, and deleted."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic, OffsetSpec

from tests.support.stack import wait_for

_CALL_S = 30.0
Header = tuple[str, bytes | None]


@dataclass(frozen=True)
class Record:
    """A message to send. time_ms: record time; None for now. partition: None leaves the choice to its key."""

    value: bytes | None
    time_ms: int | None = None
    partition: int | None = None
    key: bytes | None = None
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True)
class Received:
    """A message as a consumer of committed messages gets it."""

    partition: int
    offset: int
    time_ms: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes | None]


class Broker:
    """One Kafka, by its address."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._admin = AdminClient({"bootstrap.servers": bootstrap})

    def uri(self, topic: str = "") -> str:
        """``--input`` for a topic; for none the address that goes with ``--topic-pattern``."""
        return f"kafka://{self.bootstrap}/{topic}" if topic else f"kafka://{self.bootstrap}"

    @contextmanager
    def topic(self, partitions: int = 1, prefix: str = "test", **config: str) -> Iterator[str]:
        """A topic of a new name that keeps messages of any age; deleted afterwards."""
        name = f"{prefix}-{secrets.token_hex(4)}"
        self.create(name, partitions, **config)
        try:
            yield name
        finally:
            self.delete(name)

    def create(self, name: str, partitions: int = 1, **config: str) -> None:
        """Make a topic, and wait until it can be used. config: its settings, ``_`` for ``.``."""
        settings = {"retention.ms": "-1", "max.message.bytes": "4000000"} | {k.replace("_", "."): v for k, v in config.items()}
        self._admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(_CALL_S)
        wait_for(lambda: self._partitions(name) == partitions, f"topic {name}", _CALL_S)
        self.ends(name)

    def delete(self, *names: str) -> None:
        """Delete topics, and wait until they are gone."""
        there = [name for name in names if self._partitions(name)]
        for future in self._admin.delete_topics(there).values() if there else ():
            future.result(_CALL_S)
        wait_for(lambda: not any(map(self._partitions, there)), f"{', '.join(there)} to be deleted", _CALL_S)

    def topics(self) -> list[str]:
        """Names of all topics."""
        return sorted(self._admin.list_topics(timeout=_CALL_S).topics)

    def topic_id(self, name: str) -> str:
        """Kafka's id of a topic, as Kafka's own tools print it."""
        found = str(self._admin.describe_topics(TopicCollection([name]))[name].result(_CALL_S).topic_id)
        return found.translate(str.maketrans("+/", "-_"))

    def grow(self, name: str, partitions: int) -> None:
        """Give a topic more partitions."""
        self._admin.create_partitions([NewPartitions(name, partitions)])[name].result(_CALL_S)
        wait_for(lambda: self._partitions(name) == partitions, f"partitions of {name}", _CALL_S)
        self.ends(name)

    def delete_before(self, name: str, offsets: dict[int, int]) -> None:
        """Delete the messages below an offset, per partition, as retention does."""
        wanted = [TopicPartition(name, partition, offset) for partition, offset in offsets.items()]
        for future in self._admin.delete_records(wanted).values():
            future.result(_CALL_S)

    def ends(self, name: str) -> dict[int, int]:
        """The end offset of each partition; waits for leaders."""
        wanted = {TopicPartition(name, number): OffsetSpec.latest() for number in range(self._partitions(name))}
        found: dict[int, int] = {}

        def asked() -> bool:
            futures = self._admin.list_offsets(wanted)
            if any(future.exception(_CALL_S) is not None for future in futures.values()):
                return False
            found.update({tp.partition: future.result().offset for tp, future in futures.items()})
            return True

        wait_for(asked, f"leaders of {name}", _CALL_S)
        return found

    def group_offsets(self, group: str, topic: str) -> dict[int, int]:
        """What a consumer group has committed."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group})
        try:
            wanted = [TopicPartition(topic, number) for number in range(self._partitions(topic))]
            return {tp.partition: tp.offset for tp in consumer.committed(wanted, timeout=_CALL_S)}
        finally:
            consumer.close()

    def send(self, topic: str, records: Iterable[Record]) -> None:
        """Send messages in this order; they are acknowledged when this returns."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True, "message.max.bytes": 4_000_000})
        _send(producer, topic, records)
        assert producer.flush(_CALL_S) == 0, "messages were not acknowledged"

    @contextmanager
    def transaction(self, topic: str, records: Iterable[Record]) -> Iterator[Producer]:
        """An open transaction with these messages, which are on the broker; aborted at the end unless it was ended before."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "transactional.id": f"tests-{secrets.token_hex(4)}"})
        producer.init_transactions(_CALL_S)
        producer.begin_transaction()
        _send(producer, topic, records)
        assert producer.flush(_CALL_S) == 0, "messages were not acknowledged"
        ended = False
        try:
            yield producer
            ended = True
        finally:
            if not ended:
                producer.abort_transaction(_CALL_S)

    def commit(self, topic: str, records: Iterable[Record]) -> None:
        """Send messages in a transaction, and commit it."""
        with self.transaction(topic, records) as producer:
            producer.commit_transaction(_CALL_S)

    def abort(self, topic: str, records: Iterable[Record]) -> None:
        """Send messages in a transaction, and abort it."""
        with self.transaction(topic, records) as producer:
            producer.abort_transaction(_CALL_S)

    def received(self, topic: str) -> list[Received]:
        """All committed messages of a topic, by partition and offset."""
        ends = self.ends(topic)
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": f"tests-{secrets.token_hex(4)}",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
            }
        )
        found: list[Received] = []
        waiting = {number for number, end in ends.items() if end}
        try:
            consumer.assign([TopicPartition(topic, number, consumer.get_watermark_offsets(TopicPartition(topic, number))[0])
                             for number in waiting])  # fmt: skip

            def read_on() -> bool:
                for message in consumer.consume(10_000, 0.1):
                    failure = message.error()
                    if failure is None:
                        found.append(_received(message))
                    elif failure.code() == KafkaError._PARTITION_EOF:
                        waiting.discard(message.partition())
                    else:
                        raise AssertionError(f"reading {topic}: {failure}")
                return not waiting

            wait_for(read_on, f"the end of {topic}", _CALL_S)
        finally:
            consumer.close()
        return sorted(found, key=lambda r: (r.partition, r.offset))

    def _partitions(self, name: str) -> int:
        found = self._admin.list_topics(timeout=_CALL_S).topics.get(name)
        return len(found.partitions) if found is not None and found.error is None else 0


def _send(producer: Producer, topic: str, records: Iterable[Record]) -> None:
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error)

    for record in records:
        where = {} if record.partition is None else {"partition": record.partition}
        when = {} if record.time_ms is None else {"timestamp": record.time_ms}
        producer.produce(topic, record.value, record.key, headers=list(record.headers), on_delivery=delivered, **where, **when)
        producer.poll(0)
    producer.flush(_CALL_S)
    assert not failures, f"{topic}: {failures[0]}"


def _received(message: Message) -> Received:
    partition, offset = message.partition(), message.offset()
    assert partition is not None and offset is not None
    return Received(partition, offset, message.timestamp()[1], message.key(), message.value(), dict(message.headers() or ()))


def spread(values: Sequence[bytes | None], times_ms: Sequence[int], partitions: int) -> list[Record]:
    """Messages with these values and record times, dealt over partitions in turn."""
    return [
        Record(value, time_ms, number % partitions) for number, (value, time_ms) in enumerate(zip(values, times_ms, strict=True))
    ]
