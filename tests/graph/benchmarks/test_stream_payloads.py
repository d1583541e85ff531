"""What the load producer sends: sound events of the website, by templates."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from random import Random

import msgspec
import numpy as np
import pytest

from benchmarks.stream.payloads import id_of, iso, templates
from benchmarks.stream.producer import Originals
from contracts.spec.project import Project
from tests.support.processes import PROJECT
from transforms.decode.kernel import RecordDecoder
from transforms.read.messages import MessageBatch

ID = b"ajs-0123456789abcdef0123456789abcdef"
NOW_MS = 1_795_417_933_643


def test_every_payload_is_a_sound_event_with_the_id_and_time_that_it_was_given() -> None:
    rendered = [render(ID, iso(NOW_MS)) for _, render in templates(2_000)]
    for payload in rendered:
        event = json.loads(payload)
        assert event["messageId"] == ID.decode() and id_of(payload, len(ID)) == ID
        assert {event[name] for name in ("originalTimestamp", "sentAt", "receivedAt")} == {"2026-11-23T07:12:13.643Z"}
    assert 600 < np.mean([len(payload) for payload in rendered]) < 800  # as the events of benchmarks/ingest
    spec, contract = Project.load(PROJECT).source("web")
    count = len(rendered)
    times = np.full(count, NOW_MS * 1_000)
    batch = MessageBatch(["kafka:t:i:0"] * count, np.arange(count), times, times, rendered)
    decoded = RecordDecoder(contract, spec, "run").decode(batch)
    assert (len(decoded.rows), len(decoded.dead_letters), len(decoded.filtered)) == (count, 0, 0)


def test_a_truncated_payload_is_no_event_and_still_tells_its_id() -> None:
    for _, render in templates(200):
        payload = render(ID, iso(NOW_MS))[:-40]
        assert id_of(payload, len(ID)) == ID
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(payload)


def test_events_of_a_visit_belong_to_the_same_person() -> None:
    keys = [key for key, _ in templates(2_000)]
    assert 50 < len(set(keys)) < len(keys) / 2


@pytest.mark.parametrize("ms", [0, 999, 1_000, 86_399_999, 86_400_000, NOW_MS, 4_102_444_799_999])
def test_times_are_written_as_the_website_writes_them(ms: int) -> None:
    written = datetime.fromisoformat(iso(ms).decode())
    assert written == datetime.fromtimestamp(ms // 1_000, UTC).replace(microsecond=ms % 1_000 * 1_000)
    assert len(iso(ms)) == 24


# --- copies of events of other minutes


def copied(seed: int, messages: int = 4_000, rate: float = 10) -> list[tuple[int, int]]:
    """Every tenth message wants to be a copy; number of the copy and of its event. Every third message is no event."""
    originals, found = Originals(rate, Random(seed)), []
    for number in range(messages):
        origin = originals.take() if number % 10 == 0 else None
        if origin is not None:
            found.append((number, origin))
        originals.add(is_event=origin is None and number % 3 != 0)
    return found


def test_a_copy_lies_in_another_minute_than_its_event_and_at_most_five_behind() -> None:
    ages_s = [(number - origin) / 10 for number, origin in copied(7)]
    assert min(ages_s) > 60 and max(ages_s) <= 300
    assert max(ages_s) - min(ages_s) > 200, "of any age in between"


def test_no_event_is_copied_twice_and_nothing_but_events() -> None:
    found = copied(7)
    origins, copies = {origin for _, origin in found}, {number for number, _ in found}
    assert len(origins) == len(found) and not origins & copies
    assert all(origin % 3 for origin in origins)
    assert len(found) == (4_000 - 610) // 10 - 1, "every one that was asked for, once there are events that are old enough"


def test_which_events_are_copied_is_the_seeds_alone() -> None:
    assert copied(7) == copied(7) != copied(8)


def test_while_no_event_is_old_enough_there_is_no_copy() -> None:
    assert copied(7, messages=610) == []
