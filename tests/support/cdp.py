"""A CDP endpoint for tests: a process of its own on a free port, its ledger in a temporary folder.

with CdpEndpoint.started() as cdp:
    post(f"{cdp.url}/v1/batch", auth=(cdp.write_key, ""), …)
    assert len(cdp.ledger()) == cdp.counters()["events_accepted"]
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from devstack.cdp.component import DEFAULT_KEY_NAME, WRITE_KEY, missing_packages

ROOT = Path(__file__).parents[2]
_STOP_S = 15
_TIMEOUT_S = 30.0
_PAGE = 10_000


@dataclass
class CdpEndpoint:
    """One endpoint. url: of Segment's dialect, as ``host`` of its libraries; ``rudderstack`` is the other dialect's."""

    data: Path
    write_keys: tuple[str, ...]
    process: subprocess.Popen[str]
    url: str
    write_key: str = WRITE_KEY

    @classmethod
    @contextmanager
    def started(cls, *, data: Path | None = None, write_keys: Sequence[str] = (), port: int = 0) -> Iterator[CdpEndpoint]:
        """Start one and stop it.

        Args:
            data: its folder, to keep a ledger from one start to the next; else a temporary one.
            write_keys: ``NAME=KEY``, beside the usual one.
            port: 0 takes a free one.
        """
        if problem := missing_packages():
            pytest.skip(problem)
        keys = (f"{DEFAULT_KEY_NAME}={WRITE_KEY}", *write_keys)
        with tempfile.TemporaryDirectory(prefix="cdp-") as folder:
            place = data or Path(folder)
            process, url = _start(place, keys, port)
            cdp = cls(place, keys, process, url)
            try:
                yield cdp
            finally:
                cdp.stop()

    @property
    def rudderstack(self) -> str:
        """Address of RudderStack's dialect: its libraries' data plane URL."""
        return f"{self.url}/rudderstack"

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def counters(self) -> dict[str, Any]:
        return dict(self._ask("GET", "/_control/counters").json())

    def ledger(self, **where: str | int) -> list[dict[str, Any]]:
        """All rows by arrival. where: ``write_key``, ``start``, ``end``, ``after``."""
        return self._all("/_control/ledger", where)

    def requests(self, **where: int) -> list[dict[str, Any]]:
        """All requests in order: status, fault, idempotency_key, retry_after, counts, bytes. where: ``after``."""
        return self._all("/_control/requests", where)

    def _all(self, path: str, where: Mapping[str, str | int]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        after = where.get("after", 0)
        while True:
            found = self._ask("GET", path, params={**where, "after": after, "limit": _PAGE})
            page = [json.loads(line) for line in found.iter_lines()]
            rows += page
            if len(page) < _PAGE:
                return rows
            after = page[-1]["seq"]

    def message_ids(self) -> list[str]:
        """By arrival."""
        return [row["messageId"] for row in self.ledger()]

    def order(self, user: str) -> list[str]:
        """Message ids of one user by arrival."""
        return [one["messageId"] for one in self._ask("GET", "/_control/order", params={"user": user}).json()]

    def faults(self, **plan: Any) -> None:
        """Put a plan in force, as ``faults(share=0.2, seed=7, kinds=["503"])``; without any field, end all faults."""
        if plan:
            self._ask("PUT", "/_control/faults", json=plan)
        else:
            self._ask("DELETE", "/_control/faults")

    def clear(self) -> None:
        """Empty ledger and counters."""
        self._ask("DELETE", "/_control/ledger")

    def add(self, message_id: str, event: dict[str, Any]) -> None:
        """Put an event into the ledger by hand."""
        self._ask("POST", "/_control/ledger", json={"messageId": message_id, "event": event})

    def alter(self, message_id: str, event: dict[str, Any] | None) -> None:
        """Change an event of the ledger by hand; None removes it."""
        self._ask("PATCH", "/_control/ledger", json={"messageId": message_id, "event": event})

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop the process, if it runs."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        if self.process.stdout:
            self.process.stdout.close()

    def restart(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop it and start it again, on the same port with the same ledger."""
        self.stop(number)
        self.process, self.url = _start(self.data, self.write_keys, self.port)

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        answer = requests.request(method, f"{self.url}{path}", timeout=_TIMEOUT_S, **options)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer


def _start(data: Path, keys: Sequence[str], port: int) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "devstack.cdp", "--port", str(port), "--data", str(data)]
    command += [part for key in keys for part in ("--write-key", key)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    url = process.stdout.readline().strip()  # printed once it listens; empty if it ended
    if not url:
        raise AssertionError(f"the CDP endpoint ended while it started: exit {process.wait()}")
    return process, url
