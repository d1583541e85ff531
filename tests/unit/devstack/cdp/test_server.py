"""The endpoint against what does not mean it well: no request makes it fail, fill memory, or obey another web page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from devstack.cdp.counters import Counters
from devstack.cdp.ledger import Ledger
from devstack.cdp.server import app
from devstack.cdp.state import State

HOME = "http://127.0.0.1:24480"
EVENT = {"messageId": "m-1", "event": {"type": "track", "event": "a", "userId": "u"}}


class Client:
    """Requests without a socket; an exception of the application is raised here."""

    def __init__(self, state: State) -> None:
        self._transport = httpx.ASGITransport(app(state))

    def request(self, method: str, path: str, **given: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url=HOME) as http:
                return await http.request(method, path, **given)

        return asyncio.run(ask())

    def get(self, path: str, **given: Any) -> httpx.Response:
        return self.request("GET", path, **given)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    ledger = Ledger(tmp_path, ["dev"])
    yield Client(State(ledger, {"key": "dev"}, Counters()))
    ledger.close()


DEEP, LONG = b"[" * 100_000, b'{"messageId": "' + b"x" * (2 << 20) + b'"}'
WRONG: list[tuple[str, str, Any]] = [
    *(
        ("GET", f"/_control/{path}", None)
        for path in ("ledger?after=" + "9" * 30, "requests?after=" + "9" * 5_000, "ledger?limit=-1")
    ),
    ("GET", "/_control/ledger?start=9999-99-99", None),
    ("GET", "/_control/ledger?start=0001-01-01T00:00:00%2B23:59", None),
    ("GET", "/_control/order?user=%ED%A0%80", None),
    ("GET", "/_control/ledger?write_key=%00", None),
    ("PUT", "/_control/faults", DEEP),
    ("PUT", "/_control/faults", LONG),
    ("PUT", "/_control/faults", b'{"slow_s": 1e400}'),
    ("POST", "/_control/ledger", DEEP),
    ("POST", "/_control/ledger", LONG),
    ("POST", "/_control/ledger", b'{"messageId": "\\ud800", "event": {}}'),
    ("POST", "/_control/ledger", b'{"messageId": "m", "event": {"timestamp": 1e308, "userId": 1e30, "type": []}}'),
    ("POST", "/_control/ledger", b'{"messageId": "m", "event": {"timestamp": ' + b"9" * 400 + b"}}"),
    ("POST", "/v1/batch", DEEP),
    ("POST", "/v1/track", b'{"userId": "u", "event": "e", "timestamp": ' + b"9" * 400 + b"}"),
    ("GET", "/v1/export?cursor=" + "9" * 40, None),
    ("GET", "/v1/export?limit=0", None),
]


@pytest.mark.parametrize(("method", "path", "body"), WRONG, ids=[f"{method} {path[:40]}" for method, path, _ in WRONG])
def test_no_request_makes_it_fail(method: str, path: str, body: Any, client: Client) -> None:
    answer = client.request(method, path, content=body, auth=("key", ""))
    assert answer.status_code < 500
    assert client.get("/").status_code == client.get("/_control/counters").status_code == 200


def test_a_page_of_another_origin_cannot_have_it_changed(client: Client) -> None:
    assert client.request("POST", "/_control/ledger", json=EVENT).status_code == 204
    for origin in ("http://evil.example", "null", "https://127.0.0.1:24480", "http://127.0.0.1:1", "http://localhost:24480"):
        for method, path in (("DELETE", "/_control/ledger"), ("PUT", "/_control/faults"), ("POST", "/v1/track")):
            assert client.request(method, path, headers={"Origin": origin}).status_code == 403
    assert len(client.get("/_control/ledger").text.splitlines()) == 1
    assert client.get("/_control/ledger", headers={"Origin": HOME}).status_code == 200


def test_a_name_that_was_bound_to_this_machine_is_refused(client: Client) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:24480"):
        assert client.get("/_control/ledger", headers={"Host": host}).status_code == 400
