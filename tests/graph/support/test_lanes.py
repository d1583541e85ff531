"""``make test`` itself: what it counts, when it fails, and that nothing goes on when it is stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lake.runs.process import ProcessIdentity
from tests.support import lanes
from tests.support.processes import ROOT
from tests.support.stack import wait_for

PASSES = "print('3 passed, 1 skipped in 0.10s')"
FAILS = "print('2 failed, 1 passed, 1 error in 61.02s (0:01:01)'); raise SystemExit(1)"
NOTHING = "print('no tests ran in 0.00s'); raise SystemExit(5)"
BROKEN = "raise SystemExit('INTERNALERROR')"


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


@pytest.mark.parametrize(
    ("computes", "waits", "exit_code", "last"),
    [
        ((PASSES,), (PASSES,), 0, "6 passed, 0 failed, 2 skipped"),
        ((PASSES,), (FAILS,), 1, "4 passed, 3 failed, 1 skipped"),
        ((PASSES,), (NOTHING,), 1, "3 passed, 0 failed, 1 skipped"),
        ((PASSES,), (BROKEN,), 1, "3 passed, 0 failed, 1 skipped"),
        (("raise SystemExit(2)", PASSES), (PASSES,), 1, "6 passed, 0 failed, 2 skipped"),  # lint
    ],
)
def test_the_last_line_counts_all_and_whatever_fails_fails_it(
    computes: tuple[str, ...],
    waits: tuple[str, ...],
    exit_code: int,
    last: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(lanes, "LOGS", tmp_path)
    monkeypatch.setattr(lanes, "LANES", {"computes": tuple(map(python, computes)), "waits": tuple(map(python, waits))})
    assert lanes.run() == exit_code
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == last
    assert said.index("===== computes =====") < said.index("===== waits =====")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_ends_its_lanes_and_lets_them_clean_up(number: signal.Signals, tmp_path: Path) -> None:
    lane = (
        "import pathlib, signal, subprocess, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"folder = pathlib.Path({str(tmp_path)!r}); pids = folder / f'{{sys.argv[1]}}.pids'\n"
        "try:\n"
        "    pids.write_text(f'{child.pid}'); time.sleep(600)\n"
        "finally:\n"
        "    child.kill(); child.wait(); (folder / f'{sys.argv[1]}.clean').touch()\n"
    )
    code = (
        "import pathlib, sys; from tests.support import lanes\n"
        f"lanes.LOGS = pathlib.Path({str(tmp_path)!r})\n"
        f"lanes.LANES = {{name: ((sys.executable, '-c', {lane!r}, name),) for name in ('computes', 'waits')}}\n"
        "lanes.main()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pids = [tmp_path / f"{name}.pids" for name in ("computes", "waits")]
    wait_for(lambda: all(path.exists() and path.read_text() for path in pids), "both lanes to run")
    started = [ProcessIdentity.of(int(path.read_text())) for path in pids]
    process.send_signal(number)
    assert process.wait(60) == 130
    assert all((tmp_path / f"{name}.clean").exists() for name in ("computes", "waits"))
    assert not any(one and one.alive() for one in started)
