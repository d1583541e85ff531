"""What a submission to Flink prints, at the log level that users have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from devstack.stack import Stack
from tests.support.kafka import Broker, Record
from tests.support.processes import ROOT
from tests.support.shop import LINES, Shop
from tests.support.stack import cancel_jobs, jobs_of


def test_a_submission_says_what_to_do_with_the_job_and_nothing_else(stack: Stack, tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    broker = Broker(stack.kafka_bootstrap)
    with broker.topic() as topic:
        broker.send(topic, [Record(line.encode()) for line in LINES[:20]])
        command = [
            "ingest",
            "web",
            "--input",
            broker.uri(topic),
            "--runner",
            "flink",
            "--flink",
            stack.flink_rest,
            "--workers",
            "1",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *command, "--lake", str(tmp_path / "lake"), "--project", str(tmp_path)],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        cancel_jobs(stack, *jobs_of(stack, shop.lake()))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    hints = [line for line in done.stdout.splitlines() if " headrace job " in line]
    places = f"--lake {tmp_path / 'lake'} --project {tmp_path}"
    assert len(hints) == 3 and all(places in line for line in hints) and f"--flink {stack.flink_rest}" in hints[0]
