"""The ingest graph over Kafka: where to begin and to end, and the same graph as for files behind the reader.

Bounded (``--until``) it ends with a ledger and a manifest as a run over files does; without an end it is a job that others look
after (``headrace job``), or runs here until it is interrupted.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from contracts.errors import ConfigurationError, RegistryDownError
from contracts.registry.client import RegistryClient
from contracts.spec.model import Contract
from contracts.spec.project import Project
from contracts.spec.registry import Registry
from contracts.spec.source import SourceSpec
from contracts.units import SECOND_US
from lake.ledger.ledger import LedgerEntry, frontier, log_ledger
from lake.location import Lake
from lake.raw.segments import landed_up_to
from lake.runs.clock import RunClock, new_run_id
from lake.runs.manifest import IngestDetails
from lake.runs.progress import Progress, Report, repeated
from lake.runs.submission import resumed_run_id
from lake.tables.sweep import Swept
from pipelines.ingest.graph import IngestGraph, Panes
from pipelines.ingest.options import IngestOptions
from pipelines.ingest.run import IngestReport, begun, finish
from pipelines.ingest.sources import Topics
from pipelines.readers import salts_of
from quality.gate_report import GateReport
from runners.binaries import find_prism
from runners.jobs.submit import flink_job, run_to_end, submit_endless
from transforms.cut import BATCH_BYTES, Cut
from transforms.immediate import RowsTopic
from transforms.kafka.connection import KafkaCluster, KafkaConnection, Partitions
from transforms.read.partitions import PartitionProgress
from transforms.read.topics import connected, kafka_source, plan_partitions

_LOOK_EVERY_S = 2.0
_log = logging.getLogger(__name__)
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
    if spec.format != "jsonl" and not spec.wire_format:
        raise ConfigurationError(
            f"source {spec.name}: its format is {spec.format}; from Kafka only jsonl is read, one JSON text a message, or with "
            "wire_format: confluent messages that name a schema of a registry"
        )
    if spec.wire_format:
        _check_registry(spec, project.registry)
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
    immediate = _immediate(options, cluster, connection, contract.dataset, topics)
    graph = _graph(options, project, lake, spec, contract, resumed_run_id() or new_run_id(spec.name, clock), immediate)
    with begun(graph, options, clock, _noted(cluster, topics, immediate)):
        partitions = plan_partitions(options, cluster, topics, lambda log: frontier(lake, spec, log))
        salts = salts_of(job, max(p.partition for p in partitions) + 1)
        kafka = kafka_source(
            options, connection, topic, partitions, salts, f"headrace-{spec.name}", topic_pattern=options.topic_pattern,
            bound_us=_us(options.watermark_bound), idle_us=_us(options.idle_timeout),
        )  # fmt: skip
        build = partial(graph.build, Topics(kafka, spec, lake, project.registry if spec.wire_format else None))
        clock.done("plan")
        if job is not None and options.until is None:
            job_id = submit_endless(build, job, lake, graph.run_id, options, project)
            partitions_read = sum(there.number for there in topics.values())
            return Submitted(graph.run_id, spec.name, job_id, job.rest, tuple(topics), partitions_read)
        with repeated(lambda: _report_landed(lake, spec, partitions, report), _LOOK_EVERY_S):
            run_to_end(build, job, lake, graph.run_id, options, project)
        clock.done("ingest")
        swept, gate = graph.gate()
        clock.done("settle")
        report(Progress("account", 0, 1))
        return _account(graph, options, clock, swept, gate, topics, partitions)


def _check_registry(spec: SourceSpec, registry: Registry | None) -> None:
    """Whether there is one that may be asked. One that is down now may be up later, or not be needed.

    Raises:
        ConfigurationError: there is none, or it would never answer.
    """
    if registry is None:
        raise ConfigurationError(f"source {spec.name}: wire_format needs a registry; headrace.yaml names it: registry: {{url: …}}")
    client = RegistryClient(registry, patience_s=0)
    try:
        client.check()
    except RegistryDownError as error:
        _log.warning("%s; going on with the schemas that the lake has", error)
    finally:
        client.close()


def _graph(
    options: IngestOptions,
    project: Project,
    lake: Lake,
    spec: SourceSpec,
    contract: Contract,
    run_id: str,
    immediate: RowsTopic | None,
) -> IngestGraph:
    cut = Cut(
        window_s=options.window or (_STREAM_WINDOW_S if options.until is None else _BOUNDED_WINDOW_S),
        num_shards=options.num_shards,
        allowed_lateness_s=Cut.allowed_lateness_s if options.allowed_lateness is None else options.allowed_lateness,
        batch_bytes=BATCH_BYTES,
    )
    given = {"late_s": options.late_panes, "commit_s": options.commit_every}
    panes = Panes(early_s=options.early_panes, **{name: value for name, value in given.items() if value is not None})
    return IngestGraph(
        lake=lake, contract=contract, spec=spec, run_id=run_id, cut=cut, panes=panes, immediate=immediate,
        suppressions=project.suppressions(contract),
    )  # fmt: skip


def _us(seconds: int | None) -> int | None:
    return None if seconds is None else seconds * SECOND_US


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


def _noted(cluster: KafkaCluster, topics: Mapping[str, Partitions], immediate: RowsTopic | None) -> dict[str, dict[str, Any]]:
    """The topics that are read and written, as a run notes them: what changes later can be told."""
    written = cluster.describe([immediate.topic]) if immediate else {}
    return {name: {"topic_id": t.topic_id, "partitions": t.number} for name, t in sorted({**written, **topics}.items())}


def _account(
    graph: IngestGraph,
    options: IngestOptions,
    clock: RunClock,
    swept: Swept,
    gate: GateReport | None,
    topics: Mapping[str, Partitions],
    partitions: Sequence[PartitionProgress],
) -> IngestReport:
    """The ledger of what was to be read, as it is now."""
    ranges = {p.log: (p.next, p.end) for p in partitions}
    parts = [log_ledger(graph.lake, graph.spec, graph.table, log, start, end) for log, (start, end) in ranges.items()]
    return finish(
        graph,
        options,
        clock,
        sum(parts, LedgerEntry()),
        swept,
        [],
        details=IngestDetails(
            [{"uri": f"{log}", "status": "read", "start": start, "end": end} for log, (start, end) in ranges.items()]
        ),
        gate=gate,
        summary=f"topics: {', '.join(topics)}, {len(ranges)} partitions",
    )


def _report_landed(lake: Lake, spec: SourceSpec, partitions: Sequence[PartitionProgress], report: Report) -> None:
    """Report how many messages were landed."""
    total = sum(p.end - p.next for p in partitions if p.end is not None)
    done = sum(max(landed_up_to(lake, spec.raw_source, p.log, p.next) - p.next, 0) for p in partitions)
    report(Progress("read", done, total))
