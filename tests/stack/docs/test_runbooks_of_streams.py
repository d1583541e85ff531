"""Runbooks of streaming jobs: each failure is made on a real Kafka and Flink, and the commands of its page end it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from devstack.stack import Stack
from lake.ledger.ledger import LedgerEntry
from runners.flink.rest import FlinkRest
from tests.support.kafka import Broker, Record
from tests.support.live_job import published_ids
from tests.support.pages import DOCS, blocks_of, run
from tests.support.shop import Shop
from tests.support.stack import cancel_jobs, jobs_of, wait_for
from tests.support.stream_population import track

RUNBOOKS = DOCS / "runbooks"
PARTITIONS = 2
WITHIN_S = 300.0
QUICK = "--immediate off --early-panes 1s --commit-every 1s --late-panes 1s --checkpoint-every 1s"
NEVER_BEGINS = "#!/bin/sh\nexec sleep 600\n"


class Stream(Shop):
    """A project whose source has a job on the cluster."""

    def __init__(self, folder: Path, stack: Stack, topic: str, environment: dict[str, str]) -> None:
        super().__init__(folder, f"flink: {stack.flink_rest}")
        self.stack, self.topic, self.broker = stack, topic, Broker(stack.kafka_bootstrap)
        self.environment = {**environment, "HEADRACE_JOB_SERVER_JAR": str(stack.job_server_jar)}
        self.sent = 0

    def send(self) -> None:
        """Twenty more events."""
        now = datetime.now(UTC)
        numbers = range(self.sent, self.sent + 20)
        self.broker.send(self.topic, [Record(track(f"m-{n}", now), int(now.timestamp() * 1000), n % PARTITIONS) for n in numbers])
        self.sent += 20

    def start(self, *more: str) -> str:
        """Submit the job; its run id."""
        command = f"headrace ingest web --input {self.broker.uri(self.topic)} --runner flink --workers 1 {QUICK} {' '.join(more)}"
        return str(json.loads(run(f"{command} --json", self.folder, self.environment, WITHIN_S))["run_id"])

    def asked(self, *words: str) -> Any:
        """A command's document."""
        return json.loads(run(f"headrace {' '.join(words)} --json", self.folder, self.environment, WITHIN_S))

    def give(self, page: str, **more: str) -> list[str]:
        """The commands of a page; what each block printed."""
        blocks = [block.text for block in blocks_of(RUNBOOKS / f"{page}.md") if block.is_shell]
        return [run(block, self.folder, {**self.environment, **more}, WITHIN_S) for block in blocks]

    @property
    def jobs(self) -> set[str]:
        """Those of this project that run."""
        return jobs_of(self.stack, self.lake())

    def wait_for_rows(self) -> None:
        """Wait until all that was sent is published."""
        wanted = {f"m-{n}" for n in range(self.sent)}
        wait_for(lambda: published_ids(self.folder / "lake") == wanted, "all rows", WITHIN_S)

    def wait_for_checkpoint(self) -> None:
        """Wait until the job has completed one that holds what it read."""
        (job,) = self.jobs
        rest = FlinkRest(self.stack.flink_rest)

        def completed() -> int:
            found = rest.checkpoints(job)
            return found.completed if found else 0

        first = completed()
        wait_for(lambda: completed() > first + 1, "a checkpoint", WITHIN_S)


@pytest.fixture(scope="module")
def stream(stack: Stack, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stream]:
    with Broker(stack.kafka_bootstrap).topic(PARTITIONS) as topic:
        made = Stream(tmp_path_factory.mktemp("runbooks") / "shop", stack, topic, environment)
        try:
            yield made
        finally:
            cancel_jobs(stack, *made.jobs)


def test_a_frontier_that_stands_still_moves_again(stream: Stream) -> None:
    """First somebody cancels the job in Flink's own page, then something holds the catalog."""
    stream.send()
    first = stream.start()
    stream.wait_for_rows()
    stream.wait_for_checkpoint()
    cancel_jobs(stream.stack, *stream.jobs)
    stream.send()
    looked, _, over = stream.give("frontier", RUN=first)
    assert "CANCELED" in looked
    assert "RUNNING" in over
    stream.wait_for_rows()
    assert len(stream.jobs) == 1

    held = sqlite3.connect(stream.folder / "lake" / "catalog.db", isolation_level=None)
    held.execute("begin immediate")
    stream.send()

    def pending() -> bool:
        (log, *more) = stream.asked("status")[0]["stream"]["logs"]
        return all(each["landed_to"] > each["frontier"] for each in (log, *more))

    wait_for(pending, "the frontier to stand still while records land", WITHIN_S)
    held.execute("rollback")
    held.close()
    stream.wait_for_rows()


@pytest.mark.long
def test_an_upgrade_that_went_wrong_goes_back_and_loses_nothing(stream: Stream) -> None:
    if not stream.jobs:
        stream.start()
    stream.send()
    stream.wait_for_rows()
    old = max(line["run_id"] for line in stream.asked("job", "list") if line["source"] == "web" and line["run_id"])
    ended = stream.asked("job", "stop", old)
    worker = stream.folder / "never-begins"
    worker.write_text(NEVER_BEGINS)
    worker.chmod(0o755)
    new = stream.start("--from-savepoint", ended["from_savepoint"], "--python-workers", f"process:{worker}")
    stream.send()
    previous = stream.folder / "previous"
    previous.mkdir()
    shim = previous / "headrace"
    shim.write_text('#!/bin/sh\necho "$@" >> "$(dirname "$0")/said"\nPATH="${PATH#*:}" exec headrace "$@"\n')
    shim.chmod(0o755)
    looked, _, over = stream.give("upgrade", OLD=old, NEW=new, PREVIOUS=str(previous))
    assert ended["from_savepoint"].rpartition("/")[2] in looked.replace("\n", "")
    assert f"--from-savepoint {ended['from_savepoint']}" in (previous / "said").read_text()
    assert "RUNNING" in over and len(stream.jobs) == 1
    stream.wait_for_rows()
    wait_for(lambda: stream.ledger().balanced, "the ledger to follow", WITHIN_S)
    assert stream.ledger() == LedgerEntry(records_in=stream.sent, out=stream.sent)
