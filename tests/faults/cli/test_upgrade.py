"""A job of the version before goes on with this one from its savepoint, and back, by way of the lake's upgrade and downgrade."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from devstack.stack import Stack
from lake.location import Lake
from lake.runs.submission import read_submission
from tests.support.kafka import Broker, Record
from tests.support.lake_state import scan
from tests.support.live_job import TABLE, published_ids
from tests.support.processes import ROOT
from tests.support.stack import wait_for
from tests.support.stream_population import track

BEFORE = "6be0785"  # the last commit with the packages of before


class Version:
    """A checkout whose commands, and the Python workers of whose jobs, run its own code."""

    def __init__(self, checkout: Path, main: str, boot: str, folder: Path, stack: Stack) -> None:
        self.checkout, self.main = checkout, main
        self.worker = folder / f"worker-{checkout.name}"
        self.worker.write_text(f'#!/bin/sh\nexport PYTHONPATH={checkout}\nexec {sys.executable} -P {checkout / boot} "$@"\n')
        self.worker.chmod(0o755)
        self.environment = {**os.environ, "PYTHONPATH": str(checkout), "HEADRACE_JOB_SERVER_JAR": str(stack.job_server_jar)}

    def __call__(self, *arguments: str) -> str:
        code = f"import sys; sys.argv[0] = 'headrace'; from {self.main} import run; run()"
        project = str(self.checkout / "examples" / "webshop")
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments, "--project", project],
            cwd=self.checkout, env=self.environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments[:2]} of {self.checkout}: {done.stderr[-3000:]}{done.stdout[-1000:]}"
        return done.stdout

    def start(self, stack: Stack, uri: str, lake: Path, *more: str) -> str:
        """A job without an end; its run id."""
        options = ["--lake", str(lake), "--runner", "flink", "--flink", stack.flink_rest, "--workers", "2", "--immediate", "off"]
        quick = ["--early-panes", "1s", "--commit-every", "1s", "--late-panes", "1s", "--checkpoint-every", "1s"]
        run = self("ingest", "web", "--input", uri, *options, *quick, "--python-workers", f"process:{self.worker}", "--json", *more)
        return str(json.loads(run)["run_id"])

    def stop(self, run_id: str, lake: Path) -> str:
        """Stop a job; its savepoint."""
        self("job", "stop", run_id, "--lake", str(lake))
        submission = read_submission(Lake.at(str(lake)), run_id)
        assert submission is not None and submission.ended is not None and submission.ended.savepoint is not None
        return submission.ended.savepoint


@pytest.fixture
def version_before(stack: Stack, tmp_path: Path) -> Version:
    archive = subprocess.run(["git", "archive", BEFORE], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(tmp_path / "before", filter="data")
    return Version(tmp_path / "before", "pipelines.cli.main", "runners/flink_worker/boot.py", tmp_path, stack)


@pytest.mark.long
def test_a_job_goes_on_with_the_next_version_and_back(version_before: Version, stack: Stack, tmp_path: Path) -> None:
    now = Version(ROOT, "cli.main", "runners/flink/worker/boot.py", tmp_path, stack)
    broker, lake = Broker(stack.kafka_bootstrap), tmp_path / "lake"
    sent = 0
    with broker.topic(4) as topic:
        savepoint: tuple[str, ...] = ()
        for version in (version_before, now, version_before, now):
            if savepoint:
                steps = json.loads(now("lake", "upgrade" if version is now else "downgrade", "--lake", str(lake), "--json"))
                assert all(step["needed"] for step in steps)
                assert [step["before"]["content_hash"] for step in steps] == [step["after"]["content_hash"] for step in steps]
            moment = datetime.now(UTC)
            number = range(sent, sent + 40)
            broker.send(topic, [Record(track(f"m-{n}", moment), int(moment.timestamp() * 1000), n % 4) for n in number])
            sent += 40
            run_id = version.start(stack, broker.uri(topic), lake, *savepoint)
            expected = {f"m-{n}" for n in range(sent)}
            wait_for(lambda expected=expected: published_ids(lake) == expected, f"all rows, by {version.checkout}")  # type: ignore[misc]
            savepoint = ("--from-savepoint", version.stop(run_id, lake))
    rows = scan(Lake.at(str(lake)), TABLE, columns=("event_id",)).column("event_id").to_pylist()
    assert sorted(rows) == sorted(f"m-{n}" for n in range(sent))
