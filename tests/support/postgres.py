"""A PostgreSQL server of a test's own, on loopback, for catalogs."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

_PROGRAMS = ("initdb", "postgres")
_START_S = 120.0


def missing() -> str:
    """Which of its programs is not there; empty where all are."""
    return ", ".join(name for name in _PROGRAMS if not shutil.which(name))


@dataclass
class Postgres:
    """A server. folder: with its data. user: the account that it runs as, since it refuses root; None for ours."""

    folder: Path
    port: int
    user: str | None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """For SQLAlchemy."""
        return self.address.replace("postgresql", "postgresql+psycopg")

    @property
    def address(self) -> str:
        """For psycopg."""
        return f"postgresql://headrace@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = ["postgres", "-D", str(self.folder / "data"), "-p", str(self.port), "-c", "listen_addresses=127.0.0.1"]
        command += ["-k", str(self.folder), "-c", "fsync=off"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **self._as_user)
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            # It listens before it answers: connections are refused while it starts up.
            with suppress(psycopg.OperationalError), psycopg.connect(self.address, connect_timeout=5):
                return
            assert self._process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.05)
        raise AssertionError(f"PostgreSQL did not answer within {_START_S:.0f} s")

    def kill(self) -> None:
        """As a machine that is switched off."""
        assert self._process
        self._process.send_signal(signal.SIGQUIT)  # its children too
        self._process.wait(_START_S)

    def initialize(self) -> None:
        """Make its data folder."""
        command = ["initdb", "-D", str(self.folder / "data"), "-U", "headrace", "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, **self._as_user)

    @property
    def _as_user(self) -> dict[str, Any]:
        if self.user is None:
            return {}
        entry = pwd.getpwnam(self.user)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server that runs; nothing of it is left afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="headrace-postgres-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    user = None
    if os.getuid() == 0:
        user = "postgres" if _has_user("postgres") else "nobody"
        shutil.chown(folder, user)
    server = Postgres(folder, port, user)
    try:
        server.initialize()
        server.start()
        yield server
    finally:
        if server._process and server._process.poll() is None:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
