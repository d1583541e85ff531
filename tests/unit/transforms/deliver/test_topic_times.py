"""Since when a row of a topic waits, and which time it has, whatever its producer wrote."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from contracts.compiler.clocks import LATEST_US
from contracts.encode.events import EventEncoder
from contracts.spec.destination import Destination, Placement, Secret
from contracts.spec.model import Column, ColumnType, Contract
from contracts.spec.paths import PayloadPath
from contracts.spec.suppressions import NOTHING
from lake.raw.log_ids import LogId
from transforms.deliver import topic
from transforms.deliver.topic import TopicReader

NOW_MS = 1_793_613_600_000
CONTRACT = Contract(
    name="thing", version="1.0.0", kind="event", event_id="id", columns=(Column(name="id", type=ColumnType.STRING),)
)
CDP = Destination(
    name="cdp", dataset="thing", version=1, type="segment", endpoint="https://h/x", write_key=Secret("env", "K"), consent=(),
    placements=(Placement("id", PayloadPath.parse("messageId")),),
)  # fmt: skip
GOOD, TOMBSTONE, BAD = json.dumps({"id": "e-1"}).encode(), None, b"no json"


@pytest.mark.parametrize("value", [GOOD, TOMBSTONE, BAD], ids=["row", "tombstone", "no row"])
@pytest.mark.parametrize(
    ("time_ms", "since_ms"), [(NOW_MS - 5, NOW_MS - 5), (-1, NOW_MS), (NOW_MS * 1_000, NOW_MS), (NOW_MS + 86_400_000, NOW_MS)]
)
def test_a_row_waits_since_it_came_and_not_since_1970_or_a_time_to_come(
    value: bytes | None, time_ms: int, since_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert item(value, time_ms, (), monkeypatch).waiting_since_us == since_ms * 1_000


def test_a_window_time_that_no_event_has_is_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert item(GOOD, NOW_MS, (("window_time", b"99999999999999999999999"),), monkeypatch).window_time_us == LATEST_US
    assert item(GOOD, NOW_MS, (("window_time", b"17"),), monkeypatch).window_time_us == 17


def item(value: bytes | None, time_ms: int, headers: tuple[tuple[str, bytes], ...], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(topic, "PartitionsReader", lambda *_: None)
    source = cast(Any, SimpleNamespace(connection=None, group="g", on_gap="fail"))
    reader = TopicReader(source, cast(Any, None), EventEncoder(CDP, CONTRACT, NOTHING), lambda: NOW_MS / 1_000)
    message = SimpleNamespace(offset=lambda: 3, timestamp=lambda: (1, time_ms), value=lambda: value, headers=lambda: headers)
    (found,) = reader._items([message], LogId("t", "id", 0))
    return found
