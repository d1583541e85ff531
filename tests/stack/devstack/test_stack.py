"""The stack's own promises, on a broker alone: it is the quickest component, and all are started and stopped the same way."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from contracts.errors import ComponentDownError, ConfigurationError
from devstack.kafka import answers
from devstack.layout import Ports, Settings
from devstack.lock import held
from devstack.stack import Stack
from lake.runs.process import ProcessIdentity
from tests.support.stack import free_ports, wait_for

ROOT = Path(__file__).parents[3]


def test_up_twice_changes_nothing_and_starts_what_is_dead(private_stack: Stack) -> None:
    lines: list[str] = []
    stack = Stack(private_stack.layout, private_stack.settings, lines.append)
    (first,) = stack.up(["kafka"])
    assert first.state == "ready"
    assert lines[-1].startswith("kafka: ready after ")
    (second,) = stack.up(["kafka"])
    assert (second.pid, second.started_at) == (first.pid, first.started_at)
    assert lines[-1] == "kafka: runs already"

    stack.kill("kafka")
    (dead,) = stack.status()
    assert (dead.state, dead.pid, dead.resident_bytes) == ("dead", None, 0)
    (third,) = stack.up(["kafka"])
    assert third.state == "ready"
    assert third.pid not in (None, first.pid)


def test_down_leaves_no_process_after_kills_and_keeps_data(private_stack: Stack) -> None:
    stack = private_stack
    stack.up(["kafka"])
    pid = stack.pid("kafka")
    assert pid
    shutil.rmtree(stack.layout.state)  # the records are lost; the process is still found
    stack.down()
    assert ProcessIdentity.of(pid) is None

    stack.up(["kafka"])
    stack.kill("kafka")
    assert stack.down() == []
    assert stack.status() == []
    assert (stack.layout.data / "kafka" / "meta.properties").exists()
    (again,) = stack.up(["kafka"])  # the killed broker's data are good
    assert again.state == "ready"
    assert stack.down(purge_data=True) == ["kafka"]
    assert not stack.layout.data.exists()
    assert not stack.layout.logs.exists()


def test_a_record_whose_process_id_another_process_has_is_not_killed(private_stack: Stack) -> None:
    stack = private_stack
    stack.up(["kafka"])
    record = stack._state.record("kafka")
    assert record
    stack.down()
    ours = ProcessIdentity.of(os.getpid())
    assert ours
    reused = ProcessIdentity(ours.pid, record.identity.start_ticks, ours.boot_id)
    stack._state.write("kafka", type(record)(identity=reused, start_id=record.start_id, started_at=record.started_at))
    assert stack.status()[0].state == "dead"
    assert stack.down() == []  # and we are here to see it


def test_a_taken_port_is_named_with_its_holder_and_nothing_is_started(private_stack: Stack) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", private_stack.settings.ports.kafka_controller))
        server.listen()
        with pytest.raises(ComponentDownError) as raised:
            private_stack.up(["kafka"])
    port = private_stack.settings.ports.kafka_controller
    assert str(raised.value).startswith(f"port {port} (kafka_controller) is taken by process {os.getpid()} (")
    assert str(raised.value).endswith("stop that, or give another port: --port kafka_controller=NUMBER")
    assert private_stack.status() == []


def test_a_broker_that_cannot_start_is_told_with_its_log_and_stopped(private_stack: Stack) -> None:
    data = private_stack.layout.data / "kafka"
    data.mkdir(parents=True)
    (data / "meta.properties").write_text("version=1\ncluster.id=another\nnode.id=7\n")
    with pytest.raises(ComponentDownError, match=r"kafka ended while it started; see the end of .*kafka.log"):
        private_stack.up(["kafka"])
    assert private_stack.status() == []
    other = Stack(private_stack.layout, Settings(ports=free_ports(), slots=5))
    data.joinpath("meta.properties").unlink()
    assert other.up(["kafka"])[0].state == "ready"  # the failed one's settings do not bind


def test_a_start_that_is_not_ready_in_time_is_stopped(private_stack: Stack) -> None:
    with pytest.raises(ComponentDownError, match=r"kafka was not ready in time; see the end of .*kafka.log"):
        private_stack.up(["kafka"], deadline_s=0.0)
    assert private_stack.status() == []
    assert private_stack.worker_pids() == []


def test_other_settings_are_refused_while_it_runs(private_stack: Stack) -> None:
    private_stack.up(["kafka"])
    other = Stack(private_stack.layout, Settings(ports=private_stack.settings.ports, slots=7))
    with pytest.raises(ConfigurationError, match="the stack runs with slots 2, not 7; stop it first: headrace stack down"):
        other.up(["kafka"])
    assert Stack(private_stack.layout).settings == private_stack.settings
    private_stack.down()
    assert Stack(private_stack.layout).settings == Settings()


def test_a_second_up_or_down_is_refused_while_one_is_at_work(private_stack: Stack) -> None:
    with held(private_stack.layout.state / "lock", "headrace stack up or down"):
        for command in (private_stack.up, private_stack.down):
            with pytest.raises(ComponentDownError, match="another headrace stack up or down is at work"):
                command()


def test_what_listens_without_being_kafka_is_not_ready() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        answerer = threading.Thread(target=lambda: server.accept()[0].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        answerer.start()
        assert not answers(server.getsockname()[1])
        answerer.join(10)


def test_a_component_that_does_not_run_cannot_be_killed(private_stack: Stack) -> None:
    with pytest.raises(ComponentDownError, match="kafka does not run"):
        private_stack.kill("kafka", signal.SIGTERM)


# --- the command line


@pytest.fixture
def cli(private_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """The command line on a private stack."""
    monkeypatch.setenv("HEADRACE_STACK_HOME", str(private_stack.layout.home))
    monkeypatch.setenv("HEADRACE_STACK_DOWNLOADS", str(private_stack.layout.downloads))
    for name in Ports.names():
        monkeypatch.setenv(f"HEADRACE_STACK_PORT_{name.upper()}", str(getattr(private_stack.settings.ports, name)))
    return CliRunner()


def test_up_status_down_on_the_command_line(cli: CliRunner, private_stack: Stack) -> None:
    nothing = cli.invoke(main, ["stack", "status"])
    assert (nothing.exit_code, nothing.stderr) == (3, "headrace: nothing was started; headrace stack up starts it\n")
    assert cli.invoke(main, ["stack", "down"]).output == "nothing ran\n"

    up = cli.invoke(main, ["stack", "up", "--only", "kafka"])
    assert up.exit_code == 0, up.output
    assert f"kafka bootstrap  localhost:{private_stack.settings.ports.kafka}\n" in up.stdout

    status = cli.invoke(main, ["stack", "status"])
    assert status.exit_code == 0
    assert f"localhost:{private_stack.settings.ports.kafka}" in status.stdout

    private_stack.kill("kafka")
    dead = cli.invoke(main, ["stack", "status"])
    assert (dead.exit_code, dead.stderr) == (3, "headrace: kafka is dead; headrace stack up starts what does not run\n")

    down = cli.invoke(main, ["stack", "down", "--purge-data"])
    assert (down.exit_code, down.stdout) == (0, "nothing ran; data deleted\n")


def test_ctrl_c_during_up_leaves_nothing_running(cli: CliRunner, private_stack: Stack) -> None:
    command = [sys.executable, "-m", "cli.main", "stack", "up", "--only", "kafka"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as up:
        wait_for(lambda: private_stack.pid("kafka") is not None, "the broker's process")
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=300)
    assert up.returncode == 130
    assert private_stack.status() == []
    assert private_stack.worker_pids() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "kafka,flnk"], "no component 'flnk'; there are: kafka, flink, job-server, prism, gcs"),
        (["--port", "kafka"], "--port kafka: expected NAME=NUMBER, such as kafka=29192"),
        (["--port", "nonsense=1"], "no port is called 'nonsense'"),
        (["--port", "taskmanager_2_rpc=21000"], "no port is called 'taskmanager_2_rpc'"),
        (
            ["--taskmanagers", "2", "--port", "taskmanager_2_rpc=19999", "--port", "taskmanager_2_data=19999"],
            "port 19999 is given to both taskmanager_2_rpc and taskmanager_2_data",
        ),
    ],
)
def test_wrong_use_is_exit_2(cli: CliRunner, arguments: list[str], message: str) -> None:
    done = cli.invoke(main, ["stack", "up", *arguments])
    assert done.exit_code == 2
    assert message in done.stderr


def test_missing_tools_are_named_before_anything_is_fetched(
    cli: CliRunner, private_stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    downloads = private_stack.layout.home / "none"
    monkeypatch.setenv("HEADRACE_STACK_DOWNLOADS", str(downloads))
    done = cli.invoke(main, ["stack", "up"])
    assert done.exit_code == 2
    assert [line.removeprefix("headrace: ") for line in done.stderr.splitlines()] == [
        "no java in PATH; install a JDK 17 or newer: apt-get install openjdk-17-jdk-headless",
        "go is not on PATH; install Go 1.21 or newer: apt-get install golang-go, or https://go.dev/dl",
        "mvn is not on PATH; install Maven: apt-get install maven",
    ]
    assert not downloads.exists()
    only_prism = cli.invoke(main, ["stack", "up", "--only", "prism"])
    assert only_prism.stderr.startswith("headrace: go is not on PATH")
    assert "java" not in only_prism.stderr


def test_an_old_java_is_named(cli: CliRunner, private_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    java = private_stack.layout.home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(java.parents[1]))
    done = cli.invoke(main, ["stack", "up", "--only", "kafka"])
    assert done.exit_code == 2
    assert f"{java} is Java 11; install a JDK 17 or newer" in done.stderr


def test_a_java_without_its_compiler_is_named(cli: CliRunner, private_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    java = private_stack.layout.home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\necho 'openjdk version \"17.0.15\" 2025-04-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(java.parents[1]))
    monkeypatch.setenv("HEADRACE_STACK_DOWNLOADS", str(private_stack.layout.home / "none"))
    done = cli.invoke(main, ["stack", "up", "--only", "flink"])
    assert done.exit_code == 2
    assert f"{java.with_name('javac')} is not on PATH; install a JDK 17 or newer, not the runtime alone" in done.stderr
