"""Batches of messages: they survive their coder, and every record in them has a position of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.compiler.clocks import NO_TIME_US
from contracts.spec.project import Project
from contracts.spec.source import SourceSpec
from examples.webshop import generate as webshop
from lake.raw.log_ids import BATCH_BITS, LogId
from lake.raw.segment_files import RawMessage
from transforms.read.messages import MessageBatch, MessageBatchCoder
from transforms.read.raw import message_batch

PROJECT = Project.load(Path(webshop.__file__).parent)


@pytest.fixture(scope="module")
def web() -> SourceSpec:
    return PROJECT.source("web")[0]


@pytest.fixture(scope="module")
def mobile() -> SourceSpec:
    return PROJECT.source("mobile")[0]


def batch(values: list[bytes], offsets: list[int] | None = None) -> MessageBatch:
    numbers = np.array(range(len(values)) if offsets is None else offsets, dtype=np.int64)
    return MessageBatch(["kafka:t:id:0"] * len(numbers), numbers, 1_000 * numbers, numbers - 5, values)


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.binary(max_size=20)), max_size=8))
def test_a_batch_survives_its_coder(messages: list[tuple[int, bytes]]) -> None:
    numbers = np.array([number for number, _ in messages], dtype=np.int64)
    sent = MessageBatch(["kafka:t:id:3"] * len(numbers), numbers, numbers[::-1], numbers // 2, [value for _, value in messages])
    encoded = MessageBatchCoder().encode(sent)
    found = MessageBatchCoder().decode(encoded)
    assert (found.logs, found.values) == (sent.logs, sent.values)
    for name in ("offsets", "times_us", "watermarks_us"):
        assert getattr(found, name).tolist() == getattr(sent, name).tolist()
    assert MessageBatchCoder().encode(found) == encoded


def test_a_batch_that_was_parsed_survives_too(mobile: SourceSpec) -> None:
    sent = batch([b'{"batch": [{"messageId": "a"}]}'])
    assert len(sent.parse(mobile).records) == 1
    assert MessageBatchCoder().decode(MessageBatchCoder().encode(sent)).values == sent.values


def test_plain_messages_have_their_offset_as_position(web: SourceSpec) -> None:
    found = batch([b"{}", b"", b"no json"], [4, 6, 9])
    assert found.positions(web).tolist() == [4, 6, 9]
    assert found.records_per_message(web).tolist() == [1, 1, 1]


def test_records_of_one_message_are_numbered(mobile: SourceSpec) -> None:
    values = [b'{"batch": [1, 2, 3]}', b'{"batch": []}', b"no json", b'{"batch": 4}', b"", b'{"batch": [5, 6]}']
    found = batch(values, [10, 11, 12, 15, 16, 20])
    assert found.records_per_message(mobile).tolist() == [3, 0, 1, 1, 1, 2]
    assert found.message_of_record(mobile).tolist() == [0, 0, 0, 2, 3, 4, 5, 5]
    expected = [(10, 0), (10, 1), (10, 2), (12, 0), (15, 0), (16, 0), (20, 0), (20, 1)]
    assert found.positions(mobile).tolist() == [offset << BATCH_BITS | index for offset, index in expected]
    assert len(found.parse(mobile).records) == len(expected)


def test_batches_that_are_all_empty_hold_nothing(mobile: SourceSpec) -> None:
    found = batch([b'{"batch": []}', b'{"batch": []}'])
    assert found.positions(mobile).tolist() == []
    assert found.records_per_message(mobile).tolist() == [0, 0]


@given(counts=st.lists(st.integers(0, 4), max_size=6))
def test_positions_are_unique_and_rise(counts: list[int], mobile: SourceSpec) -> None:
    found = batch([b'{"batch": [%s]}' % b",".join([b"{}"] * count) for count in counts])
    positions = found.positions(mobile)
    assert len(positions) == sum(counts) and (np.diff(positions) > 0).all()


def test_joined_batches_are_one_behind_the_other(mobile: SourceSpec) -> None:
    one, two = batch([b'{"batch": [1, 2]}', b"no json"], [4, 5]), batch([b'{"batch": [3]}'], [4])
    two.logs[0] = "kafka:t:id:1"
    both = MessageBatch.joined([one, two])
    assert both.logs == ["kafka:t:id:0", "kafka:t:id:0", "kafka:t:id:1"]
    assert both.values == one.values + two.values
    assert both.positions(mobile).tolist() == [*one.positions(mobile).tolist(), *two.positions(mobile).tolist()]
    assert both.times_us.tolist() == [4_000, 5_000, 4_000] and both.watermarks_us.tolist() == [-1, 0, -1]


@pytest.mark.parametrize("ms", [-1, 0, 1_764_000_000_000_000, 1_764_000_000_000_000_000])
def test_a_landed_message_without_a_believable_time_has_none(ms: int, web: SourceSpec) -> None:
    landed = [RawMessage(0, ms, 1, None, b"{}", ()), RawMessage(1, 1_764_000_000_000, 1, None, b"{}", ())]
    assert message_batch(LogId("t", "id", 0), landed, web).times_us.tolist() == [NO_TIME_US, 1_764_000_000_000_000]


def test_a_byte_order_mark_is_no_part_of_a_landed_text_either(web: SourceSpec) -> None:
    landed = [RawMessage(0, 1_764_000_000_000, 1, None, b"\xef\xbb\xbf{}", ())]
    assert message_batch(LogId("t", "id", 0), landed, web).parse(web).records == [{}]
    framed = replace(web, wire_format="confluent")
    assert message_batch(LogId("t", "id", 0), landed, framed).values == [landed[0].value]
