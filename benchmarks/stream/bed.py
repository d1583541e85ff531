"""What a run runs on: a private stack, topics, the producer and the consumer of arrivals as processes of their own."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from devstack.layout import Layout, Ports, Settings
from devstack.stack import Stack

ROOT = Path(__file__).parents[2]
PARTITIONS, SLOTS = 4, 2
SHARES = ("--duplicates", "0.01", "--disordered", "0.02", "--disorder-s", "1.5", "--invalid", "0.002")
EVENT_KINDS = ("event", "disordered")  # whose rows belong into the table, once each
_PORTS = range(20_000, 26_900)
_ANSWER_S = 30.0
_END_S = 400.0
Say = Callable[[str], None]


class RunFailedError(Exception):
    """A run did not end well, or what came out is not what was sent: it has no figure."""


@dataclass(frozen=True)
class Difference:
    """Rows that differ from the events that were sent: not published, published again, never sent."""

    events: int
    missing: int
    repeated: int
    strange: int

    @property
    def rows(self) -> int:
        """All of them."""
        return self.missing + self.repeated + self.strange

    def __str__(self) -> str:
        return (
            f"of {self.events:,} events {self.missing:,} are missing, {self.repeated:,} rows are there again, "
            f"{self.strange:,} were never sent"
        )


class DiffersError(RunFailedError):
    """What came out is not what was sent."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(str(difference))
        self.difference = difference


@contextmanager
def private_stack(home: Path, say: Say, *, slots: int = SLOTS, taskmanagers: int = 1, flink: bool = True) -> Iterator[Stack]:
    """Kafka, and Flink if wanted, with ports and folders of their own; downloads are shared.

    Nothing of it is left afterwards, however the process was told to end: SIGTERM counts as Ctrl-C meanwhile.
    """
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    settings = Settings(ports=free_ports(taskmanagers), slots=slots, taskmanager_memory="3g", taskmanagers=taskmanagers)
    stack = Stack(Layout.default().with_home(home), settings, say)
    try:
        stack.up(("kafka", "flink", "job-server") if flink else ("kafka",))
        yield stack
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        stack.down(purge_data=True)


def free_ports(taskmanagers: int = 1) -> Ports:
    """Ports that nobody listens on.

    Raises:
        RunFailedError: there are not enough.
    """
    names = Ports.names(taskmanagers)
    found: list[int] = []
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == len(names):
            return Ports.of(dict(zip(names, found, strict=True)))
    raise RunFailedError(f"no {len(names)} free ports between {_PORTS.start} and {_PORTS.stop}; stop what uses them")


def make_topic(bootstrap: str, name: str) -> None:
    """Make a topic and wait for it."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 3})
    admin.create_topics([NewTopic(name, num_partitions=PARTITIONS, replication_factor=1)])[name].result(_ANSWER_S)


class Child:
    """``python -m MODULE`` in a process of its own; killed where the block around it ends first."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._what = f"python -m {module}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it does still."""
        return self._process.poll() is None

    def first_line(self) -> str:
        """What it says first; empty where it ended without a word."""
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def end(self, *, ask: bool = False, after_s: float = 0.0) -> str:
        """Wait for its end, after SIGTERM if asked; what it said. after_s: how long it works by itself.

        Raises:
            RunFailedError: it did not exit with 0, or not in time.
        """
        if ask and self.runs:
            self._process.send_signal(signal.SIGTERM)
        try:
            out, err = self._process.communicate(timeout=after_s + _END_S)
        except subprocess.TimeoutExpired:
            raise RunFailedError(f"{self._what} did not end within {after_s + _END_S:.0f} s") from None
        if self._process.returncode:
            raise RunFailedError(f"{self._what} ended with {self._process.returncode}: {_last(err)}")
        return out

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        if self.runs:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe and not pipe.closed:
                pipe.close()


def _last(text: str) -> str:
    return " | ".join(text.strip().splitlines()[-5:])


def run_json(module: str, *arguments: str, takes_s: float = 0.0) -> Any:
    """What a command says, as JSON. takes_s: how long it works.

    Raises:
        RunFailedError: it did not exit with 0.
    """
    with Child(module, *arguments) as child:
        return json.loads(child.end(after_s=takes_s))


@dataclass(frozen=True)
class Sent:
    """What the producer wrote down, a line per acknowledged message: id, kind, time_ms, partition, offset."""

    lines: pa.Table

    @classmethod
    def read(cls, path: Path) -> Sent:
        """All of it; the producer has ended."""
        options = pyarrow.csv.ReadOptions(column_names=["id", "kind", "time_ms", "partition", "offset"])
        return cls(pyarrow.csv.read_csv(path, options, pyarrow.csv.ParseOptions(delimiter="\t")))

    @classmethod
    def of(cls, *parts: Sent) -> Sent:
        """All of several."""
        return cls(pa.concat_tables([part.lines for part in parts]))

    @property
    def events(self) -> pa.Table:
        """The lines of events whose rows belong into the table."""
        return self.lines.filter(pc.is_in(self.lines["kind"], pa.array(EVENT_KINDS)))

    def ids(self, kind: str) -> pa.ChunkedArray:
        """The ids of messages of a kind."""
        return self.lines.filter(pc.equal(self.lines["kind"], kind))["id"]

    @property
    def due(self) -> pa.Table:
        """When each event was to be sent, those aside whose own time is another."""
        return self.lines.filter(pc.equal(self.lines["kind"], "event"))

    @property
    def ends(self) -> dict[int, int]:
        """The offset after the last message, per partition."""
        grouped = self.lines.group_by("partition").aggregate([("offset", "max")])
        return {p: end + 1 for p, end in zip(grouped["partition"].to_pylist(), grouped["offset_max"].to_pylist(), strict=True)}


def require_once(published: pa.ChunkedArray, sent: Sent) -> None:
    """Compare published event ids with those that were sent.

    Raises:
        DiffersError: one is missing, is there twice, or was never sent.
    """
    ids, wanted = published.combine_chunks(), sent.events["id"].combine_chunks()
    found = Difference(
        events=len(wanted),
        missing=len(wanted) - int(pc.sum(pc.is_in(wanted, ids)).as_py() or 0),
        repeated=len(ids) - len(pc.unique(ids)),
        strange=len(ids) - int(pc.sum(pc.is_in(ids, wanted)).as_py() or 0),
    )
    if found.rows:
        raise DiffersError(found)
