"""The vendors' own libraries post to it, and all of their calls arrive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.cdp import CdpEndpoint

rudderstack = pytest.importorskip("rudderstack.analytics.client", reason="make dev installs rudder-sdk-python")
segment = pytest.importorskip("segment.analytics.client", reason="make dev installs segment-analytics-python")

MOMENT = datetime(2026, 11, 23, 10, 0, 0, 123_000, UTC)
CALLS = ("identify", "track", "page", "screen", "group", "alias")


def segment_client(cdp: CdpEndpoint, **options: Any) -> Any:
    return segment.Client(cdp.write_key, host=cdp.url, **options)


def rudderstack_client(cdp: CdpEndpoint, **options: Any) -> Any:
    return rudderstack.Client(cdp.write_key, host=cdp.rudderstack, **options)


def every_call(client: Any) -> None:
    client.identify("u-1", {"plan": "pro"}, timestamp=MOMENT, message_id="identify")
    client.track("u-1", "Order Completed", {"total": 9.5}, timestamp=MOMENT, message_id="track")
    client.page("u-1", "shop", "home", timestamp=MOMENT, message_id="page")
    client.screen("u-1", "shop", "home", timestamp=MOMENT, message_id="screen")
    client.group("u-1", "g-1", timestamp=MOMENT, message_id="group")
    client.alias("a-1", "u-1", timestamp=MOMENT, message_id="alias")


@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("sync", [True, False], ids=["sync", "threaded"])
@pytest.mark.parametrize("make", [segment_client, rudderstack_client])
def test_all_calls_arrive(cdp: CdpEndpoint, make: Callable[..., Any], sync: bool, gzip: bool) -> None:
    failed: list[object] = []
    client = make(cdp, sync_mode=sync, gzip=gzip, on_error=lambda error, items: failed.append(error), max_retries=2)
    every_call(client)
    if not sync:
        client.shutdown()
    assert failed == []
    rows = cdp.ledger()
    assert [row["messageId"] for row in rows] == list(CALLS)
    assert [row["type"] for row in rows] == list(CALLS)
    assert {row["user"] for row in rows} == {"u-1"}
    assert datetime.fromisoformat(rows[1]["timestamp"]) == MOMENT
    assert rows[1]["event"]["properties"] == {"total": 9.5}
    counters = cdp.counters()
    assert counters["requests"] == (len(CALLS) if sync else counters["by_status"]["200"])
    assert (counters["wire_bytes"] < counters["json_bytes"]) == gzip


@pytest.mark.parametrize("make", [segment_client, rudderstack_client])
def test_a_library_that_tries_again_has_one_effect(cdp: CdpEndpoint, make: Callable[..., Any]) -> None:
    cdp.faults(script=["503", "reset_after"])
    failed: list[object] = []
    client = make(cdp, on_error=lambda error, items: failed.append(error), upload_size=10, upload_interval=1)
    for number in range(10):
        client.track("u-1", "Viewed", message_id=f"m-{number}")
    client.shutdown()
    assert failed == []
    assert [(row["messageId"], row["times"]) for row in cdp.ledger()] == [(f"m-{number}", 2) for number in range(10)]


def test_a_wrong_key_reaches_the_librarys_error_handler(cdp: CdpEndpoint) -> None:
    failed: list[Any] = []
    client = segment.Client("wrong", host=cdp.url, on_error=lambda error, items: failed.append((error.status, len(items))))
    client.track("u-1", "Viewed")
    client.shutdown()
    assert failed == [(401, 1)]
    assert cdp.ledger() == []
