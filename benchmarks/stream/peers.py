"""The same work with other tools as contestants: processes of their own beside the broker, without Flink. See ../peers."""

from __future__ import annotations

import json
import pickle
import socket
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Consumer, TopicPartition

from benchmarks.stream import connector
from benchmarks.stream.bed import PARTITIONS, RunFailedError, Sent, require_once
from benchmarks.stream.figures import Visible
from benchmarks.stream.ours import Written
from benchmarks.stream.programs import PEERS_PYTHON, Program, run
from devstack.stack import Stack

PROCESSES = 2
_QUIET_S = 45.0  # longer than any of them waits between two writes


@dataclass
class Peer:
    """A peer over one topic; its files lie in ``rows/…/minute=END/``."""

    stack: Stack
    folder: Path
    topic: str
    immediate: None = None
    may_differ = True
    _programs: list[Program] = field(default_factory=list)
    _rows: dict[Path, int] = field(default_factory=dict)
    _changed: tuple[int, float] = (0, 0.0)

    @property
    def output(self) -> Path:
        """Where it writes."""
        return self.folder / "out"

    @property
    def log(self) -> Path:
        """What its processes say."""
        return self.folder / "peer.log"

    def start(self) -> None:
        """Start its processes.

        Raises:
            RunFailedError: its environment is not there.
        """
        if not PEERS_PYTHON.exists():
            raise RunFailedError("not installed: make peers")
        self.output.mkdir(parents=True)
        self._programs += self.programs()

    def programs(self) -> Iterable[Program]:
        """Its processes, started."""
        raise NotImplementedError

    def processes(self) -> Mapping[int, str]:
        """Those and their children."""
        return {pid: name for program in self._programs for pid, name in program.processes().items()}

    def failure(self) -> str | None:
        """Of a process that has ended."""
        return next((told for program in self._programs if (told := program.failure())), None)

    def checkpoints(self) -> Mapping[int, int]:
        """Their sizes are not compared."""
        return {}

    def stop(self) -> None:
        """End its processes."""
        for program in self._programs:
            program.ask()
        for program in self._programs:
            program.end()

    def taken(self) -> int:
        """Messages before the offsets that it has committed, in its own way.

        Raises:
            RunFailedError: one of its processes has ended.
        """
        if self.failure():
            raise RunFailedError("it no longer runs")
        return sum(self.committed().values())

    def committed(self) -> Mapping[int, int]:
        """Offsets by partition."""
        raise NotImplementedError

    def published(self) -> int:
        """Rows in its files."""
        for path in self._files():
            if path not in self._rows:
                self._rows[path] = pq.read_metadata(path).num_rows
        return sum(self._rows.values())

    def settled(self, sent: Sent) -> bool:
        """Whether all is taken, and as many rows are there as events were sent or none has come for a while."""
        published, now = self.published(), time.monotonic()
        if self.taken() < len(sent.lines):
            return False
        if published != self._changed[0] or not self._changed[1]:
            self._changed = published, now
        return published == len(sent.events) or now - self._changed[1] > _QUIET_S

    def check(self, sent: Sent) -> None:
        """Every event is in its files once.

        Raises:
            DiffersError: it is not.
        """
        tables = [pq.read_table(path, columns=["event_id"], partitioning=None) for path in self._files()]
        ids = pa.concat_tables(tables)["event_id"].cast(pa.string()) if tables else pa.chunked_array([[]], pa.string())
        require_once(ids, sent)

    def windows(self) -> list[Visible]:
        """The first file of each minute."""
        first: dict[int, Visible] = {}
        for path in self._files():
            end, at_s = int(path.parent.name.partition("=")[2]), path.stat().st_mtime
            if end not in first or at_s < first[end].visible_s:
                first[end] = Visible(end, at_s, pq.read_metadata(path).num_rows)
        return list(first.values())

    def written(self) -> Mapping[str, Written]:
        """It has no tables."""
        return {}

    def _files(self) -> list[Path]:
        found = (self.output / "rows").rglob("minute=*/*.parquet")
        return sorted(path for path in found if not any(part[0] in "._" for part in path.relative_to(self.output).parts))


@dataclass
class SparkPeer(Peer):
    """PySpark Structured Streaming, ``local[2]``."""

    def programs(self) -> Iterable[Program]:
        """One, which starts a JVM."""
        arguments = (self.stack.kafka_bootstrap, self.topic, str(self.output), str(self._checkpoints), str(connector.jars()))
        loopback = {"SPARK_LOCAL_IP": "127.0.0.1"}
        yield Program("Spark", self.log, "-m", "benchmarks.peers.pyspark_stream", *arguments, environ=loopback)

    @property
    def _checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def committed(self) -> Mapping[int, int]:
        """The offsets up to which the last committed batch has read."""
        done = [int(path.name) for path in (self._checkpoints / "commits").glob("[0-9]*")]
        if not done:
            return {}
        last = (self._checkpoints / "offsets" / str(max(done))).read_text("utf-8").splitlines()[-1]
        return {int(partition): offset for partition, offset in json.loads(last)[self.topic].items()}


@dataclass
class BytewaxPeer(Peer):
    """bytewax, two processes with recovery."""

    def programs(self) -> Iterable[Program]:
        """Both know each other's address."""
        self._recovery.mkdir()
        run(self.log, ["-m", "bytewax.recovery", str(self._recovery), str(PROCESSES)])
        addresses = ";".join(f"127.0.0.1:{port}" for port in _ports(PROCESSES))
        flow = f"benchmarks.peers.bytewax:flow('{self.stack.kafka_bootstrap} {self.topic} {self.output}')"
        options = ("-r", str(self._recovery), "-s", "10", "-b", "0", "-a", addresses)
        for number in range(PROCESSES):
            yield Program(f"bytewax {number + 1}", self.log, "-m", "bytewax.run", flow, *options, "-i", str(number))

    @property
    def _recovery(self) -> Path:
        return self.folder / "recovery"

    def committed(self) -> Mapping[int, int]:
        """The offsets of the last snapshots that all workers have passed."""
        snapshots: list[tuple[str, int, bytes]] = []
        frontiers: list[int] = []
        for path in self._recovery.glob("part-*.sqlite3"):
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as store:
                frontiers += [epoch for (epoch,) in store.execute("select worker_frontier from fronts")]
                told = "select state_key, snap_epoch, ser_change from snaps where step_id like '%kafka_input%' order by snap_epoch"
                snapshots += store.execute(told).fetchall()
        passed = min(frontiers, default=0)
        return {int(key.split("-")[0]): pickle.loads(change) for key, epoch, change in snapshots if epoch < passed and change}


@dataclass
class QuixPeer(Peer):
    """quixstreams, two processes of one consumer group."""

    _client: Any = field(default=None, repr=False)

    def programs(self) -> Iterable[Program]:
        """Each has a folder for its state."""
        self._client = Consumer(
            {"bootstrap.servers": self.stack.kafka_bootstrap, "group.id": f"quixstreams-{self.topic}", "log_level": 2}
        )
        for number in range(1, PROCESSES + 1):
            arguments = (self.stack.kafka_bootstrap, self.topic, str(self.output), str(self.folder / f"state-{number}"))
            yield Program(f"quixstreams {number}", self.log, "-m", "benchmarks.peers.quixstreams", *arguments)

    def committed(self) -> Mapping[int, int]:
        """Those of the consumer group."""
        places = [TopicPartition(self.topic, number) for number in range(PARTITIONS)]
        return {place.partition: max(place.offset, 0) for place in self._client.committed(places, timeout=10)}


def _ports(number: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
