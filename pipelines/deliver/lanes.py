"""What a delivery reads: partitions of a topic of rows, or lanes of a table as it is now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyiceberg.exceptions import NoSuchTableError

from contracts.compiler.schemas import row_schema
from contracts.errors import ConfigurationError
from contracts.spec.destination import Destination
from contracts.spec.model import Contract
from lake.location import Lake
from lake.raw.log_ids import LogId
from lake.receipts.lanes import LaneId
from lake.receipts.receipts import lane_folder, list_receipts
from lake.tables.iceberg import horizon_s, published_files, settled_snapshot
from pipelines.deliver.options import PIPELINE, DeliverOptions
from pipelines.readers import salts_of
from runners.flink.submit import FlinkJob
from transforms.converge.settle import settle
from transforms.deliver.source import Lanes
from transforms.deliver.table import TableLanes, digests, shared_out
from transforms.deliver.topic import TopicLanes
from transforms.kafka.connection import KafkaCluster
from transforms.read.topics import connected, kafka_source, plan_partitions


@dataclass(frozen=True)
class RowsToDeliver:
    """Lanes, what they are in words, and how many places they have at most; 0 without an end."""

    lanes: Lanes
    description: str
    places: int

    @property
    def begins(self) -> dict[LaneId, int]:
        """Where each lane begins."""
        return {LaneId(*lane.id): lane.next for reader in self.lanes.readers for lane in reader.lanes}


def rows_of_topic(
    options: DeliverOptions, lake: Lake, destination: Destination, contract: Contract, job: FlinkJob | None
) -> RowsToDeliver:
    """Partitions of the topic of rows, from the first place without a receipt."""
    assert options.input is not None
    connection, topic = connected(options, options.input)
    topic = topic or f"headrace.validated.{contract.dataset}"
    cluster = KafkaCluster(connection)
    topics = cluster.matching(topic, None)

    def settled_to(log: LogId) -> int | None:
        files = list_receipts(lake, lane_folder(lake, destination.name, LaneId(*log)))
        return max((file.end for file in files), default=None)

    partitions = plan_partitions(options, cluster, topics, settled_to)
    salts = salts_of(job, max(p.partition for p in partitions) + 1)
    group = f"headrace-{PIPELINE}-{destination.name}"
    lanes = TopicLanes(kafka_source(options, connection, topic, partitions, salts, group))
    return RowsToDeliver(lanes, f"topic {topic}", sum(p.end - p.next for p in partitions if p.end is not None))


def rows_of_table(
    options: DeliverOptions,
    lake: Lake,
    destination: Destination,
    contract: Contract,
    job: FlinkJob | None,
    run_id: str,
    only: Sequence[str] | None = None,
) -> RowsToDeliver:
    """Lanes of the table, shared out by this run. only: event ids, of refused rows those that are sent again."""
    assert isinstance(options.start, int) and options.end is not None
    name = contract.table
    try:
        table = lake.catalog().load_table(name)
    except NoSuchTableError:
        raise ConfigurationError(f"lake {lake.root}: there is no table {name}; headrace ingest makes it") from None
    if horizon_s(table):  # of an id that came twice since, one row is delivered
        settle(lake, contract, run_id)
        table = lake.catalog().load_table(name)
    snapshot = settled_snapshot(table)
    start_us, end_us = options.start * 1_000, options.end * 1_000
    files = [f for f in published_files(table, snapshot) if f.from_us < end_us and f.to_us > start_us]
    lanes = destination.limits.in_flight
    salts = salts_of(job, lanes)
    source = TableLanes(
        lake=lake, table=name, schema=row_schema(contract), snapshot_id=snapshot.snapshot_id if snapshot else -1,
        start_us=start_us, end_us=end_us, destination=destination.name, run_id=run_id, lanes=lanes,
        which=options.rows or "unsettled",  # type: ignore[arg-type]
        readers=shared_out(name, run_id, files, lanes, len(salts)), salts=salts,
        only=None if only is None else digests(only).tobytes(),
    )  # fmt: skip
    rows = sum(file.rows for file in files)
    return RowsToDeliver(source, f"{name}, {rows:,} rows in files that meet the range", rows)
