"""Which TCP sockets processes listen on, looked at again and again while they run: Beam's live for seconds only.

Reads ``/proc``, so Linux only. Processes are known by a variable in their environment, which whatever they start inherits.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from uuid import uuid4

from devstack.processes import marked
from lake.runs.process import ProcessIdentity

_PROC = Path("/proc")
_LISTEN = "0A"
_PERIOD_S = 0.05
_VARIABLE = "HEADRACE_TEST_WATCHED"


@dataclass(frozen=True, order=True)
class Listener:
    """A socket that somebody listened on. command: the process' command line."""

    address: str
    port: int
    command: str

    @property
    def beyond_loopback(self) -> bool:
        """Whether other machines may reach it."""
        address = ip_address(self.address)
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return not address.is_loopback


class Watch:
    """What a set of processes has listened on until now: those started with ``env`` and all that they start, if none are given."""

    def __init__(self, processes: Callable[[], Iterable[ProcessIdentity]] | None = None) -> None:
        self.env = {_VARIABLE: uuid4().hex}
        self.processes = processes or (lambda: marked(*next(iter(self.env.items()))))
        self._known: dict[str, Listener | None] = {}  # by inode; None for somebody else's

    @property
    def seen(self) -> list[Listener]:
        """All of them."""
        return sorted({each for each in self._known.values() if each})

    @property
    def beyond_loopback(self) -> list[Listener]:
        """Those that other machines may reach."""
        return [each for each in self.seen if each.beyond_loopback]

    def look(self) -> None:
        """Look once."""
        new = {inode: where for inode, where in _listening() if inode not in self._known}
        if not new:
            return
        for process in list(self.processes()):
            for inode in _sockets(process.pid) & new.keys():
                address, port = new[inode]
                self._known[inode] = Listener(address, port, _command(process.pid))
        for inode in new.keys() - self._known.keys():
            self._known[inode] = None


def listeners_of(processes: Iterable[ProcessIdentity]) -> list[Listener]:
    """What these processes listen on just now."""
    watch = Watch(lambda: processes)
    watch.look()
    return watch.seen


@contextmanager
def watching(watch: Watch) -> Iterator[Watch]:
    """Look twenty times a second while the block runs."""
    over = threading.Event()

    def look_on() -> None:
        while not over.wait(_PERIOD_S):
            watch.look()

    thread = threading.Thread(target=look_on, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()
        watch.look()


def _listening() -> Iterator[tuple[str, tuple[str, int]]]:
    """Inode, address and port of every socket of this machine that listens."""
    for table in ("tcp", "tcp6"):
        for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
            cells = line.split()
            if cells[3] == _LISTEN:
                host, _, port = cells[1].rpartition(":")
                yield cells[9], (_address(host), int(port, 16))


def _address(words: str) -> str:
    """An address as the kernel prints it: 32-bit words in the machine's own order."""
    packed = b"".join(struct.pack("=I", int(words[at : at + 8], 16)) for at in range(0, len(words), 8))
    return str(IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed))


def _command(pid: int) -> str:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:  # gone
        return ""


def _sockets(pid: int) -> set[str]:
    """Inodes of a process' sockets."""
    found = set()
    try:
        for handle in (_PROC / str(pid) / "fd").iterdir():
            try:
                target = os.readlink(handle)
            except OSError:  # closed meanwhile
                continue
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:  # gone
        pass
    return found
