"""A real streaming job on the stack: it runs, checkpoints, survives kills, and leaves no process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack.stack import Stack
from lake.runs.process import ProcessIdentity
from tests.support.stack import DEADLINE_S, flink, free_ports, jobs, wait_for

ROOT = Path(__file__).parents[3]
Submit = Callable[[], str]


@pytest.fixture
def stack(exclusive_stack: Stack) -> Stack:
    return exclusive_stack


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "results"
    path.touch()
    return path


@pytest.fixture
def submit(stack: Stack, job_server: str, results: Path, tmp_path: Path) -> Submit:
    """Submits the ticking job, waits until it has results and a checkpoint, returns its id."""

    def run() -> str:
        options = [
            "--runner=FlinkRunner",
            f"--flink_master={stack.flink_rest}",
            job_server,
            f"--flink_conf_dir={stack.flink_conf_dir}",
            "--environment_type=PROCESS",
            "--environment_config=" + json.dumps({"command": str(stack.worker_command), "env": {"PYTHONPATH": str(ROOT)}}),
            "--streaming",
            "--checkpointing_interval=1000",
            "--finish_bundle_before_checkpointing",
            "--parallelism=1",
        ]
        command = [sys.executable, "-m", "tests.support.ticks", str(results), *options]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        log = tmp_path / "submission.log"
        with log.open("w") as out, subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=out, stderr=out) as submission:
            wait_for(lambda: bool(jobs(stack)) or submission.poll() is not None, "the job to be accepted")
            assert submission.poll() is None, log.read_text()
            (job,) = jobs(stack)
            wait_for(lambda: runs(stack, job) and completed(stack, job) > 0 and lines(results) > 0, "results and a checkpoint")
        return job

    return run


def runs(stack: Stack, job: str) -> bool:
    """Whether it runs; until then Flink has nothing to say about its checkpoints."""
    return jobs(stack).get(job) == "RUNNING"


def completed(stack: Stack, job: str) -> int:
    """Checkpoints that were completed since the JobManager knows this job."""
    return int(flink(stack, f"/jobs/{job}/checkpoints")["counts"]["completed"])


def lines(results: Path) -> int:
    return len(results.read_text().splitlines())


def more_lines(results: Path) -> None:
    before = lines(results)
    wait_for(lambda: lines(results) > before + 1, "the job to go on")


def test_a_job_runs_in_python_workers_and_keeps_its_checkpoints_when_cancelled(stack: Stack, submit: Submit, results: Path) -> None:
    job = submit()
    assert {int(line.split()[2]) for line in results.read_text().splitlines()} <= set(stack.worker_pids())
    config = flink(stack, f"/jobs/{job}/checkpoints/config")
    assert config["state_backend"] == "EmbeddedRocksDBStateBackend"
    assert config["externalization"] == {"enabled": True, "delete_on_cancellation": False}
    assert flink(stack, f"/jobs/{job}/config")["execution-config"]["restart-strategy"] == "Cluster level default restart strategy"

    wait_for(lambda: completed(stack, job) > 3, "four checkpoints")
    flink(stack, f"/jobs/{job}?mode=cancel", "PATCH")
    wait_for(lambda: not jobs(stack), "the job to be cancelled")
    kept = list((stack.checkpoints_dir / job).glob("chk-*/_metadata"))
    assert 1 <= len(kept) <= 3
    wait_for(lambda: not stack.worker_pids(), "the workers to end with the job")


def test_a_job_goes_on_after_its_worker_and_its_taskmanager_were_killed(stack: Stack, submit: Submit, results: Path) -> None:
    job = submit()
    workers = [ProcessIdentity.of(pid) for pid in stack.worker_pids()]
    assert workers

    stack.kill("taskmanager")
    wait_for(lambda: not any(worker and worker.alive() for worker in workers), "the workers to end with the TaskManager", 10)
    assert stack.worker_pids() == []
    stack.start("taskmanager")
    stack.wait_ready("taskmanager", DEADLINE_S)
    more_lines(results)

    for pid in stack.worker_pids():
        os.kill(pid, signal.SIGKILL)
    more_lines(results)
    assert list(jobs(stack)) == [job]


def test_a_killed_jobmanager_loses_the_job_but_not_its_checkpoints_nor_the_taskmanager(stack: Stack, submit: Submit) -> None:
    job, taskmanager = submit(), stack.pid("taskmanager")
    stack.kill("jobmanager")
    assert {one.component: one.state for one in stack.status()}["jobmanager"] == "dead"
    stack.start("jobmanager")
    for name in ("jobmanager", "taskmanager"):
        stack.wait_ready(name, DEADLINE_S)
    assert stack.pid("taskmanager") == taskmanager
    assert jobs(stack) == {}
    assert list((stack.checkpoints_dir / job).glob("chk-*/_metadata"))


def test_down_leaves_nothing_of_a_running_job_even_when_flink_was_killed_before(stack: Stack, submit: Submit) -> None:
    submit()
    started = [ProcessIdentity.of(pid) for pid in (*stack.worker_pids(), *(one.pid or 0 for one in stack.status()))]
    assert len(started) >= 4
    stack.kill("jobmanager")
    stack.down()
    assert [process for process in started if process and process.alive()] == []
    assert free_of(stack)


def free_of(stack: Stack) -> bool:
    """Whether nothing at all says that it belongs to this stack."""
    mark = f"HEADRACE_STACK={stack.layout.home}"
    return not any(mark in environ(entry) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def environ(entry: Path) -> list[str]:
    try:
        return (entry / "environ").read_text("utf-8", "replace").split("\0")
    except OSError:
        return []


def test_metrics_of_both_flink_processes_are_served(stack: Stack) -> None:
    import urllib.request

    for one in stack.status():
        for name, port in one.ports.items():
            if name.endswith("_metrics"):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                    assert f"flink_{one.component}_".encode() in answer.read()


def test_memory_that_flink_cannot_divide_is_refused_in_a_sentence(private_stack: Stack) -> None:
    from contracts.errors import ConfigurationError
    from devstack.layout import Settings

    small = Stack(private_stack.layout, Settings(ports=free_ports(), taskmanager_memory="800m"))
    with pytest.raises(ConfigurationError, match="give more with --taskmanager-memory"):
        small.up(["flink"])
    assert small.status() == []
