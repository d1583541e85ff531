"""Which letters a selection takes: by what they are, whose, when, in which state; late rows too."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from contracts.codes import Code
from contracts.errors import ConfigurationError
from contracts.units import HOUR_US, datetime_to_us
from lake.location import Lake
from lake.tables.iceberg import published_files
from lake.tables.letter_history import Act, ActOutcome, HistoryLine, append_history, history_table
from lake.tables.letters import LETTER_COLUMNS, publish_letters
from lake.tables.publish import fold_ranges, publish
from operations.deadletters.causes import count_causes
from operations.deadletters.selection import LetterSelection, TimeOf, select, selected_files
from operations.deadletters.states import State
from operations.deadletters.views import find_letters, first_violation
from tests.support.lake_state import scan
from tests.support.letters import CASES, EVENTS, PEOPLE, LetterShop
from tests.support.shop import RECEIVED_S
from transforms.cut import Cut
from transforms.letters import by_range, conflict_letters

RECEIVED_US = RECEIVED_S * 1_000_000
COLUMNS = ["dead_letter_id", "code", "source", "stage", "state"]


def taken(lake: Lake, **fields: Any) -> list[dict[str, Any]]:
    """Selected letters."""
    return [row for batch in select(lake, LetterSelection(**fields), COLUMNS) for row in batch.to_pylist()]


def codes(lake: Lake, **fields: Any) -> set[str]:
    return {row["code"] for row in taken(lake, **fields)}


def make_late(shop: LetterShop) -> list[dict[str, Any]]:
    """Published rows as late ones too; the rows."""
    lake = shop.lake()
    rows = lake.load("validated.customer_event").scan().to_arrow()
    table = lake.load("late.customer_event")
    rows = rows.select([name for name in table.schema().as_arrow().names if not name.startswith(("_from", "_to", "_shard"))])
    rows = rows.cast(pa.schema([field.with_type(_plain(field.type)) for field in rows.schema]))
    folds = list(fold_ranges(table, published_files(table), rows, lambda _: [(0, 1 << 60)], key="event_id", shard=0))
    publish(lake, "late.customer_event", folds, key="event_id", run_id="late")
    return rows.to_pylist()


def _plain(kind: pa.DataType) -> pa.DataType:
    return {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}.get(kind, kind)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LetterShop]:
    """With letters of events and people, and a late row."""
    shop = LetterShop(tmp_path_factory.mktemp("letters"))
    for source in (EVENTS, PEOPLE):
        shop.ingest(source, [shop.write(case) for case in CASES.values() if case.source == source])
    make_late(shop)
    yield shop


ALL = {str(case.code) for case in CASES.values() if case.source in (EVENTS, PEOPLE)} | {"late"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ALL),
        ({"codes": ("malformed", "too_deep")}, {"malformed", "too_deep"}),
        ({"rules": ("syntax", "depth", "lateness")}, {"malformed", "too_deep", "late"}),
        ({"sources": (PEOPLE,)}, {"bad_pattern", "unknown_field"}),
        ({"datasets": ("contact",)}, {"bad_pattern", "unknown_field"}),
        ({"stages": ("converge", "late")}, {"conflicting_duplicate", "late"}),
        ({"contract_versions": ("1.0.0",)}, ALL - {"late"}),
        ({"contract_versions": ("2.0.0",)}, set()),
        ({"codes": ("malformed",), "sources": (PEOPLE,)}, set()),
        ({"since_us": RECEIVED_US, "until_us": RECEIVED_US + 1}, ALL - {"conflicting_duplicate", "late"}),
        ({"until_us": RECEIVED_US}, {"conflicting_duplicate", "late"}),
        ({"since_us": RECEIVED_US + 1}, set()),
        ({"until_us": RECEIVED_US - 3 * HOUR_US + 60_000_000, "time_of": TimeOf.EVENT}, set()),
        ({"until_us": RECEIVED_US, "time_of": TimeOf.EVENT}, {"conflicting_duplicate", "late"}),
        ({"states": (State.CLOSED,)}, set()),
        ({"states": (State.RECOVERED,)}, set()),
    ],
)
def test_filters(shop: LetterShop, fields: dict[str, Any], expected: set[str]) -> None:
    assert codes(shop.lake(), **fields) == expected


def test_ids_and_their_beginnings(shop: LetterShop) -> None:
    letters = taken(shop.lake())
    for letter in letters:
        whole, beginning = letter["dead_letter_id"], letter["dead_letter_id"][:9]
        assert taken(shop.lake(), ids=(whole,)) == [letter] == taken(shop.lake(), ids=(beginning,))
    both = (letters[0]["dead_letter_id"], letters[1]["dead_letter_id"][:9])
    assert {x["dead_letter_id"] for x in taken(shop.lake(), ids=both)} == {x["dead_letter_id"] for x in letters[:2]}


def test_files_that_hold_none_are_not_read(shop: LetterShop) -> None:
    lake = shop.lake()
    (letter, *_) = taken(lake, codes=("malformed",))
    whole = selected_files(lake, LetterSelection(ids=(letter["dead_letter_id"],)))
    assert (
        0 < len([file for file in whole if file.late_of is None]) < len(selected_files(lake, LetterSelection(stages=("decode",))))
    )
    assert selected_files(lake, LetterSelection(since_us=RECEIVED_US + 1)) == []
    assert all(file.late_of is None for file in selected_files(lake, LetterSelection(codes=("malformed",))))
    assert all(file.late_of for file in selected_files(lake, LetterSelection(stages=("late",))))


@pytest.mark.parametrize("wrong", [{"ids": ("xyz",)}, {"ids": ("",)}, {"ids": ("a" * 33,)}, {"since_us": 2, "until_us": 2}])
def test_what_can_select_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        LetterSelection(**wrong)


def test_a_lake_without_letters_has_none(tmp_path: Any) -> None:
    lake = Lake.at(str(tmp_path / "lake"))
    lake.create()
    assert taken(lake) == [] and taken(lake, states=tuple(State)) == []


def test_only_as_many_as_asked_for_the_newest_first(shop: LetterShop) -> None:
    everything = find_letters(shop.lake(), shop.project, LetterSelection(), 1_000)
    assert len(everything) == len(ALL)
    key = [(-datetime_to_us(x["received_at"]), x["source"], x["position"].rpartition(":")[0]) for x in everything]
    assert key == sorted(key)
    for limit in (1, 3, len(ALL)):
        assert find_letters(shop.lake(), shop.project, LetterSelection(), limit) == everything[:limit]


def test_columns_come_as_they_were_asked_for(shop: LetterShop) -> None:
    columns = ["raw", "attempt", "dead_letter_id", "_position"]
    batches = list(select(shop.lake(), LetterSelection(stages=("decode", "late")), columns))
    assert all(batch.schema.names == columns and len(batch) for batch in batches)


def test_letters_move_between_states_and_recovered_ones_keep_their_code(tmp_path: Any) -> None:
    shop = LetterShop(tmp_path)
    shop.ingest(EVENTS, [shop.write(case) for case in CASES.values() if case.source == EVENTS])
    lake = shop.lake()
    by_code = {row["code"]: row["dead_letter_id"] for row in taken(lake)}

    def told(code: str, act: Act, outcome: ActOutcome, at: int) -> None:
        line = HistoryLine(
            dead_letter_id=by_code[code], source=EVENTS, raw_file="f", position=at, dataset="customer_event", attempt=at,
            act=act, outcome=outcome, by="ada", code=code,
        )  # fmt: skip
        append_history(lake, history_table([line], datetime(2026, 11, 3, tzinfo=UTC) + timedelta(hours=at)))

    told("malformed", Act.REPROCESSED, ActOutcome.STILL_FAILING, 2)
    told("too_deep", Act.REPROCESSED, ActOutcome.GIVEN_UP, 3)
    told("too_large", Act.CLOSED, ActOutcome.CLOSED, 1)
    told("not_in_enum", Act.REPROCESSED, ActOutcome.RECOVERED, 2)  # and came again: its letter stands
    assert codes(lake) == set(by_code) - {"too_large"}
    assert codes(lake, states=(State.GIVEN_UP,)) == {"too_deep"}
    assert codes(lake, states=(State.CLOSED,)) == {"too_large"}
    assert codes(lake, states=(State.RECOVERED,)) == set()
    assert {row["code"]: row["state"] for row in taken(lake, states=tuple(State))} == {
        code: {"too_deep": "given_up", "too_large": "closed"}.get(code, "open") for code in by_code
    }


def test_a_withdrawn_letter_is_shown_to_who_asks_for_recovered_ones_alone(tmp_path: Any) -> None:
    shop = LetterShop(tmp_path)
    shop.ingest(EVENTS, [shop.write(case) for case in CASES.values() if case.source == EVENTS])
    lake = shop.lake()
    contract = shop.project.contract("customer_event", 1)
    (letter,) = taken(lake, codes=(str(Code.CONFLICTING_DUPLICATE),))
    rows = scan(lake, "ops.dead_letter")
    row = next(x for x in rows.to_pylist() if x["dead_letter_id"] == letter["dead_letter_id"])
    won = pa.Table.from_pylist([{name: row[name] for name in LETTER_COLUMNS} | {"event_id": row["event_id"], "_rank": bytes(64)}])
    taken_back = conflict_letters(won.slice(0, 0), won, contract, "back")
    place = taken_back.schema.get_field_index("violations")
    none = pa.array([[]], taken_back.schema.field("violations").type)
    taken_back = taken_back.set_column(place, "violations", none)
    publish_letters(lake, by_range(taken_back, Cut(num_shards=4)), "back")
    assert codes(lake, codes=(str(Code.CONFLICTING_DUPLICATE),)) == set()
    assert codes(lake, states=(State.RECOVERED,)) == set()  # nobody recovered it: no line says so
    line = HistoryLine(
        dead_letter_id=letter["dead_letter_id"], source=EVENTS, raw_file=row["_raw_file"], position=row["_position"],
        dataset="customer_event", attempt=2, act=Act.REPROCESSED, outcome=ActOutcome.RECOVERED, by="ada",
        code="conflicting_duplicate",
    )  # fmt: skip
    append_history(lake, history_table([line], datetime.now(UTC)))
    assert codes(lake, states=(State.RECOVERED,)) == {"conflicting_duplicate"}
    (cause,) = count_causes(lake, shop.project, LetterSelection(states=(State.RECOVERED,))).causes
    assert (cause.what["code"], cause.what["path"], cause.expected) == ("conflicting_duplicate", "", "")
    (shown,) = find_letters(lake, shop.project, LetterSelection(states=(State.RECOVERED,)), 5)
    assert first_violation(shown) == "" and shown["state"] == "recovered"
    assert count_causes(lake, shop.project, LetterSelection()).letters == len(taken(lake))
    assert codes(lake, states=(State.RECOVERED,), codes=("malformed",)) == set()
    assert "conflicting_duplicate" not in codes(lake)
