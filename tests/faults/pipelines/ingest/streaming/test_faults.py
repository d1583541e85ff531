"""Faults of a streaming job under load: one job, one fault after the other, and in the end exactly the events that were sent.

After each fault the test waits until everything that lay in the topic by then has an outcome, and looks for every event of it.
The tests depend on each other and run in the order in which they stand here: when one fails, those behind it are not worth much.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults.pipelines.ingest.streaming.conftest import Recorded
from tests.faults.pipelines.ingest.streaming.fault import FAST, check_all, fault
from tests.faults.pipelines.ingest.streaming.live_job import LiveJob, wait_for

pytestmark = pytest.mark.load
_AWAY_S = 15.0
_DRY_S = 12.0  # without a commit for so long, a job that commits every five seconds has nothing left


def test_the_job_publishes(live: LiveJob, recorded: Recorded) -> None:
    began = time.time()
    live.start("--workers", "2", *FAST)
    wait_for(lambda: live.shows_events_after(began), "events of after its start")
    recorded.outcome["first_rows_s"] = round(time.time() - began, 1)


def test_the_taskmanager_is_killed(live: LiveJob, recorded: Recorded) -> None:
    with fault(live, recorded, "taskmanager killed"):
        live.stack.kill("taskmanager")
        live.stack.start("taskmanager")


def test_a_python_worker_is_killed(live: LiveJob, recorded: Recorded) -> None:
    with fault(live, recorded, "python worker killed"):
        os.kill(live.python_workers()[0], signal.SIGKILL)


def test_the_broker_is_killed_and_away_for_a_while(live: LiveJob, recorded: Recorded) -> None:
    with fault(live, recorded, "broker killed"):
        live.stack.kill("kafka")
        back = time.monotonic() + _AWAY_S
        wait_for(lambda: time.monotonic() > back, "the time that the broker is away")
        live.stack.start("kafka")
        live.stack.wait_ready("kafka")


def test_the_jobmanager_is_killed_under_supervision(live: LiveJob, recorded: Recorded) -> None:
    supervisor = live.supervise()
    log = live.folder / "supervise.log"
    try:
        wait_for(lambda: "following" in log.read_text(), "the supervisor follows the job")
        with fault(live, recorded, "jobmanager killed"):
            live.stack.kill("jobmanager")
            live.stack.start("jobmanager")
            live.stack.wait_ready("jobmanager")
            wait_for(lambda: "resubmitted" in log.read_text(), f"a resubmission; {log.read_text()}")
        assert supervisor.poll() is None, log.read_text()
    finally:
        _end(supervisor)


def test_it_is_stopped_and_goes_on_from_its_savepoint_with_other_panes_and_more_workers(live: LiveJob, recorded: Recorded) -> None:
    with fault(live, recorded, "stopped with savepoint, started again"):
        savepoint = live.job("stop")["from_savepoint"]
        launcher = _launcher_that_outlives_the_taskmanager(live)
        panes = ("--early-panes", "3s", "--late-panes", "4s", "--commit-every", "3s")
        live.start("--workers", "3", "--from-savepoint", savepoint, "--python-workers", f"process:{launcher}", *panes)


def test_a_frozen_worker_wakes_when_another_has_its_work(live: LiveJob, recorded: Recorded) -> None:
    frozen = live.python_workers()
    with fault(live, recorded, "workers frozen, woken behind their replacement"):
        began = time.time()
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        live.stack.kill("taskmanager")
        live.stack.start("taskmanager")
        wait_for(lambda: live.shows_events_after(began), "the replacement publishes")
        assert all(Path(f"/proc/{pid}/stat").read_text().split()[2] == "T" for pid in frozen), "they were not frozen all the time"
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: not set(frozen) & set(live.python_workers()), "the woken workers to end")


def test_it_is_cancelled_while_the_broker_is_away_and_started_without_any_state(live: LiveJob, recorded: Recorded) -> None:
    """A bundle that waits for acknowledgements has landed its messages: none of them may count as done."""
    with fault(live, recorded, "cancelled while the broker was away, started again without state", settle=False):
        live.stack.kill("kafka")
        wait_for(lambda: not live.committed_after(time.time() - _DRY_S), "the job to run dry")
        live.job("cancel", "--yes")
        live.stack.start("kafka")
        live.stack.wait_ready("kafka")
        live.start("--workers", "2", "--start", "committed", "--late-panes", "5s", "--commit-every", "5s")


def test_in_the_end_everything_is_published_once(live: LiveJob, recorded: Recorded) -> None:
    check_all(live, recorded)


def _launcher_that_outlives_the_taskmanager(live: LiveJob) -> Path:
    """Starts a worker whose parent does not end with the TaskManager, so that nothing tells it at once that it is alone."""
    launcher = live.folder / "launcher"
    launcher.write_text(f'#!/bin/sh\n{live.stack.worker_command} "$@"\nexit $?\n')
    launcher.chmod(0o755)
    return launcher


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
