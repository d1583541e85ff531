"""One at a time: a lock that ends with the process that holds it, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from contracts.errors import ComponentDownError

_POLL_S = 0.2


@contextmanager
def held(path: Path, what: str, *, wait_s: float = 0.0, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock of a file.

    Args:
        path: the file; created, and left there.
        what: who holds such locks, for the messages.
        wait_s: how long to wait for another holder.
        waiting: is told once, when it has to wait.

    Raises:
        ComponentDownError: another process holds it, and did so until the end of the wait.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        until, told = time.monotonic() + wait_s, False
        while not _try(file.fileno()):
            file.seek(0)
            holder = f"{what} is at work (process {file.read().strip() or 'unknown'}, {path})"
            if time.monotonic() >= until:
                raise ComponentDownError(f"another {holder}; wait for it, or stop it")
            if waiting and not told:
                waiting(f"waiting: another {holder}")
                told = True
            time.sleep(_POLL_S)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _try(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
