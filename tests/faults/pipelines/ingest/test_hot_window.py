"""More rows of one window, shard and partition than a TaskManager's heap could hold at once."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from devstack.stack import Stack
from tests.support.kafka import Broker, Record
from tests.support.processes import PROJECT, ROOT
from tests.support.stack import flink
from tests.support.stream_population import START, track
from transforms.cut import shards_of

EVENTS, NOISE_BYTES = 60_000, 3_300
DEADLINE_S = 400


def hot_events() -> Iterator[Record]:
    """Events of one minute and one shard in one partition; what they hold compresses to three quarters of it."""
    rng, at_ms = Random(15), int(START.timestamp() * 1000)
    names = (f"m-{n}" for n in range(5 * EVENTS))
    hot = (name for name in names if shards_of([name], 4)[0] == 0)
    for number in range(EVENTS):
        moment = START + timedelta(microseconds=number)
        yield Record(track(next(hot), moment, properties={"noise": b64encode(rng.randbytes(NOISE_BYTES)).decode()}), at_ms, 0)


def all_jobs(stack: Stack) -> set[str]:
    """Also those that have ended."""
    return {job["jid"] for job in flink(stack, "/jobs/overview")["jobs"]}


@pytest.mark.timeout(600, func_only=True)  # without the wait for its turn
def test_a_window_that_is_larger_than_the_heap_is_folded_in_parts(exclusive_stack: Stack, tmp_path: Path) -> None:
    """270 MB in one key, 200 MB once it is compressed, read as fast as it goes, with a heap of 680 MB.

    The runner would hold it five times over, and die. The job neither fails nor starts again.
    """
    stack, broker = exclusive_stack, Broker(exclusive_stack.kafka_bootstrap)
    before = all_jobs(stack)
    with broker.topic(2) as topic:
        broker.send(topic, hot_events())
        command = [sys.executable, "-m", "cli.main", "ingest", "web", "--input", broker.uri(topic), "--lake", str(tmp_path)]
        command += ["--project", str(PROJECT), "--runner", "flink", "--flink", stack.flink_rest, "--workers", "2", "--until", "now"]
        done = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert json.loads(done.stdout)["ledger"]["web"]["out"] == EVENTS
    (job,) = all_jobs(stack) - before
    assert flink(stack, f"/jobs/{job}/exceptions")["exceptionHistory"]["entries"] == []
