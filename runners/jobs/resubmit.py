"""Submitting a run again as its record says."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import xxhash

from contracts.errors import ConfigurationError
from lake.location import Lake
from lake.runs.submission import RESUMED_RUN, Submission
from lake.storage import is_object

HEADRACE = (sys.executable, "-P", "-m", "cli.main")  # -P: a folder named pipelines where it runs is not ours


def resubmit(
    submission: Submission, start: str | None, log_path: Path, *, command: Sequence[str] = HEADRACE, deadline_s: float = 900.0
) -> int:
    """Run the recorded arguments in a process of its own, which is gone when this returns or is interrupted; its exit code.

    Args:
        submission: the run.
        start: the savepoint or checkpoint to start from; None for as it was first submitted.
        log_path: what the process says is added to this file.
        command: what runs the arguments.
        deadline_s: a process that takes longer is killed.

    Raises:
        ConfigurationError: the working directory of the submission is gone.
    """
    if not Path(submission.folder).is_dir():
        raise ConfigurationError(f"run {submission.run_id}: its working directory {submission.folder} is not there any more")
    arguments = [*command, *submission.argv_from(start)]
    with log_path.open("ab") as log:
        log.write(f"\n{_now()} {' '.join(arguments)}\n".encode("utf-8", "backslashreplace"))
        log.flush()
        process = subprocess.Popen(
            arguments, cwd=submission.folder, env={**os.environ, RESUMED_RUN: submission.run_id}, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            return process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            log.write(f"{_now()} killed after {deadline_s:.0f} s\n".encode())
            return -signal.SIGKILL
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # a job server that it started, too
                process.wait()


def supervisor_folder(lake: Lake, run_id: str) -> Path:
    """Where a supervisor keeps its lock and its log: with the run, or, for a lake in a bucket, on the machine where it runs."""
    if not is_object(lake.root):
        return lake.runs / run_id
    digest = xxhash.xxh3_64_hexdigest(lake.root.encode())
    folder = Path.home() / ".cache" / "headrace" / "runs" / f"{digest}-{run_id}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
