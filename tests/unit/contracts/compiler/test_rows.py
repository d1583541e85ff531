"""From checked columns to rows: identity, hashes, window_time and ranks, each computed again in plain Python."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.compiler.checker import RecordChecker
from contracts.compiler.rows import MAX_AHEAD_US, MAX_BEHIND_US, FinishedColumns, RowFinisher
from contracts.compiler.timestamps import MAX_US, MIN_US
from contracts.spec.model import Column, ColumnType, Contract, EventTimeRule
from contracts.spec.paths import PayloadPath
from contracts.spec.source import SourceSpec

NOW = 1_793_613_600_000_000
DAY = 86_400_000_000
HOUR = 3_600_000_000


def column(name: str, kind: ColumnType = ColumnType.TIMESTAMP, **options: Any) -> Column:
    return Column(name=name, type=kind, **options)


EVENT = Contract(
    name="event", version="1.0.0", kind="event", event_id="id",
    columns=(
        column("id", ColumnType.STRING), column("text", ColumnType.STRING), column("number", ColumnType.NUMBER),
        column("amount", ColumnType.DECIMAL, precision=12, scale=2), column("day", ColumnType.DATE), column("json",
        ColumnType.JSON),
        column("choices", ColumnType.BOOLEAN_MAP), column("count", ColumnType.INTEGER), column("original"),
        column("sent", transport=True), column("received", transport=True), column("estimate", transport=True),
    ),
    window_time=("original",), received_at="received", event_time=EventTimeRule("estimate", "original", "sent"),
    order=("received", "count"),
)  # fmt: skip
ENTITY = Contract(
    name="thing", version="1.0.0", kind="entity", event_id="id", event_id_from=("key", "updated"), window_time=("updated",),
    order=("updated",),
    columns=(column("id", ColumnType.STRING), column("key", ColumnType.STRING), column("updated"), column("name",
    ColumnType.STRING)),
)  # fmt: skip


def finish(contract: Contract, *rows: dict[str, Any], received_at: int = NOW) -> FinishedColumns:
    """Finished columns of rows that name only the columns that have a value."""
    mapped = [c.name for c in contract.columns if c.name not in contract.computed]
    return RowFinisher(contract).finish({name: [row.get(name) for row in rows] for name in mapped}, [received_at] * len(rows))


def canonical(row: dict[str, Any], names: set[str]) -> bytes:
    """The documented form, written with the standard library."""

    def plain(value: Any) -> Any:
        if isinstance(value, Decimal):
            return str(value)
        return value.isoformat() if isinstance(value, date) else value

    kept = {name: plain(value) for name, value in row.items() if name in names and value is not None}
    return json.dumps(kept, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=5)
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "id": TEXT, "text": TEXT, "number": st.integers(-1000, 1000).map(lambda n: n / 8), "count": st.integers(-(2**63),
        2**63 - 1),
        "amount": st.integers(-(10**9), 10**9).map(lambda cents: Decimal(cents).scaleb(-2)), "day": st.dates(),
        "json": st.sampled_from(('{"a":1}', "[]")), "choices": st.dictionaries(TEXT, st.booleans(), max_size=3),
        "original": st.integers(NOW - 40 * DAY, NOW + DAY), "sent": st.integers(NOW - DAY, NOW),
        "received": st.integers(NOW - DAY, NOW + DAY),
    },
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.lists(ROWS, max_size=4))
def test_hashes_are_those_of_the_documented_canonical_json(rows: list[dict[str, Any]]) -> None:
    columns = finish(EVENT, *rows)
    names = {c.name for c in EVENT.columns}
    stable = names - {"id", "sent", "received", "estimate"}
    for i in range(len(rows)):
        row = {name: columns[name][i] for name in names}
        assert columns["_row_hash"][i] == xxhash.xxh3_128_digest(canonical(row, names))
        assert columns["_fingerprint"][i] == xxhash.xxh3_128_digest(canonical(row, stable))


@settings(deadline=None, max_examples=60)
@given(st.lists(ROWS, min_size=2, max_size=4))
def test_a_row_does_not_depend_on_its_neighbours(rows: list[dict[str, Any]]) -> None:
    together = finish(EVENT, *rows)
    for i, row in enumerate(rows):
        assert {name: values[0] for name, values in finish(EVENT, row).items()} == {
            name: values[i] for name, values in together.items()
        }


def test_retries_have_one_fingerprint_and_different_rows() -> None:
    row = {"id": "1", "text": "a", "original": NOW}
    columns = finish(
        EVENT,
        {**row, "sent": NOW, "received": NOW + 5},
        {**row, "sent": NOW + 7, "received": NOW + 9},
        {**row, "id": "2", "sent": NOW, "received": NOW + 5},
    )
    assert len(set(columns["_fingerprint"])) == 1
    assert len(set(columns["_row_hash"])) == 3


@pytest.mark.parametrize(
    "change", [{"text": "b"}, {"text": ""}, {"number": 0.0}, {"choices": {}}, {"original": NOW + 1}, {"count": 0}]
)
def test_any_other_value_is_another_fingerprint(change: dict[str, Any]) -> None:
    row = {"id": "1", "text": "a", "original": NOW}
    one, other = finish(EVENT, row, row | change)["_fingerprint"]
    assert one != other


def test_key_order_and_blanks_of_json_columns_change_nothing() -> None:
    spec = SourceSpec(
        name="s",
        dataset="event",
        version=1,
        format="jsonl",
        columns={"id": (PayloadPath(("id",)),), "json": (PayloadPath(("json",)),)},
    )
    texts = (
        '{"id": "1", "json": {"b": {"y": 1, "x": [1, 2]}, "a": "\\u00fc"}}',
        '{"json":{"a":"ü","b":{"x":[1,2],"y":1}},"id":"1"}',
    )
    checked = RecordChecker(EVENT, spec).check([json.loads(text) for text in texts])
    columns = RowFinisher(EVENT).finish(checked.columns, [NOW, NOW])
    assert columns["json"][0] == '{"a":"ü","b":{"x":[1,2],"y":1}}'
    assert columns["_row_hash"][0] == columns["_row_hash"][1]


@pytest.mark.parametrize(
    ("original", "sent", "expected", "corrected"),
    [
        (NOW - 5, None, NOW - 5, False),
        (NOW - MAX_BEHIND_US, None, NOW - MAX_BEHIND_US, False),
        (NOW - MAX_BEHIND_US - 1, None, NOW, True),
        (NOW + MAX_AHEAD_US, None, NOW + MAX_AHEAD_US, False),
        (NOW + MAX_AHEAD_US + 1, None, NOW, True),
        (None, None, NOW, False),
        (None, NOW - 5, NOW, False),
        (0, 2 * HOUR, NOW - 2 * HOUR, True),  # a clock at 1970: the event was two hours before it was sent
        (4_102_444_799_000_000, 4_102_444_799_000_007, NOW - 7, True),  # and one at 2099
        (0, NOW, NOW, True),  # a clock that was set in between: the estimate is no better
        (0, MAX_BEHIND_US, NOW - MAX_BEHIND_US, True),
        (0, MAX_BEHIND_US + 1, NOW, True),
        (0, -MAX_AHEAD_US, NOW + MAX_AHEAD_US, True),
        (0, -MAX_AHEAD_US - 1, NOW, True),
    ],
)
def test_window_time_is_the_clients_unless_it_cannot_be(
    original: int | None, sent: int | None, expected: int, corrected: bool
) -> None:
    columns = finish(EVENT, {"id": "1", "original": original, "sent": sent, "received": NOW})
    assert (columns["_window_time"], columns["_time_corrected"]) == ([expected], [corrected])


def test_the_limits_are_thirty_days_and_an_hour() -> None:
    assert (MAX_BEHIND_US, MAX_AHEAD_US) == (30 * DAY, HOUR)


def test_received_at_is_the_payloads_else_the_files() -> None:
    columns = finish(EVENT, {"id": "1", "received": NOW - 5}, {"id": "2"}, received_at=NOW)
    assert columns["received"] == columns["_received_at"] == [NOW - 5, NOW]
    assert columns["_window_time"] == [NOW - 5, NOW]


def test_event_time_needs_both_of_the_clients_times() -> None:
    columns = finish(
        EVENT,
        {"id": "1", "original": NOW - 50, "sent": NOW - 20, "received": NOW},
        {"id": "2", "original": NOW},
        {"id": "3", "sent": NOW},
    )
    assert columns["estimate"] == [NOW - 30, None, None]


@pytest.mark.parametrize(("original", "sent"), [(MIN_US, MAX_US), (MAX_US, MIN_US)])
def test_event_time_stays_within_the_years_that_a_timestamp_can_have(original: int, sent: int) -> None:
    (estimate,) = finish(EVENT, {"id": "1", "original": original, "sent": sent, "received": NOW})["estimate"]
    assert estimate is None or MIN_US <= estimate <= MAX_US


def test_an_entity_keeps_the_time_of_its_version_however_old() -> None:
    columns = finish(ENTITY, {"key": "k", "updated": 0}, {"key": "k", "updated": NOW + 9 * HOUR}, {"key": "k"})
    assert columns["_window_time"] == [0, NOW + 9 * HOUR, NOW]
    assert columns["_time_corrected"] == [False] * 3


def test_an_entitys_id_is_the_hash_of_its_key_and_version() -> None:
    columns = finish(
        ENTITY, {"key": "k", "updated": 5, "name": "a"}, {"key": "k", "updated": 5, "name": "b"}, {"key": "k", "updated": 6}
    )
    assert columns["id"][0] == columns["id"][1] == xxhash.xxh3_128_hexdigest(b'["k",5]')
    assert columns["id"][2] == xxhash.xxh3_128_hexdigest(b'["k",6]')


def test_an_entity_without_a_version_has_the_id_of_its_content() -> None:
    columns = finish(ENTITY, {"key": "k", "name": "a"}, {"key": "k", "name": "b"}, {"key": "k", "name": "a"})
    assert columns["id"][0] == columns["id"][2] != columns["id"][1]
    assert columns["id"][0] == xxhash.xxh3_128_hexdigest(columns["_fingerprint"][0])


def test_an_event_without_an_id_has_that_of_its_fingerprint() -> None:
    columns = finish(EVENT, {"text": "a", "sent": 1}, {"text": "a", "sent": 2}, {"text": "b"}, {"id": "own", "text": "a"})
    assert columns["id"][0] == columns["id"][1] == f"fp-{columns['_fingerprint'][0].hex()}" != columns["id"][2]
    assert columns["id"][3] == "own"


ORDERED = st.tuples(st.integers(MIN_US, MAX_US), st.none() | st.integers(-(2**63), 2**63 - 1))


@settings(deadline=None, max_examples=100)
@given(st.lists(ORDERED, min_size=2, max_size=6))
def test_ranks_compare_like_the_order_columns_with_nulls_last(pairs: list[tuple[int, int | None]]) -> None:
    ranks = finish(EVENT, *({"id": "1", "received": received, "count": count} for received, count in pairs))["_rank"]
    key = {rank: (received, count is None, count or 0) for rank, (received, count) in zip(ranks, pairs, strict=True)}
    assert sorted(key) == sorted(key, key=lambda rank: key[rank])
    assert len(key) == len(set(pairs)), "different values, different ranks"


def test_the_largest_integer_ranks_before_no_value() -> None:
    largest, none = finish(EVENT, {"id": "1", "count": 2**63 - 1}, {"id": "1"})["_rank"]
    assert largest < none


def test_without_order_columns_all_ranks_are_equal() -> None:
    assert finish(replace(EVENT, order=()), {"id": "1"}, {"id": "2"})["_rank"] == [b"", b""]


def test_no_rows_give_empty_columns() -> None:
    assert all(values == [] for values in finish(EVENT).values())
