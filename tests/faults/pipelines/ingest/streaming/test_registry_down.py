"""A stream on Flink whose registry is killed: it waits, rejects nothing, and goes on when the registry is back."""

from __future__ import annotations

from pathlib import Path
from time import monotonic, sleep

from contracts.spec.project import Project
from devstack.stack import Stack
from lake.location import Lake
from pipelines.ingest.options import IngestOptions
from pipelines.ingest.run import IngestReport
from pipelines.ingest.topics import Submitted, ingest_topics
from tests.support import wire
from tests.support.kafka import Broker
from tests.support.lake_state import content_hash, scan
from tests.support.live_job import published_ids
from tests.support.stack import cancel_jobs, flink, jobs, wait_for

EVENTS = 60
DOWN_S = 12.0
TABLE, LETTERS = "validated.customer_event", "ops.dead_letter"


def options(broker: Broker, topic: str, lake: Path, **given: object) -> IngestOptions:
    return IngestOptions(
        source="shop", input=(broker.uri(topic),), lake=str(lake), max_rejected=0.0, allowed_lateness=30 * 86_400, immediate="off",
        commit_every=1, late_panes=1, **given,  # type: ignore[arg-type]
    )  # fmt: skip


def checkpoints(stack: Stack, job_id: str) -> dict[str, int]:
    """Counts of a job's checkpoints."""
    counts: dict[str, int] = flink(stack, f"/jobs/{job_id}/checkpoints")["counts"]
    return counts


def test_a_stream_waits_for_its_registry_and_ends_with_the_table_of_the_newest_version(
    exclusive_stack: Stack, tmp_path: Path
) -> None:
    stack, broker = exclusive_stack, Broker(exclusive_stack.kafka_bootstrap)
    stack.up(("registry",))
    project = Project.load(wire.project(tmp_path / "shop", stack.registry_url))
    live, newest = tmp_path / "live", tmp_path / "newest"
    found = wire.events(EVENTS)
    with broker.topic(2, prefix="mixed") as mixed_topic, broker.topic(2, prefix="newest") as newest_topic:
        ids, plain = wire.register(stack.registry_url, mixed_topic)
        records = wire.mixed(found, ids, plain)
        first = [n for n in range(EVENTS) if n % 3 == 0 and n % 4 < 2]  # Avro of the first version only
        broker.send(mixed_topic, [records[n] for n in first])
        on_flink = {"runner": "flink", "flink": stack.flink_rest, "workers": 2, "early_panes": 1, "checkpoint_every": 1}
        job = ingest_topics(options(broker, mixed_topic, live, **on_flink), project, lambda _: None)
        assert isinstance(job, Submitted)
        try:
            wanted = {f"e-{n:04}" for n in first}
            wait_for(lambda: published_ids(live) == wanted, "rows of the first version")
            stack.kill("registry")
            before = checkpoints(stack, job.job_id)["completed"]
            broker.send(mixed_topic, [record for n, record in enumerate(records) if n not in first])
            until = monotonic() + DOWN_S
            while monotonic() < until:
                assert jobs(stack) == {job.job_id: "RUNNING"}
                assert published_ids(live) == wanted
                sleep(1)
            wait_for(lambda: checkpoints(stack, job.job_id)["completed"] > before + 1, "checkpoints while it waits")
            assert published_ids(live) == wanted and checkpoints(stack, job.job_id)["restored"] == 0
            stack.start("registry")
            stack.wait_ready("registry")
            wait_for(lambda: len(published_ids(live)) == EVENTS, "all rows once the registry is back")
            assert len(scan(Lake.at(str(live)), LETTERS)) == 0
        finally:
            cancel_jobs(stack, job.job_id)
        wire.register(stack.registry_url, newest_topic)
        broker.send(newest_topic, wire.newest(found, ids))
        report = ingest_topics(options(broker, newest_topic, newest, until="now"), project, lambda _: None)
        assert isinstance(report, IngestReport) and report.ledger.out == EVENTS
    assert content_hash(scan(Lake.at(str(live)), TABLE)) == content_hash(scan(Lake.at(str(newest)), TABLE))
