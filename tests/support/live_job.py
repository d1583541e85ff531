"""``headrace ingest`` without an end, as a process on this machine (Prism), and what it leaves in the lake while it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyiceberg.exceptions import NoSuchTableError

from lake.location import Lake
from lake.raw.log_ids import LogId
from lake.raw.segments import log_segments, logs_of
from tests.support.lake_state import scan
from tests.support.processes import PROJECT, ROOT
from tests.support.stack import wait_for

TABLE = "validated.customer_event"
_END_S = 300.0  # a starved machine


class LiveJob:
    """A job that runs, and its lake."""

    def __init__(self, uri: str, lake: Path, *options: str, source: str = "web") -> None:
        self.lake = lake
        arguments = [
            "ingest", source, "--input", uri, "--lake", str(lake), "--project", str(PROJECT), "--max-rejected", "100%",
            "--commit-every", "1s", "--late-panes", "1s", *options,
        ]  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.output += self.process.stdout  # type: ignore[arg-type]

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.ended()

    def ended(self) -> int:
        """Wait for its end; the exit code."""
        code = self.process.wait(_END_S)
        self._reader.join(_END_S)
        return code

    def wait_for_ids(self, wanted: set[str], what: str = "rows") -> None:
        """Wait until these ids are published."""
        self.wait(lambda: wanted <= self.ids(), f"{what} {sorted(wanted)[:3]}…")

    def wait(self, condition: object, what: str, deadline_s: float = 120.0) -> None:
        """Wait for a condition while the job runs."""
        assert callable(condition)

        def holds() -> bool:
            assert self.process.poll() is None, f"the job ended with {self.process.returncode}: {''.join(self.output)[-3000:]}"
            return bool(condition())

        wait_for(holds, what, deadline_s)

    def ids(self) -> set[str]:
        """Published ids."""
        return published_ids(self.lake)

    def landed(self) -> dict[LogId, int]:
        """How far each log is landed."""
        return landed(self.lake)


@contextmanager
def live_job(uri: str, lake: Path, *options: str, source: str = "web") -> Iterator[LiveJob]:
    """A job that is gone after the block."""
    job = LiveJob(uri, lake, *options, source=source)
    try:
        yield job
    finally:
        if job.process.poll() is None:
            job.process.send_signal(signal.SIGINT)
            try:
                job.process.wait(_END_S)
            except subprocess.TimeoutExpired:
                job.process.kill()
        os_killpg(job.process.pid)


def os_killpg(pid: int) -> None:
    """End what a job left behind, such as its Prism."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def published_ids(lake: Path) -> set[str]:
    """Published ids of a lake that may be just being made."""
    try:
        return set(scan(Lake.at(str(lake)), TABLE, columns=("event_id",)).column("event_id").to_pylist())
    except NoSuchTableError:
        return set()


def landed(lake: Path) -> dict[LogId, int]:
    """How far each log of the web source is landed."""
    opened = Lake.at(str(lake))
    return {log: max((s.end for s in log_segments(opened, "web", log)), default=0) for log in logs_of(opened, "web")}
