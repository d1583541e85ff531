"""Pieces are fetched whole or not at all, and a damaged one is noticed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.errors import ComponentDownError, ConfigurationError
from devstack import pieces, recipes
from devstack.lock import held
from devstack.manifest import damage, write_manifest
from devstack.pieces import Piece, fetch_pieces
from devstack.recipes import GO
from devstack.toolbox import Toolbox
from runners import binaries
from tests.support.stack import wait_for

ROOT = Path(__file__).parents[3]


def silent(line: str) -> None:
    """No progress wanted."""


def piece(make: Callable[[Path, Toolbox], None], name: str = "thing-1", tool: str = "pip") -> Piece:
    return Piece(component="thing", folder=name, tool=tool, disk_mb=1, make=make)


def two_files(folder: Path, toolbox: Toolbox) -> None:
    (folder / "sub").mkdir()
    (folder / "a.jar").write_bytes(b"abc")
    (folder / "sub" / "b.jar").write_bytes(b"defg")


def test_a_piece_is_fetched_once(tmp_path: Path) -> None:
    lines: list[str] = []
    for _ in range(2):
        fetch_pieces([piece(two_files)], tmp_path, lines.append)
    assert lines == ["thing-1: not here yet, fetching it with pip", "thing-1: fetched in 0 s"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "thing-1"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda folder: (folder / "a.jar").write_bytes(b"abd"), "a.jar is damaged"),
        (lambda folder: os.truncate(folder / "sub" / "b.jar", 3), "sub/b.jar is damaged"),
        (lambda folder: (folder / "a.jar").unlink(), "a.jar is missing"),
        (lambda folder: (folder / "manifest.json").unlink(), "its manifest is missing"),
        (lambda folder: (folder / "manifest.json").write_text('{"files": {"a.j'), "its manifest is damaged"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "its manifest is damaged"),
    ],
)
def test_damage_is_noticed_and_mended_by_fetching_again(tmp_path: Path, change: Callable[[Path], None], problem: str) -> None:
    fetch_pieces([piece(two_files)], tmp_path, silent)
    folder = tmp_path / "thing-1"
    os.utime(folder / "a.jar", ns=(0, 0))  # so that a rewritten file has another time even on a coarse clock
    write_manifest(folder)
    change(folder)
    assert damage(folder) == problem
    lines: list[str] = []
    fetch_pieces([piece(two_files)], tmp_path, lines.append)
    assert lines[0] == f"thing-1: {problem}, fetching it with pip"
    assert damage(folder) is None


def test_a_copy_with_other_times_is_hashed_and_taken(tmp_path: Path) -> None:
    fetch_pieces([piece(two_files)], tmp_path, silent)
    os.utime(tmp_path / "thing-1" / "a.jar", ns=(0, 0))
    assert damage(tmp_path / "thing-1") is None


def test_a_killed_download_leaves_nothing_in_place_and_is_done_again(tmp_path: Path) -> None:
    script = f"""
import signal, sys
from pathlib import Path
from devstack.pieces import Piece, fetch_pieces
def make(folder, toolbox):
    (folder / "half.jar").write_bytes(b"ab")
    print("half", flush=True)
    signal.pause()
thing = Piece(component="thing", folder="thing-1", tool="pip", disk_mb=1, make=make)
fetch_pieces([thing], Path({str(tmp_path)!r}), lambda line: None)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.kill()
    assert not (tmp_path / "thing-1").exists()
    assert list(tmp_path.glob(".fetching-*"))
    fetch_pieces([piece(two_files)], tmp_path, silent)
    assert damage(tmp_path / "thing-1") is None
    assert list(tmp_path.glob(".fetching-*")) == []


def test_two_at_once_fetch_once_and_the_second_says_that_it_waits(tmp_path: Path) -> None:
    begun, go_on, made, lines = threading.Event(), threading.Event(), [], list[str]()

    def slow(folder: Path, toolbox: Toolbox) -> None:
        begun.set()
        assert go_on.wait(30)
        made.append(folder)
        two_files(folder, toolbox)

    first = threading.Thread(target=fetch_pieces, args=([piece(slow)], tmp_path, silent))
    second = threading.Thread(target=fetch_pieces, args=([piece(slow)], tmp_path, lines.append))
    first.start()
    assert begun.wait(30)
    second.start()
    wait_for(lambda: bool(lines), "the second to wait", 30)
    go_on.set()
    first.join(30)
    second.join(30)
    assert len(made) == 1
    (line,) = lines
    assert line.startswith(f"waiting: another download for a local stack is at work (process {os.getpid()}, ")


def test_one_failure_ends_the_other_tools_and_is_what_is_reported(tmp_path: Path) -> None:
    started = threading.Event()

    def endless(folder: Path, toolbox: Toolbox) -> None:
        started.set()
        toolbox.run(["sleep", "600"], log=folder / "log", what="endless")

    def failing(folder: Path, toolbox: Toolbox) -> None:
        assert started.wait(30)
        toolbox.run(["sh", "-c", "echo one; echo ERROR: no such artifact; exit 1"], log=folder / "log", what="failing")

    with pytest.raises(ComponentDownError) as raised:
        fetch_pieces([piece(endless, "a-1", "mvn"), piece(failing, "b-1", "go")], tmp_path, silent)
    assert str(raised.value) == "failing: sh failed: ERROR: no such artifact; run it again when that is mended"
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]


@pytest.fixture
def fake_maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a shell script called mvn first on PATH."""

    def install(script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "mvn").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "mvn").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return install


def test_jars_other_than_the_pinned_ones_are_refused(tmp_path: Path, fake_maven: Callable[[str], None]) -> None:
    fake_maven('for a; do case $a in -DoutputDirectory=*) mkdir "${a#*=}"; echo evil > "${a#*=}/kafka.jar";; esac; done')
    with pytest.raises(ComponentDownError, match="Maven gave other jars than the pinned ones"):
        fetch_pieces([pieces.KAFKA], tmp_path / "downloads", silent)
    assert not pieces.kafka_libs(tmp_path / "downloads").exists()


def test_a_job_server_of_other_jars_is_not_packaged(tmp_path: Path, fake_maven: Callable[[str], None]) -> None:
    fake_maven(
        f'echo "$@" >> {tmp_path}/asked; '
        'for a; do case $a in -DoutputDirectory=*) mkdir "${a#*=}"; echo evil > "${a#*=}/beam.jar";; esac; done'
    )
    with pytest.raises(ComponentDownError, match=r"job server .* Maven gave other jars than the pinned ones"):
        fetch_pieces([pieces.JOB_SERVER], tmp_path / "downloads", silent)
    (asked,) = (tmp_path / "asked").read_text().splitlines()
    assert "package" not in asked.split()


def test_go_checks_modules_whatever_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "go").write_text(f"#!/bin/sh\nenv > {tmp_path}/env\necho no; exit 1\n")
    (folder / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    loose = {"GOSUMDB": "off", "GONOSUMDB": "*", "GOPRIVATE": "*", "GOINSECURE": "*", "GOFLAGS": "-insecure"}
    for name, value in loose.items():
        monkeypatch.setenv(name, value)
    for piece_ in (pieces.PRISM, pieces.GCS):
        with pytest.raises(ComponentDownError):
            fetch_pieces([piece_], tmp_path / "downloads", silent)
        seen = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines() if "=" in line)
        assert {name: seen[name] for name in loose} == GO


def test_mavens_first_error_is_told(tmp_path: Path, fake_maven: Callable[[str], None]) -> None:
    fake_maven("echo '[ERROR] Could not transfer artifact x from/to central: Connection refused'; echo '[ERROR] more'; exit 1")
    with pytest.raises(ComponentDownError) as raised:
        fetch_pieces([pieces.KAFKA], tmp_path / "downloads", silent)
    assert "kafka 4.1.2: mvn failed: [ERROR] Could not transfer artifact x" in str(raised.value)


def test_ctrl_c_ends_the_tool_too(tmp_path: Path, fake_maven: Callable[[str], None]) -> None:
    fake_maven(f"echo $$ > {tmp_path}/pid; exec sleep 600")
    script = f"""
from pathlib import Path
from devstack import pieces
pieces.fetch_pieces([pieces.KAFKA], Path({str(tmp_path)!r}) / "downloads", lambda line: None)
"""
    pid = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.PIPE) as process:
        wait_for(lambda: pid.exists() and pid.read_text().endswith("\n"), "the tool", 30)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()
    assert [p.name for p in (tmp_path / "downloads").iterdir()] == [".lock"]


def test_a_lock_is_refused_with_the_holders_process(tmp_path: Path) -> None:
    with held(tmp_path / "lock", "up"), pytest.raises(ComponentDownError) as raised, held(tmp_path / "lock", "up"):
        pass
    assert str(raised.value) == f"another up is at work (process {os.getpid()}, {tmp_path}/lock); wait for it, or stop it"
    with held(tmp_path / "lock", "up"):
        pass


def test_a_job_server_of_ones_own_replaces_the_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = tmp_path / "mine.jar"
    monkeypatch.setenv("HEADRACE_JOB_SERVER_JAR", str(jar))
    with pytest.raises(ConfigurationError, match="there is no such file"):
        pieces.needed(["job-server"])
    assert pieces.needed(["kafka"]) == [pieces.KAFKA]
    jar.touch()
    assert pieces.needed(["job-server"]) == []
    assert binaries.job_server_jar(tmp_path) == jar


def test_of_flinks_distribution_only_what_is_needed_is_unpacked(tmp_path: Path) -> None:
    source = tmp_path / "apache-flink-libraries-1" / "deps"
    for name in ("lib/flink-dist-1.jar", "lib/log4j-api.jar", "lib/flink-csv.jar", "plugins/metrics-prometheus/p.jar", "opt/x.jar"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    subprocess.run(["tar", "czf", "sdist.tar.gz", "apache-flink-libraries-1"], cwd=tmp_path, check=True)
    target = tmp_path / "target"
    recipes._unpack(tmp_path / "sdist.tar.gz", target)
    found = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert found == {"lib/flink-dist-1.jar", "lib/log4j-api.jar", "plugins/metrics-prometheus/p.jar"}


LISTENING = 'package p\nfunc f(port int) {\n\tlis, err := net.Listen("tcp", fmt.Sprintf(":%d", port))\n}\n'
WEB = "package w\nfunc f() {\n\tgo http.ListenAndServe(endpoint, mux)\n}\n"


def prism_sources(folder: Path, server: str, web: str = WEB) -> Path:
    """What of Prism's module opens ports."""
    for name, text in (("jobservices/server.go", server), ("web/web.go", web)):
        path = folder / "go" / "pkg" / "beam" / "runners" / "prism" / "internal" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return folder


def test_prism_is_compiled_to_listen_on_localhost(tmp_path: Path) -> None:
    sources = prism_sources(tmp_path, LISTENING)
    recipes._keep_prism_on_loopback(sources, "prism 1")
    changed = (sources / "go/pkg/beam/runners/prism/internal/jobservices/server.go").read_text()
    assert changed == LISTENING.replace('":%d"', '"localhost:%d"')


@pytest.mark.parametrize(
    ("server", "web", "places"),
    [
        (LISTENING.replace("Sprintf", "Sprint"), WEB, "2 places, 0 of them"),
        (LISTENING + LISTENING, WEB, "3 places, 2 of them"),
        (LISTENING, WEB + "func g() { (&net.ListenConfig{}).Listen(ctx, network, address) }\n", "4 places, 1 of them"),
    ],
)
def test_prism_that_opens_other_ports_than_the_known_ones_is_not_compiled(
    server: str, web: str, places: str, tmp_path: Path
) -> None:
    with pytest.raises(ComponentDownError, match=places):
        recipes._keep_prism_on_loopback(prism_sources(tmp_path, server, web), "prism 1")


def test_a_prism_of_ones_own_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "prism"
    monkeypatch.setenv("HEADRACE_PRISM", str(binary))
    with pytest.raises(ConfigurationError, match="there is no such file"):
        pieces.needed(["prism"])
    binary.touch()
    assert pieces.needed(["prism"]) == []
    assert binaries.prism(tmp_path) == binary
