"""A lane: whatever is read, taken, given back and lost, each row is sent until it is settled and has one receipt."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.encode.events import FILTERED, event_digest
from lake.location import Lake
from lake.receipts.lanes import LaneId
from lake.receipts.receipts import (
    BEFORE,
    DELIVERED,
    REFUSED,
    WITHHELD,
    LaneReceipts,
    Receipt,
    lane_receipts,
)
from tests.support.scripted import rig
from transforms.deliver.http.sink import HttpSink
from transforms.deliver.http.wire import Outgoing, Result, delivered
from transforms.deliver.items import MALFORMED, Item
from transforms.deliver.lane import Lane, Sent, send_items

LOG = LaneId("rows", "t1", 0)
PLACES = 24


def created(folder: Path) -> Lake:
    """A lake without tables."""
    lake = Lake.at(str(folder / "lake"))
    lake.create()
    return lake


def item(offset: int, reason: str = "") -> Item:
    body = None if reason else f'{{"messageId":"m{offset}"}}'.encode()
    return Item(offset, f"m{offset}", 7_000_000, 1_000_000 + offset, body, reason)


def lane_of(lake: Lake, start: int = 0, log: LaneId = LOG) -> Lane:
    return Lane(log, start, LaneReceipts(lake, "cdp", log))


def send(lane: Lane, sink: Any, *, flush: bool = True, until_s: float = 1e9) -> Sent:
    start = lane.next
    items, end = lane.take()
    sent = send_items(
        items, start=start, end=end, flush=flush, sink=sink, receipts=lane.receipts, until_s=until_s, clock=lambda: 50.0
    )
    lane.give_back(sent.rest, sent.sent_to)
    return sent


def receipts(lake: Lake, log: LaneId = LOG) -> list[dict[str, Any]]:
    return [row for rows, _ in lane_receipts(lake, "cdp", log) for row in rows.to_pylist()]


def counted(lake: Lake, log: LaneId = LOG) -> Counter[str]:
    counts: Counter[str] = Counter()
    for _, own in lane_receipts(lake, "cdp", log):
        counts += own
    return counts


class Sink:
    """Batches of three; takes what it is told to take. plan: of each ``send``, how many it settles, then what becomes of it."""

    def __init__(self, plan: Sequence[tuple[int, bool]] = ()) -> None:
        self.plan = list(plan)
        self.sent: list[str] = []

    def cut(self, events: Sequence[Outgoing]) -> list[Sequence[Outgoing]]:
        return [events[i : i + 3] for i in range(0, len(events), 3)]

    def send(self, batch: Sequence[Outgoing], until_s: float, ahead: Sequence[Outgoing] = ()) -> list[Result | None]:
        settled, dies = self.plan.pop(0) if self.plan else (len(batch), False)
        self.sent += [event.event_id for event in batch[:settled]]
        if dies:
            raise RuntimeError("the worker dies")
        return [delivered(200) if i < settled else None for i in range(len(batch))]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return created(tmp_path)


def test_every_kind_of_row_has_the_receipt_that_says_what_became_of_it(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [item(0), item(1, "consent_denied:ads"), item(2, FILTERED), item(3, BEFORE), item(4, MALFORMED), item(5)]
    sink = rig(monkeypatch, httpx.Response(413), httpx.Response(200, json={"success": True}), httpx.Response(400)).sink
    lane = lane_of(lake)
    lane.add(rows, 6, ended=True)
    sent = send(lane, sink, until_s=1e6)
    found = {row.pop("offset"): row for row in receipts(lake)}
    assert {at: (row["outcome"], row["reason"], row["status"]) for at, row in found.items()} == {
        0: (DELIVERED, None, 200),
        1: (WITHHELD, "consent_denied:ads", None),
        4: (REFUSED, MALFORMED, None),
        5: (REFUSED, "http_400", 400),
    }
    assert found[0]["digest"] == event_digest(rows[0].event or b"") and found[0]["event"] is None
    assert found[5]["event"] == rows[5].event and found[1]["digest"] is None
    assert {row["settled_at"].timestamp() for row in found.values()} == {50.0}
    wanted = {DELIVERED: 1, "withheld:consent_denied:ads": 1, FILTERED: 1, BEFORE: 1, REFUSED: 2}
    assert sent.counts == counted(lake) == wanted
    assert (lane.next, sent.rest, lane.unsettled) == (6, [], 0)


def test_a_batch_that_may_grow_waits_and_one_that_is_full_goes(lake: Lake) -> None:
    sink, lane = Sink(), lane_of(lake)
    lane.add([item(i) for i in range(5)], 5, ended=False)
    sent = send(lane, sink, flush=False)
    assert sink.sent == ["m0", "m1", "m2"]
    assert ([i.offset for i in sent.rest], lane.next, lane.unsettled) == ([3, 4], 3, 2)
    send(lane, sink)
    assert sink.sent == [f"m{i}" for i in range(5)] and lane.next == 5


def test_what_is_not_settled_comes_back_in_order_before_what_was_read_meanwhile(lake: Lake) -> None:
    lane = lane_of(lake)
    lane.add([item(i) for i in range(4)], 4, ended=False)
    items, end = lane.take()
    lane.add([item(4), item(5)], 6, ended=True)
    sink = Sink([(2, False)])
    sent = send_items(items, start=0, end=end, flush=True, sink=cast(HttpSink, sink), receipts=lane.receipts, until_s=1e9)
    lane.give_back(sent.rest, sent.sent_to)
    assert [i.offset for i in lane.waiting] == [2, 3, 4, 5] and lane.next == 2
    assert lane.waiting_bytes == sum(i.size_bytes for i in lane.waiting)
    send(lane, Sink())
    assert [row["offset"] for row in receipts(lake)] == list(range(6)) and lane.next == 6


def test_rows_under_way_are_no_progress_though_the_end_was_read_meanwhile(lake: Lake) -> None:
    lane = lane_of(lake)
    lane.add([item(0), item(1)], 2, ended=False)
    items, _ = lane.take()
    lane.add([], 9, ended=True)
    assert lane.next == 0
    lane.give_back([], 2)
    assert lane.next == 9 and items


def test_rows_under_way_count_as_waiting_and_the_oldest_is_among_them(lake: Lake) -> None:
    lane = lane_of(lake)
    lane.add([item(0), item(1)], 2, ended=False)
    items, _ = lane.take()
    lane.add([item(2)], 3, ended=False)
    assert (lane.unsettled, lane.oldest_waiting_us) == (3, 1_000_000)
    lane.give_back(items[1:], 1)
    assert (lane.unsettled, lane.oldest_waiting_us) == (2, 1_000_001)
    lane.take()
    lane.give_back([], 3)
    assert (lane.unsettled, lane.oldest_waiting_us) == (0, None)


def test_what_has_a_receipt_is_passed_over_and_keeps_it(lake: Lake) -> None:
    """The runner goes on from an older place than the receipts; somebody else wrote some further on."""
    first = lane_of(lake)
    first.add([item(i) for i in range(8)], 8, ended=False)
    send(first, Sink())
    rival = LaneReceipts(lake, "cdp", LOG)
    rival.write(10, 12, [Receipt(i, f"m{i}", 0, DELIVERED, None, 200, None, None, 0) for i in (10, 11)], Counter())
    sink, again = Sink(), lane_of(lake, start=2)
    assert (again.next, again.read_to) == (8, 8)
    again.add([item(i) for i in range(8, 15)], 15, ended=True)
    while again.unsettled:
        send(again, sink)
    assert sink.sent == [f"m{i}" for i in (8, 9, 12, 13, 14)]
    assert [row["offset"] for row in receipts(lake)] == list(range(15))
    assert counted(lake) == {DELIVERED: 15} and again.next == 15


def test_a_reading_that_ends_among_rows_with_receipts_goes_on_behind_them(lake: Lake) -> None:
    first = lane_of(lake)
    first.add([], 1, ended=False)  # no row at the first place, so no receipt of it
    first.add([item(i) for i in range(1, 7)], 7, ended=False)
    send(first, Sink())
    again, sink = lane_of(lake), Sink()
    again.add([item(i) for i in range(1, 5)], 5, ended=False)
    assert (again.next, again.read_to) == (7, 7)
    again.add([item(7)], 8, ended=True)
    send(again, sink)
    assert sink.sent == ["m7"] and again.next == 8


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return created(tmp_path_factory.mktemp("lanes"))


_NUMBERS = itertools.count(1)
KINDS = st.sampled_from(["", "", "", FILTERED, "consent_unknown:ads", None])  # None: no row at this place
PLANS = st.lists(st.tuples(st.sampled_from([3, 3, 2, 1, 0]), st.sampled_from([False, False, True])), max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(1, 7)),
        st.tuples(st.just("take"), st.booleans()),
        st.tuples(st.just("send"), st.one_of(st.just([]), PLANS)),
        st.tuples(st.just("restart"), st.integers(0, PLACES)),
    ),
    min_size=10, max_size=40,
)  # fmt: skip


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=st.lists(KINDS, min_size=PLACES, max_size=PLACES), steps=STEPS)
def test_each_place_has_one_receipt_and_nothing_that_has_one_is_sent(
    common: Lake, kinds: list[str | None], steps: list[tuple[str, Any]]
) -> None:
    """Reading while sending, tails that come back, workers that die after a request, runners that go on from any older place."""
    lake, log = common, LaneId("rows", "t1", next(_NUMBERS))
    rows = {place: item(place, kind) for place, kind in enumerate(kinds) if kind is not None}
    lane = lane_of(lake, 0, log)
    taken: tuple[int, list[Item], int, bool] | None = None
    lost: Counter[str] = Counter()
    sent: Counter[str] = Counter()

    def told() -> set[str]:
        return {row["event_id"] for row in receipts(lake, log)}

    def read(count: int) -> None:
        start, end = lane.read_to, max(lane.read_to, min(lane.read_to + count, PLACES))
        lane.add([rows[p] for p in range(start, end) if p in rows], end, ended=end >= PLACES)

    def take(flush: bool) -> None:
        nonlocal taken
        start = lane.next
        taken = (start, *lane.take(), flush)

    def finish(plan: Sequence[tuple[int, bool]] = ()) -> None:
        nonlocal taken, lane
        assert taken
        start, items, end, flush = taken
        before, taken, sink = told(), None, Sink(plan)
        try:
            done = send_items(
                items, start=start, end=end, flush=flush, sink=cast(HttpSink, sink), receipts=lane.receipts, until_s=1e9
            )
            lane.give_back(done.rest, done.sent_to)
        except RuntimeError:
            lost.update(set(sink.sent) - told())
            lane = lane_of(lake, 0, log)
        sent.update(sink.sent)
        assert not before & set(sink.sent)

    for what, how in steps:
        if what == "read":
            read(how)
        elif what == "take" and taken is None and lane.waiting:
            take(how)
        elif what == "send" and taken is not None:
            finish(how)
        elif what == "restart" and taken is None:
            lane = lane_of(lake, min(how, lane.next), log)
        settled = told()
        assert all(rows[p].event_id in settled for p in range(lane.next) if p in rows and rows[p].reason != FILTERED)
    if taken is not None:
        finish()
    while lane.read_to < PLACES or lane.waiting:
        read(5)
        if lane.waiting:
            take(flush=True)
            finish()
    assert [row["offset"] for row in receipts(lake, log)] == [place for place in rows if rows[place].reason != FILTERED]
    assert lane.next == PLACES
    assert sent == Counter(r.event_id for r in rows.values() if not r.reason) + lost  # again only what a dead worker had under way
    assert counted(lake, log)[FILTERED] == sum(kind == FILTERED for kind in kinds)


def test_the_wait_for_a_full_batch_goes_on_where_nothing_of_it_could_be_sent(lake: Lake) -> None:
    """Else a lane that is asked again and again would begin to wait anew each time, and never send its last rows."""
    lane = lane_of(lake)
    lane.add([item(0), item(1)], 2, ended=False)
    since = lane.since_s
    assert since is not None
    items, _ = lane.take()
    lane.give_back(items, 0)
    assert lane.since_s == since
    items, _ = lane.take()
    lane.give_back(items[1:], 1)
    assert lane.since_s is not None and lane.since_s > since
