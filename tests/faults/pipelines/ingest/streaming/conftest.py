"""The job that all faults of a run befall, one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from devstack.layout import Layout, Settings
from devstack.stack import Stack
from tests.faults.pipelines.ingest.streaming.live_job import RATE, LiveJob
from tests.support.processes import ROOT
from tests.support.stack import free_ports, require_tools

RECORD = ROOT / ".cache" / "faults" / "streaming.json"


@dataclass
class Recorded:
    """What is measured: written to ``.cache/faults/streaming.json`` as it comes.

    faults: per fault seconds from its beginning until a commit was seen (looked for once what was killed is started again), until
        one with events of after the fault, and until everything that lay in the topic by then had an outcome; and how many Python
        workers there were then.
    outcome: what came of everything that was sent. spans: when each fault began and was over, seconds since 1970.
    """

    rate: int = RATE
    faults: dict[str, dict[str, float]] = field(default_factory=dict)
    outcome: dict[str, float] = field(default_factory=dict)
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)

    def write(self) -> None:
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        RECORD.write_text(json.dumps({"rate": self.rate, "faults": self.faults, "outcome": self.outcome}, indent=2) + "\n")


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveJob]:
    """A job on a stack of its own, under load, that has published its first rows."""
    require_tools()
    folder = tmp_path_factory.mktemp("faults")
    layout = Layout.default().with_home(folder / "stack")
    stack = Stack(layout, Settings(ports=free_ports(), slots=4, taskmanager_memory="3g"))
    job = LiveJob(stack, folder)
    try:
        stack.up(("kafka", "flink"))
        job.make_topic()
        job.start_load()
        yield job
    finally:
        job.close()
        stack.down()
