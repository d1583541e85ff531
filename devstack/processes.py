"""Processes that outlive us: started detached, found again without mistaking another one for them, and stopped for good.

Reads ``/proc``, so Linux only.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from lake.runs.process import ProcessIdentity

_PROC = Path("/proc")
_POLL_S = 0.05
_LISTEN = "0A"


def spawn(command: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str]) -> ProcessIdentity:
    """Start a process in a session of its own, its output appended to a log file.

    Raises:
        OSError: it cannot be started.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    process.returncode = 0  # it is not ours to wait for; else Python warns that it still runs
    return ProcessIdentity.of_child(process.pid)


def stop(processes: Iterable[ProcessIdentity], *, grace_s: float) -> list[ProcessIdentity]:
    """Ask all to end, wait together, kill those that did not. Returns those that had to be killed; none is left after it."""
    asked = [p for p in processes if p.send(signal.SIGTERM)]
    stubborn = _wait_gone(asked, grace_s)
    for process in stubborn:
        process.send(signal.SIGKILL)
    _wait_gone(stubborn, grace_s)
    return stubborn


def _wait_gone(processes: Iterable[ProcessIdentity], timeout_s: float) -> list[ProcessIdentity]:
    deadline = time.monotonic() + timeout_s
    left = [p for p in processes if p.alive()]
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        left = [p for p in left if p.alive()]
    return left


def marked(variable: str, value: str) -> Iterator[ProcessIdentity]:
    """Processes that were started with this environment variable, whoever is their parent by now; never ourselves."""
    wanted = os.fsencode(f"{variable}={value}")
    for entry in _PROC.iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            environ = (entry / "environ").read_bytes()
        except OSError:  # gone, or another user's
            continue
        if wanted in environ.split(b"\0") and (identity := ProcessIdentity.of(int(entry.name))) is not None:
            yield identity


def command_of(pid: int) -> str:
    """A process' command line, cut to a readable length; empty if it is gone."""
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    text = b" ".join(words).decode("utf-8", "replace").strip()
    return text if len(text) <= 80 else f"{text[:77]}…"


def port_is_free(port: int) -> bool:
    """Whether a server could listen there on loopback, as those of a stack do; one on all addresses is in its way too."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: closed connections do not count
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def listener(port: int) -> int | None:
    """Process id of who listens on a TCP port; None if that cannot be seen, as for other users' processes."""
    inodes = set(_listening_inodes(port))
    if not inodes:
        return None
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and _holds_socket(entry, inodes):
            return int(entry.name)
    return None


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            cells = line.split()
            if cells[3] == _LISTEN and int(cells[1].rpartition(":")[2], 16) == port:
                yield cells[9]


def _holds_socket(process: Path, inodes: Collection[str]) -> bool:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    try:
        return any(os.readlink(handle) in wanted for handle in (process / "fd").iterdir())
    except OSError:  # gone, or another user's
        return False
