"""The landing log of a partition: several writers, overlaps, merges and crashes, and each position is read once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import ConfigurationError
from lake.location import Lake
from lake.raw import segments
from lake.raw.log_ids import BATCH_BITS, LogId, is_log, offset_of, position_of
from lake.raw.positions import Positions, landed_log
from lake.raw.segment_files import RawMessage
from lake.raw.segments import PartitionLog, landed_up_to, log_folder, log_segments, logs_of, read_message, read_messages
from lake.storage.local import LocalStorage

LOG = LogId("web-events", "kV3pPj9sQ0aYwVtO1m2n3A", 2)
END = 60  # offsets of the log in these tests
GAPS = frozenset(range(7, 60, 9))  # control records, aborted and compacted away messages


class CrashError(Exception):
    """A process dies here."""


def message(offset: int, records: int = 1) -> RawMessage:
    """The message that the broker has at an offset: always the same."""
    headers = (("trace", b"\x00\xff"), ("none", None)) if offset % 3 == 0 else ()
    value = None if offset % 11 == 10 else b"value %d" % offset
    return RawMessage(offset, 1_000 + offset, 1 + offset % 2, b"k" if offset % 2 else None, value, headers, records)


def broker(start: int, end: int) -> list[RawMessage]:
    """What is there in [start, end)."""
    return [message(offset) for offset in range(start, end) if offset not in GAPS]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    found = Lake.at(str(tmp_path / "lake"))
    found.create()
    return found


def writer(lake: Lake, *, batched: bool = False) -> PartitionLog:
    return PartitionLog(lake, "web", LOG, batched=batched)


def read(lake: Lake) -> list[RawMessage]:
    """All messages, as a reader of the raw layer gets them."""
    return [found for segment in log_segments(lake, "web", LOG) for found in read_messages(segment)]


def covered(lake: Lake) -> list[int]:
    """Offsets that the segments claim to cover, one after another."""
    return [offset for segment in log_segments(lake, "web", LOG) for offset in range(segment.start, segment.end)]


def test_a_message_comes_back_as_it_was(lake: Lake) -> None:
    assert writer(lake).land(0, 12, broker(0, 12)) == 11
    assert read(lake) == broker(0, 12)
    assert read_message(lake, "web", LOG, 3) == message(3)
    with pytest.raises(ConfigurationError, match="no message 7 of kafka:web-events:kV3pPj9sQ0aYwVtO1m2n3A:2"):
        read_message(lake, "web", LOG, 7)


def test_logs_are_named_by_topic_id_and_partition(lake: Lake) -> None:
    again = LOG._replace(topic_id="another")
    for log in (LOG, again):
        PartitionLog(lake, "web", log, batched=False).land(0, 3, broker(0, 3))
    assert logs_of(lake, "web") == sorted([LOG, again])
    assert LogId.parse(str(LOG)) == LOG and is_log(str(LOG)) and not is_log("ab" * 32)


def test_what_is_landed_is_not_landed_again(lake: Lake) -> None:
    first, second = writer(lake), writer(lake)
    first.land(0, 10, broker(0, 10))
    assert second.land(5, 15, broker(5, 15)) == 5
    assert first.land(8, 20, broker(8, 20)) == 4  # it has not seen what the other landed, and looks
    assert read(lake) == broker(0, 20)


def test_a_range_without_messages_is_covered_too(lake: Lake) -> None:
    log = writer(lake)
    log.land(0, 5, broker(0, 5))
    assert log.land(5, 7, []) == 0
    log.land(7, 9, broker(7, 9))
    assert covered(lake) == list(range(9))
    assert landed_up_to(lake, "web", LOG, 0) == 9


def test_positions_tell_records_of_one_message_apart(lake: Lake) -> None:
    messages = [message(0, records=3), message(1, records=0), message(2, records=1)]
    writer(lake, batched=True).land(0, 3, messages)
    landed = landed_log(lake, "web", LOG, batched=True)
    positions = [p for piece in landed.pieces for first, n in piece.reshape(-1, 2).tolist() for p in range(first, first + n)]
    assert positions == [0, 1, 2, 2 << BATCH_BITS]
    assert [position_of(2, 0, True), offset_of((2 << BATCH_BITS) + 5, True), offset_of(7, False)] == [2 << BATCH_BITS, 2, 7]


def test_small_segments_are_merged_and_nothing_changes(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "MERGE_AT", 8)
    log = writer(lake)
    for offset in range(50):
        log.land(offset, offset + 1, broker(offset, offset + 1))
    assert len(list(Path(log_folder(lake, "web", LOG)).glob("*.avro"))) <= 8
    assert read(lake) == broker(0, 50)
    assert covered(lake) == list(range(50))
    assert _positions(lake) == [m.offset for m in broker(0, 50)]


def test_large_segments_are_left_alone(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "MERGE_AT", 4)
    monkeypatch.setattr(segments, "MERGED_BYTES", 10)
    log = writer(lake)
    for offset in range(20):
        log.land(offset, offset + 1, broker(offset, offset + 1))
    assert len(list(Path(log_folder(lake, "web", LOG)).glob("*.avro"))) == 20


def test_a_merger_that_was_frozen_loses_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has read the parts, and writes the whole when another has long landed more, and merged."""
    monkeypatch.setattr(segments, "MERGE_AT", 4)
    frozen, other = writer(lake), writer(lake)
    put = LocalStorage.put_if_absent

    def wake_up_late(storage: LocalStorage, path: str, content: bytes) -> bool:
        if Path(path).stem == f"{3:020d}-{4:020d}":
            return put(storage, path, content)
        monkeypatch.setattr(LocalStorage, "put_if_absent", put)
        for offset in range(4, 14):
            other.land(offset, offset + 1, broker(offset, offset + 1))
        return put(storage, path, content)

    for offset in range(3):
        frozen.land(offset, offset + 1, broker(offset, offset + 1))
    monkeypatch.setattr(LocalStorage, "put_if_absent", wake_up_late)
    frozen.land(3, 4, broker(3, 4))
    assert LocalStorage.put_if_absent is put, "nothing was merged"
    assert read(lake) == broker(0, 14)
    assert _positions(lake) == [m.offset for m in broker(0, 14)]


# Any sequence of landings by several writers that overlap, start anew, merge and crash


@contextmanager
def crash_at(step: int) -> Iterator[None]:
    """The process dies at the so-manieth change of a file from now on; before it happens."""
    count = itertools.count()

    def dying(kind: type, name: str) -> object:
        real = getattr(kind, name)

        def act(*given: object, **named: object) -> object:
            if next(count) == step:
                raise CrashError
            return real(*given, **named)

        return act

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalStorage, "put_if_absent", dying(LocalStorage, "put_if_absent"))
        patch.setattr(Path, "unlink", dying(Path, "unlink"))
        yield


landings = st.tuples(
    st.integers(0, 2),  # which writer
    st.integers(0, 12),  # how far back from the furthest offset it begins: it was restarted, or is a zombie
    st.integers(1, 9),  # how many offsets
    st.one_of(st.none(), st.none(), st.integers(0, 12)),  # whether it dies, and at which change
    st.booleans(),  # whether it is a new process
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(landings, min_size=1, max_size=40), st.sampled_from((2, 3, 5)))
def test_each_position_is_read_once_whatever_the_writers_did(
    steps: list[tuple[int, int, int, int | None, bool]], merge_at: int
) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "MERGE_AT", merge_at)
        lake = Lake.at(folder)
        lake.create()
        writers = [writer(lake) for _ in range(3)]
        certain = 0  # landed for sure up to here
        for who, back, count, dies_at, anew in steps:
            if anew:
                writers[who] = writer(lake)
            start = max(certain - back, 0)
            end = min(start + count, END)
            try:
                with crash_at(-1 if dies_at is None else dies_at):
                    writers[who].land(start, end, broker(start, end))
            except CrashError:
                writers[who] = writer(lake)
            else:
                certain = max(certain, end)
            found = covered(lake)
            assert found == list(range(len(found))) and len(found) >= certain
            assert read(lake) == broker(0, len(found))
            assert _positions(lake) == [m.offset for m in read(lake)]


def _positions(lake: Lake) -> list[int]:
    """Positions as the ledger counts them."""
    landed = landed_log(lake, "web", LOG, batched=False)
    found = [p for piece in landed.pieces for first, n in piece.reshape(-1, 2).tolist() for p in range(first, first + n)]
    assert [p for s in landed.extents() for p in _listed(s.positions)] == found
    return found


def _listed(positions: Positions) -> list[int]:
    return [positions.at(place) for place in range(len(positions))]
