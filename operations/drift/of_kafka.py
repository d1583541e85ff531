"""The topics that schedules and running jobs read and write, and what the clusters have: see topics.py."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from contracts.errors import ComponentDownError, ConfigurationError, HeadraceError
from contracts.spec.project import Project
from contracts.spec.schedules import longest_gap_s
from lake.location import Lake
from lake.raw.log_ids import LogId
from lake.raw.segments import landed_up_to
from operations.drift.differences import Difference, Kind, Looked, NotCompared
from operations.drift.runs import Recorded
from operations.drift.topics import DeployedTopic, WantedTopic, compare_topics
from transforms.kafka.connection import KafkaAddress, KafkaCluster, KafkaConnection, is_kafka

_DEADLINE_S = 15.0
_OFF = "off"
_Wanted = dict[tuple[str, str | None], list[WantedTopic]]  # by brokers and settings of the client


def look_at_topics(
    project: Project, lake: Lake | None, recorded: Sequence[Recorded], options: Mapping[str, Mapping[str, Any]]
) -> Iterator[Difference | Looked | NotCompared]:
    """Compare topics.

    Args:
        project: the repository.
        lake: what was landed.
        recorded: runs of the lake.
        options: of the sources and streams of its schedules, by source, as a run notes them.
    """
    wanted: _Wanted = defaultdict(list)
    running = {run.source for run in recorded if run.goes_on and run.is_ingest and run.basis}
    for run in recorded:
        if run.goes_on and run.basis:
            _of_run(project, lake, run, wanted) if run.is_ingest else _of_delivery(run, wanted)
    _of_schedules(project, options, running, wanted)
    if not wanted:
        yield NotCompared(kind=Kind.TOPICS, where="Kafka", why="neither schedules nor running jobs name a topic")
    for (bootstrap, config), topics in sorted(wanted.items(), key=lambda entry: (entry[0][0], entry[0][1] or "")):
        try:
            yield from _at(KafkaConnection(bootstrap, config), topics)
        except HeadraceError as error:
            yield NotCompared(kind=Kind.TOPICS, where=bootstrap, why=str(error), down=True)


def _of_run(project: Project, lake: Lake | None, run: Recorded, wanted: _Wanted) -> None:
    assert run.basis is not None
    if not is_kafka(run.input):
        return
    given, noted = run.basis.options, run.basis.topics
    address = KafkaAddress.parse(run.input)
    where = (address.bootstrap, _config(given.get("client_config"), Path(run.submission.folder)))
    plan = project.schedules
    declared = plan.streams.get(run.source) if plan else None
    renew = (
        f"airflow dags trigger {plan.name}.upgrade.{run.source}"
        if plan and declared
        else f"headrace job stop {run.submission.run_id}, and then the command that it prints"
    )
    shared = WantedTopic(name="", role="", renew=renew, file=str(project.file or ""))
    written = [given["immediate"]] if given.get("immediate") not in (None, _OFF) else []
    written += [f"headrace.validated.{dataset}" for dataset in run.basis.contracts] if "immediate" not in given else []
    for name in [address.topic] if address.topic else sorted(noted.keys() - set(written)):
        need_s = declared.moves_within_s if declared else None
        topic = replace(shared, name=name, role=f"input of {run.source}", need_s=need_s)
        was = noted.get(name)
        if was is not None:
            topic = replace(topic, partitions=int(was["partitions"]), topic_id=str(was["topic_id"]))
            topic = replace(topic, landed=_landed(project, lake, run.source, topic))
        wanted[where].append(topic)
    for name in written:
        was = noted.get(name) or {}
        partitions, topic_id = was.get("partitions"), was.get("topic_id")
        topic = replace(shared, name=name, role=f"rows of {run.source}", partitions=partitions, topic_id=topic_id)
        wanted[where].append(topic)


def _of_delivery(run: Recorded, wanted: _Wanted) -> None:
    assert run.basis is not None
    if not is_kafka(run.input):
        return
    address = KafkaAddress.parse(run.input)
    where = (address.bootstrap, _config(run.basis.options.get("client_config"), Path(run.submission.folder)))
    names = [address.topic] if address.topic else [f"headrace.validated.{dataset}" for dataset in run.basis.contracts]
    wanted[where] += [WantedTopic(name=name, role=f"input of {run.source}") for name in names]


def _landed(project: Project, lake: Lake | None, source: str, topic: WantedTopic) -> dict[int, int]:
    """By partition, up to which offset messages are in raw/; not of partitions of which nothing is."""
    if lake is None:
        return {}
    try:
        raw_source = project.source(source)[0].raw_source
    except ConfigurationError:
        return {}
    logs = {number: LogId(topic.name, str(topic.topic_id), number) for number in range(topic.partitions or 0)}
    found = {number: landed_up_to(lake, raw_source, log, -1) for number, log in logs.items()}
    return {number: offset for number, offset in found.items() if offset >= 0}


def _of_schedules(project: Project, options: Mapping[str, Mapping[str, Any]], running: set[str], wanted: _Wanted) -> None:
    plan = project.schedules
    if plan is None:
        return
    needs = {source: stream.moves_within_s for source, stream in plan.streams.items() if source not in running}
    needs |= {source: longest_gap_s(when.every) + when.timeout_s for source, when in plan.sources.items()}
    inputs = {source: stream.input for source, stream in plan.streams.items()}
    inputs |= {source: when.input for source, when in plan.sources.items()}
    for source, need_s in needs.items():
        if not is_kafka(inputs[source]) or source not in options:
            continue
        address = KafkaAddress.parse(inputs[source])
        where = (address.bootstrap, _config(options[source].get("client_config"), project.root))
        if address.topic:
            wanted[where].append(
                WantedTopic(name=address.topic, role=f"input of {source}", need_s=need_s, file=str(project.file or ""))
            )


def _config(given: Any, folder: Path) -> str | None:
    return str(folder / str(given)) if given else None


def _at(connection: KafkaConnection, wanted: Sequence[WantedTopic]) -> Iterator[Difference | Looked | NotCompared]:
    connection.check()
    cluster = KafkaCluster(connection, deadline_s=_DEADLINE_S)
    names = sorted({topic.name for topic in wanted})
    there = cluster.describe(names)
    try:
        settings = cluster.settings_of(sorted(there))
    except ComponentDownError as error:  # it answered before: the user may not ask for them
        settings = {}
        yield NotCompared(kind=Kind.TOPICS, where=connection.bootstrap, why=f"retention: {error}")
    landed = {(t.name, number) for t in wanted if t.name in there for number in t.landed or {} if number < there[t.name].number}
    earliest: dict[str, dict[int, int]] = defaultdict(dict)
    for (name, number), offset in cluster.offsets(sorted(landed), "earliest").items():
        earliest[name][number] = offset
    cut: dict[str, dict[int, list[int]]] = defaultdict(dict)
    for topic in wanted:
        if topic.need_s is not None and topic.name in there and _retention_bytes(settings.get(topic.name, {})) is not None:
            cut[topic.name][topic.need_s] = _cut(cluster, topic.name, there[topic.name].number, topic.need_s)
    deployed = {
        name: DeployedTopic(
            topic_id=partitions.topic_id,
            partitions=partitions.number,
            retention_s=_retention_s(settings.get(name, {})),
            retention_bytes=_retention_bytes(settings.get(name, {})),
            earliest=earliest[name],
            cut=cut[name],
        )
        for name, partitions in there.items()
    }
    yield Looked(kind=Kind.TOPICS, where=connection.bootstrap, things=len(names))
    yield from compare_topics(connection.bootstrap, wanted, deployed)


def _cut(cluster: KafkaCluster, name: str, partitions: int, need_s: int) -> list[int]:
    """Partitions that have lost messages, and whose oldest is younger."""
    every = [(name, number) for number in range(partitions)]
    earliest, latest = cluster.offsets(every, "earliest"), cluster.offsets(every, "latest")
    young = cluster.offsets(every, int((time.time() - need_s) * 1e3))
    return [number for name, number in every if 0 < earliest[name, number] == young[name, number] < latest[name, number]]


def _retention_bytes(settings: Mapping[str, str]) -> int | None:
    """None for any size, and where only compaction removes messages."""
    size = int(settings.get("retention.bytes", "-1"))
    return None if size < 0 or "delete" not in settings.get("cleanup.policy", "delete") else size


def _retention_s(settings: Mapping[str, str]) -> float | None:
    """None for ever, and where only compaction removes messages."""
    if "delete" not in settings.get("cleanup.policy", "delete"):
        return None
    milliseconds = int(settings.get("retention.ms", "-1"))
    return None if milliseconds < 0 else milliseconds / 1e3
