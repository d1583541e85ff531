"""Two workers land one partition: one freezes, the other goes on, then the first wakes up. No offset is lost or seen twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lake.location import Lake
from lake.raw import segments
from lake.raw.log_ids import LogId
from lake.raw.segment_files import RawMessage
from lake.raw.segments import MERGE_AT, PartitionLog, log_segments, read_messages
from lake.storage.local import LocalStorage

LOG = LogId("events", "z_Ex5crURMSLZZ8D2EMHNQ", 0)


def messages(start: int, end: int) -> list[RawMessage]:
    return [RawMessage(offset, 1_000 + offset, 1, b"k", b"v%d" % offset, ()) for offset in range(start, end)]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake.at(str(tmp_path / "lake"))
    lake.create()
    return lake


def partition_log(lake: Lake) -> PartitionLog:
    return PartitionLog(lake, "web", LOG, batched=False)


def offsets(lake: Lake) -> list[int]:
    return [m.offset for segment in log_segments(lake, "web", LOG) for m in read_messages(segment)]


def land(log: PartitionLog, start: int, end: int, step: int = 1) -> None:
    for first in range(start, end, step):
        log.land(first, min(first + step, end), messages(first, min(first + step, end)))


# Before it lands the last segment; before it joins what it merges; before the merged one appears.
FREEZES = [(LocalStorage, "put_if_absent", 1), (segments, "join_segments", 1), (LocalStorage, "put_if_absent", 2)]


@pytest.mark.parametrize(("owner", "freezes_in", "call"), FREEZES, ids=lambda part: getattr(part, "__name__", part))
def test_a_worker_frozen_while_it_merges_takes_nothing_away(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, owner: object, freezes_in: str, call: int
) -> None:
    frozen, other = partition_log(lake), partition_log(lake)
    land(frozen, 0, MERGE_AT - 1)
    original, calls = getattr(owner, freezes_in), []

    def freeze(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == call:
            land(other, 0, 3 * MERGE_AT)
        return original(*arguments)

    monkeypatch.setattr(owner, freezes_in, freeze)
    land(frozen, MERGE_AT - 1, MERGE_AT)
    assert len(calls) >= call and offsets(lake) == list(range(3 * MERGE_AT))
    land(frozen, MERGE_AT, 4 * MERGE_AT)
    assert offsets(lake) == list(range(4 * MERGE_AT))


@pytest.mark.parametrize(("behind", "step"), [(0, 1), (0, 3), (5, 4), (17, 13)])
def test_a_woken_worker_lands_again_what_others_have_landed_and_merged(lake: Lake, behind: int, step: int) -> None:
    frozen, other = partition_log(lake), partition_log(lake)
    land(frozen, 0, 20)
    land(other, behind, 2 * MERGE_AT)
    land(frozen, 20, 2 * MERGE_AT + 7, step)
    assert offsets(lake) == list(range(2 * MERGE_AT + 7))
    land(other, 2 * MERGE_AT, 3 * MERGE_AT)
    assert offsets(lake) == list(range(3 * MERGE_AT))
