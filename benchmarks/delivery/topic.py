"""The rows of the sample on a topic of a Kafka broker of the benchmark's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Producer

from benchmarks.delivery.sample import DESTINATION, Sample, table_rows
from benchmarks.ingest.measure import RunFailedError
from benchmarks.stream.bed import free_ports, make_topic
from contracts.compiler.rows import canonical_rows
from contracts.spec.project import Project
from devstack.layout import Layout, Settings
from devstack.stack import Stack

_TOPIC = "headrace.validated.customer_event"
_FLUSH_S = 60.0


@contextmanager
def topic_of(sample: Sample, home: Path, say: Callable[[str], None]) -> Iterator[str]:
    """The address of a topic with these rows, in the order of the table, by user; it is gone afterwards."""
    ports = free_ports()
    stack = Stack(Layout.default().with_home(home), Settings(ports=ports), say)
    try:
        stack.up(("kafka",))
        bootstrap = f"localhost:{ports.kafka}"
        make_topic(bootstrap, _TOPIC)
        _publish(sample, bootstrap)
        yield f"kafka://{bootstrap}/{_TOPIC}"
    finally:
        stack.down(purge_data=True)


def _publish(sample: Sample, bootstrap: str) -> None:
    contract = Project.load(sample.project).destination(DESTINATION)[1]
    rows = table_rows(sample)
    times = rows.column("_window_time").cast("int64").to_pylist()
    options = {"bootstrap.servers": bootstrap, "linger.ms": 20, "queue.buffering.max.messages": len(rows) + 1}
    producer = Producer(options)
    for value, user, time_us in zip(canonical_rows(contract)(rows), sample.users, times, strict=True):
        producer.produce(_TOPIC, value, user, headers=[("window_time", str(time_us).encode())])
    if left := producer.flush(_FLUSH_S):
        raise RunFailedError(f"{left} rows could not be published")
