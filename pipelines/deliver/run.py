"""The delivery graph: rows of a dataset to a destination, from a topic or from a table, without an end or with one.

.. code-block:: text

    partitions of headrace.validated.<dataset> ─┐
    lanes of a snapshot of validated.<dataset> ─┴─► DeliverRows ─► destination
                                                        │
                                                        ├─► receipts    deliveries/<destination>/receipts/…
                                                        └─► ops.dead_letter (refused)
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
from pyiceberg.exceptions import NoSuchTableError

from contracts.compiler.schemas import row_schema
from contracts.errors import ConfigurationError
from contracts.spec.destination import Destination
from contracts.spec.model import Contract
from contracts.spec.project import Project
from contracts.units import SECOND_US
from lake.location import Lake
from lake.raw.log_ids import LogId
from lake.receipts.receipts import REFUSED, Counts, lane_folder, lane_receipts, list_receipts
from lake.receipts.state import DOWN, ENDED, SILENT_S, THROTTLED, forget_states, read_states
from lake.runs.clock import RunClock, new_run_id
from lake.runs.manifest import DeliveryDetails, RunManifest, Verdict, is_gone, write_manifest, write_started
from lake.runs.progress import Progress, Report, repeated
from lake.runs.submission import read_submission, resumed_run_id
from lake.tables.iceberg import published_files
from pipelines.deliver.options import PIPELINE, DeliverOptions
from pipelines.ingest.topics import connected, kafka_source, plan_partitions
from runners.binaries import find_prism
from runners.direct import run_bounded
from runners.flink.key_groups import salts_for
from runners.flink.submit import FlinkJob
from runners.jobs.submit import flink_job, run_to_end, submit_endless
from transforms.deliver.deliver import DeliverRows
from transforms.deliver.desk import Delivery
from transforms.deliver.http.dialects import batch_limits
from transforms.deliver.letters import settle_letters, withdraw_letters
from transforms.deliver.source import Lanes
from transforms.deliver.table import SPAN_BITS, TableLanes, spans
from transforms.deliver.topic import TopicLanes
from transforms.kafka.connection import KafkaCluster
from transforms.read.kafka import reader_name
from transforms.readers.progress import PartitionProgress, ReaderProgress

_GIVE_UP_S = 900
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class DeliveryReport:
    """What a delivery with an end did. counts: rows by what became of them, see receipts.py. reasons: why it is no success."""

    run_id: str
    destination: str
    dataset: str
    rows_from: str
    counts: Counts
    seconds: float
    manifest: dict[str, Any]
    reasons: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0, or 1 where the destination refused something."""
        return 1 if self.reasons else 0


@dataclass(frozen=True)
class SubmittedDelivery:
    """A job that goes on. job_id: Flink's."""

    run_id: str
    destination: str
    job_id: str
    flink: str
    topic: str
    lanes: int


def deliver(options: DeliverOptions, project: Project, report: Report) -> DeliveryReport | SubmittedDelivery:
    """Run ``headrace deliver``.

    Args:
        options: what the user asked for.
        project: where destinations, contracts and policies lie.
        report: is told of progress.

    Returns:
        What it did, where it ended; or the job that goes on, on a cluster.

    Raises:
        ConfigurationError: options, destination, contract or table do not fit, or another run delivers to it; nothing was sent.
        ComponentDownError: the destination, Kafka, the catalog or the cluster does not answer; may be run again.
    """
    destination, contract = project.destination(options.destination)
    if options.requests_per_s is not None:
        own = destination.limits.requests_per_s
        if own is not None and options.requests_per_s > own:
            raise ConfigurationError(f"--requests-per-s {options.requests_per_s:g}: destination {destination.name} takes {own:g}")
        destination = replace(destination, limits=replace(destination.limits, requests_per_s=options.requests_per_s))
    batch_limits(destination)
    if options.runner == "direct":
        destination.write_key.read()
    lake = Lake.at(project.lake_location(options.lake), project.catalog)
    if not lake.exists():
        raise ConfigurationError(f"no lake at {lake.root}; headrace ingest makes one, or give another --lake")
    clock = RunClock()
    run_id = resumed_run_id() or new_run_id(f"{PIPELINE}-{destination.name}", clock)
    _refuse_beside(options, lake, destination, run_id)
    job = replace(flink_job(options, project), endless=options.endless) if options.runner == "flink" else None
    if job is None and options.reads_topic:
        find_prism()  # its lack is told before anything is written
    plan = _topic if options.reads_topic else _table
    lanes, rows_from, rows = plan(options, lake, destination, contract, run_id, job)
    delivery = Delivery(
        lake=lake, destination=destination, contract=contract, suppressions=project.suppressions(contract), run_id=run_id,
        lanes=lanes, give_up_s=options.give_up_after or (None if options.endless else _GIVE_UP_S),
    )  # fmt: skip
    settle_letters(lake, destination, contract, run_id)
    write_started(lake, run_id, clock.started, destination.name, pipeline=PIPELINE)

    def build(pipeline: beam.Pipeline) -> None:
        _ = pipeline | "DeliverRows" >> DeliverRows(delivery)

    clock.done("plan")
    logs = [p.log for reader in lanes.readers for p in reader.partitions]
    if job is not None and options.endless:
        job_id = submit_endless(build, job, lake, run_id, options, project)
        return SubmittedDelivery(run_id, destination.name, job_id, job.rest, logs[0].topic, len(logs))
    with repeated(lambda: _report_settled(lake, destination, run_id, rows, report), _LOOK_EVERY_S):
        try:
            if job is None and not options.reads_topic:
                run_bounded(build, extra=options.beam_options)
            else:
                run_to_end(build, job, lake, run_id, options, project)
        except KeyboardInterrupt:  # on purpose, so nobody has to be woken for it
            forget_states(lake, destination.name, run_id)
            raise
    clock.done("deliver")
    settle_letters(lake, destination, contract, run_id, logs)
    if options.rows in ("refused", "all"):
        withdraw_letters(lake, destination, contract, run_id)
    forget_states(lake, destination.name, run_id)
    return _finish(options, lake, destination, contract, run_id, clock, lanes, rows_from)


def _topic(
    options: DeliverOptions, lake: Lake, destination: Destination, contract: Contract, run_id: str, job: FlinkJob | None
) -> tuple[Lanes, str, int]:
    """Partitions of the topic of rows; what they are in words, and how many places they have, 0 without an end."""
    assert options.input is not None
    connection, topic = connected(options, options.input)
    topic = topic or f"headrace.validated.{contract.name}"
    cluster = KafkaCluster(connection)
    topics = cluster.matching(topic, None)

    def settled_to(log: LogId) -> int | None:
        return max((file.end for file in list_receipts(lake, lane_folder(lake, destination.name, log))), default=None)

    partitions = plan_partitions(options, cluster, topics, settled_to)
    group = f"headrace-{PIPELINE}-{destination.name}"
    rows = sum(p.end - p.next for p in partitions if p.end is not None)
    return TopicLanes(kafka_source(options, connection, topic, partitions, job, group)), f"topic {topic}", rows


def _table(
    options: DeliverOptions, lake: Lake, destination: Destination, contract: Contract, run_id: str, job: FlinkJob | None
) -> tuple[Lanes, str, int]:
    """Lanes of the table as it is now; what they are in words, and how many rows there are at most."""
    assert isinstance(options.start, int) and options.end is not None
    name = f"validated.{contract.name}"
    try:
        table = lake.catalog().load_table(name)
    except NoSuchTableError:
        raise ConfigurationError(f"lake {lake.root}: there is no table {name}; headrace ingest makes it") from None
    snapshot = table.current_snapshot()
    start_us, end_us = options.start * 1_000, options.end * 1_000
    files = [f for f in published_files(table, snapshot) if f.from_us < end_us and f.to_us > start_us]
    in_all = destination.limits.in_flight
    number = min(job.parallelism if job else 1, in_all)
    end = len(spans(files)) << SPAN_BITS
    readers = tuple(
        ReaderProgress(tuple(PartitionProgress(name, run_id, lane, next=0, end=end) for lane in range(i, in_all, number)))
        for i in range(number)
    )
    salts = salts_for(lambda n, salt: reader_name(n, number, salt), number, job.parallelism if job else 1)
    lanes = TableLanes(
        lake=lake, table=name, schema=row_schema(contract), snapshot_id=snapshot.snapshot_id if snapshot else -1,
        start_us=start_us, end_us=end_us, destination=destination.name, run_id=run_id, lanes=in_all,
        which=options.rows or "unsettled", readers=readers, salts=salts,  # type: ignore[arg-type]
    )  # fmt: skip
    rows = sum(file.rows for file in files)
    return lanes, f"{name}, {rows:,} rows in files that meet the range", rows


def _refuse_beside(options: DeliverOptions, lake: Lake, destination: Destination, run_id: str) -> None:
    """Two runs at once would not know of each other's requests, and could bring rows of one user in any order."""
    now_us = time.time() * SECOND_US
    heard = {
        state.run_id
        for state in read_states(lake, destination.name)
        if state.run_id != run_id and state.state != ENDED and now_us - state.updated_us < SILENT_S * SECOND_US
    }
    rivals = {rival for rival in heard if _goes_on(lake, rival)}
    if rivals and options.requests_per_s is None:
        raise ConfigurationError(
            f"run {', '.join(sorted(rivals))} delivers to {destination.name} now. Stop it first, or give this run a part of the "
            "limit with --requests-per-s N; rows of one user may then arrive out of order between the two"
        )


def _goes_on(lake: Lake, run_id: str) -> bool:
    """Whether a run that was heard of lately may still be at work."""
    submission = read_submission(lake, run_id)
    return not is_gone(lake, run_id) if submission is None else submission.ended is None


def run_counts(lake: Lake, destination: str, lanes: Lanes) -> Counts:
    """What became of the rows of a run's lanes, by their receipts."""
    counts: Counts = Counter()
    begins = {p.log: p.next for reader in lanes.readers for p in reader.partitions}
    for log, begin in begins.items():
        for rows, own in lane_receipts(lake, destination, log, ["outcome", "reason"], begin):
            del rows
            counts += own
    return counts


def _finish(
    options: DeliverOptions,
    lake: Lake,
    destination: Destination,
    contract: Contract,
    run_id: str,
    clock: RunClock,
    lanes: Lanes,
    rows_from: str,
) -> DeliveryReport:
    counts = run_counts(lake, destination.name, lanes)
    reasons = []
    if counts[REFUSED]:
        reasons.append(
            f"{destination.name} refused {counts[REFUSED]:,} events: headrace deadletter list --code refused --source "
            f"{destination.name}"
        )
    manifest = RunManifest(
        run_id=run_id,
        pipeline=PIPELINE,
        source=destination.name,
        clock=clock,
        details=DeliveryDetails(destination.name, rows_from, dict(sorted(counts.items()))),
        options=options,
        contracts={contract.name: contract.version},
        verdict=Verdict(reasons),
    )
    document = write_manifest(lake, manifest)
    seconds = document["timings"]["total_s"]
    return DeliveryReport(run_id, destination.name, contract.name, rows_from, counts, seconds, document, tuple(reasons))


def _report_settled(lake: Lake, destination: Destination, run_id: str, rows: int, report: Report) -> None:
    """Report how many rows are settled, and what the destination does meanwhile."""
    states = [state for state in read_states(lake, destination.name) if state.run_id == run_id]
    if states:
        done = sum(sum(state.counts.values()) for state in states)
        trouble = [f"{s.state}: {s.last_failure}" for s in states if s.state in (THROTTLED, DOWN)]
        report(Progress("deliver", done, rows, "; ".join([f"{done:,} rows settled", *trouble[:1]])))
