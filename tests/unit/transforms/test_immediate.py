"""The immediate branch without a broker: what it remembers, whose row it is, and what it does when rows are not acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from confluent_kafka import KafkaError, KafkaException

from contracts.compiler.rows import canonical_rows
from contracts.errors import ComponentDownError
from contracts.spec.project import Project
from examples.webshop import generate as webshop
from tests.support.stream_population import START, track
from transforms import immediate
from transforms.batch import RowBatch
from transforms.decode.kernel import RecordDecoder
from transforms.immediate import RecentIds, RowsTopic
from transforms.kafka.connection import KafkaConnection
from transforms.read.messages import MessageBatch

SPEC, CONTRACT = Project.load(Path(webshop.__file__).parent).source("web")
TOO_LARGE, TIMED_OUT = KafkaError.MSG_SIZE_TOO_LARGE, KafkaError._MSG_TIMED_OUT


class FakeProducer:
    """A producer whose broker refuses a whole batch where ``refuses`` finds one message of it wanting."""

    def __init__(self, _settings: dict[str, Any]) -> None:
        self.batch: list[tuple[bytes, str, dict[str, str], Callable[..., None]]] = []
        self.sent: list[tuple[bytes, str, dict[str, str]]] = []
        self.refuses: Callable[[str], int | None] = lambda _: None
        self.full = 0

    def produce(self, topic: str, value: bytes, key: str, *, headers: list[Any], on_delivery: Callable[..., None]) -> None:
        assert topic == "out"
        if self.full:
            raise BufferError
        if len(value) > 100_000:
            raise KafkaException(KafkaError(TOO_LARGE))
        self.batch.append((value, key, dict(headers), on_delivery))

    def poll(self, _timeout: float) -> int:
        self.full = max(self.full - 1, 0)
        return 0

    def flush(self, _timeout: float) -> int:
        batch, self.batch = self.batch, []
        error = next((e for *_, headers, _ in batch if (e := self.refuses(headers["event_id"]))), None)
        for value, key, headers, told in batch:
            if error is None:
                self.sent.append((value, key, headers))
            told(None if error is None else KafkaError(error), None)
        return 0

    def ids(self) -> list[str]:
        return [headers["event_id"] for _, _, headers in self.sent]


def rows(*events: bytes) -> RowBatch:
    """Checked rows of these events, in their order."""
    numbers = np.arange(len(events))
    batch = MessageBatch(["kafka:t:id:0"] * len(events), numbers, numbers, numbers, list(events))
    found = RecordDecoder(CONTRACT, SPEC, "run", keep_json=True).decode(batch).rows
    assert len(found) == len(events)
    return RowBatch(found)


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> immediate._PublishFn:
    monkeypatch.setattr(immediate, "Producer", FakeProducer)
    found = immediate._PublishFn(RowsTopic(KafkaConnection("h:1"), "out"), CONTRACT)
    found.setup()
    return found


def bundle(publisher: immediate._PublishFn, *batches: RowBatch) -> FakeProducer:
    publisher.start_bundle()
    for batch in batches:
        list(publisher.process(batch))
    publisher.finish_bundle()
    producer: FakeProducer = publisher._producer  # type: ignore[assignment]
    return producer


def event(number: int, **fields: Any) -> bytes:
    return track(f"m-{number}", START, **fields)


def test_only_so_many_ids_are_remembered_and_the_oldest_forgotten() -> None:
    recent = RecentIds(limit=2)
    assert [recent.add(key) for key in ("a", "b", "a", "c", "b", "a")] == [True, True, False, True, False, True]


def test_a_row_belongs_to_its_user_else_to_its_visitor() -> None:
    batch = rows(event(1), event(2, userId=None, anonymousId="a-2"), event(3, anonymousId="a-3"))
    assert immediate._keys(batch.rows, CONTRACT) == ["u-1", "a-2", "u-1"]
    nobody = batch.rows.set_column(batch.rows.schema.get_field_index("user_id"), "user_id", [[None] * 3])
    assert immediate._keys(nobody, CONTRACT) == ["m-1", "a-2", "a-3"]


def test_what_goes_out_is_the_canonical_row_that_its_hash_is_of(publisher: immediate._PublishFn) -> None:
    batch = rows(event(1, properties={"b": 1.50, "a": "ü\t"}), event(2, messageId=None))
    sent = [value for value, _, _ in bundle(publisher, batch).sent]
    assert sent == canonical_rows(CONTRACT)(batch.rows)
    assert [xxhash.xxh3_128_digest(value) for value in sent] == batch.rows.column("_row_hash").to_pylist()


def test_repeats_are_suppressed_within_and_between_bundles(publisher: immediate._PublishFn) -> None:
    bundle(publisher, rows(event(1), event(2), event(1)), rows(event(2)))
    assert bundle(publisher, rows(event(1), event(3))).ids() == ["m-1", "m-2", "m-3"]


def test_a_full_queue_is_waited_for(publisher: immediate._PublishFn) -> None:
    publisher._producer.full = 3  # type: ignore[attr-defined]
    assert bundle(publisher, rows(event(1), event(2))).ids() == ["m-1", "m-2"]


def test_what_was_not_acknowledged_fails_the_bundle_and_goes_out_again(publisher: immediate._PublishFn) -> None:
    producer: FakeProducer = publisher._producer  # type: ignore[assignment]
    bundle(publisher, rows(event(1)))
    producer.refuses = lambda _: TIMED_OUT
    with pytest.raises(ComponentDownError, match=r"topic out: rows were not acknowledged \(_MSG_TIMED_OUT\)"):
        bundle(publisher, rows(event(2)))
    producer.refuses = lambda _: None
    assert bundle(publisher, rows(event(2))).ids() == ["m-1", "m-2"]


def test_a_row_that_is_too_large_costs_only_itself(publisher: immediate._PublishFn) -> None:
    producer: FakeProducer = publisher._producer  # type: ignore[assignment]
    producer.refuses = lambda event_id: TOO_LARGE if event_id == "m-2" else None
    batch = rows(event(1), event(2), event(3), event(4, properties={"text": "x" * 200_000}))
    assert bundle(publisher, batch).ids() == ["m-1", "m-3"]
