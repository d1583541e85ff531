"""Starts a command in a process group of its own and ends all of it when its parent is gone, however that went.

    python leash.py GRACE_S COMMAND [ARGUMENT …]
    python leash.py --undo COMMAND [ARGUMENT …]

The parent holds the other end of stdin. When that closes (the parent ended, or was killed), or on SIGTERM, the group gets SIGTERM,
and SIGKILL after the grace. Ends with the command's exit code, 128 + N where signal N ended it. Standard library only: it is
started by path, in a tenth of a second.

A line on stdin, a command as a JSON array, says what else must end then: a job on a cluster. It is run once the group is gone,
until it ends with 0, a few times at most; once where the command was killed, or could not tell what became of the job. Airflow
gives a task five seconds from SIGTERM to SIGKILL, too few for that; nobody gives them to this process. ``--undo`` runs such a
command at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from types import FrameType

UNDO = "--undo"
_LOOK_S = 0.2
_LEFT_BEHIND = (3, 4)  # a component is down, a fault of ours: the next try begins a job of its own
_TRIES, _PAUSE_S, _TRY_S = 5, 2.0, 120.0  # a cluster that was just given a job may not know it yet


def main(arguments: list[str]) -> int:
    """Run the command to its end, or to that of the parent."""
    if arguments[0] == UNDO:
        return 0 if _undo(arguments[1:], _TRIES) else 1
    grace_s, command = float(arguments[0]), arguments[1:]
    asked: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, ask)
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"headrace: cannot start {command[0]!r}: {error.strerror}; set HEADRACE_COMMAND to where it is", file=sys.stderr)
        return 2
    said, ended = b"", False
    while process.poll() is None and not ended:
        heard = _heard()
        said += heard or b""
        if asked or heard == b"":
            _end(process, grace_s)
            ended = True
    code = process.wait()
    until = time.monotonic() + grace_s
    while _kill(process.pid, signal.SIGKILL) and time.monotonic() < until:  # what it left behind
        time.sleep(_LOOK_S / 10)
    if ended or code < 0 or code in _LEFT_BEHIND:
        _run(said, _TRIES if ended else 1)
    return code if code >= 0 else 128 - code


def _heard() -> bytes | None:
    """What the parent said; empty where it is gone, None where it said nothing for a moment."""
    ready, _, _ = select.select([0], [], [], _LOOK_S)
    return os.read(0, 65_536) if ready else None


def _run(said: bytes, tries: int) -> None:
    """Run the last command that was said, whole, until it succeeds."""
    *lines, _unfinished = said.split(b"\n")
    if lines:
        _undo(json.loads(lines[-1]), tries)


def _undo(command: list[str], tries: int) -> bool:
    """Run a command until it succeeds; whether it did."""
    for number in range(tries):
        time.sleep(_PAUSE_S if number else 0)
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            quiet = subprocess.DEVNULL  # who would read it may be gone
            if subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, timeout=_TRY_S, check=False).returncode == 0:
                return True
    return False


def _end(process: subprocess.Popen[bytes], grace_s: float) -> None:
    _kill(process.pid, signal.SIGTERM)
    until = time.monotonic() + grace_s
    while process.poll() is None and time.monotonic() < until:
        time.sleep(_LOOK_S)
    _kill(process.pid, signal.SIGKILL)


def _kill(group: int, number: signal.Signals) -> bool:
    """Whether there was somebody in the group."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
