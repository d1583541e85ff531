"""``python -m benchmarks.delivery.ours``: one reader's work as a Beam worker does it, without Beam. Prints one JSON object.

Its time goes from the first read of the table, or of the topic, to the receipt of the last event.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.delivery.sample import DESTINATION, RANGE, TABLE
from contracts.compiler.schemas import row_schema
from contracts.compiler.timestamps import parse_timestamp
from contracts.spec.destination import Destination
from contracts.spec.model import Contract
from contracts.spec.project import Project
from contracts.spec.suppressions import NOTHING
from lake.location import Lake
from lake.tables.iceberg import published_files
from pipelines.deliver.options import DeliverOptions
from transforms.collector import collector_paused
from transforms.deliver.dispatcher import Delivery, Dispatcher
from transforms.deliver.source import Lanes
from transforms.deliver.table import TableLanes, shared_out
from transforms.deliver.topic import TopicLanes
from transforms.kafka.connection import KafkaCluster
from transforms.read.topics import connected, kafka_source, plan_partitions
from transforms.readers.progress import ReaderProgress
from transforms.readers.restriction import ReaderName

_RUN = "bench"
_COLLECT_S, _PATIENCE_S = 0.05, 30.0


def table_lanes(lake: Lake, destination: Destination, contract: Contract) -> Lanes:
    """All of the table, as one reader has it."""
    table = lake.load(TABLE)
    snapshot = table.current_snapshot()
    assert snapshot is not None
    start_us, end_us = (parse_timestamp(text, None) for text in RANGE)
    assert start_us is not None
    assert end_us is not None
    lanes = destination.limits.in_flight
    readers = shared_out(TABLE, _RUN, published_files(table, snapshot), lanes, 1)
    return TableLanes(
        lake=lake, table=TABLE, schema=row_schema(contract), snapshot_id=snapshot.snapshot_id, start_us=start_us, end_us=end_us,
        destination=destination.name, run_id=_RUN, lanes=lanes, which="unsettled", readers=readers, salts=(0,),
    )  # fmt: skip


def topic_lanes(uri: str) -> Lanes:
    """All that is in a topic now, as one reader has it."""
    options = DeliverOptions(destination=DESTINATION, input=uri, until="now", start="earliest")
    connection, topic = connected(options, uri)
    assert topic is not None
    cluster = KafkaCluster(connection)
    partitions = plan_partitions(options, cluster, cluster.matching(topic, None), lambda _: None)
    return TopicLanes(kafka_source(options, connection, topic, partitions, (0,), "bench"))


def deliver(dispatcher: Dispatcher, progress: ReaderProgress[Any]) -> None:
    """Send everything, as ``DeliverRows`` does on one worker."""
    with collector_paused():
        dispatcher.begin(progress)
        while not progress.finished:
            came = dispatcher.read()
            dispatcher.dispatch(time.monotonic() + _PATIENCE_S)
            dispatcher.collect(0 if came else _COLLECT_S)
            progress = dispatcher.progress()
            dispatcher.report()
        dispatcher.close_slice(progress)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delivery.ours")
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--topic", metavar="kafka://HOST:PORT/TOPIC", help="instead of the table")
    options = parser.parse_args()
    project = Project.load(options.project)
    destination, contract = project.destination(DESTINATION)
    lake = Lake.at(project.lake_location(None), project.catalog)
    lanes = topic_lanes(options.topic) if options.topic else table_lanes(lake, destination, contract)
    delivery = Delivery(lake=lake, destination=destination, contract=contract, suppressions=NOTHING, run_id=_RUN, lanes=lanes)
    dispatcher = Dispatcher(delivery, ReaderName(0, 1))
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    deliver(dispatcher, lanes.readers[0])
    figures = {"wall_s": time.perf_counter() - began_s, "cpu_s": time.process_time() - began_cpu_s}
    dispatcher.close()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
