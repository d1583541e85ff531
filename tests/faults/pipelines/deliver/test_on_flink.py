"""The same on Flink, from a topic without an end and from a range: its Python workers are killed twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack.stack import Stack
from tests.faults.pipelines.deliver.test_bounded import EVENTS, FAULTS, IN_FLIGHT, RATE
from tests.support.cdp import CdpEndpoint
from tests.support.deliveries import RANGE, DeliveryProject, Sample, arrived, calm_requests
from tests.support.stack import cancel_all_jobs

PARTITIONS = 4
DEADLINE_S = 240.0


def wait_for(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < until, f"waited {DEADLINE_S:.0f} s for {what}"
        time.sleep(0.1)


@pytest.mark.parametrize("rows_from", ["topic", pytest.param("table", marks=pytest.mark.long)])
def test_workers_are_killed_twice(rows_from: str, tmp_path: Path, exclusive_stack: Stack) -> None:
    stack, sample = exclusive_stack, Sample.of(EVENTS, seed=13)
    project = DeliveryProject(tmp_path, in_flight=IN_FLIGHT, requests_per_s=RATE, linger_s=2)
    project.ingest(sample)
    ideal = calm_requests(project, sample)
    options = ["--runner", "flink", "--flink", stack.flink_rest, "--workers", "2", "--checkpoint-every", "3s"]
    if rows_from == "topic":
        topic = f"rows-{time.time_ns()}"
        project.publish(stack.kafka_bootstrap, topic, PARTITIONS)
        options += ["--input", f"kafka://{stack.kafka_bootstrap}/{topic}"]
    else:
        options += RANGE
    with CdpEndpoint.started() as cdp:
        cdp.faults(**FAULTS)
        process = project.start(cdp, *options)
        for share in (0.2, 0.6):
            some = share * len(sample.delivered)
            wait_for(lambda some=some: cdp.counters()["events_accepted"] >= some, f"{some:.0f} events")  # type: ignore[misc]
            for pid in stack.worker_pids():
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: cdp.counters()["events_accepted"] >= len(sample.delivered), "the last event")
        if rows_from == "table":
            out, err = process.communicate(timeout=DEADLINE_S)
            assert process.returncode == 0, err[-2000:]
            assert '"refused"' not in out
        else:
            assert process.wait(DEADLINE_S) == 0
            cancel_all_jobs(stack)
        counters = cdp.counters()
        assert arrived(cdp) == sample.order_of_users()
        injected = sum(counters["by_fault"].values())
        most = 1.1 * (ideal + injected + 2 * IN_FLIGHT)
        print(f"requests {counters['requests']}, ideal {ideal}, faults {injected}, {counters['max_requests_per_s']}/s")
        assert counters["requests"] <= most
        assert counters["max_requests_per_s"] <= RATE
