"""A streaming job under load: a stack of its own, the load producer beside it, ``headrace`` as real processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient, NewTopic

from contracts.spec.project import Project
from devstack.stack import Stack
from lake.ledger.ledger import frontier
from lake.ledger.logs import newest_window_time
from lake.location import Lake
from lake.raw.log_ids import LogId
from runners.flink.rest import FlinkRest
from tests.support.processes import PROJECT, ROOT
from tests.support.tiers import sized
from transforms.kafka.connection import KafkaCluster, KafkaConnection

SOURCE, DATASET = "web", "customer_event"
TABLE, LATE_TABLE = f"validated.{DATASET}", f"late.{DATASET}"
TOPIC, IMMEDIATE = "web-events", f"headrace.validated.{DATASET}"
PARTITIONS = 4
RATE = sized(500, 5_000)
SHARES = ("--duplicates", "0.01", "--disordered", "0.02", "--disorder-s", "1.5", "--invalid", "0.002")
OPTIONS = (
    "--watermark-bound", "2s", "--allowed-lateness", "1m", "--idle-timeout", "5s", "--window", "1m", "--checkpoint-every", "3s",
)  # fmt: skip
DEADLINE_S = 240.0
_POLL_S = 0.25
_COMMAND_S = 240.0


def wait_for(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> float:
    """Wait until it holds; how long it took, in seconds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < deadline_s, f"waited {deadline_s:.0f} s for {what}"
        time.sleep(_POLL_S)
    return time.monotonic() - began


@dataclass
class LiveJob:
    """One source's job, its lake, and the load on its topic.

    rate: messages a second. run_id: of the run that goes on now. started: all run ids, the oldest first.
    """

    stack: Stack
    folder: Path
    topic: str = TOPIC
    rate: int = RATE
    started: list[str] = field(default_factory=list)
    _producer: subprocess.Popen[str] | None = None

    @property
    def run_id(self) -> str:
        return self.started[-1]

    @property
    def ids(self) -> Path:
        """What the producer says that it sent."""
        return self.folder / "sent.tsv"

    @property
    def lake(self) -> Lake:
        return Lake.at(str(self.folder / "lake"))

    @property
    def rest(self) -> FlinkRest:
        return FlinkRest(self.stack.flink_rest)

    @property
    def cluster(self) -> KafkaCluster:
        return KafkaCluster(KafkaConnection(self.stack.kafka_bootstrap))

    # --- the load

    def make_topic(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.stack.kafka_bootstrap})
        admin.create_topics([NewTopic(self.topic, num_partitions=PARTITIONS)])[self.topic].result(30)
        topic_id = self.cluster.describe([self.topic])[self.topic].topic_id
        self._log_ids = [LogId(self.topic, topic_id, number) for number in range(PARTITIONS)]

    @property
    def logs(self) -> list[LogId]:
        return self._log_ids

    def start_load(self) -> None:
        command = [sys.executable, "-m", "benchmarks.stream.producer", "--bootstrap", self.stack.kafka_bootstrap]
        command += ["--topic", self.topic, "--rate", str(self.rate), "--ids", str(self.ids), *SHARES]
        self._producer = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def stop_load(self) -> dict[str, Any]:
        """End the load; what the producer says of it, after everything was acknowledged."""
        assert self._producer
        self._producer.send_signal(signal.SIGTERM)
        out, err = self._producer.communicate(timeout=_COMMAND_S)
        assert self._producer.returncode == 0, err
        said: dict[str, Any] = json.loads(out)
        return said

    def end_of_topic(self) -> dict[LogId, int]:
        """The offset after the last message, per partition."""
        ends = self.cluster.offsets([(self.topic, log.partition) for log in self.logs], "latest")
        return {log: ends[self.topic, log.partition] for log in self.logs}

    # --- the job

    def headrace(self, *arguments: str) -> Any:
        """A command's document."""
        done = subprocess.run(self._command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False, timeout=_COMMAND_S)
        assert done.returncode == 0, f"headrace {' '.join(arguments)}: exit {done.returncode}: {done.stderr[-2000:]}"
        return json.loads(done.stdout)

    def start(self, *options: str) -> None:
        """Submit the job."""
        address = f"kafka://{self.stack.kafka_bootstrap}/{self.topic}"
        runner = ("--runner", "flink", "--flink", self.stack.flink_rest)
        submitted = self.headrace("ingest", SOURCE, "--input", address, *runner, *OPTIONS, *options)
        self.started.append(submitted["run_id"])

    def job(self, verb: str, *options: str) -> Any:
        """``headrace job`` on the run that goes on."""
        return self.headrace("job", verb, self.run_id, *options)

    def supervise(self) -> subprocess.Popen[str]:
        """``headrace job supervise``, until it is ended."""
        command = self._command("job", "supervise", self.run_id, "--every", "1s")
        log = (self.folder / "supervise.log").open("w")
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, text=True)

    def checkpoints(self) -> int:
        """Checkpoints that the job on the cluster has completed."""
        running = [job for job in self.rest.jobs() if job.state == "RUNNING"]
        found = self.rest.checkpoints(running[0].job_id) if running else None
        return found.completed if found else 0

    def python_workers(self) -> list[int]:
        """Process ids of the Python workers themselves, not of what launched them."""
        return [pid for pid in self.stack.worker_pids() if "boot.py" in _command_of(pid)]

    def close(self) -> None:
        """Nothing of it is left but the stack."""
        if self._producer and self._producer.poll() is None:
            self._producer.kill()
            self._producer.wait()

    def _command(self, *arguments: str) -> list[str]:
        options = ("--lake", self.lake.root, "--project", str(PROJECT), "--json")
        return [sys.executable, "-m", "cli.main", *arguments, *options]

    # --- what is published

    def committed_after(self, moment: float) -> bool:
        """Whether the table has a snapshot that is younger."""
        snapshot = self.lake.catalog().load_table(TABLE).current_snapshot()
        return snapshot is not None and snapshot.timestamp_ms > moment * 1_000

    def shows_events_after(self, moment: float) -> bool:
        """Whether the table has events that are younger."""
        newest = newest_window_time(self.lake, SOURCE, TABLE, int(time.time() * 1_000_000))
        return newest is not None and newest > moment * 1_000_000

    def accounted_up_to(self, ends: dict[LogId, int]) -> bool:
        """Whether every message below has a committed outcome."""
        spec, _ = Project.load(PROJECT).source(SOURCE)
        return all((frontier(self.lake, spec, log) or 0) >= end for log, end in ends.items())


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return "gone"
