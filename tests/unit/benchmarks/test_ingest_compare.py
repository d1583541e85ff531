from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from benchmarks.ingest.compare import COLUMNS, Content, content_of_batches, differences

ROW = {
    **dict.fromkeys(COLUMNS),
    "event_id": "a",
    "event_type": "track",
    "event_name": "Seen",
    "user_id": "u",
    "original_timestamp": 1_000_000,
    "received_at": 2_000_000,
    "properties": '{"a":1,"price":120.0}',
    "consent": [("advertising", False), ("analytics", True)],
}
TIMES = {"original_timestamp", "sent_at", "received_at", "event_time"}
LETTERS = [("malformed", b"{"), ("malformed", b"{{"), ("invalid_encoding", b"\xff")]


def content(*rows: Mapping[str, Any], letters: list[tuple[str, bytes | None]] | None = None, consent: Any = None) -> Content:
    types = {name: pa.timestamp("us", tz="UTC") if name in TIMES else pa.string() for name in COLUMNS}
    types["consent"] = consent or pa.map_(pa.string(), pa.bool_())
    schema = pa.schema(list(types.items()))
    told = (
        None
        if letters is None
        else pa.table({"code": [c for c, _ in letters], "raw": pa.array([r for _, r in letters], pa.binary())})
    )
    return content_of_batches(pa.Table.from_pylist(list(rows), schema).to_batches(), told)


def test_the_same_rows_in_another_order_do_not_differ() -> None:
    other = {**ROW, "event_id": "b"}
    assert differences(content(ROW, other, letters=LETTERS), content(other, ROW, letters=LETTERS[::-1])) == []


@pytest.mark.parametrize("name", [name for name in COLUMNS if name != "event_id"])
def test_another_value_in_any_column_is_told(name: str) -> None:
    changed: Any = 5 if name in TIMES else [("analytics", False)] if name == "consent" else "other"
    assert differences(content(ROW), content({**ROW, name: changed})) == [f"{name} differs in 1 rows"]


def test_rows_that_are_missing_and_rows_too_many_are_told() -> None:
    told = differences(content(ROW, {**ROW, "event_id": "b"}), content({**ROW, "event_id": "c"}, ROW, {**ROW, "event_id": "d"}))
    assert told == ["1 of 2 rows missing", "2 rows too many"]


def test_an_event_that_is_there_twice_is_one_row_too_many() -> None:
    assert differences(content(ROW), content(ROW, ROW)) == ["1 rows too many"]


def test_json_is_compared_as_a_value_however_it_is_written() -> None:
    assert differences(content(ROW), content({**ROW, "properties": '{ "price": 120, "a": 1 }'})) == []
    assert differences(content(ROW), content({**ROW, "properties": '{"price":120.5,"a":1}'})) == ["properties differs in 1 rows"]


def test_a_map_may_be_a_struct_or_json() -> None:
    struct = pa.struct([("analytics", pa.bool_()), ("advertising", pa.bool_()), ("other", pa.bool_())])
    as_struct = content({**ROW, "consent": {"analytics": True, "advertising": False}}, consent=struct)
    as_text = content({**ROW, "consent": '{"analytics":true,"advertising":false}'}, consent=pa.string())
    assert differences(content(ROW), as_struct) == []
    assert differences(content(ROW), as_text) == []


def test_an_id_that_was_derived_is_known_by_its_content() -> None:
    ours, theirs = ({**ROW, "event_id": f"fp-{hash_of}"} for hash_of in ("1", "2"))
    assert differences(content(ours), content(theirs)) == []
    assert differences(content(ours), content({**theirs, "user_id": "v"})) == ["1 of 1 rows missing", "1 rows too many"]


def test_a_column_that_is_not_there_is_told_unless_that_was_said() -> None:
    batch = pa.Table.from_pylist([{"event_id": "a"}])
    found = content_of_batches(batch.to_batches(), None)
    assert "no column user_id" in differences(content(ROW), found)
    assert differences(content(ROW), found, [name for name in COLUMNS if name != "event_id"]) == []


def test_rejects_differ_by_line_and_by_reason() -> None:
    other = [("malformed", b"{"), ("wrong_type", b"{{"), ("invalid_encoding", None)]
    told = differences(content(ROW, letters=LETTERS), content(ROW, letters=other))
    assert told == ["rejects: 1 fewer malformed", "rejects: 1 more wrong_type"]


def test_where_no_line_is_kept_the_reasons_are_counted() -> None:
    bare = [(code, None) for code, _ in LETTERS]
    assert differences(content(ROW, letters=LETTERS), content(ROW, letters=bare)) == []
    assert differences(content(ROW, letters=LETTERS), content(ROW, letters=bare[1:])) == ["rejects: 1 fewer malformed"]
    assert differences(content(ROW, letters=LETTERS), content(ROW)) == [], "no reasons at all: nothing to compare"
