"""Lanes of a table: every row of the range once, users in order of time, places that are the same in each attempt."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from contracts.compiler.schemas import row_schema
from contracts.encode.events import FILTERED, EventEncoder
from contracts.spec.destination import Destination
from contracts.spec.model import Contract
from contracts.spec.suppressions import NOTHING
from lake.receipts.lanes import LaneId
from lake.receipts.receipts import BEFORE, DELIVERED, REFUSED, WITHHELD, LaneReceipts, Receipt
from lake.tables.data_files import read_columns
from lake.tables.iceberg import PublishedFile, published_files
from tests.support.shop import DAY, HOUR_US, TABLE, Shop
from transforms.deliver import table as module
from transforms.deliver.items import Item
from transforms.deliver.table import SPAN_BITS, TableLane, TableLanes, TableReader, digests, lanes_of_keys, spans
from transforms.readers.progress import ReaderProgress
from transforms.readers.restriction import ReaderName

DESTINATION = {
    "destination": "cdp", "dataset": "customer_event", "type": "segment", "endpoint": "http://127.0.0.1:9/v1/batch",
    "credentials": {"write_key": "env:K"}, "consent": [], "columns": {"event_id": "messageId", "anonymous_id": "anonymousId"},
    "filter": [{"column": "event_id", "not_in": ["m-3"]}],
}  # fmt: skip
USERS = 7
ROWS = 150
HOURS = (8, 12)


class Table:
    """Events of seven users over four hours, published hour by hour from several files, some hours from two runs."""

    def __init__(self, folder: Path) -> None:
        self.shop = Shop(folder)
        (folder / "destinations").mkdir()
        (folder / "destinations" / "cdp.yaml").write_text(yaml.safe_dump(DESTINATION))
        rng = random.Random(5)
        lines = []
        for number in range(ROWS):
            time = f"2026-11-02T{rng.randrange(*HOURS):02d}:{rng.randrange(60):02d}:{rng.randrange(3):02d}Z"
            user = f"u{number % USERS}"
            lines.append(json.dumps({"messageId": f"m-{number}", "type": "page", "anonymousId": user, "originalTimestamp": time}))
        self.shop.ingest(lines[: ROWS // 2])
        self.shop.ingest(lines[ROWS // 2 :])
        self.lake = self.shop.lake()
        self.destination: Destination
        self.contract: Contract
        self.destination, self.contract = self.shop.project.destination("cdp")
        self.encoder = EventEncoder(self.destination, self.contract, NOTHING)

    def source(self, lanes: int, **changes: Any) -> TableLanes:
        snapshot = self.lake.load(TABLE).current_snapshot()
        assert snapshot
        given: dict[str, Any] = {
            "lake": self.lake, "table": TABLE, "schema": row_schema(self.contract), "snapshot_id": snapshot.snapshot_id,
            "start_us": DAY, "end_us": DAY + 24 * HOUR_US, "destination": "cdp", "run_id": "run-1", "lanes": lanes,
            "which": "all", "readers": (), "salts": (),
        }  # fmt: skip
        return TableLanes(**{**given, **changes})

    def rows(self, start_us: int = DAY, end_us: int = DAY + 24 * HOUR_US) -> dict[str, tuple[str, int]]:
        """User and window time of each event of a range, straight from the files."""
        found = {}
        for file in published_files(self.lake.load(TABLE)):
            part = read_columns(file.path, ["event_id", "anonymous_id", "_window_time"])
            times = part.column("_window_time").cast("int64").to_pylist()
            for one, user, us in zip(part["event_id"].to_pylist(), part["anonymous_id"].to_pylist(), times, strict=True):
                if start_us <= us < end_us:
                    found[one] = (user, us)
        return found

    def receipts(self, run_id: str, outcome: str, ids: Sequence[str]) -> None:
        """Receipts of another run."""
        rows = self.rows()
        receipts = [Receipt(at, one, rows[one][1], outcome, None, 200, None, None, at) for at, one in enumerate(ids)]
        LaneReceipts(self.lake, "cdp", LaneId(TABLE, run_id, 0)).write(0, len(ids), receipts, Counter())


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return Table(tmp_path_factory.mktemp("table") / "shop")


@pytest.fixture(autouse=True)
def small_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READ_ROWS", 7)


def drained(
    table: Table, source: TableLanes, readers: int, rng: random.Random, start: dict[LaneId, int] | None = None
) -> dict[LaneId, list[Item]]:
    """What all readers give until every lane has ended, each time of lanes that have room by chance; by lane."""
    found: dict[LaneId, list[Item]] = {}
    for number in range(readers):
        reader: TableReader = source.open(ReaderName(number, readers), table.encoder)
        logs = [LaneId(source.table, source.run_id, lane) for lane in range(number, source.lanes, readers)]
        read_to = {log: (start or {}).get(log, 0) for log in logs}
        end = _end(table, source)
        left = {log for log in logs if read_to[log] < end}
        for _ in range(10_000):
            if not left:
                break
            parts = tuple(TableLane(*log, next=end if log not in left else read_to[log], end=end) for log in logs)
            room = {log for log in left if rng.random() < 0.7}
            for log, read in reader.read(ReaderProgress(parts), read_to, room, 0.0).items():
                assert log in room and read.read_to >= read_to[log]
                assert all(read_to[log] <= item.offset < read.read_to for item in read.items)
                found.setdefault(log, []).extend(read.items)
                read_to[log] = read.read_to
                if read.ended:
                    assert read.read_to >= end
                    left.remove(log)
        assert not left, "a lane never ended"
        reader.close()
    return found


def _end(table: Table, source: TableLanes) -> int:
    files = published_files(table.lake.load(TABLE))
    return len(spans([f for f in files if f.from_us < source.end_us and f.to_us > source.start_us])) << SPAN_BITS


@pytest.mark.parametrize(("lanes", "readers"), [(1, 1), (4, 1), (4, 2), (4, 4), (5, 3), (40, 3)])
def test_every_row_is_in_one_lane_once_and_each_users_are_in_order(table: Table, lanes: int, readers: int) -> None:
    found = drained(table, table.source(lanes), readers, random.Random(lanes))
    rows = table.rows()
    assert len(rows) == ROWS and len(spans(published_files(table.lake.load(TABLE)))) > 1
    assert Counter(item.event_id for items in found.values() for item in items) == Counter(rows.keys())
    owner: dict[str, LaneId] = {}
    for log, items in found.items():
        assert [item.offset for item in items] == sorted({item.offset for item in items})
        assert [item.window_time_us for item in items] == sorted(rows[item.event_id][1] for item in items)
        for item in items:
            assert owner.setdefault(rows[item.event_id][0], log) == log  # one lane has all rows of a user
            assert item.waiting_since_us is None
            assert (item.event is None, item.reason) == ((True, FILTERED) if item.event_id == "m-3" else (False, ""))


def test_places_are_the_same_in_each_attempt_and_for_any_number_of_readers(table: Table) -> None:
    first, *others = (
        {item.event_id: (log, item.offset) for log, items in drained(table, source, readers, rng).items() for item in items}
        for source, readers, rng in [(table.source(6), n, random.Random(n)) for n in (1, 2, 3, 6)]
    )
    assert all(other == first for other in others)


def test_an_attempt_goes_on_from_any_place(table: Table) -> None:
    source, rng = table.source(3), random.Random(1)
    whole = drained(table, source, 1, rng)
    for _ in range(5):
        start = {log: rng.choice([0, *(item.offset for item in items)]) for log, items in whole.items()}
        assert drained(table, source, 1, rng, start) == {
            log: [item for item in items if item.offset >= start[log]] for log, items in whole.items()
        }


@pytest.mark.parametrize(("start", "end"), [(8.5, 10.25), (9, 10), (0, 8), (11.99, 24), (9.999, 10.001)])
def test_a_range_takes_its_rows_and_no_others(table: Table, start: float, end: float) -> None:
    start_us, end_us = DAY + int(start * HOUR_US), DAY + int(end * HOUR_US)
    found = drained(table, table.source(4, start_us=start_us, end_us=end_us), 2, random.Random(2))
    assert sorted(item.event_id for items in found.values() for item in items) == sorted(table.rows(start_us, end_us))


def test_a_snapshot_is_read_as_it_was(tmp_path: Path) -> None:
    table = Table(tmp_path / "shop")
    source, before = table.source(2), table.rows()
    line = {"messageId": "m-new", "type": "page", "anonymousId": "u1", "originalTimestamp": "2026-11-02T09:00:00Z"}
    table.shop.ingest([json.dumps(line)])
    assert "m-new" in table.rows()
    found = drained(table, source, 1, random.Random(3))
    assert sorted(item.event_id for items in found.values() for item in items) == sorted(before)


def test_rows_that_have_a_final_answer_of_another_run_are_passed_over(tmp_path: Path) -> None:
    """delivered, refused, refused and delivered since, withheld; and what this very run wrote, which its lanes pass over."""
    table = Table(tmp_path / "shop")
    table.receipts("run-0", DELIVERED, ["m-10", "m-11"])
    table.receipts("run-0b", REFUSED, ["m-12", "m-13", "m-16"])
    table.receipts("run-0c", DELIVERED, ["m-13"])
    table.receipts("run-0d", WITHHELD, ["m-14"])
    table.receipts("run-1", DELIVERED, ["m-15"])

    def sent(which: str, only: Sequence[str] | None = None) -> set[str]:
        chosen = None if only is None else digests(only).tobytes()
        found = drained(table, table.source(3, which=which, only=chosen), 2, random.Random(4))
        items = [item for each in found.values() for item in each]
        assert len(items) == ROWS
        passed = {item.event_id for item in items if item.reason == BEFORE}
        assert all(item.event is None for item in items if item.event_id in passed)
        return {item.event_id for item in items} - passed

    everything = set(table.rows())
    assert sent("unsettled") == everything - {"m-10", "m-11", "m-12", "m-13", "m-16"}
    assert sent("refused") == {"m-12", "m-16"}
    assert sent("refused", ["m-12", "m-13", "m-17"]) == {"m-12"}, "what was refused and is asked for, and no other"
    assert sent("refused", []) == set()
    assert sent("all") == everything


def test_a_row_is_passed_over_where_a_copy_of_its_id_within_the_horizon_has_a_receipt(table: Table) -> None:
    """Receipts count by the id. The copy was dropped since, or its row lies in another range; beyond the horizon it is another."""
    near, far = table.source(1, destination="copies", start_us=DAY, end_us=DAY + 10 * HOUR_US), 7 * 24 * HOUR_US
    one, other, third = sorted(table.rows(DAY, DAY + 10 * HOUR_US).keys() - {"m-3"})[:3]
    times = {one: DAY + 24 * HOUR_US, other: DAY - far, third: DAY + 10 * HOUR_US + far}
    receipts = [Receipt(at, name, us, DELIVERED, None, 200, None, None, at) for at, (name, us) in enumerate(times.items())]
    LaneReceipts(table.lake, "copies", LaneId(TABLE, "run-0", 0)).write(0, len(receipts), receipts, Counter())
    found = drained(table, dataclasses.replace(near, which="unsettled"), 1, random.Random(6))
    passed = {item.event_id for items in found.values() for item in items if item.reason == BEFORE}
    assert passed == {one, other}


@pytest.mark.parametrize(("which", "found"), [("unsettled", True), ("refused", True), ("all", False)])
def test_what_a_receipt_says_was_delivered_and_may_leave_is_told(tmp_path: Path, which: str, found: bool) -> None:
    table = Table(tmp_path / "shop")
    table.receipts("run-0", DELIVERED, ["m-3", "m-140"])  # the filter does not let m-3 leave any more
    table.receipts("run-0b", REFUSED, ["m-12", "m-0"])
    source = table.source(1, which=which)
    reader = source.open(ReaderName(0, 1), table.encoder)
    lane, end = LaneId(source.table, source.run_id, 0), _end(table, source)
    read_to, told = 0, None
    while read_to < end:
        read = reader.read(ReaderProgress((TableLane(*lane, next=read_to, end=end),)), {lane: read_to}, {lane}, 0.0)[lane]
        read_to, told = read.read_to, read.delivered
    assert (told and told.event_id, bool(told and told.body)) == ("m-140" if found else None, found)


INTERVALS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 8), st.integers(0, 2)).map(
        lambda x: PublishedFile(x[0], x[0] + x[1], x[2], "f", 1)
    ),
    max_size=12,
)


@given(INTERVALS)
def test_spans_hold_every_file_once_and_no_time_is_in_two(files: list[PublishedFile]) -> None:
    found = spans(files)
    assert sorted(file for span in found for file in span) == sorted(files)
    edges = [(min(file.from_us for file in span), max(file.to_us for file in span)) for span in found]
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(edges))
    for span in found:  # none could be cut further
        cuts = {file.from_us for file in span} - {min(file.from_us for file in span)}
        assert all(any(file.from_us < cut < file.to_us for file in span) for cut in cuts)


@given(st.lists(st.text(max_size=4)), st.integers(1, 16))
def test_a_lane_depends_on_the_user_alone(keys: list[str], lanes: int) -> None:
    found = lanes_of_keys(keys, lanes).tolist()
    assert found == [lanes_of_keys([key], lanes).item() for key in keys]
    assert all(0 <= lane < lanes for lane in found)


@given(st.lists(st.text(max_size=3), max_size=30))
def test_ids_are_told_apart_by_their_digests(ids: list[str]) -> None:
    assert len(set(digests(ids).tolist())) == len(set(ids))


def test_the_table_of_these_tests_has_ties_and_users_in_all_files(table: Table) -> None:
    """Else it would show little."""
    times = Counter(table.rows().values())
    assert max(times.values()) > 1
    parts = [read_columns(file.path, ["anonymous_id"]) for file in published_files(table.lake.load(TABLE))]
    assert min(len(pc.unique(part.column("anonymous_id"))) for part in parts) > 1
