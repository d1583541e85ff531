"""No record time stalls a job without an end: times to come, no times at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from contracts.spec.project import Project
from devstack.stack import Stack
from lake.ledger.ledger import frontier
from lake.location import Lake
from pipelines.ingest.options import IngestOptions
from pipelines.ingest.topics import Submitted, ingest_topics
from tests.support.kafka import Broker, Record
from tests.support.lake_state import scan
from tests.support.live_job import landed, live_job, published_ids
from tests.support.processes import PROJECT
from tests.support.stack import cancel_jobs, wait_for
from tests.support.stream_population import track

ANY_TIME = str(2**63 - 1)  # brokers refuse times to come unless they are told otherwise
NO_TIME_MS = -1
Y2090 = datetime(2090, 6, 1, tzinfo=UTC)
# Windows fire only when W passes them, since there are no early panes; rows are of five minutes ago, so that it has.
WINDOWS = ("--immediate", "off", "--idle-timeout", "2s")


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def times_of(lake: Path) -> dict[str, datetime]:
    rows = scan(Lake.at(str(lake)), "validated.customer_event", columns=("event_id", "_window_time"))
    return dict(zip(*(rows.column(name).to_pylist() for name in ("event_id", "_window_time")), strict=True))


def is_accounted_for(lake: Path, messages: int) -> bool:
    spec, _ = Project.load(PROJECT).source("web")
    (log,) = landed(lake)
    return frontier(Lake.at(str(lake)), spec, log) == messages


def test_times_to_come_hold_no_frontier(stack: Stack, tmp_path: Path) -> None:
    broker, past = Broker(stack.kafka_bootstrap), datetime.now(UTC) - timedelta(minutes=5)
    wrong = past + timedelta(days=2)  # a device whose clock is wrong, and that produces itself
    own_times = {"receivedAt": None, "sentAt": f"{past:%FT%TZ}"}
    records = [
        Record(track("m-0", past), ms(past)),
        Record(track("wrong", wrong), ms(wrong)),
        Record(track("2090", Y2090), ms(Y2090)),
        Record(track("only-kafka", past, **own_times), ms(Y2090)),
        Record(track("sentinel", past, receivedAt="2099-12-31T23:59:59Z"), ms(past)),
        Record(track("m-1", past), ms(past)),
    ]
    with broker.topic(message_timestamp_after_max_ms=ANY_TIME) as topic:
        broker.send(topic, records)
        with live_job(broker.uri(topic), tmp_path, *WINDOWS) as job:
            job.wait(lambda: landed(tmp_path) and is_accounted_for(tmp_path, len(records)), "all to be accounted for")
            assert job.ids() == {"m-0", "wrong", "2090", "only-kafka", "sentinel", "m-1"}
    found = times_of(tmp_path)
    for name, expected in {"wrong": wrong, "2090": Y2090, "only-kafka": past, "sentinel": past}.items():
        assert abs(found[name] - expected) < timedelta(seconds=1), name


@contextmanager
def sending(send: Callable[[], None]) -> Iterator[None]:
    """Sends on and on during the block."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(0.05):
            send()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_topic_without_record_times_is_published_on_flink(stack: Stack, job_server: str, tmp_path: Path) -> None:
    """Also while more comes without a pause; the other partition is in order."""
    broker, past = Broker(stack.kafka_bootstrap), datetime.now(UTC) - timedelta(minutes=5)
    numbers = iter(range(10_000_000))
    with broker.topic(2) as topic:
        bare = json.loads(track("", past, receivedAt=None))

        def send() -> None:
            broker.send(
                topic, [Record(json.dumps({**bare, "messageId": f"u-{next(numbers)}"}).encode(), NO_TIME_MS, 0) for _ in range(50)]
            )

        send()
        broker.send(topic, [Record(track("m-0", past), ms(past), 1)])
        options = IngestOptions(
            source="web", input=(broker.uri(topic),), lake=str(tmp_path), runner="flink", flink=stack.flink_rest, workers=1,
            immediate="off", commit_every=1, late_panes=1, checkpoint_every=1, idle_timeout=2, beam_options=(job_server,),
        )  # fmt: skip
        submitted = ingest_topics(options, Project.load(PROJECT), lambda _: None)
        assert isinstance(submitted, Submitted)
        try:
            with sending(send):
                wait_for(lambda: published_ids(tmp_path) >= {"m-0", *(f"u-{n}" for n in range(50))}, "rows of both partitions")
        finally:
            cancel_jobs(stack, submitted.job_id)
