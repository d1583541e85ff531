"""A destination that is down for two minutes: nothing is lost, nobody loops, memory stays, status says so, and it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devstack.stack import Stack
from tests.support.cdp import CdpEndpoint
from tests.support.deliveries import DESTINATION, DeliveryProject, Sample, arrived
from tests.support.tiers import sized

DOWN_S = sized(25, 120)
BEFORE, MEANWHILE = 5_000, sized(10_000, 40_000)
MOST_MEMORY_BYTES = 300 << 20  # above what it had before: buffers are bounded, whatever comes
MOST_PROBES_PER_MINUTE = 15
MOST_CPU_SHARE = 0.25
DEADLINE_S = 120.0
_TICKS = os.sysconf("SC_CLK_TCK")
pytestmark = pytest.mark.load


def test_down_and_up_again(tmp_path: Path, stack: Stack) -> None:
    project = DeliveryProject(tmp_path, requests_per_s=50, queue_age_s=DOWN_S / 6)
    samples = Sample.of(BEFORE, seed=1), Sample.of(MEANWHILE, seed=2)
    for sample in samples:
        project.ingest(sample)
    wanted = samples[0].delivered | samples[1].delivered
    topic = f"rows-{time.time_ns()}"
    project.publish(stack.kafka_bootstrap, topic, 4, only=samples[0])
    with CdpEndpoint.started() as cdp:
        process = project.start(cdp, "--input", f"kafka://{stack.kafka_bootstrap}/{topic}")
        try:
            wait_for(process, lambda: len(cdp.message_ids()) == len(samples[0].delivered), "the first events")
            memory, cpu_s = resident(process), cpu(process)
            cdp.faults(down=True)
            requests, began = cdp.counters()["requests"], time.monotonic()
            project.publish(stack.kafka_bootstrap, topic, 4, only=samples[1])
            wait_for(process, lambda: delivery_of(project, cdp)["state"] == "down", "status to say that it is down")
            most = 0
            while time.monotonic() - began < DOWN_S:
                assert process.poll() is None
                most = max(most, resident(process))
                time.sleep(0.5)
            told = delivery_of(project, cdp)
            probes, busy = cdp.counters()["requests"] - requests, cpu(process) - cpu_s
            cdp.faults()
            up = time.monotonic()
            wait_for(process, lambda: len(cdp.message_ids()) == len(wanted), "the last event")
            print(
                f"{probes} requests in {DOWN_S:.0f} s, {busy:.1f} CPU s, {(most - memory) / 2**20:.0f} MiB more; all there "
                f"{time.monotonic() - up:.0f} s after it was up"
            )
            assert (told["state"], told["last_failure"], told["late"]) == ("down", "http_503", True)
            assert told["queue_age_s"] > DOWN_S / 2
            assert 1 <= probes <= MOST_PROBES_PER_MINUTE * max(DOWN_S / 60, 1)
            assert busy <= MOST_CPU_SHARE * DOWN_S + 10  # reading what came, until buffers are full
            assert most - memory <= MOST_MEMORY_BYTES
            wait_for(process, lambda: delivery_of(project, cdp)["state"] == "ok", "status to say that it is up")
        finally:
            stop(process)
        orders = [sample.order_of_users() for sample in samples]
        assert arrived(cdp) == {
            user: orders[0].get(user, []) + orders[1].get(user, []) for user in orders[0].keys() | orders[1].keys()
        }


def delivery_of(project: DeliveryProject, cdp: CdpEndpoint) -> dict[str, Any]:
    """What ``headrace status`` says of the delivery."""
    runs = project.headrace(cdp, "status")
    return next(dict(run["delivery"]) for run in runs if run.get("delivery") and run["delivery"]["destination"] == DESTINATION)


def wait_for(process: subprocess.Popen[str], condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + DEADLINE_S
    while not condition():
        assert process.poll() is None, process.communicate()[1][-2000:]
        assert time.monotonic() < until, f"waited {DEADLINE_S:.0f} s for {what}"
        time.sleep(0.2)


def stop(process: subprocess.Popen[str]) -> None:
    """Ctrl-C."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.communicate(timeout=300)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def resident(process: subprocess.Popen[str]) -> int:
    """Resident bytes of the process that sends."""
    fields = Path(f"/proc/{process.pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu(process: subprocess.Popen[str]) -> float:
    """CPU seconds of it."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
