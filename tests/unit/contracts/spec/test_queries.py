"""Queries whose answer does not follow from the rows are refused as a text already, and others are not."""

from __future__ import annotations

import duckdb
import pytest

from contracts.spec.queries import UNDETERMINED, undetermined
from quality.sql_child import not_of_the_rows


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT count(*) FROM t WHERE at < now()", "now()"),
        ("SELECT Random ()", "Random()"),
        ("SELECT max(at) < CURRENT_TIMESTAMP FROM t", "CURRENT_TIMESTAMP"),
        ("SELECT current_date - 1", "current_date"),
        ("SELECT get_current_timestamp()", "get_current_timestamp()"),
        ("SELECT uuid()", "uuid()"),
        ('SELECT "random"()', "random()"),
        ("SELECT main.random()", "random()"),
        ("SELECT count(*) FROM t USING SAMPLE 10", "a sample"),
        ("SELECT count(*) FROM t TABLESAMPLE reservoir(20%)", "a sample"),
        ("SELECT count(*) FROM query('SELECT 1')", "query()"),
        ("SELECT 1 -- \n + random()", "random()"),
        ("SELECT count(*) FROM t WHERE name = 'now()'", None),
        ("SELECT count(*) FROM t WHERE name = $$now()$$", None),
        ("SELECT count(*) FROM t -- at < now()", None),
        ("SELECT count(*) /* random() */ FROM t", None),
        ("SELECT sum(o.current_date) FROM t o", None),
        ('SELECT sum("current_date") FROM t', None),
        ("SELECT random FROM t", None),
        ("SELECT count(now) FROM t", None),
        ("SELECT count(*) FROM t WHERE name = 'it''s now()'", None),
        ("SELECT count(*) FROM t WHERE at < ${from}", None),
    ],
)
def test_what_does_not_follow_from_rows_is_found(query: str, told: str | None) -> None:
    assert undetermined(query) == told


def test_every_function_that_the_engine_calls_unstable_is_known() -> None:
    found = duckdb.sql("SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'").fetchall()
    assert {name for (name,) in found} - {"error"} <= UNDETERMINED


@pytest.mark.parametrize("name", sorted(UNDETERMINED - {"query", "query_table"}))
def test_the_engine_is_asked_the_same(name: str) -> None:
    tree = {"class": "FUNCTION", "type": "FUNCTION", "function_name": name}
    assert not_of_the_rows(duckdb.connect(), [tree]) == f"{name}()"
