"""Topics that jobs and schedules read and write, against those that a Kafka cluster has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from contracts.units import DURATION_UNITS
from operations.drift.differences import Difference, Kind, listed


@dataclass(frozen=True, kw_only=True)
class WantedTopic:
    """A topic that is read or written. role: such as ``input of web``.

    partitions, topic_id: as they were when its job started; None where nobody noted it, or no job runs. need_s: for how long a
    message must at least be kept, None where that cannot be known. landed: by partition, up to which offset it is in raw/. renew:
    how its job is started again.
    """

    name: str
    role: str
    partitions: int | None = None
    topic_id: str | None = None
    need_s: int | None = None
    landed: Mapping[int, int] | None = None
    renew: str = ""
    file: str = ""


@dataclass(frozen=True, kw_only=True)
class DeployedTopic:
    """A topic as a cluster has it.

    retention_s: None for ever, or of one that is only compacted. retention_bytes: of a partition; None for any. earliest: by
    partition. cut: by a time in seconds, the partitions that keep nothing so old, and kept more once.
    """

    topic_id: str
    partitions: int
    retention_s: float | None = None
    retention_bytes: int | None = None
    earliest: Mapping[int, int] | None = None
    cut: Mapping[int, Sequence[int]] | None = None


def compare_topics(where: str, wanted: Sequence[WantedTopic], deployed: Mapping[str, DeployedTopic]) -> Iterator[Difference]:
    """Topics that are missing, were made again, have other partitions than when their job started, or lose what is not read yet.

    Settings that no job depends on are nobody's difference: a broker's default and a topic's own are one and the same here
    (Mongey/terraform-provider-kafka#407).
    """
    for topic in wanted:
        have = deployed.get(topic.name)
        if have is None:
            make = (
                f"kafka-topics.sh --bootstrap-server {where} --create --topic {topic.name} --partitions {topic.partitions or 'N'}"
            )
            yield _difference(where, topic, "not there", topic.role, make)
            continue
        if topic.topic_id is not None and have.topic_id != topic.topic_id:
            told, should = f"made again ({have.topic_id})", f"{topic.role}: {topic.topic_id} when its job started"
            yield _difference(where, topic, told, should, f"{topic.renew}; messages of before are lost unless they were landed")
        if topic.partitions is not None and have.partitions != topic.partitions:
            should = f"{topic.role}: {topic.partitions} when its job started"
            yield _difference(where, topic, f"{have.partitions} partitions", should, topic.renew)
        if topic.need_s is not None and have.retention_s is not None and have.retention_s < topic.need_s:
            alter = (
                f"kafka-configs.sh --bootstrap-server {where} --alter --entity-type topics --entity-name {topic.name} "
                f"--add-config retention.ms={2 * topic.need_s * 1000}"
            )
            should = f"{topic.role}: needed for {_span(topic.need_s)}"
            yield _difference(where, topic, f"kept for {_span(have.retention_s)}", should, alter)
        yield from _cut(where, topic, have)
        yield from _lost(where, topic, have)


def _cut(where: str, topic: WantedTopic, have: DeployedTopic) -> Iterator[Difference]:
    """By its size a topic may lose what its time would keep. How fast it fills is seen in what it keeps."""
    partitions = (have.cut or {}).get(topic.need_s or 0, ())
    if topic.need_s is None or have.retention_bytes is None or not partitions:
        return
    alter = (
        f"kafka-configs.sh --bootstrap-server {where} --alter --entity-type topics --entity-name {topic.name} "
        f"--add-config retention.bytes={4 * have.retention_bytes}, of each partition; -1 bounds it by time alone"
    )
    told = f"{have.retention_bytes:,} bytes a partition (retention.bytes): {listed(f'[{p}]' for p in partitions)} keep less"
    yield _difference(where, topic, told, f"{topic.role}: needed for {_span(topic.need_s)}", alter)


def _lost(where: str, topic: WantedTopic, have: DeployedTopic) -> Iterator[Difference]:
    landed, earliest = topic.landed or {}, have.earliest or {}
    gone = [f"[{p}] {landed[p]} to {earliest[p]}" for p in sorted(landed.keys() & earliest.keys()) if earliest[p] > landed[p]]
    if gone:
        yield _difference(
            where, topic, f"offsets are gone: {listed(gone)}", f"{topic.role}: they were not read yet",
            "headrace status says how far it is; a longer retention keeps the next ones, --on-offset-gap earliest goes on",
        )  # fmt: skip


def _difference(where: str, topic: WantedTopic, deployed: str, repository: str, remedy: str) -> Difference:
    return Difference(
        kind=Kind.TOPICS, what=f"topic {topic.name}", where=where, deployed=deployed, repository=repository, remedy=remedy,
        file=topic.file,
    )  # fmt: skip


def _span(seconds: float) -> str:
    """Seconds in the largest unit that they are a whole number of."""
    for unit, length in DURATION_UNITS.items():
        if seconds >= length and seconds % length == 0:
            return f"{int(seconds // length)}{unit}"
    return f"{seconds:g}s"
