"""Who may read what commands write: nobody but the user, or the group where headrace.yaml says so."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
EVENT = '{"messageId":"m-1","type":"page","anonymousId":"a-1","originalTimestamp":"%s","receivedAt":"2026-11-02T10:00:01Z"}\n'
SOURCES = ROOT / "examples" / "webshop" / "sources"


def modes(folder: Path) -> dict[str, tuple[bool, int]]:
    """Whether it is a folder, and its mode; of all below."""
    return {
        str(path.relative_to(folder.parent)): (path.is_dir(), stat.S_IMODE(path.lstat().st_mode))
        for path in (folder, *folder.rglob("*"))
    }


def headrace(folder: Path, *arguments: str) -> None:
    """Run a command whose shell would let everybody read and write."""
    environment = {name: value for name, value in os.environ.items() if name != "HEADRACE_FILES"}
    command = [sys.executable, "-m", "cli.main", *arguments]
    done = subprocess.run(
        command, cwd=folder, env={**environment, "PYTHONPATH": str(ROOT)}, umask=0, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr


@pytest.mark.parametrize(("files", "folder_mode", "file_mode"), [(None, 0o700, 0o600), ("group", 0o770, 0o660)])
def test_what_is_written_is_for_the_user_or_the_group(files: str | None, folder_mode: int, file_mode: int, tmp_path: Path) -> None:
    project = {"lake": "lake", "sources": [str(SOURCES)]} | ({"files": files} if files else {})
    (tmp_path / "headrace.yaml").write_text(json.dumps(project))
    (tmp_path / "events.jsonl").write_text(EVENT % "2026-11-02T10:00:00Z" + EVENT % "no time")
    (tmp_path / "events.jsonl").chmod(0o644)
    headrace(tmp_path, "ingest", "web", "--input", "events.jsonl", "--max-rejected", "90%", "--workers", "2")
    span = ("--start", "2026-11-02T10:00:00Z", "--end", "2026-11-02T11:00:00Z")
    headrace(tmp_path, "replay", "run", "mend", "--dataset", "customer_event", "--approved-by", "ada", "--reason", "mend", *span)
    headrace(tmp_path, "replay", "diff", "mend", "--page", "page.html")
    found = modes(tmp_path / "lake")
    kinds = {path.split("/")[1] for path in found if "/" in path}
    assert {"raw", "warehouse", "_runs", "catalog.db", "_replays"} <= kinds
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == file_mode
    wrong = {p: oct(mode) for p, (folder, mode) in found.items() if mode & 0o777 & ~(folder_mode if folder else file_mode)}
    assert not wrong
    if files:
        assert all(folder and mode & stat.S_ISGID for p, (folder, mode) in found.items() if folder)
        assert all(mode & 0o777 == file_mode for folder, mode in found.values() if not folder)


def test_a_lake_that_a_library_makes_is_closed_by_its_root(tmp_path: Path) -> None:
    code = f"from lake.location import Lake; Lake.at({str(tmp_path / 'a' / 'lake')!r}).create()"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, umask=0, check=True)
    assert stat.S_IMODE((tmp_path / "a" / "lake").stat().st_mode) == 0o700


@pytest.mark.parametrize(("files", "mode"), [("private", 0o600), ("group", 0o660)])
def test_logs_of_workers_are_for_the_user_or_the_group(files: str, mode: int, tmp_path: Path) -> None:
    environment = {**os.environ, "HEADRACE_WORKER_LOG_DIR": str(tmp_path), "HEADRACE_FILES": files}
    boot = [sys.executable, "-P", str(ROOT / "runners" / "flink" / "worker" / "boot.py")]
    subprocess.run(boot, env=environment, umask=0, capture_output=True, check=False)
    assert stat.S_IMODE((tmp_path / "workers.log").stat().st_mode) == mode
