"""W, and what a reader claims: pure rules, each boundary named."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.compiler.clocks import NO_TIME_US
from transforms.late import NEVER_LATE_US
from transforms.read.partitions import (
    FUTURE_US,
    PartitionProgress,
    PartitionsProgress,
    ReaderProgressCoder,
    moving,
    watermarks,
    with_partitions,
)
from transforms.readers.progress import END_OF_TIME_US, ReaderProgress
from transforms.readers.restriction import ReaderProgressTracker

BOUND = 5
NOW = 10_000_000_000


def part(number: int, **given: object) -> PartitionProgress:
    return PartitionProgress("t", "id", number, **{"next": 0, **given})  # type: ignore[arg-type]


def reader(*partitions: PartitionProgress, watermark_us: int = NEVER_LATE_US) -> PartitionsProgress:
    return ReaderProgress(partitions, watermark_us)


def moved(progress: PartitionsProgress, *partitions: PartitionProgress) -> PartitionsProgress:
    return with_partitions(progress, {p.log: p for p in partitions}, BOUND)


def marks(times: list[int], max_us: int | None = None, watermark_us: int = NEVER_LATE_US) -> tuple[list[int], int | None]:
    found, latest = watermarks(
        np.array(times, dtype=np.int64), max_us=max_us, watermark_us=watermark_us, bound_us=BOUND, now_us=NOW
    )
    return found.tolist(), latest


def test_the_first_record_of_a_partition_cannot_be_late() -> None:
    assert marks([100]) == ([NEVER_LATE_US], 100)


def test_a_record_sees_the_largest_time_before_it_less_the_bound() -> None:
    assert marks([100, 90, 300, 200]) == ([NEVER_LATE_US, 95, 95, 295], 300)
    assert marks([50, 60], max_us=100) == ([95, 95], 100)


def test_a_record_sees_at_least_the_readers_watermark() -> None:
    assert marks([100, 130, 140], watermark_us=120) == ([120, 120, 125], 140)


def test_a_message_without_a_time_moves_nothing() -> None:
    assert marks([NO_TIME_US, 100, NO_TIME_US, 300]) == ([NEVER_LATE_US, NEVER_LATE_US, 95, 95], 300)
    assert marks([NO_TIME_US]) == ([NEVER_LATE_US], None)
    assert moving(np.array([NO_TIME_US, 1, NOW + FUTURE_US, NOW + FUTURE_US + 1]), NOW).tolist() == [False, True, True, False]


def test_a_time_in_the_future_moves_nothing() -> None:
    assert marks([NOW + FUTURE_US, 1]) == ([NEVER_LATE_US, NOW + FUTURE_US - BOUND], NOW + FUTURE_US)
    assert marks([NOW + FUTURE_US + 1, 1]) == ([NEVER_LATE_US, NEVER_LATE_US], 1)
    assert marks([NOW + FUTURE_US + 1]) == ([NEVER_LATE_US], None)
    assert marks([NOW + FUTURE_US + 1], max_us=7) == ([2], 7)


def test_the_slowest_partition_holds_the_watermark() -> None:
    before = reader(part(0), part(1))
    assert moved(before, part(0, max_us=100)).watermark_us == NEVER_LATE_US
    assert moved(before, part(0, max_us=100), part(1, max_us=40)).watermark_us == 35


@pytest.mark.parametrize("released", [{"idle": True}, {"idle": True, "max_us": 3}, {"end": 0}, {"end": 5, "next": 5, "max_us": 3}])
def test_an_idle_or_finished_partition_does_not(released: dict[str, object]) -> None:
    assert moved(reader(part(0), part(1)), part(0, max_us=100), part(1, **released)).watermark_us == 95


def test_where_all_are_idle_nothing_moves() -> None:
    assert moved(reader(part(0), watermark_us=20), part(0, max_us=100, idle=True)).watermark_us == 20


def test_time_ends_when_every_partition_is_read() -> None:
    progress = reader(part(0, end=2), part(1, end=0))
    assert not progress.finished
    after = moved(progress, part(0, end=2, next=2, max_us=9))
    assert after.finished and after.watermark_us == END_OF_TIME_US


def test_an_empty_reader_waits_for_partitions_to_come() -> None:
    assert reader().endless and not reader().finished


partitions = st.lists(
    st.builds(
        lambda number, following, end, max_us, idle: part(number, next=following, end=end, max_us=max_us, idle=idle),
        st.integers(0, 3), st.integers(0, 5), st.one_of(st.none(), st.integers(0, 5)),
        st.one_of(st.none(), st.integers(0, 1_000)), st.booleans(),
    ),
    max_size=6,
)  # fmt: skip


@given(st.lists(partitions, max_size=8))
def test_the_watermark_never_goes_back(steps: list[list[PartitionProgress]]) -> None:
    progress = reader(*(part(number) for number in range(4)))
    for step in steps:
        after = moved(progress, *step)
        assert after.watermark_us >= progress.watermark_us
        progress = after


@given(st.lists(st.integers(0, 2 * NOW), max_size=20), st.integers(0, 20), st.one_of(st.none(), st.integers(0, NOW)))
def test_it_does_not_matter_how_records_are_cut_into_polls(times: list[int], cut: int, max_us: int | None) -> None:
    whole, latest = marks(times, max_us)
    head, middle = marks(times[:cut], max_us)
    tail, last = marks(times[cut:], middle)
    assert (head + tail, last) == (whole, latest)


# The tracker


def test_a_reader_claims_poll_after_poll_until_its_end() -> None:
    tracker = ReaderProgressTracker(reader(part(0, end=2)))
    with pytest.raises(ValueError, match="before its end"):
        tracker.check_done()
    for following in (1, 2):
        assert tracker.try_claim(reader(part(0, end=2, next=following)))
    assert tracker.current_restriction().lanes[0].next == 2
    tracker.check_done()
    assert tracker.current_progress().fraction_completed == 1.0


def test_a_split_at_zero_gives_all_of_the_rest_away() -> None:
    tracker = ReaderProgressTracker(reader(part(0)))
    claimed = reader(part(0, next=3, max_us=9), watermark_us=4)
    assert tracker.try_claim(claimed)
    split = tracker.try_split(0)
    assert split is not None
    done, rest = split
    assert (rest, done.stopped) == (claimed, True)
    assert not tracker.try_claim(reader(part(0, next=4)))
    assert tracker.try_split(0) is None
    tracker.check_done()
    ReaderProgressTracker(done).check_done()
    assert ReaderProgressTracker(rest).try_claim(reader(part(0, next=4)))


@pytest.mark.parametrize("fraction", [0.001, 0.5, 1.0])
def test_no_other_split_is_made(fraction: float) -> None:
    tracker = ReaderProgressTracker(reader(part(0)))
    assert tracker.try_split(fraction) is None
    assert tracker.try_claim(reader(part(0, next=1)))


def test_what_is_finished_cannot_be_split() -> None:
    assert ReaderProgressTracker(reader(part(0, end=1, next=1))).try_split(0) is None


def test_bounded_is_what_has_an_end_everywhere() -> None:
    assert ReaderProgressTracker(reader(part(0, end=1))).is_bounded()
    assert not ReaderProgressTracker(reader(part(0, end=1), part(1))).is_bounded()


@given(partitions, st.integers(NEVER_LATE_US, END_OF_TIME_US), st.booleans())
def test_progress_survives_a_checkpoint(found: list[PartitionProgress], watermark_us: int, stopped: bool) -> None:
    progress = msgspec.structs.replace(reader(*found, watermark_us=watermark_us), stopped=stopped)
    assert ReaderProgressCoder().decode(ReaderProgressCoder().encode(progress)) == progress
