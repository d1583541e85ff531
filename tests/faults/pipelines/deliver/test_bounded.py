"""A delivery of a range with faults on a fifth of all requests, killed twice: one effect for each event, in order, in limits."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.cdp import CdpEndpoint
from tests.support.deliveries import RANGE, DeliveryProject, Sample, arrived, calm_requests
from tests.support.tiers import sized

EVENTS = sized(10_000, 30_000)
IN_FLIGHT, RATE = 4, 50
FAULTS: dict[str, Any] = {"share": 0.2, "seed": 11, "slow_s": 0.3, "retry_after_s": 1, "partial_statuses": [429, 503]}
DEADLINE_S = 300.0


@pytest.fixture(scope="module")
def sample() -> Sample:
    return Sample.of(EVENTS)


@pytest.fixture
def project(tmp_path: Path, sample: Sample) -> DeliveryProject:
    project = DeliveryProject(tmp_path, in_flight=IN_FLIGHT, requests_per_s=RATE)
    project.ingest(sample)
    return project


@pytest.mark.load
def test_faults_and_two_kills(project: DeliveryProject, sample: Sample) -> None:
    ideal = calm_requests(project, sample)
    with CdpEndpoint.started() as cdp:
        cdp.faults(**FAULTS)
        for share in (0.2, 0.6):
            kill_when(project, cdp, share * len(sample.delivered))
        manifest = project.deliver(cdp, *RANGE)
        counters = cdp.counters()
        assert arrived(cdp) == sample.order_of_users()
    injected = sum(counters["by_fault"].values())
    assert injected > ideal * 0.1
    most = 1.1 * (ideal + injected + 2 * IN_FLIGHT)
    print(f"requests {counters['requests']}, ideal {ideal}, faults {injected}, most {most:.0f}, {counters['max_requests_per_s']}/s")
    assert counters["requests"] <= most
    assert counters["max_requests_per_s"] <= RATE
    counts = manifest["counts"]
    assert counts["delivered"] + counts.get("before", 0) == len(sample.delivered)
    assert {name.partition(":")[2]: n for name, n in counts.items() if name.startswith("withheld:")} == reasons(sample)


def reasons(sample: Sample) -> dict[str, int]:
    """How many rows are withheld, by reason."""
    values = list(sample.withheld.values())
    return {reason: values.count(reason) for reason in set(values)}


def kill_when(project: DeliveryProject, cdp: CdpEndpoint, arrived_events: float) -> None:
    """Start a delivery, and kill it with all its processes once so many events have arrived."""
    process = project.start(cdp, *RANGE)
    until = time.monotonic() + DEADLINE_S
    while cdp.counters()["events_accepted"] < arrived_events:
        assert process.poll() is None, process.communicate()[1][-2000:]
        assert time.monotonic() < until
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
