"""Jobs without an end on a Flink cluster: every start publishes, and every slot reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts.spec.project import Project
from devstack.stack import Stack
from pipelines.ingest.options import IngestOptions
from pipelines.ingest.topics import Submitted, ingest_topics
from tests.support.kafka import Broker, Record
from tests.support.live_job import landed, published_ids
from tests.support.processes import PROJECT
from tests.support.stack import cancel_jobs, flink, wait_for
from tests.support.stream_population import track

_PROJECT = Project.load(PROJECT)


@contextmanager
def job(stack: Stack, lake: Path, topic: str, workers: int, **given: object) -> Iterator[Submitted]:
    """A job that reads a topic; cancelled after the block."""
    options = IngestOptions(
        source="web", input=(Broker(stack.kafka_bootstrap).uri(topic),), lake=str(lake), runner="flink", flink=stack.flink_rest,
        workers=workers, immediate="off", early_panes=1, commit_every=1, late_panes=1, checkpoint_every=1, **given,  # type: ignore[arg-type]
    )  # fmt: skip
    submitted = ingest_topics(options, _PROJECT, lambda _: None)
    assert isinstance(submitted, Submitted)
    try:
        yield submitted
    finally:
        cancel_jobs(stack, submitted.job_id)


def events(first: int, count: int, partitions: int) -> list[Record]:
    now = datetime.now(UTC)
    return [Record(track(f"m-{n}", now), int(now.timestamp() * 1000), n % partitions) for n in range(first, first + count)]


def emitted_by_readers(stack: Stack, job_id: str) -> list[int]:
    """Per subtask of the operator that reads and decodes, how many elements it gave out."""
    (vertex,) = [v["id"] for v in flink(stack, f"/jobs/{job_id}")["vertices"] if "DecodeRecords" in v["name"]]
    subtasks = flink(stack, f"/jobs/{job_id}/vertices/{vertex}")["subtasks"]
    return [subtask["metrics"]["write-records"] for subtask in subtasks]


@pytest.mark.parametrize("workers", [2, 4])
def test_every_slot_reads(workers: int, stack: Stack, job_server: str, tmp_path: Path) -> None:
    broker = Broker(stack.kafka_bootstrap)
    with broker.topic(8) as topic:
        broker.send(topic, events(0, 80, 8))
        with job(stack, tmp_path, topic, workers, beam_options=(job_server,)) as submitted:
            wait_for(lambda: published_ids(tmp_path) == {f"m-{n}" for n in range(80)}, "all rows")
            wait_for(
                lambda: len(emitted := emitted_by_readers(stack, submitted.job_id)) == workers and min(emitted) > 0, "every slot"
            )
            assert set(landed(tmp_path).values()) == {10}
        assert submitted.partitions == 8


STARTS = 20


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_every_start_publishes(stack: Stack, tmp_path: Path) -> None:
    """A job hangs at its start when output of a first bundle waits for the next one: so many starts in a row find it."""
    broker = Broker(stack.kafka_bootstrap)
    with broker.topic(2) as topic:
        for start in range(STARTS):
            broker.send(topic, events(2 * start, 2, 2))
            with job(stack, tmp_path, topic, 2):
                wanted = {f"m-{n}" for n in range(2 * start + 2)}
                wait_for(lambda wanted=wanted: published_ids(tmp_path) == wanted, f"rows of start {start}", 60)  # type: ignore[misc]
