"""What a call has begun elsewhere ends with it, however it ends; a call that ended by itself undoes nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from templates.airflow import command
from templates.airflow.command import Call
from tests.support.airflow import ROOT, SCRIPTS

WITHIN_S = 60.0
CALL = """
import sys
sys.path.insert(0, sys.argv[1])
from templates.airflow.command import Call
Call(["sleep", sys.argv[2]], print, undo=lambda run: ["job", "cancel", run, "--yes"]).wait()
"""


@pytest.fixture
def cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    file = tmp_path / "cancelled"
    monkeypatch.setenv("HEADRACE_COMMAND", f"{sys.executable} {SCRIPTS / 'fake_headrace.py'}")
    monkeypatch.setenv("CANCELLED", str(file))
    monkeypatch.setattr(command, "GRACE_S", 2.0)
    yield file


def undo(run: str) -> list[str]:
    return ["job", "cancel", run, "--yes"]


def wait_for_text(file: Path) -> str:
    until = time.monotonic() + WITHIN_S
    while not (file.exists() and file.read_text().endswith("\n")):
        assert time.monotonic() < until, file
        time.sleep(0.05)
    return file.read_text()


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.parametrize(("code", "undone"), [("0", 0), ("1", 0), ("2", 0), ("3", 1), ("4", 1), ("-9", 1)])
def test_a_call_that_may_have_left_a_job_undoes_it_and_one_that_knows_does_not(code: str, undone: int, cancelled: Path) -> None:
    outcome = Call(["exit", code], lambda _: None, undo=undo).wait()
    assert outcome.code == (137 if code == "-9" else int(code))
    assert lines(cancelled) == ["job cancel run-1 --yes"] * undone


def test_a_call_that_is_ended_undoes_what_it_began_once(cancelled: Path, tmp_path: Path) -> None:
    call = Call(["sleep", str(tmp_path / "pids")], lambda _: None, undo=undo)
    thread = threading.Thread(target=call.wait)
    thread.start()
    wait_for_text(tmp_path / "pids")
    while call.run_id is None:
        time.sleep(0.01)
    call.end()
    thread.join(WITHIN_S)
    assert lines(cancelled) == ["job cancel run-1 --yes"]


def test_a_parent_that_is_killed_outright_leaves_nothing(cancelled: Path, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", CALL, str(ROOT), str(tmp_path / "pids")], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert parent.stdout is not None
    wait_for_text(tmp_path / "pids")
    assert parent.stdout.readline(), "its run is known"
    parent.kill()
    parent.communicate()
    assert wait_for_text(cancelled) == "job cancel run-1 --yes\n"
