"""What Beam would download by itself is refused: nobody has checked it, and it listens on all interfaces."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import ConfigurationError
from runners.binaries import find_job_server, find_prism


@pytest.fixture(autouse=True)
def nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_STACK_DOWNLOADS", str(tmp_path / "downloads"))
    for variable in ("HEADRACE_PRISM", "HEADRACE_JOB_SERVER_JAR"):
        monkeypatch.delenv(variable, raising=False)


def test_without_prism_one_sentence_says_what_to_run() -> None:
    with pytest.raises(ConfigurationError, match=r"run headrace stack up --only prism \(needs Go\), or name .* in HEADRACE_PRISM"):
        find_prism()


def test_a_prism_of_ones_own_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").touch()
    monkeypatch.setenv("HEADRACE_PRISM", str(tmp_path / "mine"))
    assert find_prism() == str(tmp_path / "mine")


def test_without_a_job_server_one_sentence_says_what_to_run() -> None:
    with pytest.raises(ConfigurationError, match=r"run headrace stack up --only job-server .* HEADRACE_JOB_SERVER_JAR"):
        find_job_server()


def test_a_job_server_of_ones_own_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("given", "named"):
        (tmp_path / name).touch()
    monkeypatch.setenv("HEADRACE_JOB_SERVER_JAR", str(tmp_path / "named"))
    assert find_job_server() == str(tmp_path / "named")
    assert find_job_server(str(tmp_path / "given")) == str(tmp_path / "given")
