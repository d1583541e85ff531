"""Positions as runs: every question gives what a plain set gives; and what was landed, file or log, in extent_batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.ledger.outcomes import positions_of
from lake.location import Lake
from lake.raw import positions as landed
from lake.raw.log_ids import LogId, position_of
from lake.raw.positions import Landed, Positions, extent_batches, landed_log, merged_runs
from lake.raw.segment_files import RawMessage
from lake.raw.segments import PartitionLog

LOG = LogId("events", "tid", 3)
RUNS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)), max_size=12).map(
    lambda pairs: [n for pair in pairs for n in pair]
)


def flat(runs: list[int]) -> landed.Ints:
    return np.array(runs, dtype=np.int64)


def members(runs: list[int]) -> set[int]:
    return {p for first, length in zip(runs[::2], runs[1::2], strict=True) for p in range(first, first + length)}


@given(RUNS)
def test_merged_runs_are_the_fewest_of_the_same_positions(runs: list[int]) -> None:
    merged = merged_runs(flat(runs)).tolist()
    assert members(merged) == members(runs)
    ends = [first + length for first, length in zip(merged[::2], merged[1::2], strict=True)]
    assert all(end < following for end, following in zip(ends, merged[2::2], strict=False)), "runs touch or overlap"
    assert all(length > 0 for length in merged[1::2])


@given(RUNS, RUNS)
def test_positions_answer_as_a_sorted_list_does(own: list[int], other: list[int]) -> None:
    positions, plain, others = Positions.of(own), sorted(members(own)), members(other)
    assert len(positions) == len(plain)
    assert [positions.at(place) for place in range(len(plain))] == plain
    assert positions.bounds == ((plain[0], plain[-1] + 1) if plain else (0, 0))
    assert positions.ranks(np.arange(75)).tolist() == [sum(p < x for p in plain) for x in range(75)]
    assert positions.covered(flat(other)).tolist() == [p in others for p in plain]
    assert positions.places(flat(sorted(others))).tolist() == [place for place, p in enumerate(plain) if p in others]
    assert positions.first_outside(flat(other)) == min((p for p in plain if p not in others), default=None)


@given(RUNS, st.integers(0, 70), st.integers(0, 70), st.integers(1, 9))
def test_positions_are_cut_without_loss(runs: list[int], low: int, high: int, most: int) -> None:
    positions = Positions.of(runs)
    assert positions_of(positions.within(low, high).runs).tolist() == sorted(p for p in members(runs) if low <= p < high)
    pieces = list(positions.cut(most))
    assert all(0 < len(piece) <= most for piece in pieces)
    assert [p for piece in pieces for p in positions_of(piece.runs).tolist()] == sorted(members(runs))


@given(st.lists(RUNS, max_size=6))
def test_batches_hold_every_position_once_and_are_small(files: list[list[int]]) -> None:
    units = [Landed("web", str(i), tuple(Positions.of(runs).runs for _ in [0] if runs), 0) for i, runs in enumerate(files)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(landed, "BATCH_POSITIONS", 10)
        patch.setattr(landed, "BATCH_NAMES", 3)
        found = list(extent_batches(units))
    assert all(len(extents) <= 3 and sum(len(s.positions) for s in extents) <= 10 for extents in found)
    seen = [(s.raw_file, p) for extents in found for s in extents for p in positions_of(s.positions.runs).tolist()]
    assert seen == [(str(i), p) for i, runs in enumerate(files) for p in sorted(members(runs))]


@pytest.mark.parametrize("batched", [False, True])
def test_log_has_the_positions_of_its_messages_between_two_offsets(tmp_path: Path, batched: bool) -> None:
    lake = Lake.at(str(tmp_path / "lake"))
    lake.create()
    log = PartitionLog(lake, "web", LOG, batched=batched)
    messages = [RawMessage(offset, 0, 1, None, b"x", (), 1 + offset % 3 if batched else 1) for offset in range(100) if offset % 5]
    for start in range(0, 100, 20):
        log.land(start, start + 20, messages)
    assert log.land(30, 50, messages) == 0
    wanted = {position_of(m.offset, i, batched) for m in messages if 13 <= m.offset < 57 for i in range(m.records)}
    part = landed_log(lake, "web", LOG, batched=batched, start=13, end=57)
    assert [p for s in part.extents() for p in positions_of(s.positions.runs).tolist()] == sorted(wanted)
    assert (part.raw_file, part.end) == (str(LOG), 57)
    assert landed_log(lake, "web", LOG, batched=batched).end == 100
    assert landed_log(lake, "web", LOG, batched=batched, start=100).pieces == ()
