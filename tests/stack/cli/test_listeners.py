"""Nothing that a command starts listens beyond loopback: not Beam's workers, nor Prism, the job server, Flink, or the local stack.

Each command runs as a process; every socket that it and all it starts listen on is looked at while it runs. What must be seen is
asserted too, so that a test which looks past the sockets fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import pytest

from devstack.processes import marked
from devstack.stack import EXTRA, MARK, Stack
from lake.runs.process import ProcessIdentity
from tests.support.cdp import CdpEndpoint
from tests.support.deliveries import RANGE, DeliveryProject, Sample
from tests.support.kafka import Broker, Record
from tests.support.listeners import Listener, Watch, listeners_of, watching
from tests.support.processes import ROOT

_DEADLINE_S = 120.0
_OF_A_TASKMANAGER = 6  # Beam's for one job there: control, data, state, logging, artifacts and provisioning


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> DeliveryProject:
    """A project whose lake has some rows."""
    project = DeliveryProject(tmp_path_factory.mktemp("shop"))
    with (project.folder / "headrace.yaml").open("a") as file:
        file.write("replay: {maxAge: 36500d}\n")  # the rows' times are of 2026
    project.ingest(Sample.of(40, users=4))
    return project


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """Files of some events."""
    folder = tmp_path / "events"
    folder.mkdir()
    for number in range(6):
        lines = Sample.of(40, users=4, seed=8 + number).lines
        (folder / f"{number}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def watched(project: DeliveryProject, *arguments: object, watch: Watch | None = None, **env: str) -> list[Listener]:
    """Run a command to its end; all that it and what it started listened on. None of it was to be reached from elsewhere."""
    watch = watch or Watch()
    command = [sys.executable, "-m", "cli.main", *map(str, arguments), "--project", str(project.folder), "--json"]
    with watching(watch):
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **env, **watch.env}, capture_output=True, text=True,
            timeout=_DEADLINE_S, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert watch.beyond_loopback == []
    return watch.seen


def ports(seen: Iterable[Listener], command: str) -> set[int]:
    """Those of processes with this in their command line."""
    return {each.port for each in seen if command in each.command}


def processes_of(stack: Stack) -> Iterator[ProcessIdentity]:
    return marked(MARK, str(stack.layout.home))


@pytest.fixture
def topic(stack: Stack) -> Iterator[str]:
    """A topic with some events; as an input."""
    broker = Broker(stack.kafka_bootstrap)
    with broker.topic() as name:
        broker.send(name, [Record(line.encode()) for line in Sample.of(40, users=4, seed=9).lines])
        yield broker.uri(name)


@pytest.mark.parametrize("workers", [1, 3])
def test_files_need_no_sockets(workers: int, shop: DeliveryProject, sample: Path, tmp_path: Path) -> None:
    options = ("--workers", workers, "--slice-bytes", 1)
    assert watched(shop, "ingest", "web", "--input", sample, "--lake", tmp_path / "lake", *options) == []


def test_nor_does_a_replay(shop: DeliveryProject) -> None:
    options = ("--max-parallel", 2, "--slice-bytes", 1)
    assert watched(shop, "replay", "run", "again", "--dataset", "customer_event", *RANGE, *options) == []


def test_a_delivery_needs_no_sockets_that_listen(shop: DeliveryProject) -> None:
    with CdpEndpoint.started() as cdp:
        endpoint = {"SEGMENT_ENDPOINT": f"{cdp.url}/v1/batch"}
        assert watched(shop, "deliver", shop.name, *RANGE, **endpoint) == []


def test_topics_are_read_over_loopback(shop: DeliveryProject, topic: str, tmp_path: Path) -> None:
    seen = watched(shop, "ingest", "web", "--input", topic, "--until", "now", "--lake", tmp_path / "lake")
    assert ports(seen, "prism --job_port") and ports(seen, "ingest web")


def test_a_job_on_flink_opens_nothing_to_others(shop: DeliveryProject, stack: Stack, topic: str, tmp_path: Path) -> None:
    """Its submission, the JobManager, the TaskManager, and the stack's Kafka."""
    watch = Watch()
    ours = watch.processes
    watch.processes = lambda: chain(ours(), processes_of(stack))
    declared = {
        port for one in stack.status() if one.state == "ready" for port in one.ports.values()
    }  # others start what they need
    before = {each.port for each in listeners_of(processes_of(stack))}
    assert declared <= before
    where = ("--runner", "flink", "--flink", stack.flink_rest, "--workers", 1)
    watched(shop, "ingest", "web", "--input", topic, "--until", "now", "--lake", tmp_path / "lake", *where, watch=watch)
    assert ports(watch.seen, "java -jar")
    rest = {each.port for each in watch.seen} - before - ports(watch.seen, "java -jar")
    assert len(rest) >= _OF_A_TASKMANAGER


def test_nor_do_the_other_components_of_the_stack(private_stack: Stack) -> None:
    private_stack.up(EXTRA)
    seen = listeners_of(processes_of(private_stack))
    assert {port for one in private_stack.status() for port in one.ports.values()} == {each.port for each in seen}
    assert [each for each in seen if each.beyond_loopback] == []
