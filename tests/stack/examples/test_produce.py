"""The webshop's events in a topic: record times are times of receipt; live events happen now, and their copies stay copies."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devstack.stack import Stack
from examples.webshop.generate import generate
from examples.webshop.produce import Event, live, main, read_sample
from tests.support.kafka import Broker

RECORDS = 5_000
START_MS = 1_800_000_000_000


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    generate(folder, RECORDS)
    return folder


def parsed(event: Event) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(event.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def test_the_sample_comes_in_the_order_of_receipt_and_each_file_once(sample: Path) -> None:
    events = read_sample(sample)
    assert [e.received_ms for e in events] == sorted(e.received_ms for e in events)
    told = [(e.received_ms, parsed(e)["receivedAt"]) for e in events if "receivedAt" in parsed(e)]
    assert len(told) > 0.9 * len(events)
    assert all(received == ms(text) for received, text in told)
    assert all(e.key == (parsed(e).get("userId") or parsed(e)["anonymousId"]).encode() for e in events if e.key)
    assert len({e.body for e in events}) < len(events) <= 0.6 * RECORDS + 1_000, (
        "copies within the data stay, the second file does not"
    )


def test_live_events_are_received_on_schedule_and_keep_their_delays(sample: Path) -> None:
    events = read_sample(sample)
    moved = list(islice(live(events, 100, START_MS), len(events)))
    assert [e.received_ms for e in moved] == [START_MS + 10 * number for number in range(len(events))]
    seen: set[str] = set()
    for before, after in zip(map(parsed, events), map(parsed, moved), strict=True):
        event_id = before.get("messageId")
        stamps = [d.get("originalTimestamp") for d in (before, after)]
        if not event_id or event_id in seen or not all(isinstance(s, str) and s.endswith("Z") for s in stamps):
            continue
        seen.add(event_id)
        if "receivedAt" in before and "2026-02-30" not in stamps[0]:
            delays = [ms(d["receivedAt"]) - ms(stamp) for d, stamp in zip((before, after), stamps, strict=True)]
            assert delays[0] == delays[1], event_id
    assert len(seen) > 0.8 * len(events)


def test_copies_of_a_live_event_keep_its_original_timestamp_and_defects_stay_defects(sample: Path) -> None:
    events = read_sample(sample)
    moved = list(islice(live(events, 100, START_MS), len(events)))
    groups: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
    for before, after in zip(map(parsed, events), map(parsed, moved), strict=True):
        if before.get("messageId") and "originalTimestamp" in before:
            groups[before["messageId"]].append((before["originalTimestamp"], after["originalTimestamp"]))
    copied = [pairs for pairs in groups.values() if len(pairs) > 1]
    assert copied and all(len({after for _, after in pairs}) == len({before for before, _ in pairs}) for pairs in copied)
    stamps = {before: after for pairs in groups.values() for before, after in pairs}
    assert stamps["yesterday"] == "yesterday" and stamps["2026-11-02T10:00:00"] == "2026-11-02T10:00:00"
    numbers = [(before, after) for before, after in stamps.items() if isinstance(before, int)]
    assert numbers and all(len(str(before)) == len(str(after)) and after > before for before, after in numbers)


def test_the_second_round_has_other_ids(sample: Path) -> None:
    events = read_sample(sample)
    twice = list(islice(live(events, 1_000, START_MS), 2 * len(events)))
    first, second = ({parsed(e).get("messageId") for e in part} - {None} for part in (twice[: len(events)], twice[len(events) :]))
    assert len(first) == len(second) and not first & second


def test_the_topic_is_made_and_holds_the_sample_with_its_times(
    sample: Path, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    broker = Broker(stack.kafka_bootstrap)
    arguments = ["--bootstrap", stack.kafka_bootstrap, "--topic", "produced", "--partitions", "3", "--data", str(sample)]
    try:
        assert main(arguments) == 0
        received = broker.received("produced")
    finally:
        broker.delete("produced")
    events = read_sample(sample)
    assert capsys.readouterr().out == f"{len(events):,} messages in topic produced\n"
    assert sorted((r.time_ms, r.value) for r in received) == sorted((e.received_ms, e.body) for e in events)
    assert {r.partition for r in received} == {0, 1, 2}


def test_a_broker_that_is_not_there_is_told_in_a_sentence(
    sample: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("examples.webshop.produce._CALL_S", 1.0)
    assert main(["--bootstrap", "localhost:1", "--data", str(sample)]) == 3
    assert "is it running?" in capsys.readouterr().err
