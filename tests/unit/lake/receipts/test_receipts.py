"""Receipts: each place of a lane once, whoever wrote it how often, and whoever merges files meanwhile."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake.location import Lake
from lake.receipts import receipts as module
from lake.receipts.lanes import LaneId
from lake.receipts.receipts import (
    BEFORE,
    DELIVERED,
    FILTERED,
    MERGE_AT,
    REFUSED,
    WITHHELD,
    LaneReceipts,
    Receipt,
    all_receipts,
    counts_of,
    lane_folder,
    lane_receipts,
    lanes_of,
    list_receipts,
)

LOG = LaneId("rows", "t1", 0)
_LANES = itertools.count(1)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    made = Lake.at(str(tmp_path_factory.mktemp("receipts") / "lake"))
    made.create()
    return made


@pytest.fixture
def log() -> LaneId:
    """A lane of its own."""
    return LaneId("rows", "t1", next(_LANES))


def receipt(place: int, outcome: str = DELIVERED, who: str = "a") -> Receipt:
    reason = {WITHHELD: "consent_denied:ads", REFUSED: "http_400"}.get(outcome)
    event = b"{}" if outcome == REFUSED else None
    return Receipt(place, f"{who}-{place}", 1_000_000 * place, outcome, reason, 200, b"d" * 16, event, 5)


def write(writer: LaneReceipts, start: int, end: int, who: str = "a") -> Counter[str]:
    """Receipts of these places; each seventh was refused, each fifth withheld, each third filtered."""
    told = [receipt(place, outcome_of(place), who) for place in range(start, end) if outcome_of(place) != FILTERED]
    return writer.write(start, end, told, Counter({FILTERED: sum(outcome_of(place) == FILTERED for place in range(start, end))}))


def outcome_of(place: int) -> str:
    return REFUSED if place % 7 == 0 else WITHHELD if place % 5 == 0 else FILTERED if place % 3 == 0 else DELIVERED


def wanted(places: Sequence[int] | range) -> Counter[str]:
    """How they count."""
    named = {WITHHELD: "withheld:consent_denied:ads"}
    return Counter(named.get(outcome_of(place), outcome_of(place)) for place in places)


def read(lake: Lake, log: LaneId, **how: Any) -> tuple[list[tuple[int, str]], Counter[str]]:
    """Places with their ids, and counts."""
    rows: list[tuple[int, str]] = []
    counts: Counter[str] = Counter()
    for table, own in lane_receipts(lake, "cdp", log, **how):
        rows += zip(table.column("offset").to_pylist(), table.column("event_id").to_pylist(), strict=True)
        counts += own
    return rows, counts


def files(lake: Lake, log: LaneId) -> list[str]:
    return sorted(location.rsplit("/", 1)[-1] for location in lake.storage.names(lane_folder(lake, "cdp", log)))


def told(places: range, who: str = "a") -> list[tuple[int, str]]:
    return [(place, f"{who}-{place}") for place in places if outcome_of(place) != FILTERED]


def test_a_receipt_is_read_as_it_was_written(lake: Lake, log: LaneId) -> None:
    given_rows = [receipt(3, REFUSED), receipt(4), receipt(6, WITHHELD)]
    counts = LaneReceipts(lake, "cdp", log).write(3, 9, given_rows, Counter({FILTERED: 2, BEFORE: 1}))
    assert counts == {REFUSED: 1, DELIVERED: 1, "withheld:consent_denied:ads": 1, FILTERED: 2, BEFORE: 1}
    ((rows, own),) = lane_receipts(lake, "cdp", log)
    assert own == counts and rows.schema.equals(module.SCHEMA)
    (first, *_) = rows.to_pylist()
    assert first.pop("window_time").timestamp() == 3 and first.pop("settled_at").microsecond == 5
    assert first == {
        "offset": 3, "event_id": "a-3", "outcome": REFUSED, "reason": "http_400", "status": 200, "digest": b"d" * 16,
        "event": b"{}",
    }  # fmt: skip
    assert files(lake, log) == [f"{3:020d}-{9:020d}-1.parquet"]


def test_nothing_is_written_of_no_places(lake: Lake, log: LaneId) -> None:
    assert LaneReceipts(lake, "cdp", log).write(3, 3, [], Counter()) == {}
    assert files(lake, log) == []


@pytest.mark.parametrize("before", [0, 1, 62])
def test_small_files_are_merged_when_there_are_sixty_four(lake: Lake, log: LaneId, before: int) -> None:
    """Also those that another worker left."""
    ends = range(2, 2 * MERGE_AT, 2)
    for end in ends[:before]:
        write(LaneReceipts(lake, "cdp", log), end - 2, end)
    writer = LaneReceipts(lake, "cdp", log)
    for end in ends[before:]:
        write(writer, end - 2, end)
    assert len(files(lake, log)) == MERGE_AT - 1
    write(writer, ends[-1], ends[-1] + 2)
    places = range(2 * MERGE_AT)
    assert files(lake, log) == [f"{0:020d}-{2 * MERGE_AT:020d}-{sum(place % 7 == 0 for place in places)}.parquet"]
    assert read(lake, log) == (told(places), wanted(places))
    for end in range(2 * MERGE_AT + 2, 6 * MERGE_AT, 2):
        write(writer, end - 2, end)
        assert len(files(lake, log)) <= MERGE_AT
    assert read(lake, log) == (told(range(6 * MERGE_AT - 2)), wanted(range(6 * MERGE_AT - 2)))


def test_files_that_do_not_touch_stay_apart_and_places_between_them_stay_uncovered(lake: Lake, log: LaneId) -> None:
    writer = LaneReceipts(lake, "cdp", log)
    for number in range(MERGE_AT):
        write(writer, 10 * number + (5 if number >= 32 else 0), 10 * number + 10 + (5 if number >= 32 else 0))
    assert LaneReceipts(lake, "cdp", log).covered() == [(0, 320), (325, 645)]
    assert read(lake, log)[0] == told(range(320)) + told(range(325, 645))


def test_large_files_are_left_alone_and_do_not_count(lake: Lake, log: LaneId, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane of months has more than sixty-four of them."""
    writer = LaneReceipts(lake, "cdp", log)
    for number in range(5):
        write(writer, 1_000 * number, 1_000 * (number + 1))
    large = files(lake, log)
    size = min(len(lake.storage.read(f"{lane_folder(lake, 'cdp', log)}/{name}")) for name in large)
    monkeypatch.setattr(module, "MERGED_BYTES", size)
    monkeypatch.setattr(module, "MERGE_AT", 4)
    merged: list[int] = []
    plain = LaneReceipts._merge

    def merge(self: LaneReceipts) -> None:
        merged.append(1)
        plain(self)

    monkeypatch.setattr(LaneReceipts, "_merge", merge)
    writer = LaneReceipts(lake, "cdp", log)
    for number in range(12):
        write(writer, 5_000 + number, 5_001 + number)
    assert set(large) <= set(files(lake, log)) and len(files(lake, log)) < len(large) + 4
    assert len(merged) == 3
    assert read(lake, log) == (told(range(5_012)), wanted(range(5_012)))


def test_of_two_writers_each_place_is_taken_once(lake: Lake, log: LaneId) -> None:
    frozen, replacement = LaneReceipts(lake, "cdp", log), LaneReceipts(lake, "cdp", log)
    write(frozen, 0, 10)
    write(replacement, 10, 14, "b")
    write(frozen, 10, 20)  # longer: the one that counts
    write(replacement, 14, 26, "b")
    rows, counts = read(lake, log)
    assert rows == told(range(20)) + told(range(20, 26), "b")
    del counts[FILTERED]  # of a file that is taken in part nobody knows where its filtered rows were
    assert counts == Counter({name: count for name, count in wanted(range(26)).items() if name != FILTERED})


def test_the_same_places_written_twice_are_there_once(lake: Lake, log: LaneId) -> None:
    write(LaneReceipts(lake, "cdp", log), 0, 9)
    write(LaneReceipts(lake, "cdp", log), 0, 9, "b")
    assert read(lake, log) == (told(range(9)), wanted(range(9)))
    LaneReceipts(lake, "cdp", log).write(
        0, 9, [receipt(place, who="c") for place in range(9)], Counter()
    )  # another file: none refused
    rows, counts = read(lake, log)
    assert [place for place, _ in rows] == sorted({place for place, _ in rows}) and counts.total() == 9


def test_reading_goes_on_from_a_place(lake: Lake, log: LaneId) -> None:
    writer = LaneReceipts(lake, "cdp", log)
    write(writer, 0, 10)
    write(writer, 10, 20)
    assert read(lake, log, start=10) == (told(range(10, 20)), wanted(range(10, 20)))
    assert read(lake, log, start=13)[0] == told(range(13, 20))
    assert read(lake, log, start=20) == ([], Counter())
    assert read(lake, log, start=13, columns=["event_id"])[0] == told(range(13, 20))


def test_reading_goes_on_while_somebody_merges(lake: Lake, log: LaneId) -> None:
    writer = LaneReceipts(lake, "cdp", log)
    for place in range(MERGE_AT - 1):
        write(writer, place, place + 1)
    reading = lane_receipts(lake, "cdp", log)
    places = [row for _ in range(10) for row in next(reading)[0].column("offset").to_pylist()]
    write(writer, MERGE_AT - 1, MERGE_AT)
    assert len(files(lake, log)) == 1
    places += [row for rows, _ in reading for row in rows.column("offset").to_pylist()]
    assert places == [place for place in range(MERGE_AT) if outcome_of(place) != FILTERED]


def test_what_a_killed_merger_left_is_read_once_and_swept_by_the_next(
    lake: Lake, log: LaneId, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    deleted: list[str] = []

    def dies(self: Any, location: str) -> bool:
        if len(deleted) == 5:
            raise Killed
        deleted.append(location)
        Path(location).unlink()
        return True

    writer = LaneReceipts(lake, "cdp", log)
    for place in range(MERGE_AT - 1):
        write(writer, place, place + 1)
    with monkeypatch.context() as patched:
        patched.setattr(type(lake.storage), "delete", dies)
        with pytest.raises(Killed):
            write(writer, MERGE_AT - 1, MERGE_AT)
    assert len(files(lake, log)) == MERGE_AT - 5 + 1
    assert read(lake, log) == (told(range(MERGE_AT)), wanted(range(MERGE_AT)))
    again = LaneReceipts(lake, "cdp", log)
    assert again.covered() == [(0, MERGE_AT)]
    for place in range(MERGE_AT, 2 * MERGE_AT - 1):
        write(again, place, place + 1)
    ranges = [tuple(map(int, name.split("-")[:2])) for name in files(lake, log)]
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(ranges))  # nothing lies below the whole any more
    assert read(lake, log) == (told(range(2 * MERGE_AT - 1)), wanted(range(2 * MERGE_AT - 1)))


def test_a_merger_whose_rival_was_faster_leaves_it_to_him(lake: Lake, log: LaneId, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, rival = LaneReceipts(lake, "cdp", log), LaneReceipts(lake, "cdp", log)
    for place in range(MERGE_AT - 1):
        write(writer, place, place + 1)
    plain = module.read_receipts
    calls: list[int] = []

    def later(file: Any, columns: Any = None) -> Any:
        calls.append(1)
        if len(calls) == 3:
            rival._merge()
        return plain(file, columns)

    monkeypatch.setattr(module, "read_receipts", later)
    write(writer, MERGE_AT - 1, MERGE_AT)
    monkeypatch.undo()
    assert read(lake, log) == (told(range(MERGE_AT)), wanted(range(MERGE_AT)))
    for place in range(MERGE_AT, 3 * MERGE_AT):
        write(writer, place, place + 1)
    assert read(lake, log) == (told(range(3 * MERGE_AT)), wanted(range(3 * MERGE_AT)))
    assert len(files(lake, log)) < MERGE_AT


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stretches=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12), st.sampled_from("ab")), max_size=12),
    merge_at=st.integers(2, 6),
)
def test_whatever_is_written_in_whatever_order_each_covered_place_is_there_once_and_stays(
    lake: Lake, stretches: list[tuple[int, int, str]], merge_at: int
) -> None:
    log, reached = LaneId("rows", "t2", next(_LANES)), set[int]()
    writers = {"a": LaneReceipts(lake, "cdp", log), "b": LaneReceipts(lake, "cdp", log)}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "MERGE_AT", merge_at)
        for start, length, who in stretches:
            write(writers[who], start, start + length, who)
            reached |= set(range(start, start + length))
            listed = list_receipts(lake, lane_folder(lake, "cdp", log))
            assert [place for file in listed for place in range(file.start, file.end)] == sorted(reached)
            rows, counts = read(lake, log)
            assert [place for place, _ in rows] == [place for place in sorted(reached) if outcome_of(place) != FILTERED]
            exact = wanted(sorted(reached))
            assert all(counts[name] == count for name, count in exact.items() if name != FILTERED)
            assert counts[FILTERED] <= exact[FILTERED]


def test_lanes_of_a_destination_are_found_in_order_and_none_of_another(tmp_path: Path) -> None:
    own = Lake.at(str(tmp_path / "lake"))
    own.create()
    assert lanes_of(own, "cdp") == []
    logs = [LaneId("rows", "t1", 2), LaneId("rows", "t1", 10), LaneId("validated.x", "run-1", 0)]
    for log in reversed(logs):
        write(LaneReceipts(own, "cdp", log), 0, 2)
    write(LaneReceipts(own, "other", LaneId("rows", "t1", 3)), 0, 2)
    assert lanes_of(own, "cdp") == logs
    found: Iterator[Any] = all_receipts(own, "cdp")
    assert [(log, len(rows), counts.total()) for log, rows, counts in found] == [(log, 2, 2) for log in logs]


def test_withheld_rows_count_by_reason() -> None:
    rows = [receipt(1, WITHHELD), receipt(2, WITHHELD), receipt(3, WITHHELD)._replace(reason="suppressed"), receipt(4, REFUSED)]
    assert counts_of(rows) == {"withheld:consent_denied:ads": 2, "withheld:suppressed": 1, REFUSED: 1}
