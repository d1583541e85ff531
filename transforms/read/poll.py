"""One consumer that reads several partitions in whole polls. No Beam in here."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Message, TopicPartition

from contracts.errors import ComponentDownError, OffsetGapError
from lake.raw.log_ids import LogId
from transforms.kafka.connection import KafkaCluster, KafkaConnection, open_consumer
from transforms.read.partitions import PartitionProgress
from transforms.read.silence import EndsSeen

OnGap = Literal["fail", "earliest"]
_QUERY_S = 2.0
_log = logging.getLogger(__name__)


@dataclass
class Polled:
    """What one poll gave of one partition. next: the offset to go on from."""

    messages: list[Message] = field(default_factory=list)
    next: int = -1


class PartitionsReader:
    """A consumer with its place in each partition. For one thread at a time."""

    def __init__(self, connection: KafkaConnection, group: str, on_gap: OnGap) -> None:
        self._consumer: Consumer = open_consumer(connection, group)
        self._cluster = KafkaCluster(connection, deadline_s=_QUERY_S)
        self._on_gap = on_gap
        self._next: dict[tuple[str, int], int] = {}
        self._logs: dict[tuple[str, int], LogId] = {}
        self._paused: set[tuple[str, int]] = set()
        self._gaps: set[tuple[str, int]] = set()
        self.topics_changed = False  # a topic or an offset was gone in a poll: look again which topics there are
        self.looked_s = float("-inf")  # when somebody looked last
        self.seen_s: dict[LogId, float] = {}  # when a partition last had something that moved W, by our clock
        self._ends = EndsSeen()

    def resume(self, partitions: Sequence[PartitionProgress]) -> None:
        """Be at these places; does nothing where the last poll left off there."""
        wanted = {(p.topic, p.partition): p.next for p in partitions if not p.finished}
        logs = {(p.topic, p.partition): p.log for p in partitions if not p.finished}
        if wanted == self._next and logs == self._logs:
            return
        self.pause(set())  # the client remembers it beyond an assignment
        self._next, self._logs = wanted, logs
        self._gaps.clear()
        self._consumer.unassign()
        self._consumer.assign([TopicPartition(*key, offset) for key, offset in wanted.items()])

    def pause(self, ahead: set[LogId]) -> None:
        """Read only the other partitions for now."""
        wanted = {key for key, log in self._logs.items() if log in ahead}
        if wanted - self._paused:
            self._consumer.pause([TopicPartition(*key) for key in wanted - self._paused])
        if self._paused - wanted:
            self._consumer.resume([TopicPartition(*key) for key in self._paused - wanted])
        self._paused = wanted

    def poll(self, most: int, timeout_s: float) -> dict[LogId, Polled]:
        """Messages that are there, or come within this time; by partition, in order of offsets.

        Raises:
            OffsetGapError: offsets are gone and the policy says fail.
        """
        polled: dict[LogId, Polled] = {}
        try:
            messages = self._consumer.consume(most, timeout_s)
        except KafkaException as error:
            self._on_error(error.args[0])
            return polled
        for message in messages:
            key = str(message.topic()), int(message.partition() or 0)
            log = self._logs.get(key)
            failure = message.error()
            offset = message.offset()
            if log is None:  # of an assignment before
                if failure is not None:
                    self._on_error(failure)
                continue
            part = polled.setdefault(log, Polled(next=self._next[key]))
            if failure is None:
                if offset is not None and offset >= part.next:
                    part.messages.append(message)
                    part.next = offset + 1
            elif failure.code() == KafkaError._PARTITION_EOF:
                part.next = max(part.next, offset or 0)  # beyond control records, which are no messages
            elif failure.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                self._gaps.add(key)
                self.topics_changed = True
            else:
                self._on_error(failure)
            self._next[key] = part.next
        return polled

    def settle_gaps(self) -> dict[LogId, int]:
        """Where to go on in partitions whose next offset is gone, once it is sure that they are of the same topic as before.

        Raises:
            OffsetGapError: records are lost, and the policy says fail.
            KafkaException: the broker does not answer.
        """
        settled: dict[LogId, int] = {}
        for key in list(self._gaps):
            partition, offset, log = TopicPartition(*key), self._next[key], self._logs[key]
            low, high = self._consumer.get_watermark_offsets(partition, timeout=_QUERY_S, cached=False)
            if not low <= offset <= high:
                gap = f"topic {log.topic}, partition {log.partition}: offset {offset} is not there; the broker has {low} to {high}"
                if self._on_gap == "fail" or offset > high:
                    raise OffsetGapError(
                        f"{gap}. Its retention has removed records that were never read. "
                        "--on-offset-gap earliest goes on from the first that is left."
                    )
                _log.warning("%s: %d records were never read; going on from %d", gap, low - offset, low)
                self._next[key] = settled[log] = low
            self._consumer.seek(TopicPartition(*key, self._next[key]))
            self._gaps.discard(key)
        return settled

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID, KafkaError._UNKNOWN_PARTITION):
            self.topics_changed = True
        elif error.fatal():
            raise KafkaException(error)
        # Anything else is a broker that is away for now: the client goes on trying, and no partition is taken for idle meanwhile.

    def made_again(self, partitions: Sequence[PartitionProgress]) -> list[str]:
        """Topics that are others than those that these partitions are of: a client goes on silently in one that was made again.

        The next look at the cluster is due then. None where the broker does not answer.
        """
        try:
            found = self._cluster.describe(sorted({p.topic for p in partitions}))
        except ComponentDownError:
            return []
        again = sorted({p.topic for p in partitions if p.topic in found and found[p.topic].topic_id != p.topic_id})
        if again:
            self.topics_changed, self.looked_s = True, float("-inf")
        return again

    def moved(self, log: LogId, now_s: float) -> None:
        """Something of this partition moved W."""
        self.seen_s[log] = now_s
        self._ends.forget(log)

    def read_up_to(self, log: LogId, now_s: float, within_s: float) -> float | None:
        """Asks the broker up to which moment all is read that had come; None where that cannot be told, or it does not answer.

        Args:
            log: the partition.
            now_s: our clock.
            within_s: see ``EndsSeen.read_up_to``.
        """
        partition = TopicPartition(log.topic, log.partition)
        try:
            _, high = self._consumer.get_watermark_offsets(partition, timeout=_QUERY_S, cached=False)
        except KafkaException:
            return None
        return self._ends.read_up_to(log, self._next.get((log.topic, log.partition), OFFSET_INVALID), high, now_s, within_s)

    def lag(self) -> int:
        """Messages not read yet, as far as the client knows."""
        total = 0
        for key, offset in self._next.items():
            with contextlib.suppress(KafkaException):
                _, high = self._consumer.get_watermark_offsets(TopicPartition(*key), cached=True)
                total += max(high - offset, 0)
        return total

    def commit(self, offsets: dict[tuple[str, int], int]) -> None:
        """Tell the broker how far we are, for those who watch consumer groups; nothing of ours reads it back."""
        with contextlib.suppress(KafkaException, RuntimeError):  # RuntimeError: the reader was closed since
            self._consumer.commit(offsets=[TopicPartition(*key, offset) for key, offset in offsets.items()], asynchronous=True)

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()
