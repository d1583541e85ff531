"""Emulators of Google Cloud Storage and of S3 for tests: fake-gcs-server, and moto's server.

Their objects are in memory and go with them. ``bucket`` is a fresh one per test and store; ``emulator`` is the store's.
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from devstack import pieces, s3
from devstack.gcs import answers, command
from devstack.layout import Layout
from tests.support.stack import wait_for

_numbers = itertools.count()
SCHEMES = ("gs", "s3")


@dataclass(frozen=True)
class Emulator:
    """scheme: ``gs`` or ``s3``."""

    scheme: str
    address: str

    def use(self, monkeypatch: pytest.MonkeyPatch, address: str | None = None) -> None:
        """Let ``gs://`` or ``s3://`` mean it, or what answers at another address."""
        if self.scheme == "gs":
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", address or self.address)
            return
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        told = {"ACCESS_KEY_ID": "tests", "SECRET_ACCESS_KEY": "tests", "REGION": "eu-west-1", "EC2_METADATA_DISABLED": "true"}
        files = dict.fromkeys(("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"), os.devnull)
        for name, value in (told | files | {"ENDPOINT_URL_S3": address or self.address}).items():
            monkeypatch.setenv(f"AWS_{name}", value)

    def make_bucket(self) -> str:
        """A new bucket, as ``gs://NAME`` or ``s3://NAME``."""
        name = f"bucket-{next(_numbers)}"
        if self.scheme == "gs":
            request = ("POST", "/storage/v1/b?project=headrace", f'{{"name": "{name}"}}', {"Content-Type": "application/json"})
        else:
            request = ("PUT", f"/{name}", "", {})
        place = urlsplit(self.address)
        connection = HTTPConnection(str(place.hostname), place.port, timeout=10)
        connection.request(*request)
        assert connection.getresponse().status == 200
        connection.close()
        return f"{self.scheme}://{name}"


@pytest.fixture(scope="session")
def gs_emulator() -> Iterator[Emulator]:
    downloads = Layout.default().downloads
    if shutil.which("go") is None and not pieces.gcs(downloads).exists():
        pytest.skip("no go: make doctor says how to install")
    downloads.mkdir(parents=True, exist_ok=True)
    pieces.fetch(["gcs"], downloads, lambda _line: None)
    with _started(lambda port: command(pieces.gcs(downloads), port, "-backend", "memory"), answers) as address:
        yield Emulator("gs", address)


@pytest.fixture(scope="session")
def s3_emulator() -> Iterator[Emulator]:
    with _started(s3.command, s3.answers) as address:
        yield Emulator("s3", address)


@contextmanager
def _started(made: Callable[[int], Sequence[str]], ready: Callable[[int], bool]) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(made(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: process.poll() is not None or ready(port), "the emulator", 30)
        assert process.poll() is None, "the emulator ended while it started"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(params=SCHEMES)
def emulator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """Of one store after the other; what ``gs://`` or ``s3://`` means meanwhile."""
    found: Emulator = request.getfixturevalue(f"{request.param}_emulator")
    found.use(monkeypatch)
    return found


@pytest.fixture
def bucket(emulator: Emulator) -> str:
    """A new bucket."""
    return emulator.make_bucket()
