"""The command line as real processes, and waiting for what they leave on disk."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from examples.webshop import generate as webshop

ROOT = Path(webshop.__file__).parents[2]
PROJECT = ROOT / "examples" / "webshop"
_POLL_S = 0.002
DEADLINE_S = 300.0  # a starved machine takes a minute for what takes seconds


def start_ingest(
    lake: Path, files: Sequence[Path], *options: str, source: str = "web", file_limit_bytes: int | None = None
) -> subprocess.Popen[str]:
    """``headrace ingest`` in a process and a process group of its own.

    Args:
        lake, files, source, options: what to ingest.
        file_limit_bytes: no file may grow beyond this; a write that would, fails as on a full disk.
    """
    inputs = [part for file in files for part in ("--input", str(file))]
    arguments = ["ingest", source, *inputs, "--lake", str(lake), "--project", str(PROJECT), "--max-rejected", "100%", *options]
    limit = file_limit_bytes
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) if limit else None,  # noqa: PLW1509 - nothing else runs here
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a process that ends by itself."""
    out, err = process.communicate(timeout=DEADLINE_S)
    return process.returncode, out, err


def wait_until(process: subprocess.Popen[str], condition: Callable[[], bool]) -> bool:
    """Whether the condition held while the process ran; looks every two milliseconds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        try:
            process.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            assert time.monotonic() < deadline, "neither the condition nor the end came"
        else:
            return False
    return process.poll() is None
