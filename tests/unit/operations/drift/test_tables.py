"""Tables that contracts ask for, against those of a lake."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from contracts.spec.model import Column, ColumnType, Contract
from operations.drift.tables import DeployedTable, WantedTable, compare_tables

ID, CITY = Column(name="id", type=ColumnType.STRING, required=True), Column(name="city", type=ColumnType.STRING)
OLD = Contract(name="order", version="1.0.0", kind="event", columns=(ID,), event_id="id")
NEW = replace(OLD, version="1.1.0", columns=(ID, CITY))
COLUMNS = {"id": "string", "city": "string", "_shard": "int32"}
LAYOUT = {"headrace.layout.num-shards": "4", "headrace.layout.horizon-s": "604800"}
WANTED = WantedTable(
    name="validated.order", contract=NEW, columns=COLUMNS, required=frozenset({"id"}), layout=LAYOUT,
    upgraded=frozenset({"headrace.layout.horizon-s"}), fill="fill it", pending=True,
)  # fmt: skip
FINE = DeployedTable(columns=COLUMNS, required=frozenset({"id"}), properties={**LAYOUT, "write.target-file-size-bytes": "1"})


def told(
    have: DeployedTable | None, states: Sequence[Contract] = (OLD, NEW), wanted: WantedTable = WANTED, **others: DeployedTable
) -> list[tuple[str, str, bool]]:
    deployed = {**({} if have is None else {"validated.order": have}), **{f"late.{name}": table for name, table in others.items()}}
    known = frozenset({"validated.order", "late.order"})
    return [
        (one.deployed, one.repository, one.pending) for one in compare_tables("lake", [wanted], deployed, {"order": states}, known)
    ]


def without(name: str) -> DeployedTable:
    return replace(FINE, columns={key: kind for key, kind in COLUMNS.items() if key != name})


def test_a_table_that_was_filled_by_its_contract() -> None:
    assert told(FINE) == []


def test_a_table_that_was_never_made_is_pending_where_a_schedule_makes_it() -> None:
    assert told(None, ()) == [("never made", "1.1.0", True)]
    assert told(None, (), replace(WANTED, pending=False)) == [("never made", "1.1.0", False)]


def test_a_table_that_is_gone() -> None:
    assert told(None) == [("gone: it was filled before", "1.1.0", False)]


def test_a_contract_that_went_on_is_told_once_and_by_what_changed() -> None:
    """rocky-data/rocky#331: a column that was added was no difference, and the next insert failed."""
    ((deployed, repository, pending),) = told(without("city"), (OLD,))
    assert deployed == "filled by contract 1.0.0" and repository.startswith("1.1.0: ") and "city" in repository and pending


def test_words_of_a_contract_are_no_difference() -> None:
    assert told(FINE, (replace(NEW, description="other words", columns=(ID, replace(CITY, description="where"))),)) == []


def test_a_contract_that_breaks_is_told_by_the_rules_of_contract_check() -> None:
    (found,) = compare_tables(
        "lake", [replace(WANTED, contract=replace(OLD, version="1.2.0"), columns={"id": "string", "_shard": "int32"})],
        {"validated.order": FINE}, {"order": (NEW,)}, frozenset({"validated.order"}),
    )  # fmt: skip
    assert "breaks it" in found.repository and "headrace contract check order --against-lake" in found.remedy and not found.pending


def test_a_column_that_somebody_dropped() -> None:
    assert told(without("city"), wanted=replace(WANTED, pending=False)) == [("no column city", "city string", False)]
    assert told(without("_shard")) == [("no column _shard", "_shard int32", True)]


def test_a_column_of_another_type() -> None:
    """StarRocks/starrocks#73770: silently NULL. How wide offsets are is none (large_string): of_lake leaves it out."""
    assert told(replace(FINE, columns={**COLUMNS, "city": "int64"})) == [("city is int64", "city is string", False)]


def test_a_column_that_somebody_added_and_one_that_a_contract_gave_up() -> None:
    assert told(replace(FINE, columns={**COLUMNS, "note": "string"})) == [("columns note", "in no contract that filled it", False)]
    given_up = replace(NEW, columns=(*NEW.columns, Column(name="fax", type=ColumnType.STRING)))
    assert told(replace(FINE, columns={**COLUMNS, "fax": "string"}), (given_up, NEW)) == []


def test_not_null_that_the_contract_no_longer_says() -> None:
    assert told(replace(FINE, required=frozenset({"id", "city"}))) == [("city is NOT NULL", "city is optional", True)]
    assert told(replace(FINE, required=frozenset())) == [], "older rows may lack a value: a run never makes it NOT NULL"


def test_another_layout_and_what_changes_it() -> None:
    def remedy(key: str, value: str) -> tuple[str, str]:
        have: Any = replace(FINE, properties={**FINE.properties, key: value})
        (found,) = compare_tables("lake", [WANTED], {"validated.order": have}, {"order": (NEW,)}, frozenset({"validated.order"}))
        return found.deployed, found.remedy

    assert remedy("headrace.layout.horizon-s", "0") == ("horizon-s 0", "headrace lake upgrade")
    assert remedy("headrace.layout.num-shards", "8")[1].startswith("give the table's --num-shards")


def test_settings_of_others_are_theirs() -> None:
    assert told(replace(FINE, properties={**LAYOUT, "owner": "somebody", "write.parquet.compression-codec": "zstd"})) == []


def test_a_table_of_a_contract_that_is_gone() -> None:
    assert told(FINE, invoice=FINE) == [("there", "no contract for it", False)]


def test_a_table_of_a_lake_that_kept_no_contracts_is_held_to_its_columns_alone() -> None:
    assert told(FINE, ()) == []
    assert told(replace(FINE, columns={**COLUMNS, "note": "string"}), ()) == []
    assert told(without("city"), ()) == [("no column city", "city string", True)]


def test_a_contract_that_went_back_to_what_it_was_is_no_difference() -> None:
    assert told(FINE, (OLD, NEW), replace(WANTED, contract=OLD)) == []


def test_a_property_that_is_not_there_and_what_brings_a_table_back() -> None:
    bare = replace(FINE, properties={"headrace.layout.num-shards": "4"})
    assert told(bare) == [("horizon-s not set", "horizon-s 604800", False)]

    def remedy(states: Sequence[Contract]) -> str:
        (found,) = compare_tables("lake", [WANTED], {}, {"order": states}, frozenset())
        return found.remedy

    assert (remedy(()), remedy((NEW,))) == ("fill it", "headrace lake rebuild-catalog")
