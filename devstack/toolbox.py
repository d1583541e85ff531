"""Runs pip, Maven and Go, several at once, and ends all of them when one fails or the user interrupts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from contracts.errors import ComponentDownError

_REASON_LENGTH = 400


class Toolbox:
    """The tools that one fetch has started."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def run(self, command: Sequence[str], *, log: Path, what: str, env: Mapping[str, str] | None = None) -> None:
        """Run a tool to its end.

        Args:
            command: the tool and its arguments; it runs in the folder of the log.
            log: takes its output; deleted when it succeeds.
            what: is fetched, for the message.
            env: variables on top of ours.

        Raises:
            ComponentDownError: it failed, or was ended by ``close``.
        """
        with log.open("wb") as output:
            process = self._start(command, log, output.fileno(), env or {}, what)
            code = process.wait()
            with self._lock:
                self._running.discard(process)
        if code:
            raise ComponentDownError(f"{what}: {Path(command[0]).name} failed: {_reason(log)}; run it again when that is mended")
        log.unlink()

    def _start(self, command: Sequence[str], log: Path, output: int, env: Mapping[str, str], what: str) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise ComponentDownError(f"{what}: not fetched, since another download failed")
            process = subprocess.Popen(
                command,
                cwd=log.parent,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            self._running.add(process)
            return process

    def close(self) -> None:
        """End every tool that runs, with all that it has started, and start no more."""
        with self._lock:
            self._closed = True
            for process in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _reason(log: Path) -> str:
    """The first line of a tool's output that speaks of an error; else its last one."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines[-1:] or ["it printed nothing"])[0][:_REASON_LENGTH]
