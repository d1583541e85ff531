"""The ingest graph over Kafka: where to begin and to end, and the same graph as for files behind the reader.

Bounded (``--until``) it ends with a ledger and a manifest as a run over files does; without an end it is a job that others look
after (``headrace job``), or runs here until it is interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import apache_beam as beam

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from contracts.spec.source import SourceSpec
from contracts.units import SECOND_US
from lake.ledger.ledger import LedgerEntry, frontier, log_ledger
from lake.location import Lake
from lake.raw.log_ids import LogId
from lake.raw.segments import landed_up_to
from lake.runs.clock import RunClock, new_run_id
from lake.runs.manifest import IngestDetails
from lake.runs.progress import Progress, Report, repeated
from lake.runs.submission import resumed_run_id
from pipelines.ingest.graph import IngestGraph, Panes
from pipelines.ingest.options import IngestOptions
from pipelines.ingest.run import IngestReport, begin, finish
from pipelines.topic_options import TopicOptions
from runners.binaries import find_prism
from runners.flink.key_groups import salts_for
from runners.flink.submit import FlinkJob
from runners.jobs.submit import flink_job, run_to_end, submit_endless
from transforms.cut import Cut
from transforms.immediate import RowsTopic
from transforms.kafka.connection import KafkaAddress, KafkaCluster, KafkaConnection, Partitions
from transforms.read.kafka import KafkaSource, ReadKafka, owner_of, reader_name
from transforms.readers.progress import PartitionProgress, ReaderProgress

_LOOK_EVERY_S = 2.0
_STREAM_WINDOW_S, _BOUNDED_WINDOW_S = 60, 3_600


@dataclass(frozen=True)
class Submitted:
    """A job that goes on. job_id: Flink's."""

    run_id: str
    source: str
    job_id: str
    flink: str
    topics: tuple[str, ...]
    partitions: int


def ingest_topics(options: IngestOptions, project: Project, report: Report) -> IngestReport | Submitted:
    """Run ``headrace ingest`` over Kafka.

    Args:
        options: what the user asked for.
        project: where contracts and sources lie.
        report: is told of progress.

    Returns:
        What it did, with ``--until`` or where it was interrupted; or the job that goes on, on a cluster.

    Raises:
        ConfigurationError: options, contract, source or layout do not fit; nothing was written.
        ComponentDownError: Kafka, the catalog or the cluster does not answer, or a topic is missing; may be run again.
    """
    spec, contract = project.source(options.source)
    if spec.format != "jsonl":
        raise ConfigurationError(
            f"source {spec.name}: its format is {spec.format}; from Kafka only jsonl is read, one JSON text a message"
        )
    lake = Lake.at(project.lake_location(options.lake), project.catalog)
    connection, topic = connected(options, options.input[0])
    if bool(topic) == bool(options.topic_pattern):
        raise ConfigurationError("input: kafka://HOST:PORT/TOPIC, or kafka://HOST:PORT with --topic-pattern")
    cluster = KafkaCluster(connection)
    topics = cluster.matching(topic, options.topic_pattern)
    job = replace(flink_job(options, project), endless=options.until is None) if options.runner == "flink" else None
    if job is None:
        find_prism()  # its lack is told before anything is written
    clock = RunClock()
    graph = IngestGraph(
        lake=lake,
        contract=contract,
        spec=spec,
        run_id=resumed_run_id() or new_run_id(spec.name, clock),
        cut=Cut(
            window_s=options.window or (_STREAM_WINDOW_S if options.until is None else _BOUNDED_WINDOW_S),
            num_shards=options.num_shards,
            allowed_lateness_s=Cut.allowed_lateness_s if options.allowed_lateness is None else options.allowed_lateness,
        ),
        panes=Panes(
            early_s=options.early_panes,
            **{
                name: value
                for name, value in (("late_s", options.late_panes), ("commit_s", options.commit_every))
                if value is not None
            },
        ),
        immediate=_immediate(options, cluster, connection, contract.name, topics),
        suppressions=project.suppressions(contract),
    )
    begin(graph, clock)
    partitions = plan_partitions(options, cluster, topics, lambda log: frontier(lake, spec, log))
    bounds = {
        "bound_us": None if options.watermark_bound is None else options.watermark_bound * SECOND_US,
        "idle_us": None if options.idle_timeout is None else options.idle_timeout * SECOND_US,
    }
    source = kafka_source(
        options, connection, topic, partitions, job, f"headrace-{spec.name}", topic_pattern=options.topic_pattern, **bounds
    )

    def build(pipeline: beam.Pipeline) -> None:
        graph.build(pipeline | "ReadKafka" >> ReadKafka(source, spec, lake))

    clock.done("plan")
    if job is not None and options.until is None:
        job_id = submit_endless(build, job, lake, graph.run_id, options, project)
        partitions_read = sum(there.number for there in topics.values())
        return Submitted(graph.run_id, spec.name, job_id, job.rest, tuple(topics), partitions_read)
    with repeated(lambda: _report_landed(lake, spec, partitions, report), _LOOK_EVERY_S):
        run_to_end(build, job, lake, graph.run_id, options, project)
    clock.done("ingest")
    report(Progress("account", 0, 1))
    ranges = {p.log: (p.next, p.end) for p in partitions}
    parts = [log_ledger(lake, spec, graph.table, log, start, end) for log, (start, end) in ranges.items()]
    return finish(
        graph,
        options,
        clock,
        sum(parts, LedgerEntry()),
        [],
        details=IngestDetails(
            [{"uri": f"{log}", "status": "read", "start": start, "end": end} for log, (start, end) in ranges.items()]
        ),
        summary=f"topics: {', '.join(topics)}, {len(ranges)} partitions",
    )


def _immediate(
    options: IngestOptions, cluster: KafkaCluster, connection: KafkaConnection, dataset: str, topics: Mapping[str, Partitions]
) -> RowsTopic | None:
    name = options.immediate or ("off" if options.until is not None else f"headrace.validated.{dataset}")
    if name == "off":
        return None
    if name in topics:
        raise ConfigurationError(f"--immediate: {name} is what is read; rows would go round in a circle")
    cluster.ensure_topic(name, max(there.number for there in topics.values()))
    return RowsTopic(connection, name)


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
        raise ConfigurationError(
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
    job: FlinkJob | None,
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
        job: how it runs; None on this machine.
        group: unless the options name another.
        topic_pattern: which topics are read, instead of one.
        given: further fields of KafkaSource; None for its default.
    """
    parallelism = job.parallelism if job else 1
    readers = min(parallelism, max(p.partition for p in partitions) + 1)
    parts = [tuple(p for p in partitions if owner_of(p.topic, p.partition, readers) == number) for number in range(readers)]
    given["on_gap"] = options.on_offset_gap
    return KafkaSource(
        connection=connection,
        group=options.group or group,
        topic=topic,
        topic_pattern=topic_pattern,
        readers=tuple(map(ReaderProgress, parts)),
        salts=salts_for(lambda number, salt: reader_name(number, readers, salt), readers, parallelism),
        **{name: value for name, value in given.items() if value is not None},
    )


def connected(options: TopicOptions, uri: str) -> tuple[KafkaConnection, str]:
    """A connection as the options say, and the topic that the address names; "" for none.

    Raises:
        ConfigurationError: the client's settings cannot be used.
    """
    address = KafkaAddress.parse(uri)
    config = str(Path(options.client_config).absolute()) if options.client_config else None
    connection = KafkaConnection(address.bootstrap, config)
    connection.check()
    return connection, address.topic


def _report_landed(lake: Lake, spec: SourceSpec, partitions: Sequence[PartitionProgress], report: Report) -> None:
    """Report how many messages were landed."""
    total = sum(p.end - p.next for p in partitions if p.end is not None)
    done = sum(max(landed_up_to(lake, spec.name, p.log, p.next) - p.next, 0) for p in partitions)
    report(Progress("read", done, total))
