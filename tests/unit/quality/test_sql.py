"""Rules of type sql: what a query may see, and what becomes of one that goes wrong."""

from __future__ import annotations

import builtins
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from contracts.errors import ConfigurationError
from quality.sql import columns_of, without_values
from quality.verdicts import RuleVerdict, Verdict
from tests.support.partitions import AT_US, CONTRACT, contract_with, judged, ours, rows_of

ROWS: list[dict[str, Any]] = [
    {"email": "ada@example.com", "points": 2**62, "amount": Decimal("0.10"), "consent": [("ads", True)]},
    {"email": "bob@example.com", "points": 2**62, "amount": Decimal("0.20")},
    {"email": None, "points": 1, "paid": True},
    {"email": "of another hour", "after_s": 3_600},
]


def asked(query: str, rows: list[dict[str, Any]] = ROWS, **more: Any) -> RuleVerdict:
    (verdict,) = judged(contract_with({"type": "sql", "query": query, **({"mustBe": 3} | more)}), rows_of(rows))
    return verdict


@pytest.mark.parametrize(
    ("query", "observed"),
    [
        ("SELECT count(*) FROM ${table}", 3.0),
        ("SELECT count(*) FROM {object}", 3.0),
        ('SELECT count(*) FROM "order"', 3.0),
        ("FROM ${table} SELECT count(*)", 3.0),
        ("SELECT count(DISTINCT o) + 0 FROM ${table} o", 3.0),
        ('SELECT count(*) FROM ${table} WHERE "at" >= ${from} AND "at" < ${to}', 3.0),
        ("WITH x AS (SELECT * FROM ${table}) SELECT count(*) FROM x JOIN x y USING (event_id)", 3.0),
        ("SELECT sum(amount) FROM ${table}", 0.3),
        ("SELECT max(points) FROM ${table}", str(2**62)),
        ("SELECT sum(points) FROM ${table}", str(2**63 + 1)),
        ("SELECT bool_or(paid) FROM ${table}", 1.0),
        ("SELECT count(consent['ads']) FROM ${table}", 1.0),
        ("SELECT count(DISTINCT _source) FROM ${table}", 1.0),
        ("SELECT 100.0 * count(*) FILTER (WHERE email IS NULL) / count(*) FROM ${table}", 100 / 3),
        ('SELECT extract(hour FROM max("at")) FROM ${table}', 8.0),  # of UTC, wherever this runs
    ],
)
def test_a_query_sees_the_rows_of_the_partition(query: str, observed: Any) -> None:
    found = asked(query)
    assert found.verdict in (Verdict.OK, Verdict.FAILED), found.detail
    assert found.observed == pytest.approx(observed) if isinstance(observed, float) else found.observed == observed


def test_a_rule_of_a_column_names_it() -> None:
    item = {"type": "sql", "below": "email", "query": "SELECT count(*) FROM ${table} WHERE ${column} IS NULL", "mustBe": 1}
    assert [v.verdict for v in judged(contract_with(item), rows_of(ROWS))] == [Verdict.OK]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT count(*) FROM read_csv('/etc/passwd')", "Permission Error"),
        ("SELECT count(*) FROM '/etc/passwd'", "Error"),
        ("SELECT content FROM read_text('/etc/passwd')", "Permission Error"),
        ("SELECT count(*) FROM 'https://example.com/x.csv'", "Error"),
        ("SELECT count(*) FROM rows", "Catalog Error: Table with name rows does not exist"),  # a variable of this program
        ("COPY (SELECT 1) TO '/tmp/stolen'", "it is not one SELECT"),
        ("ATTACH '/tmp/stolen.db'", "it is not one SELECT"),
        ("INSTALL httpfs", "it is not one SELECT"),
        ("SET memory_limit = '99GB'", "it is not one SELECT"),
        ("SELECT 1; DROP TABLE x", "it is not one SELECT"),
        ("SELEC 1", "Parser Error: syntax error"),
        ("SELECT colour FROM ${table}", 'Binder Error: Referenced column "colour" not found'),
        ("SELECT points FROM ${table}", "it gives several rows in place of one value"),
        ("SELECT 1 WHERE false", "it gives no row in place of one value"),
        ("SELECT 1, 2", "it gives 2 columns in place of one value"),
        ('SELECT max("at") FROM ${table}', "it gives a datetime in place of a number or text"),
        ("SELECT max(email::INT) FROM ${table}", "Conversion Error: Could not convert string … to INT32"),
        ("SELECT error(email) FROM ${table}", "Invalid Input Error: …"),
        ("SELECT sum(points * points) FROM ${table}", "Out of Range Error: Overflow in multiplication of INT64 (…)"),
        ("SELECT count(*) FROM ${table} WHERE email::JSON IS NULL", "Malformed JSON"),
        ("SELECT len(list(i)) FROM range(200000000) r(i)", "it needs more than 512 MB of memory"),
    ],
)
def test_a_query_that_goes_wrong_is_a_verdict_without_values(query: str, told: str) -> None:
    found = asked(query)
    assert (found.verdict, found.observed) == (Verdict.ERROR, None)
    assert told in found.detail
    assert not any(secret in found.detail for secret in ("ada", "bob", "example.com'", str(2**62)))


def test_a_query_that_takes_too_long_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quality.sql.TIMEOUT_S", 0.5)
    assert asked("SELECT count(*) FROM range(1000000000000)").verdict is Verdict.ERROR


def test_no_value_is_nothing_to_judge_by_only_without_rows() -> None:
    assert asked("SELECT max(points) FROM ${table}", []).verdict is Verdict.SKIPPED
    assert asked("SELECT max(score) FROM ${table}").verdict is Verdict.FAILED
    assert asked("SELECT 'nan'::DOUBLE FROM ${table} LIMIT 1").verdict is Verdict.FAILED
    assert asked("SELECT count(*) FROM ${table}", [], mustBe=0).verdict is Verdict.OK


def test_of_a_text_only_what_the_contract_names_is_kept() -> None:
    found = asked("SELECT min(email) FROM ${table}", mustBe="eve@example.com")
    assert (found.verdict, found.observed) == (Verdict.FAILED, "another text")
    assert "ada" not in str(found)
    assert asked("SELECT 'fine'", mustBe="fine").observed == "fine"


def test_a_contract_with_a_query_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    really = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "duckdb":
            raise ImportError(name)
        return really(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match=r"rule sql is of type sql and needs DuckDB.*pip install 'headrace\[quality\]'"):
        asked("SELECT 1")
    assert judged(contract_with(ours(rule="freshness", mustBeLessThan=1)), rows_of([]))  # nobody else needs it


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("select count(*) from t", set()),
        ("select count(EMAIL) from t", {"email"}),
        ("select x.email from t x", {"email"}),
        ("select 1 from t join t u using (status)", {"status"}),
        ("select (select max(score) from t where points = 1)", {"score", "points"}),
        ("select * exclude (email) from t", None),
        ("select count(columns('a.*')) from t", None),
        ("select count(distinct x) from t x", None),
        ("select count(*) from t natural join t u", None),
        ("summarize t", None),
        ("from t", None),
    ],
)
def test_only_the_columns_that_a_query_may_name_are_read(query: str, named: set[str] | None) -> None:
    found = set(columns_of(duckdb.connect(), query, CONTRACT))
    place = {"_source", "_raw_file", "_position"}
    assert found - place == named if named is not None else found >= {column.name for column in CONTRACT.columns}


@pytest.mark.parametrize("secret", ["Lovelace", "447911123456", "ada@example.com", "Ада", "x'; y"])
def test_messages_about_rows_lose_every_value(secret: str) -> None:
    for message in (
        f"Conversion Error: Could not convert string '{secret}' to INT32",
        f"Invalid Input Error: {secret}",
        f'Invalid Input Error: Failed to parse "{secret}" ({secret})\n{secret}',
    ):
        told = without_values(message, CONTRACT)
        assert told.startswith(("Conversion Error: ", "Invalid Input Error: "))
        assert not any(part in told for part in ("Lovelace", "447911123456", "ada", "example", "Ада", "x'"))


def test_what_depends_on_order_depends_on_the_rows() -> None:
    rows = [{"points": n, "position": 100 - n, "file": "f", "at_us": AT_US} for n in range(50)]
    answers = {asked("SELECT first(points) FROM ${table}", order).observed for order in (rows, rows[::-1])}
    assert answers == {49.0}


def test_a_query_that_goes_wrong_leaves_the_next_alone() -> None:
    """datacontract-cli#1302: after a query of one kind every later check failed, since they shared a connection."""
    queries = [
        "SELECT nonsense FROM ${table}",
        "SELECT date_diff('day', DATE '2020-01-01', DATE '2020-01-04')",
        "SELECT count(*) FROM {object}",
    ]
    items = [{"type": "sql", "name": str(n), "query": query, "mustBe": 3} for n, query in enumerate(queries)]
    assert [v.verdict for v in judged(contract_with(*items), rows_of(ROWS))] == [Verdict.ERROR, Verdict.OK, Verdict.OK]
