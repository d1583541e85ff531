"""The launcher and the boot script, as a TaskManager runs them: as a process, from any working directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2_grpc, beam_provision_api_pb2, beam_provision_api_pb2_grpc

from lake.runs.process import ProcessIdentity
from runners.allocator import ENVIRONMENT
from runners.flink.worker.launcher import write_launcher
from tests.support.processes import ROOT
from tests.support.stack import wait_for


@dataclass
class FakeRunner(
    beam_provision_api_pb2_grpc.ProvisionServiceServicer,
    beam_fn_api_pb2_grpc.BeamFnControlServicer,
    beam_fn_api_pb2_grpc.BeamFnLoggingServicer,
):
    """Provision, control and logging services of a runner that has no work to give."""

    port: int = 0
    asked_by: list[str] = field(default_factory=list)
    connected: list[str] = field(default_factory=list)
    over: Event = field(default_factory=Event)

    def GetProvisionInfo(self, request: Any, context: Any) -> Any:
        self.asked_by.append(dict(context.invocation_metadata())["worker_id"])
        info = beam_provision_api_pb2.ProvisionInfo()
        info.control_endpoint.url = info.logging_endpoint.url = f"localhost:{self.port}"
        info.pipeline_options.update({"beam:option:job_name:v1": "tested"})
        return beam_provision_api_pb2.GetProvisionInfoResponse(info=info)

    def Control(self, requests: Any, context: Any) -> Iterator[Any]:
        self.connected.append(dict(context.invocation_metadata())["worker_id"])
        self.over.wait(60)
        yield from ()

    def Logging(self, requests: Any, context: Any) -> Iterator[Any]:
        self.over.wait(60)
        yield from ()


@pytest.fixture
def runner() -> Iterator[FakeRunner]:
    server, service = grpc.server(ThreadPoolExecutor(8)), FakeRunner()
    beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(service, server)
    beam_fn_api_pb2_grpc.add_BeamFnControlServicer_to_server(service, server)
    beam_fn_api_pb2_grpc.add_BeamFnLoggingServicer_to_server(service, server)
    service.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield service
    service.over.set()
    server.stop(None).wait(10)


@pytest.fixture
def launcher(tmp_path: Path) -> Path:
    return write_launcher(tmp_path / "a folder")


def arguments(runner: FakeRunner) -> list[str]:
    """As Beam's ProcessEnvironmentFactory gives them."""
    endpoint = f"localhost:{runner.port}"
    others = [f"--{name}_endpoint={endpoint}" for name in ("logging", "artifact", "control")]
    return ["--id=w-1", *others, f"--provision_endpoint={endpoint}", "--semi_persist_dir=/tmp"]


def test_a_worker_asks_the_runner_and_connects_within_seconds(tmp_path: Path, runner: FakeRunner, launcher: Path) -> None:
    began = time.monotonic()
    env = {**os.environ, "HEADRACE_WORKER_LOG_DIR": str(tmp_path)}
    with subprocess.Popen([launcher, *arguments(runner)], cwd="/", env=env) as process:
        wait_for(lambda: bool(runner.connected), "the worker to connect", 60)
        took_s = time.monotonic() - began
        environ = dict(
            entry.split("=", 1) for entry in Path(f"/proc/{process.pid}/environ").read_text().split("\0") if "=" in entry
        )
        process.kill()
    assert runner.asked_by == runner.connected == ["w-1"]
    assert took_s < 30  # about 2 s on an idle machine
    assert {name: environ[name] for name in ENVIRONMENT} == ENVIRONMENT
    assert "worker w-1: provisioned after" in (tmp_path / "workers.log").read_text()


def test_a_worker_ends_when_its_parent_is_killed(tmp_path: Path, runner: FakeRunner, launcher: Path) -> None:
    script = "import json, subprocess, sys; print(subprocess.Popen(json.loads(sys.argv[1])).pid, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, json.dumps([str(launcher), *arguments(runner)])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout is not None
        worker = ProcessIdentity.of(int(parent.stdout.readline()))
        assert worker is not None
        wait_for(lambda: bool(runner.connected), "the worker to connect", 60)
        assert worker.alive()
        parent.kill()
    try:
        wait_for(lambda: not worker.alive(), "the worker's end", 10)
    finally:
        worker.send(signal.SIGKILL)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ([], "--id and --provision_endpoint missing"),
        (["--id=1"], "--provision_endpoint missing"),
        (["--provision_endpoint=x"], "--id missing"),
    ],
)
def test_missing_arguments_are_named(launcher: Path, given: list[str], missing: str) -> None:
    done = subprocess.run([launcher, *given], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert f"{missing}; this is started by a Beam runner" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_interpreter_without_beam_is_named(tmp_path: Path, runner: FakeRunner) -> None:
    other = write_launcher(tmp_path, python=sys.executable)
    other.write_text(other.read_text().replace(" -P ", " -P -S "))  # no site-packages
    done = subprocess.run([other, *arguments(runner)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert f"{sys.executable} has no Apache Beam" in done.stderr


def test_the_launcher_is_rewritten_only_for_another_interpreter(tmp_path: Path) -> None:
    path = write_launcher(tmp_path)
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert write_launcher(tmp_path) == path
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    write_launcher(tmp_path, python="/opt/other python/bin/python")
    assert "'/opt/other python/bin/python' -P " in path.read_text()
    assert os.access(path, os.X_OK)


def test_a_log_that_cannot_be_written_does_not_stop_a_worker(launcher: Path) -> None:
    env = {**os.environ, "HEADRACE_WORKER_LOG_DIR": "/nonexistent"}
    done = subprocess.run([launcher], capture_output=True, text=True, check=False, timeout=60, env=env)
    assert "/nonexistent/workers.log cannot be written (No such file or directory); logging to stderr" in done.stderr
    assert "--id and --provision_endpoint missing" in done.stderr


def test_launchers_of_the_version_before_still_find_the_boot_script() -> None:
    script = ROOT / "runners" / "flink_worker" / "boot.py"
    done = subprocess.run([sys.executable, "-P", str(script)], capture_output=True, text=True, check=False)
    assert "--id" in done.stderr
