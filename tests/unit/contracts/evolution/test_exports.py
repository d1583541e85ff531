"""Contracts as schemas of other systems, read back by those systems' own parsers."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import duckdb
import fastavro
import pytest
import sqlglot
from pyiceberg.schema import Schema

from contracts.errors import ConfigurationError
from contracts.evolution.avro import avro_schema, reading
from contracts.evolution.ddl import DatabaseName, ddl
from contracts.evolution.iceberg import iceberg_schema
from contracts.spec.model import Contract, Deduplication
from contracts.spec.odcs import load_contract
from contracts.spec.project import BUILT_IN_DATASETS
from tests.support.contract_table import rows
from tests.support.hard_contract import HARD

CONTRACTS = [*(load_contract(path) for path in sorted(BUILT_IN_DATASETS.glob("*.yaml"))), HARD]


@pytest.fixture(params=CONTRACTS, ids=lambda contract: contract.name)
def contract(request: pytest.FixtureRequest) -> Contract:
    found: Contract = request.param
    return found


def test_duckdb_makes_the_table(contract: Contract) -> None:
    database = duckdb.connect()
    database.execute(ddl(contract, "duckdb"))
    asked = "SELECT column_name, is_nullable, comment FROM duckdb_columns() WHERE NOT internal ORDER BY column_index"
    found = database.execute(asked).fetchall()
    assert [name for name, _, _ in found] == [column.name for column in contract.columns]
    needed = {c.name for c in contract.columns if c.required} | {contract.event_id}
    assert {name for name, nullable, _ in found if not nullable} == needed
    comments = {name: comment for name, _, comment in found}
    for column in contract.columns:
        assert (comments[column.name] or "").startswith(column.description)


@pytest.mark.parametrize("database", get_args(DatabaseName))
def test_the_statements_parse_in_their_dialect(contract: Contract, database: DatabaseName) -> None:
    dialect = "postgres" if database == "postgresql" else database
    table, *comments = sqlglot.parse(ddl(contract, database), dialect=dialect, error_level=sqlglot.ErrorLevel.RAISE)
    assert isinstance(table, sqlglot.exp.Create)
    columns = list(table.this.find_all(sqlglot.exp.ColumnDef))
    assert [column.name for column in columns if column.parent is table.this] == [column.name for column in contract.columns]
    assert all(isinstance(comment, sqlglot.exp.Comment) for comment in comments)


def test_an_id_is_a_key_only_where_it_never_comes_again() -> None:
    assert 'PRIMARY KEY ("event_id")' in ddl(HARD, "duckdb")
    assert iceberg_schema(HARD)["identifier-field-ids"] == [1]
    week = replace(HARD, deduplication=Deduplication())
    assert "PRIMARY KEY" not in ddl(week, "duckdb")
    assert iceberg_schema(week)["identifier-field-ids"] == []


def test_bigquery_gets_the_type_that_holds_the_digits() -> None:
    text = ddl(HARD, "bigquery")
    assert "`c_decimal` NUMERIC(12,2)" in text
    assert "`big` BIGNUMERIC(38,18)" in text


def test_iceberg_reads_its_schema_with_an_id_for_each_field(contract: Contract) -> None:
    schema = Schema.model_validate(iceberg_schema(contract))
    assert [field.name for field in schema.fields] == [column.name for column in contract.columns]
    ids = list(schema._lazy_id_to_field)
    assert sorted(ids) == list(range(1, len(ids) + 1))


def test_avro_is_read_by_both_libraries_and_reads_itself() -> None:
    for found in CONTRACTS[:-1]:
        schema = avro_schema(found)
        fastavro.parse_schema(schema)
        assert reading(schema, schema) == []


def test_optional_fields_have_null_first_and_as_default() -> None:
    fields = {field["name"]: field for field in avro_schema(CONTRACTS[1])["fields"]}
    assert fields["event_type"]["type"] == "string" and "default" not in fields["event_type"]
    assert fields["sent_at"]["type"] == ["null", {"type": "long", "logicalType": "timestamp-micros"}]
    assert fields["sent_at"]["default"] is None
    assert fields["event_type"]["headrace.enum"][0] == "track"
    assert fields["user_id"]["headrace.classification"] == "personal"


def test_what_is_computed_is_optional_though_rows_always_have_it() -> None:
    row = next(row for row in rows() if row.change.startswith("a computed column"))
    field = next(field for field in avro_schema(row.after)["fields"] if field["name"] == "event_time")
    assert field["type"][0] == "null"


def test_a_name_that_avro_does_not_take_is_told() -> None:
    with pytest.raises(ConfigurationError, match="not Größe, a b"):
        avro_schema(HARD)
