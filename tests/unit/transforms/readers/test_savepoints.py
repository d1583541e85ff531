"""What savepoints hold stays byte for byte what it was in 0.1.0 of before the move, which wrote these fixtures."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np

from lake.receipts.lanes import LaneId
from transforms.deliver.table import TableProgressCoder, shared_out
from transforms.read.messages import MessageBatch, MessageBatchCoder
from transforms.read.partitions import PartitionProgress, ReaderProgressCoder
from transforms.readers.progress import ReaderProgress
from transforms.readers.restriction import ReaderName, reader_names

SAVED = json.loads((Path(__file__).parents[3] / "fixtures" / "upgrade" / "savepoint.json").read_text())
PROGRESS = [
    ReaderProgress((PartitionProgress("web", "AAAA", 0, next=0),)),
    ReaderProgress(
        (
            PartitionProgress("web", "AAAA", 0, next=7, end=9, max_us=5, idle=True),
            PartitionProgress("app.events", "b-_c", 11, next=2**40),
        ),
        watermark_us=1_762_000_000_000_000,
    ),
    ReaderProgress((), stopped=True),
]


def test_elements_of_readers_stay() -> None:
    assert [element.decode() for element in reader_names((0, 3))] == SAVED["elements"]
    assert [ReaderName.parse(element.encode()) for element in SAVED["elements"]] == [ReaderName(0, 2), ReaderName(1, 2)]


def test_restrictions_of_partitions_stay() -> None:
    coder = ReaderProgressCoder()
    assert [coder.encode(progress).decode() for progress in PROGRESS] == SAVED["restrictions"]
    assert [coder.decode(saved.encode()) for saved in SAVED["restrictions"]] == PROGRESS


def test_batches_of_messages_stay() -> None:
    batch = MessageBatch(
        ["kafka:web:AAAA:0", "kafka:web:AAAA:1"], np.array([1, 2]), np.array([3, 4]), np.array([-(2**63), 5]), [b"{}", b""]
    )
    assert base64.b64encode(MessageBatchCoder().encode(batch)).decode() == SAVED["messages"]


def test_lanes_of_a_table_survive_a_checkpoint_and_keep_the_names_of_their_receipts() -> None:
    first, second = shared_out("validated.rows", "run", [], 3, 2)
    assert TableProgressCoder().decode(TableProgressCoder().encode(first)) == first
    assert [lane.id for lane in (*first.lanes, *second.lanes)] == [LaneId("validated.rows", "run", n) for n in (0, 2, 1)]
