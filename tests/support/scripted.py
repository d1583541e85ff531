"""A destination without sockets, whose answers are scripted, and a clock that passes only while somebody waits."""

from __future__ import annotations

import gzip
import json
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from contracts.spec.destination import Destination, DialectName, Limits, Secret
from transforms.deliver.http.sink import HttpSink
from transforms.deliver.http.wire import Outgoing

WRITE_KEY = "wk-73-secret"
EPOCH_S = 1_764_000_000.0
SUCCESS = {"segment": httpx.Response(200, json={"success": True}), "rudderstack": httpx.Response(200, text="OK")}


class FakeClock:
    """For one thread: waiting is what makes time pass."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now_s(self) -> float:
        return 1_000.0 + self.passed_s

    def epoch_s(self) -> float:
        return EPOCH_S + self.passed_s

    def wait(self, condition: threading.Condition, timeout_s: float) -> None:
        assert 0 < timeout_s < 1e6, f"waits {timeout_s} s: nobody else could end that"
        self.passed_s += timeout_s


@dataclass
class Seen:
    """A request as the destination saw it."""

    at_s: float
    request: httpx.Request
    body: bytes

    @property
    def json(self) -> bytes:
        return gzip.decompress(self.body) if self.request.headers.get("Content-Encoding") == "gzip" else self.body

    @property
    def ids(self) -> list[str]:
        return [event["messageId"] for event in json.loads(self.json)["batch"]]


Step = httpx.Response | Exception | Callable[[Seen], httpx.Response]


@dataclass
class Scripted:
    """Answers as the script says, then with success. ``committed``: ids by their first arrival."""

    clock: FakeClock
    dialect: DialectName = "segment"
    script: deque[Step] = field(default_factory=deque)
    seen: list[Seen] = field(default_factory=list)
    committed: list[str] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        seen = Seen(self.clock.passed_s, request, request.read())
        self.seen.append(seen)
        step = self.script.popleft() if self.script else SUCCESS[self.dialect]
        if isinstance(step, Exception):
            raise step
        answer = step(seen) if callable(step) else step
        if answer.status_code == 200:
            self.commit(seen.ids)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def commit(self, ids: Iterable[str]) -> None:
        self.committed += [one for one in ids if one not in self.committed]

    @property
    def requests(self) -> list[list[str]]:
        """Ids of each request."""
        return [seen.ids for seen in self.seen]


def event(number: int, size_bytes: int = 0, **more: Any) -> Outgoing:
    """One, of a size if that is given."""
    text = json.dumps({"messageId": f"m{number}", "type": "track", "userId": "u1", "event": "Step", **more})
    user = json.loads(text)["userId"]
    filler = size_bytes - len(text) - len(', "x": ""')
    return Outgoing(f"m{number}", (text if filler < 0 else f'{text[:-1]}, "x": "{"x" * filler}"}}').encode(), user)


def events(count: int) -> list[Outgoing]:
    return [event(number) for number in range(count)]


def destination(monkeypatch: pytest.MonkeyPatch | None = None, **changes: Any) -> Destination:
    """A destination whose key is there."""
    if monkeypatch:
        monkeypatch.setenv("CDP_KEY", WRITE_KEY)
    plain = Destination(
        name="cdp", dataset="customer_event", version=1, type="segment", endpoint="http://127.0.0.1:9/v1/batch",
        write_key=Secret("env", "CDP_KEY"), consent=(), placements=(), limits=Limits(timeout_s=5.0),
    )  # fmt: skip
    return replace(plain, **changes)


@dataclass
class Rig:
    """A sink, its destination and their clock."""

    sink: HttpSink
    target: Scripted
    clock: FakeClock

    def send(self, batch: list[Outgoing], within_s: float = 60.0) -> list[tuple[bool, str] | None]:
        """What became of each: delivered, and the reason."""
        results = self.sink.send(batch, self.clock.now_s() + within_s)
        return [result and (result.delivered, result.reason) for result in results]


def rig(monkeypatch: pytest.MonkeyPatch, *script: Step, share: float = 1.0, **changes: Any) -> Rig:
    """One with a script."""
    clock = FakeClock()
    given = destination(monkeypatch, **changes)
    target = Scripted(clock, given.type, deque(script))
    return Rig(HttpSink(given, share=share, clock=clock, transport=httpx.MockTransport(target)), target, clock)
