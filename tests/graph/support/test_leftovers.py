"""A test run ends without processes and temporary files of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.leftovers import processes_of
from tests.support.processes import ROOT

_LEAVES = """
import subprocess, tempfile
def test_leaves():
    tempfile.mkdtemp()
    subprocess.Popen(["sleep", "{seconds}"], start_new_session=True)
"""


def _run_tests(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "tmp").mkdir()
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.leftovers", "-p", "no:cacheprovider", *options, str(folder)]
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "PYTHONPATH": str(ROOT), "PYTEST_DEBUG_TEMPROOT": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("options", [(), ("-n1",)], ids=["in one process", "with workers"])
def test_a_process_that_a_test_leaves_fails_the_run_and_is_ended(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = _run_tests(tmp_path, _LEAVES.format(seconds=300), *options)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "left by a test, and killed: process " in done.stdout and "sleep 300" in done.stdout
    assert processes_of(tmp_path / "tmp") == {}


def test_a_run_whose_processes_end_leaves_nothing_in_the_temporary_folder(tmp_path: Path) -> None:
    done = _run_tests(tmp_path, _LEAVES.format(seconds=1))
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    assert list((tmp_path / "tmp").iterdir()) == []
