"""What is kept, and what is known after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.errors import ComponentDownError
from devstack.cdp.counters import Counters
from devstack.cdp.dialects import Received
from devstack.cdp.ledger import Ledger, Request


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path, ["dev", "shop"])
    yield ledger
    ledger.close()


def event(message_id: str, *, user: str = "u", time_us: int | None = 0, payload: bytes = b"{}") -> Received:
    return Received(message_id, user, "track", None, time_us, payload)


def request(source: str | None = "dev", *, time_us: int = 0, status: int | None = 200) -> Request:
    return Request(time_us=time_us, source=source, path="/v1/batch", status=status)


def test_a_repeated_message_id_is_counted_and_changes_nothing_else(ledger: Ledger) -> None:
    first, second = request(), request(time_us=9)
    ledger.record(first, [event("a", payload=b'{"n":1}'), event("b"), event("a", payload=b'{"n":2}')])
    ledger.record(second, [event("b"), event("c"), event("b")])
    assert [(r.accepted, r.repeats) for r in (first, second)] == [(2, 1), (1, 2)]
    assert [(row.seq, row.message_id, row.times, row.received_us) for row in ledger.rows(limit=9)] == [
        (1, "a", 2, 0),
        (2, "b", 3, 0),
        (5, "c", 1, 9),
    ]
    assert ledger.rows(limit=1)[0].payload == b'{"n":1}'


def test_one_message_id_under_two_write_keys_is_two_events(ledger: Ledger) -> None:
    for source in ("dev", "shop", "shop"):
        ledger.record(request(source), [event("a")])
    assert [(row.write_key, row.times) for row in ledger.rows(limit=9)] == [("dev", 1), ("shop", 2)]
    assert [row.write_key for row in ledger.rows(limit=9, write_key="shop")] == ["shop"]


def test_a_range_is_of_the_events_own_time_and_half_open(ledger: Ledger) -> None:
    ledger.record(
        request(), [event("late", time_us=30), event("none", time_us=None), event("early", time_us=10), event("mid", time_us=20)]
    )
    assert [row.message_id for row in ledger.rows(limit=9, start_us=10, end_us=30)] == ["early", "mid"]
    assert [row.message_id for row in ledger.rows(limit=1, after=1, start_us=20)] == ["mid"]
    assert [row.message_id for row in ledger.rows(limit=9)] == ["late", "none", "early", "mid"]


def test_the_order_of_one_user_is_that_of_first_arrival(ledger: Ledger) -> None:
    ledger.record(request(), [event("b"), event("x", user="other"), event("a")])
    ledger.record(request(), [event("b"), event("c")])
    assert [row.message_id for row in ledger.order("u")] == ["b", "a", "c"]


def test_after_a_restart_the_same_is_known_and_numbers_go_on(tmp_path: Path) -> None:
    before = Ledger(tmp_path, ["dev"])
    before.record(request(), [event("a"), event("a")])
    before.record(request(None, status=401))
    before.close()
    after = Ledger(tmp_path, ["dev", "new"])
    again = request()
    after.record(again, [event("a"), event("b")])
    assert (again.accepted, again.repeats) == (1, 1)
    assert [(row.seq, row.message_id, row.times) for row in after.rows(limit=9)] == [(1, "a", 3), (4, "b", 1)]
    assert [r.status for _, r in after.requests()] == [200, 401, 200]
    after.close()


def test_rows_are_altered_removed_and_added_by_hand(ledger: Ledger) -> None:
    ledger.record(request(), [event("a"), event("b")])
    ledger.put("dev", event("a", user="v", payload=b'{"x":1}'))
    ledger.remove("dev", "b")
    ledger.put("dev", event("c"))
    assert [(row.seq, row.message_id, row.user, row.payload) for row in ledger.rows(limit=9)] == [
        (1, "a", "v", b'{"x":1}'),
        (3, "c", "u", b"{}"),
    ]
    again = request()
    ledger.record(again, [event("b")])
    assert again.accepted == 1  # forgotten, so it is new


def test_clear_forgets_ids_and_not_the_numbers(ledger: Ledger) -> None:
    ledger.record(request(), [event("a")])
    ledger.clear()
    assert (ledger.rows(limit=9), list(ledger.requests())) == ([], [])
    ledger.record(request(), [event("a")])
    assert [(row.seq, row.times) for row in ledger.rows(limit=9)] == [(2, 1)]


def test_a_folder_has_one_process(tmp_path: Path, ledger: Ledger) -> None:
    ledger.record(request(), [event("a")])
    with pytest.raises(ComponentDownError, match=r"ledger\.db: database is locked; stop who uses it"):
        Ledger(tmp_path, ["dev"])


def test_counters_know_the_most_requests_of_any_second() -> None:
    counters = Counters(request(time_us=at) for at in (0, 600_000, 900_000, 1_000_000, 1_700_000, 3_000_000))
    assert counters.document()["max_requests_per_s"] == 3  # from 0.6 s to 1.0 s
    assert counters.rate(3_000_000) == (6 / 5, 0.0)
    assert counters.rate(5_900_001) == (3 / 5, 0.0)


def test_counters_add_up_by_status_and_fault() -> None:
    counters = Counters([request(), request(None, status=401)])
    reset = request(status=None)
    reset.fault, reset.accepted, reset.repeats, reset.dropped, reset.rejected = "reset_after", 5, 1, 2, 3
    counters.add(reset)
    assert counters.document() == {
        "requests": 3,
        "unauthorised": 1,
        "events_accepted": 5,
        "repeats": 1,
        "rejected": 3,
        "dropped": 2,
        "wire_bytes": 0,
        "json_bytes": 0,
        "by_status": {"200": 1, "401": 1, "reset": 1},
        "by_fault": {"reset_after": 1},
        "max_requests_per_s": 3,
    }
