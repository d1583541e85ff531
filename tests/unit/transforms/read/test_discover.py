"""Which partitions a reader has, and where its element lands on Flink."""

from __future__ import annotations

import msgspec
import pytest

from contracts.errors import OffsetGapError
from runners.flink.key_groups import salts_for, subtask_of
from transforms.kafka.connection import Partitions
from transforms.read.discover import merge_partitions
from transforms.read.partitions import PartitionProgress, owner_of
from transforms.readers.progress import ReaderProgress
from transforms.readers.restriction import ReaderName, reader_name

READ = ReaderProgress((PartitionProgress("t", "id", 0, next=7, max_us=5), PartitionProgress("t", "id", 2, next=4, max_us=9)), 3)


def test_nothing_new_changes_nothing() -> None:
    assert merge_partitions(READ, {"t": Partitions("id", 4)}, ReaderName(0, 2)) == READ


def test_new_partitions_are_read_from_their_beginning_by_their_owner_and_keep_the_watermark() -> None:
    after = merge_partitions(READ, {"t": Partitions("id", 6), "later": Partitions("x", 3)}, ReaderName(0, 2))
    new = [(p.topic, p.topic_id, p.partition, p.next, p.end) for p in after.lanes[2:]]
    assert new == [("t", "id", 4, 0, None), ("later", "x", 0, 0, None), ("later", "x", 2, 0, None)]
    assert (after.lanes[:2], after.watermark_us) == (READ.lanes, 3)


def test_a_topic_that_was_made_again_replaces_the_one_before() -> None:
    after = merge_partitions(READ, {"t": Partitions("again", 1)}, ReaderName(0, 2))
    assert after.lanes == (PartitionProgress("t", "again", 0, next=0), READ.lanes[1])


def test_a_topic_that_is_gone_stays() -> None:
    assert merge_partitions(READ, {}, ReaderName(0, 2)) == READ


def test_where_reading_has_an_end_nothing_is_added() -> None:
    bounded = ReaderProgress((PartitionProgress("t", "id", 0, next=7, end=9),))
    assert merge_partitions(bounded, {"t": Partitions("id", 4), "later": Partitions("x", 1)}, ReaderName(0, 1)) == bounded
    with pytest.raises(OffsetGapError, match="topic t: was deleted and made again"):
        merge_partitions(bounded, {"t": Partitions("again", 1)}, ReaderName(0, 1))
    finished = msgspec.structs.replace(bounded, lanes=(PartitionProgress("t", "id", 0, next=9, end=9),))
    assert merge_partitions(finished, {"t": Partitions("again", 1)}, ReaderName(0, 1)) == finished


@pytest.mark.parametrize("readers", [1, 2, 3, 8])
def test_every_partition_has_one_owner(readers: int) -> None:
    owners = [owner_of(partition, readers) for partition in range(16)]
    assert set(owners) == set(range(readers))


@pytest.mark.parametrize(
    ("element", "key_group"),
    [
        (b"", 46),
        (b"a", 119),
        (b'{"reader":0,"salt":0}', 9),
        (b'{"reader":7,"salt":12}', 114),
        (b"\x7f", 9),
        (b"\x80\xff\x01", 63),
        (b"x" * 127, 45),
        (b"x" * 128, 113),
        (b"x" * 300, 124),
    ],
)
def test_subtasks_are_those_of_flink(element: bytes, key_group: int) -> None:
    """Expected: KeyGroupRangeAssignment.assignToKeyGroup of Flink 1.19.3 over the FlinkKey of Beam's runner 2.70."""
    assert [subtask_of(element, n) for n in (2, 4, 7, 128)] == [key_group * n // 128 for n in (2, 4, 7, 128)]


@pytest.mark.parametrize("parallelism", [1, 2, 3, 4, 8, 16, 64])
def test_salts_put_every_reader_on_its_own_subtask(parallelism: int) -> None:
    def name(reader: int, salt: int) -> bytes:
        return reader_name(reader, parallelism, salt)

    salts = salts_for(name, parallelism, parallelism)
    assert [subtask_of(name(i, salt), parallelism) for i, salt in enumerate(salts)] == list(range(parallelism))
