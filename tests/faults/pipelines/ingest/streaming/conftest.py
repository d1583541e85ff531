"""The job that all faults of a run befall, one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from devstack.stack import Stack
from tests.faults.pipelines.ingest.streaming.live_job import RATE, LiveJob
from tests.support.processes import ROOT
from tests.support.stack import alone

RECORDS = ROOT / ".cache" / "faults"


@dataclass
class Recorded:
    """What is measured: written to ``.cache/faults/<name>.json`` as it comes.

    faults: per fault seconds from its beginning until a commit was seen (looked for once what was killed is started again), until
        one with events of after the fault, and until everything that lay in the topic by then had an outcome; and how many Python
        workers there were then.
    outcome: what came of everything that was sent. spans: when each fault began and was over, seconds since 1970.
    """

    name: str = "streaming"
    rate: int = RATE
    faults: dict[str, dict[str, float]] = field(default_factory=dict)
    outcome: dict[str, float] = field(default_factory=dict)
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)

    def write(self) -> None:
        RECORDS.mkdir(parents=True, exist_ok=True)
        (RECORDS / f"{self.name}.json").write_text(
            json.dumps({"rate": self.rate, "faults": self.faults, "outcome": self.outcome}, indent=2) + "\n"
        )


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture(scope="module")
def live(stack_to_break: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveJob]:
    """A stack with a topic under load."""
    job = LiveJob(stack_to_break, tmp_path_factory.mktemp("faults"))
    with alone(stack_to_break):
        try:
            job.make_topic()
            job.start_load()
            yield job
        finally:
            job.close()
