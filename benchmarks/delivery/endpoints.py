"""The two endpoints, each a fresh process for each run, and what arrived there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from benchmarks.ingest.measure import RunFailedError
from benchmarks.stream.bed import Child

_PAGE = 10_000
_TIMEOUT_S = 60.0
Arrivals = list[tuple[str, str]]  # id and user, in the order of arrival


@dataclass(frozen=True)
class Running:
    """One that runs. pid: its process."""

    url: str
    pid: int


@dataclass(frozen=True)
class Endpoint:
    """A kind of endpoint. start: its command, given a folder. arrivals: of the one at this address."""

    name: str
    title: str
    start: Callable[[Path], Sequence[str]]
    arrivals: Callable[[str], Arrivals]

    @contextmanager
    def started(self) -> Iterator[Running]:
        """One that runs meanwhile.

        Raises:
            RunFailedError: it did not start.
        """
        with TemporaryDirectory(prefix="headrace-bench-") as folder, Child(*self.start(Path(folder))) as child:
            url = child.first_line()
            if not url:
                child.end()
                raise RunFailedError(f"the endpoint {self.name} ended before it listened")
            yield Running(url, child.pid)


def _in_ledger(url: str) -> Arrivals:
    """From the ledger, page by page; what came more than once is in here as often."""
    found: Arrivals = []
    after = 0
    while True:
        answer = httpx.get(f"{url}/_control/ledger", params={"after": after, "limit": _PAGE}, timeout=_TIMEOUT_S, trust_env=False)
        rows = [json.loads(line) for line in answer.raise_for_status().text.splitlines()]
        found += [(row["messageId"], row["user"]) for row in rows for _ in range(row["times"])]
        if len(rows) < _PAGE:
            return found
        after = rows[-1]["seq"]


def _counted(url: str) -> Arrivals:
    answer = httpx.get(f"{url}/arrivals", timeout=_TIMEOUT_S, trust_env=False).raise_for_status()
    return [(event_id, user) for event_id, _, user in (line.partition("\t") for line in answer.text.splitlines())]


LEDGER = Endpoint(
    "ledger",
    "the endpoint of the local stack, which judges every event and commits it to a ledger",
    lambda folder: ("devstack.cdp", "--port", "0", "--data", str(folder)),
    _in_ledger,
)
BARE = Endpoint(
    "bare", "an endpoint that only reads, inflates and counts", lambda _: ("benchmarks.delivery.bare_endpoint",), _counted
)
ENDPOINTS = (LEDGER, BARE)
