"""A peer's programs: processes of an environment of their own, which write into a log."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from benchmarks.stream.bed import ROOT, RunFailedError

PEERS_PYTHON = ROOT / ".cache/stream-peers-venv/bin/python"  # made by `make peers`
_END_S = 60.0
_LAST_LINES = 3


class Program:
    """``python`` of the peers' environment in a process group of its own."""

    def __init__(self, name: str, log: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> None:
        self.name, self._log = name, log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(PEERS_PYTHON), *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, env={**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})},
            )  # fmt: skip

    def processes(self) -> dict[int, str]:
        """Itself and its children, under its name."""
        try:
            children = psutil.Process(self._process.pid).children(recursive=True)
        except psutil.Error:  # it has ended
            return {}
        return {pid: self.name for pid in (self._process.pid, *(child.pid for child in children))}

    def failure(self) -> str | None:
        """Its exit code and last words where it has ended; None while it runs."""
        code = self._process.poll()
        return None if code is None else f"{self.name} ended with {code}: {self._last_words()}"

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._log.read_text("utf-8", "replace").splitlines() if line.strip()]
        return " | ".join(lines[-_LAST_LINES:]) or "it said nothing"

    def ask(self) -> None:
        """To end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """Wait for its end, and kill what is left of it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def run(log: Path, arguments: Sequence[str]) -> None:
    """Run ``python`` of the peers' environment to its end.

    Raises:
        RunFailedError: it did not exit with 0.
    """
    with log.open("ab") as output:
        done = subprocess.run(
            [PEERS_PYTHON, *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        )
    if done.returncode:
        raise RunFailedError(f"python {' '.join(arguments)} ended with {done.returncode}; see {log.name}")
