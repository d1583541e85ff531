"""Tables as other tools see them: files by name, and what columns mean."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from lake.location import Lake
from lake.tables import data_files
from tests.support.lake_state import scan
from tests.support.shop import CONTRACT, LINES, TABLE, Shop, event

AGAIN = [event(n, 12, name="again") for n in range(5)]  # ids of other minutes: the horizon drops them


def made(folder: Path) -> Shop:
    shop = Shop(folder)
    shop.ingest(LINES)
    shop.ingest(AGAIN)
    return shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """For tests that write."""
    return made(tmp_path)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """For tests that read."""
    return made(tmp_path_factory.mktemp("shop"))


def paths(shop: Shop) -> list[str]:
    done = shop.headrace("lake", "files", "--paths", TABLE)
    assert done.exit_code == 0, done.output
    return done.stdout.split()


def test_duckdb_reads_from_the_listed_files_what_is_published(read: Shop) -> None:
    listed = paths(read)
    ids = duckdb.sql(f"SELECT event_id FROM read_parquet({listed})").fetchall()
    assert sorted(ids) == sorted((each,) for each in scan(read.lake(), TABLE)["event_id"].to_pylist())
    every = list((read.folder / "lake/warehouse/validated/customer_event/data").glob("*.parquet"))
    assert len(listed) < len(every), "others lie beside them, with rows that are dropped"


def test_a_state_that_no_sweep_has_seen_is_not_listed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    before = paths(shop)
    monkeypatch.setattr("pipelines.ingest.graph.IngestGraph.gate", lambda graph: (type("Swept", (), {"chained": 0})(), None))
    shop.ingest([event(500, 13)])
    assert paths(shop) == before and len(scan(shop.lake(), TABLE)) == 121


def test_a_table_that_is_not_there_is_told(read: Shop) -> None:
    done = read.headrace("lake", "files", "--paths", "validated.nothing")
    assert done.exit_code == 2 and "no table 'validated.nothing'; there is: " in done.stderr


def comments(lake: Lake) -> dict[str, str | None]:
    return {field.name: field.doc for field in lake.catalog().load_table(TABLE).schema().fields}


def test_descriptions_of_the_contract_are_comments_of_columns(read: Shop) -> None:
    assert comments(read.lake())["event_id"] == "Unique per event; the same for every retry."


def test_a_table_of_before_gets_them_from_the_next_run(shop: Shop) -> None:
    table = shop.lake().catalog().load_table(TABLE)
    with table.update_schema() as update:
        update.update_column("event_id", doc="old words")
    state = shop.state()
    shop.ingest([event(0, 8)])
    assert comments(shop.lake())["event_id"] == "Unique per event; the same for every retry."
    assert shop.state() == state


def required(shop: Shop, table: str = TABLE) -> set[str]:
    fields = shop.lake().catalog().load_table(table).schema().fields
    return {field.name for field in fields if field.required and not field.name.startswith("_")}


def test_columns_that_the_contract_requires_are_not_null_for_other_readers(read: Shop) -> None:
    of_contract = {column.name for column in read.project.source("web")[1].columns if column.required}
    assert of_contract == {"event_id", "event_type"}
    assert required(read) == required(read, "late.customer_event") == of_contract
    arrow = read.lake().catalog().load_table(TABLE).scan().to_arrow()
    assert not any(arrow.schema.field(name).nullable for name in (*of_contract, "_window_time", "_row_hash"))


def write_contract(shop: Shop, **is_required: bool) -> None:
    """The built-in contract, with other required columns."""
    document = yaml.safe_load(CONTRACT.read_text())
    for column in document["schema"][0]["properties"]:
        if column["name"] in is_required:
            column["required"] = is_required[column["name"]]
    folder = shop.folder / "datasets"
    if not folder.exists():
        folder.mkdir()
        with (shop.folder / "headrace.yaml").open("a") as file:
            file.write("datasets: [datasets]\n")
    (folder / CONTRACT.name).write_text(yaml.safe_dump(document))


def test_a_contract_that_requires_less_makes_the_column_optional_and_one_that_requires_more_leaves_it_so(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    write_contract(shop, anonymous_id=True)
    shop.ingest(LINES)
    assert required(shop) == {"event_id", "event_type", "anonymous_id"}
    write_contract(shop, anonymous_id=False)
    shop.ingest([event(700, 13, anonymousId=None, userId="u")])
    assert required(shop) == {"event_id", "event_type"}
    write_contract(shop, anonymous_id=True)
    shop.ingest([event(701, 13)])
    assert required(shop) == {"event_id", "event_type"}, "rows are there that lack it"
    assert scan(shop.lake(), TABLE)["anonymous_id"].null_count == 1


def ids_in(path: str) -> dict[str, str]:
    fields = pq.read_schema(path)
    return {field.name: (field.metadata or {}).get(b"PARQUET:field_id", b"").decode() for field in fields}


def nested_ids(kind: pa.MapType) -> list[str]:
    return [field.metadata[b"PARQUET:field_id"].decode() for field in (kind.key_field, kind.item_field)]


def test_data_files_carry_the_field_ids_of_the_table(read: Shop) -> None:
    schema = read.lake().catalog().load_table(TABLE).schema()
    for path in paths(read):
        assert ids_in(path) == {field.name: str(field.field_id) for field in schema.fields}
        consent = schema.find_field("consent").field_type
        assert nested_ids(pq.read_schema(path).field("consent").type) == [str(consent.key_id), str(consent.value_id)]


def test_files_without_ids_beside_such_with_them_are_read_alike_also_after_a_column_was_renamed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:  # as versions before wrote them
        patch.setattr(data_files, "numbered_schema", lambda rows, schema: pa.schema([field.remove_metadata() for field in rows]))
        shop.ingest([event(n, 16, userId=f"u-{n}") for n in range(800, 810)])
    shop.ingest([event(n, 20, userId=f"u-{n}") for n in range(810, 820)])
    kinds = {bool(ids_in(path)["user_id"]) for path in paths(shop)}
    assert kinds == {True, False}
    table = shop.lake().catalog().load_table(TABLE)
    users = {f"u-{n}" for n in range(800, 820)}
    assert users <= set(table.scan().to_arrow()["user_id"].to_pylist())
    with table.update_schema() as update:
        update.rename_column("user_id", "customer")
    assert users <= set(table.scan().to_arrow()["customer"].to_pylist())


def test_duckdb_finds_a_column_by_its_id(read: Shop) -> None:
    number = read.lake().catalog().load_table(TABLE).schema().find_field("event_id").field_id
    by_id = f"MAP {{{number}: {{name: 'other_name', type: 'VARCHAR', default_value: NULL}}}}"
    found = duckdb.sql(f"SELECT other_name FROM read_parquet({paths(read)}, schema = {by_id})").fetchall()
    assert sorted(found) == sorted((each,) for each in scan(read.lake(), TABLE)["event_id"].to_pylist())


def test_a_file_with_a_column_that_the_table_lacked_when_it_was_loaded_has_no_ids_at_all(read: Shop) -> None:
    known = read.lake().catalog().load_table(TABLE).schema()
    rows = pa.schema([pa.field("event_id", pa.string(), metadata={"PARQUET:field_id": "1"}), pa.field("newer", pa.string())])
    assert all(field.metadata is None for field in data_files.numbered_schema(rows, known))
