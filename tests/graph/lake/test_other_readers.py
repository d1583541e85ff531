"""Tables as other tools see them: files by name, and what columns mean."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from lake.location import Lake
from tests.support.lake_state import scan
from tests.support.shop import LINES, TABLE, Shop, event

AGAIN = [event(n, 12, name="again") for n in range(5)]  # ids of other minutes: the horizon drops them


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.ingest(LINES)
    shop.ingest(AGAIN)
    return shop


def paths(shop: Shop) -> list[str]:
    done = shop.headrace("lake", "files", "--paths", TABLE)
    assert done.exit_code == 0, done.output
    return done.stdout.split()


def test_duckdb_reads_from_the_listed_files_what_is_published(shop: Shop) -> None:
    listed = paths(shop)
    ids = duckdb.sql(f"SELECT event_id FROM read_parquet({listed})").fetchall()
    assert sorted(ids) == sorted((each,) for each in scan(shop.lake(), TABLE)["event_id"].to_pylist())
    every = list((shop.folder / "lake/warehouse/validated/customer_event/data").glob("*.parquet"))
    assert len(listed) < len(every), "others lie beside them, with rows that are dropped"


def test_a_state_that_no_sweep_has_seen_is_not_listed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    before = paths(shop)
    monkeypatch.setattr("pipelines.ingest.graph.IngestGraph.settle", lambda graph: type("Swept", (), {"chained": 0})())
    shop.ingest([event(500, 13)])
    assert paths(shop) == before and len(scan(shop.lake(), TABLE)) == 121


def test_a_table_that_is_not_there_is_told(shop: Shop) -> None:
    done = shop.headrace("lake", "files", "--paths", "validated.nothing")
    assert done.exit_code == 2 and "no table 'validated.nothing'; there is: " in done.stderr


def comments(lake: Lake) -> dict[str, str | None]:
    return {field.name: field.doc for field in lake.catalog().load_table(TABLE).schema().fields}


def test_descriptions_of_the_contract_are_comments_of_columns(shop: Shop) -> None:
    assert comments(shop.lake())["event_id"] == "Unique per event; the same for every retry."


def test_a_table_of_before_gets_them_from_the_next_run(shop: Shop) -> None:
    table = shop.lake().catalog().load_table(TABLE)
    with table.update_schema() as update:
        update.update_column("event_id", doc="old words")
    state = shop.state()
    shop.ingest([event(0, 8)])
    assert comments(shop.lake())["event_id"] == "Unique per event; the same for every retry."
    assert shop.state() == state
