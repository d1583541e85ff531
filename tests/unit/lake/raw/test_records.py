"""One raw record by its position, from files and from logs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from contracts.errors import ConfigurationError
from contracts.spec.paths import PayloadPath
from contracts.spec.source import SourceSpec
from lake.location import Lake
from lake.raw.files import land_file
from lake.raw.inputs import InputFile
from lake.raw.log_ids import LogId, position_of
from lake.raw.records import read_record
from lake.raw.segment_files import RawMessage
from lake.raw.segments import PartitionLog
from transforms.read.messages import MessageBatch

LOG = LogId("events", "tid", 0)
PAYLOADS = [b'{"batch": [{"a": 1}, {"a":  2}]}', b'{"batch": 7}', b"", b'{"batch": [{"a": 3}]}', b"{broken"]


def spec(batched: bool) -> SourceSpec:
    records = PayloadPath(("batch",)) if batched else None
    return SourceSpec(name="mobile", dataset="thing", version=1, format="jsonl", columns={}, records=records)


def landed(path: Path, batched: bool) -> tuple[Lake, MessageBatch]:
    """A lake with the payloads at offsets 10, 12, 14, …"""
    lake = Lake.at(str(path))
    lake.create()
    offsets, zeros = np.arange(10, 10 + 2 * len(PAYLOADS), 2), np.zeros(len(PAYLOADS), np.int64)
    batch = MessageBatch([str(LOG)] * len(offsets), offsets, zeros, zeros, PAYLOADS)
    counts = batch.records_per_message(spec(batched)).tolist()
    messages = [
        RawMessage(int(offset), 0, 1, None, payload or None, (), count)
        for offset, payload, count in zip(offsets, PAYLOADS, counts, strict=True)
    ]
    PartitionLog(lake, "mobile", LOG, batched=batched).land(10, 30, messages)
    return lake, batch


@pytest.mark.parametrize("batched", [False, True])
def test_every_record_of_a_log_is_found_at_the_position_that_the_decoder_gives_it(tmp_path: Path, batched: bool) -> None:
    lake, batch = landed(tmp_path / "lake", batched)
    found = [read_record(lake, spec(batched), str(LOG), p) for p in batch.positions(spec(batched)).tolist()]
    if batched:
        assert found == [b'{"a": 1}', b'{"a":  2}', b'{"batch": 7}', b"", b'{"a": 3}', b"{broken"]
    else:
        assert found == PAYLOADS


def test_position_that_no_message_has_is_told(tmp_path: Path) -> None:
    lake, _ = landed(tmp_path / "lake", True)
    with pytest.raises(ConfigurationError, match=r"no message 11 of kafka:events:tid:0"):
        read_record(lake, spec(True), str(LOG), position_of(11, 0, True))
    with pytest.raises(ConfigurationError, match=r"message 10 of kafka:events:tid:0 holds no record 2"):
        read_record(lake, spec(True), str(LOG), position_of(10, 2, True))


def test_record_of_a_file_is_found_by_its_ordinal(tmp_path: Path) -> None:
    lake = Lake.at(str(tmp_path / "lake"))
    lake.create()
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n\n{"a": 2}\n')
    file = land_file(lake, spec(False), InputFile(str(path), path.stat().st_size, 0)).file
    assert file is not None
    assert read_record(lake, spec(False), file.raw_file, 1) == b'{"a": 2}'
    with pytest.raises(ConfigurationError, match="no record at"):
        read_record(lake, spec(False), file.raw_file, 2)
