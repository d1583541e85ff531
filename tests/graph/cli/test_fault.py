"""A fault of ours ends with exit code 4 and a file that says where it happened, and quotes nothing."""

from __future__ import annotations

import stat
import sys
import tempfile
from pathlib import Path

import pytest

from cli import main as command_line
from cli.fault import shown_arguments

CANARIES = ("jane@example.com", "s3cr3t", "u-4711", "/home/jane")


def fail_with(text: str) -> None:
    try:
        int(text)
    except ValueError as error:
        raise RuntimeError(f"{text} [while running 'Decode/ParDo(_DecodeFn)']") from error


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, Path]:
    """A command whose verb fails with a message that is personal: exit code, what it said, the file."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    arguments = ["lake", "why", "u-4711", "--lake=/home/jane/lake", "--catalog", "postgresql://jane:s3cr3t@db/x", "-x"]
    monkeypatch.setattr(sys, "argv", ["headrace", *arguments])
    monkeypatch.setattr(command_line.main, "invoke", lambda _context: fail_with("jane@example.com"))
    with pytest.raises(SystemExit) as end:
        command_line.run()
    (file,) = tmp_path.iterdir()
    assert isinstance(end.value.code, int)
    return end.value.code, capsys.readouterr().err, file


def test_it_is_exit_code_4_and_a_sentence_that_names_the_file(ended: tuple[int, str, Path]) -> None:
    code, said, file = ended
    assert code == 4
    assert said == (
        f"headrace: a fault of ours (RuntimeError). What was committed stays. Please send us {file}, which holds no data.\n"
    )


def test_the_file_tells_versions_command_and_places(ended: tuple[int, str, Path]) -> None:
    *_, file = ended
    text = file.read_text("utf-8")
    assert "apache-beam 2.77.0" in text and "command: headrace lake why … --lake=… --catalog … …" in text
    assert "ValueError\n" in text and "RuntimeError in step Decode/ParDo(_DecodeFn)\n" in text
    assert "  cli/main.py:" in text and "tests/graph/cli/test_fault.py:" in text


def test_neither_quotes_a_value(ended: tuple[int, str, Path]) -> None:
    _, said, file = ended
    assert not [canary for canary in CANARIES if canary in said + file.read_text("utf-8")]


def test_only_its_owner_may_read_the_file(ended: tuple[int, str, Path]) -> None:
    assert stat.S_IMODE(ended[2].stat().st_mode) == 0o600


def test_a_value_that_is_a_verb_elsewhere_is_a_value() -> None:
    assert list(shown_arguments(["ingest", "status", "--input", "deliver"], command_line.main)) == ["ingest", "…", "--input", "…"]


def test_a_verb_whose_module_is_broken_has_a_report_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_context: object, _name: str) -> None:
        raise ModuleNotFoundError("No module named 'half_installed'")

    monkeypatch.setattr(command_line.main, "get_command", broken)
    assert list(shown_arguments(["status", "--lake", "/home/jane/lake"], command_line.main)) == ["…", "--lake", "…"]
