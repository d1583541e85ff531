"""Starts a command in a process group of its own and ends all of it when its parent is gone, however that went.

    python leash.py GRACE_S COMMAND [ARGUMENT …]

The parent holds the other end of stdin. When that closes (the parent ended, or was killed), or on SIGTERM, the group gets SIGTERM,
and SIGKILL after the grace. Ends with the command's exit code, 128 + N where signal N ended it. Standard library only: it is
started by path, in a tenth of a second.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from types import FrameType

_LOOK_S = 0.2


def main(arguments: list[str]) -> int:
    """Run the command to its end, or to that of the parent."""
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
    while process.poll() is None:
        if asked or _parent_is_gone():
            _end(process, grace_s)
            break
    code = process.wait()
    until = time.monotonic() + grace_s
    while _kill(process.pid, signal.SIGKILL) and time.monotonic() < until:  # what it left behind
        time.sleep(_LOOK_S / 10)
    return code if code >= 0 else 128 - code


def _parent_is_gone() -> bool:
    """Whether the other end of stdin is closed; waits for a moment."""
    ready, _, _ = select.select([0], [], [], _LOOK_S)
    return bool(ready) and os.read(0, 1) == b""


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
