"""What is read of Kafka: which topics, where their partitions begin and end, and how readers share them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from contracts.errors import ConfigurationError, OffsetGapError
from lake.raw.log_ids import LogId
from transforms.kafka.connection import KafkaAddress, KafkaCluster, KafkaConnection, Partitions
from transforms.read.partitions import PartitionProgress, PartitionsProgress, ReaderProgressCoder, owner_of
from transforms.readers.progress import ReaderProgress


@dataclass(frozen=True, kw_only=True)
class KafkaSource:
    """What is read, and how. Picklable.

    topic: its name; topic_pattern: instead, of all whose name matches, those that come later too. readers: where each reader
    begins. salts: see ``LaneSource``. bound_us: how far record times may be out of order. idle_us: a partition that had nothing
    for so long no longer holds W. slice_s: how long one bundle reads.
    """

    connection: KafkaConnection
    group: str
    topic: str
    topic_pattern: str | None
    readers: tuple[PartitionsProgress, ...]
    salts: tuple[int, ...]
    on_gap: Literal["fail", "earliest"] = "fail"
    bound_us: int = 5_000_000
    idle_us: int = 30_000_000
    slice_s: float = 2.0

    @property
    def progress_coder(self) -> ReaderProgressCoder:
        """See LaneSource."""
        return ReaderProgressCoder()


class TopicOptions(Protocol):
    """What reading topics takes from a command line; see the options of ``headrace ingest``."""

    @property
    def start(self) -> str | int | None: ...  # noqa: D102

    @property
    def until(self) -> str | int | None: ...  # noqa: D102

    @property
    def group(self) -> str | None: ...  # noqa: D102

    @property
    def client_config(self) -> str | None: ...  # noqa: D102

    @property
    def on_offset_gap(self) -> str | None: ...  # noqa: D102


def connected(options: TopicOptions, uri: str) -> tuple[KafkaConnection, str]:
    """A connection as the options say, and the topic that the address names; "" for none.

    Raises:
        ConfigurationError: the client's settings cannot be used, or the end is a moment to come.
    """
    if isinstance(options.until, int) and options.until > time.time() * 1_000:
        raise ConfigurationError(
            "--until is to come: which records are before it can only be known then; give a time that has passed, or now, or leave "
            "it out to read on"
        )
    address = KafkaAddress.parse(uri)
    config = str(Path(options.client_config).absolute()) if options.client_config else None
    connection = KafkaConnection(address.bootstrap, config)
    connection.check()
    return connection, address.topic


def plan_partitions(
    options: TopicOptions, cluster: KafkaCluster, topics: Mapping[str, Partitions], known: Callable[[LogId], int | None]
) -> list[PartitionProgress]:
    """Where every partition begins and ends.

    Args:
        options: start, until and what to do about a gap.
        cluster: where the topics are.
        topics: what is read.
        known: how far a partition was dealt with before; None where it never was.

    Raises:
        ConfigurationError: what is to be read is gone, and the policy says fail.
    """
    keys = [(topic, number) for topic, there in topics.items() for number in range(there.number)]
    earliest, latest = cluster.offsets(keys, "earliest"), cluster.offsets(keys, "latest")
    start = options.start if options.start is not None else "committed"
    if start == "committed":
        frontiers = {key: known(LogId(key[0], topics[key[0]].topic_id, key[1])) for key in keys}
        begins = {key: earliest[key] if offset is None else offset for key, offset in frontiers.items()}
    else:
        begins = cluster.offsets(keys, start)
    ends = {} if options.until is None else latest if options.until == "now" else cluster.offsets(keys, options.until)
    ends = {key: min(end, latest[key]) for key, end in ends.items()}
    gone = [
        f"{t}[{p}] at {begins[t, p]} (there is {earliest[t, p]} to {latest[t, p]})"
        for t, p in keys
        if begins[t, p] < earliest[t, p]
    ]
    if gone and options.on_offset_gap != "earliest":
        raise OffsetGapError(
            f"topic offsets that were not read are gone: {', '.join(gone)}. --on-offset-gap earliest goes on from the first "
            "that is left."
        )
    beyond = [f"{t}[{p}] at {begins[t, p]} (it ends at {latest[t, p]})" for t, p in keys if begins[t, p] > latest[t, p]]
    if beyond:
        raise ConfigurationError(f"topic offsets were read that are not there: {', '.join(beyond)}; is this another cluster?")
    return [
        PartitionProgress(t, topics[t].topic_id, p, next=max(begins[t, p], earliest[t, p]), end=ends.get((t, p))) for t, p in keys
    ]


def kafka_source(
    options: TopicOptions,
    connection: KafkaConnection,
    topic: str,
    partitions: Sequence[PartitionProgress],
    salts: tuple[int, ...],
    group: str,
    *,
    topic_pattern: str | None = None,
    **given: Any,
) -> KafkaSource:
    """Partitions shared out to readers.

    Args:
        options: group and what to do about a gap.
        connection: of the cluster.
        topic: the one that is read, "" with a pattern.
        partitions: where each begins.
        salts: one for each reader.
        group: unless the options name another.
        topic_pattern: of the topics that are read, instead of one.
        given: further fields of KafkaSource; None for its default.
    """
    readers = len(salts)
    parts = [tuple(p for p in partitions if owner_of(p.partition, readers) == number) for number in range(readers)]
    given["on_gap"] = options.on_offset_gap
    return KafkaSource(
        connection=connection,
        group=options.group or group,
        topic=topic,
        topic_pattern=topic_pattern,
        readers=tuple(map(ReaderProgress, parts)),
        salts=salts,
        **{name: value for name, value in given.items() if value is not None},
    )
