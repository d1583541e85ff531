"""Partitions that are found while a reader is at work: topics that have more of them, are new, or were made again."""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec
from confluent_kafka import KafkaException

from contracts.errors import ComponentDownError, OffsetGapError, TopicMissingError
from transforms.kafka.connection import KafkaCluster, Partitions
from transforms.read.partitions import PartitionProgress, PartitionsProgress, owner_of, with_partitions
from transforms.read.poll import PartitionsReader
from transforms.read.topics import KafkaSource
from transforms.readers.restriction import ReaderName

_DISCOVER_S = 30.0
_LOOK_S, _LOOK_AGAIN_S = 5.0, 2.0


def with_new_partitions(
    reader: PartitionsReader, source: KafkaSource, name: ReaderName, progress: PartitionsProgress
) -> PartitionsProgress:
    """Looks every half minute whether topics have more partitions, are new, or are others than before.

    Args:
        reader: of these partitions.
        source: what they are of.
        name: of the reader.
        progress: its partitions.
    """
    now = time.monotonic()
    if now - reader.looked_s < (_LOOK_AGAIN_S if reader.topics_changed else _DISCOVER_S):
        return progress
    if not (reader.topics_changed or progress.endless):
        return progress
    reader.looked_s = now
    try:
        cluster = KafkaCluster(source.connection, deadline_s=_LOOK_S)
        found = cluster.matching(source.topic, source.topic_pattern)
        after = _from_earliest(cluster, progress, merge_partitions(progress, found, name))
        if after == progress:
            settled = reader.settle_gaps()
            changed = {p.log: p.at(settled[p.log]) for p in progress.lanes if p.log in settled}
            after = with_partitions(progress, changed, source.bound_us)
        reader.topics_changed = False
    except (ComponentDownError, TopicMissingError, KafkaException):  # away for now; asked again
        return progress
    return after


def merge_partitions(progress: PartitionsProgress, found: Mapping[str, Partitions], name: ReaderName) -> PartitionsProgress:
    """The reader's partitions after another look at the cluster.

    New partitions are read from their beginning and do not move W back; a topic that was made again replaces the one before; one
    that is gone stays, in case that it comes back. Where reading has an end, nothing is added.

    Raises:
        OffsetGapError: reading has an end, and the topic that it is an end of was made again.
    """
    if not progress.endless:
        if again := [p for p in progress.lanes if not p.finished and p.topic in found and found[p.topic].topic_id != p.topic_id]:
            raise OffsetGapError(
                f"topic {again[0].topic}: was deleted and made again while it was read; what was to be read is gone"
            )
        return progress
    known = {(p.topic, p.partition): p for p in progress.lanes}
    for topic, there in found.items():
        for partition in range(there.number):
            if owner_of(partition, name.readers) != name.number:
                continue
            have = known.get((topic, partition))
            if have is None or have.topic_id != there.topic_id:
                known[topic, partition] = PartitionProgress(topic, there.topic_id, partition, next=0)
    return msgspec.structs.replace(progress, lanes=tuple(known.values()))


def _from_earliest(cluster: KafkaCluster, before: PartitionsProgress, after: PartitionsProgress) -> PartitionsProgress:
    """With new partitions at the first offset there is: what retention removed before they were known was never promised."""
    known = {p.log for p in before.lanes}
    if all(p.log in known for p in after.lanes):
        return after
    earliest = cluster.offsets([(p.topic, p.partition) for p in after.lanes if p.log not in known], "earliest")
    moved = (p if p.log in known else p.at(earliest[p.topic, p.partition]) for p in after.lanes)
    return msgspec.structs.replace(after, lanes=tuple(moved))
