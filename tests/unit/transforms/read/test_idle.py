"""W goes on whatever record times a partition has: no times, a clock that stands, and more that comes without a pause."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.spec.project import Project
from lake.location import Lake
from tests.support.processes import PROJECT
from transforms.kafka.connection import KafkaConnection
from transforms.late import NEVER_LATE_US
from transforms.read import poll
from transforms.read.kafka import _ReadFn
from transforms.read.partitions import PartitionProgress, PartitionsProgress
from transforms.read.poll import PartitionsReader, Polled
from transforms.read.topics import KafkaSource
from transforms.readers.progress import ReaderProgress

BEGAN_MS = 1_793_613_600_000
STEP_S, A_POLL, IDLE_S = 0.1, 50, 30


class BusyBroker:
    """A consumer that reads as fast as messages come, and never reaches the end."""

    end = A_POLL

    def get_watermark_offsets(self, *_: Any, **__: Any) -> tuple[int, int]:
        return 0, self.end

    def assign(self, _: Any) -> None: ...
    def unassign(self) -> None: ...
    def pause(self, _: Any) -> None: ...


def watermark_after(seconds: int, time_ms: Callable[[float], int], monkeypatch: pytest.MonkeyPatch) -> int:
    """W after reading for so long, microseconds. time_ms: record times of what is read at a moment."""
    broker, now = BusyBroker(), BEGAN_MS / 1_000
    monkeypatch.setattr(poll, "open_consumer", lambda *_: broker)
    monkeypatch.setattr(poll, "KafkaCluster", lambda *_, **__: None)
    progress: PartitionsProgress = ReaderProgress((PartitionProgress("t", "id", 0, next=0),), NEVER_LATE_US)
    connection = KafkaConnection("nowhere:1", None)
    source = KafkaSource(
        connection=connection, group="g", topic="t", topic_pattern=None, readers=(progress,), salts=(0,), idle_us=IDLE_S * 1_000_000
    )
    spec, _ = Project.load(PROJECT).source("web")
    read = _ReadFn(source, spec, Lake.at("/nowhere"), lambda: now)
    reader = PartitionsReader(connection, "g", "fail")
    for _ in range(int(seconds / STEP_S)):
        first = progress.lanes[0].next
        ms = time_ms(now)
        messages: list[Any] = [
            SimpleNamespace(timestamp=lambda ms=ms: (1, ms), offset=lambda n=n: n, value=lambda: b"{}")
            for n in range(first, first + A_POLL)
        ]
        _, progress = read._judge(reader, progress, {progress.lanes[0].log: Polled(messages, first + A_POLL)})
        broker.end = first + 2 * A_POLL
        reader.resume(progress.lanes)
        progress = read._with_idle(reader, progress)
        now += STEP_S
    return progress.watermark_us


@pytest.mark.parametrize(
    "time_ms",
    [lambda _: -1, lambda _: BEGAN_MS - 3_600_000, lambda now: int(now * 1_000) + 2 * 86_400_000, lambda _: 3_787_000_000_000],
    ids=["no-time", "a-clock-that-stands", "days-ahead", "2090"],
)
def test_a_partition_that_moves_nothing_and_never_ends_does_not_hold_the_watermark(
    time_ms: Callable[[float], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds in (100, 300):
        behind_us = (BEGAN_MS + seconds * 1_000) * 1_000 - watermark_after(seconds, time_ms, monkeypatch)
        assert 5_000_000 <= behind_us < 25_000_000  # the bound on disorder, and half the time after which a partition is silent


def test_it_holds_the_watermark_until_it_was_silent_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watermark_after(IDLE_S - 1, lambda _: -1, monkeypatch) == NEVER_LATE_US


def test_a_history_that_is_being_read_holds_the_watermark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its times rise, however old they are."""
    year_ms = 365 * 86_400_000
    behind_us = (BEGAN_MS + 100_000) * 1_000 - watermark_after(100, lambda now: int(now * 1_000) - year_ms, monkeypatch)
    assert abs(behind_us - year_ms * 1_000 - 5_000_000) < 1_000_000
