"""A streaming job on a real cluster: its JobManager is killed and it goes on; it is stopped, started again, cancelled."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from devstack.stack import Stack
from lake.location import Lake
from lake.runs.submission import Ending, read_submission
from runners.flink.checkpoints import newest_checkpoint
from runners.flink.rest import FlinkRest
from runners.jobs.supervise import Event, Supervisor
from tests.support.processes import ROOT
from tests.support.stack import wait_for

STREAMING_JOB = (sys.executable, "-m", "tests.support.streaming_job")
DEADLINE_S = 120.0


@dataclass(frozen=True)
class Ticks:
    """The streaming job's lake and output."""

    stack: Stack
    folder: Path

    @property
    def lake(self) -> Lake:
        return Lake.at(str(self.folder / "lake"))

    @property
    def rest(self) -> FlinkRest:
        return FlinkRest(self.stack.flink_rest)

    def counts(self) -> list[int]:
        out = self.folder / "out"
        return [int(line) for line in out.read_text().split()] if out.exists() else []

    def submit(self, *more: str) -> str:
        """Submit the job; its run id."""
        given = {
            "lake": self.lake.root, "flink": self.stack.flink_rest, "jar": self.stack.job_server_jar,
            "worker": self.stack.worker_command, "conf": self.stack.flink_conf_dir, "out": self.folder / "out",
        }  # fmt: skip
        arguments = [part for name, value in given.items() for part in (f"--{name}", str(value))]
        done = subprocess.run([*STREAMING_JOB, *arguments, *more], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def job_ids(self, run_id: str) -> tuple[str, ...]:
        found = read_submission(self.lake, run_id)
        assert found
        return found.job_ids

    def checkpointed(self, run_id: str) -> bool:
        """Whether the run's last job completed a checkpoint that holds some counts."""
        found = self.rest.checkpoints(self.job_ids(run_id)[-1])
        return bool(found and found.completed >= 3)

    def headrace(self, *arguments: str) -> Any:
        """``headrace job …``'s document."""
        command = [sys.executable, "-m", "cli.main", "job", *arguments, "--lake", self.lake.root, "--json"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def test_a_supervised_run_survives_its_jobmanager_and_goes_on_from_its_checkpoint(exclusive_stack: Stack, tmp_path: Path) -> None:
    ticks = Ticks(exclusive_stack, tmp_path)
    run_id = ticks.submit()
    wait_for(lambda: ticks.checkpointed(run_id), "checkpoints")
    events: list[Event] = []
    endings: list[Ending] = []
    supervisor = Supervisor(ticks.lake, run_id, 3, 600.0, events.append, command=STREAMING_JOB, poll_s=0.5)
    thread = threading.Thread(target=lambda: endings.append(supervisor.run()), daemon=True)
    thread.start()

    def told(event: str) -> bool:
        return any(e.event == event for e in events)

    wait_for(lambda: told("following"), "the supervisor follows the job")
    (first,) = ticks.job_ids(run_id)
    ticks.stack.kill("jobmanager")
    wait_for(lambda: told("down"), "the supervisor sees that the cluster is down")
    left = newest_checkpoint(str(ticks.stack.checkpoints_dir), [first])
    ticks.stack.start("jobmanager")
    wait_for(lambda: told("resubmitted"), "the supervisor submits the run again")

    submission = read_submission(ticks.lake, run_id)
    assert submission and len(submission.attempts) == 2
    assert left and submission.attempts[1].from_savepoint == left
    before = max(ticks.counts())
    wait_for(lambda: max(ticks.counts()) > before + 2, "the count goes on")
    assert ticks.counts().count(1) == 1, "it began anew"
    assert [e.event for e in events if e.event in {"down", "back", "lost", "resubmitted"}] == [
        "down",
        "back",
        "lost",
        "resubmitted",
    ]
    status = ticks.headrace("status", run_id[:20])
    assert (status["state"], status["job_id"], len(status["submissions"])) == ("RUNNING", submission.job_ids[1], 2)
    assert urlsplit(status["checkpoints"]["restored_from"]).path == urlsplit(left).path
    assert sum(step["parallelism"] for step in status["steps"]) >= 2

    stopped = ticks.headrace("stop", run_id)
    thread.join(DEADLINE_S)
    assert not thread.is_alive() and endings[0].how == "stopped"
    ended = read_submission(ticks.lake, run_id)
    assert ended and ended.ended and (ended.ended.how, ended.ended.savepoint) == ("stopped", stopped["from_savepoint"])
    assert len(ended.attempts) == 2
    assert f"--from-savepoint {stopped['from_savepoint']}" in stopped["start_again"]


def test_a_stopped_run_is_started_again_and_a_cancelled_one_names_its_checkpoint(stack: Stack, tmp_path: Path) -> None:
    ticks = Ticks(stack, tmp_path)
    run_id = ticks.submit()
    wait_for(lambda: ticks.checkpointed(run_id), "checkpoints")
    savepoint = ticks.headrace("stop", ticks.job_ids(run_id)[0][:12])["from_savepoint"]
    again = ticks.submit("--from-savepoint", savepoint)
    wait_for(lambda: ticks.checkpointed(again), "checkpoints after the start from the savepoint")
    assert ticks.counts().count(1) == 1, "it began anew"
    listed = {line["run_id"]: line for line in ticks.headrace("list", "--flink", ticks.stack.flink_rest)}
    assert listed[again]["state"] == "RUNNING" and listed[again]["source"] == "ticks" and run_id not in listed
    cancelled = ticks.headrace("cancel", again, "--yes")
    kept = newest_checkpoint(str(ticks.stack.checkpoints_dir), [cancelled["job_id"]])
    assert cancelled["state"] == "CANCELED" and kept and cancelled["from_savepoint"] == kept
    listed = {line["run_id"]: line for line in ticks.headrace("list", "--all", "--flink", ticks.stack.flink_rest)}
    assert (listed[again]["state"], listed[run_id]["state"]) == ("CANCELED", "FINISHED")
