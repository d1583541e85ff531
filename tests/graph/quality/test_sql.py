"""Rules of type sql: what a query may see, and what becomes of one that goes wrong."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from contracts.compiler.schemas import row_schema
from contracts.errors import ConfigurationError
from quality.sql import without_values
from quality.sql_child import columns_of
from quality.sql_process import Queries, Table
from quality.verdicts import RuleVerdict, Verdict
from tests.support.partitions import AT_US, CONTRACT, contract_with, judged, ours, rows_of

ROWS: list[dict[str, Any]] = [
    {"email": "ada@example.com", "points": 2**62, "amount": Decimal("0.10"), "consent": [("ads", True)]},
    {"email": "bob@example.com", "points": 2**62, "amount": Decimal("0.20")},
    {"email": None, "points": 1, "paid": True},
    {"email": "of another hour", "after_s": 3_600},
]


_QUERIES = Queries()  # one process for all tests here


@pytest.fixture(autouse=True, scope="module")
def _ended() -> Iterator[None]:
    with _QUERIES:
        yield


def asked(query: str, rows: list[dict[str, Any]] = ROWS, **more: Any) -> RuleVerdict:
    item = {"type": "sql", "query": query, **({"mustBe": 3} | more)}
    contract = contract_with({key: value for key, value in item.items() if value is not None})
    (verdict,) = judged(contract, rows_of(rows), queries=_QUERIES)
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
        ("SELECT count(*) FROM read_csv('/etc/passwd')", "read_csv() does not follow from the rows of the partition"),
        ("SELECT count(*) FROM '/etc/passwd'", "Error"),
        ("SELECT content FROM read_text('/etc/passwd')", "read_text() does not follow from the rows of the partition"),
        ("SELECT count(*) FROM information_schema.tables", "tables does not follow from the rows of the partition"),
        ("SELECT count(*) FROM duckdb_settings", "duckdb_settings does not follow from the rows of the partition"),
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
        (
            "SELECT length(repeat('x', 1500000000))",
            "it needs more than 512 MB of memory",
        ),
    ],
)
def test_a_query_that_goes_wrong_is_a_verdict_without_values(query: str, told: str) -> None:
    found = asked(query)
    assert (found.verdict, found.observed) == (Verdict.ERROR, None)
    assert told in found.detail
    assert not any(secret in found.detail for secret in ("ada", "bob", "example.com'", str(2**62)))


@pytest.mark.parametrize(
    "query",
    ["SELECT count(*) FROM range(1000000000000)", "SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))"],
)
def test_a_query_that_takes_too_long_is_ended_and_the_next_is_answered(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quality.sql_process.PROCESSOR_S", 0.5)
    items = [{"type": "sql", "name": str(n), "query": q, "mustBe": 3} for n, q in enumerate([query, "SELECT 3"])]
    slow, next_one = judged(contract_with(*items), rows_of(ROWS))
    assert (slow.verdict, next_one.verdict) == (Verdict.ERROR, Verdict.OK)
    assert "more than 0.5 seconds of processor time" in slow.detail


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
    monkeypatch.setattr("quality.sql.find_spec", lambda _: None)
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
    (text,) = duckdb.connect().execute("SELECT json_serialize_sql(?)", [query]).fetchall()[0]
    found = set(columns_of(text, row_schema(CONTRACT).names))
    assert found == named if named is not None else found >= {column.name for column in CONTRACT.columns}


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


def test_what_spills_is_private_and_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("quality.sql_process.MEMORY_MB", 100)
    monkeypatch.chdir(tmp_path)
    seen: dict[str, int] = {}
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.01):
            for path in [*tmp_path.iterdir(), *tmp_path.glob("*/*")]:
                with suppress(FileNotFoundError):
                    seen[str(path.relative_to(tmp_path).parent)] = seen.get(path.name, 0) | stat.S_IMODE(path.stat().st_mode)

    watcher = threading.Thread(target=look)
    watcher.start()
    numbered = "SELECT row_number() OVER (ORDER BY hash(x), email || x) AS r FROM ${table}, range(1000000) t(x)"
    query = f"SELECT count(*) FROM ({numbered}) WHERE r > 0"
    try:
        (found,) = judged(contract_with({"type": "sql", "query": query, "mustBe": 3_000_000}), rows_of(ROWS))
    finally:
        done.set()
        watcher.join()
    assert found.verdict is Verdict.OK, found.detail
    assert len(seen) == 2 and not any(mode & 0o077 for mode in seen.values()), seen  # the folder, and files in it
    assert list(tmp_path.iterdir()) == []


def test_the_process_ends_with_who_asks(tmp_path: Path) -> None:
    """Killed, it cannot say good-bye: the other end of the pipe is gone."""
    code = f"""
import os, signal, sys, tempfile
tempfile.tempdir = {str(tmp_path)!r}
import pyarrow as pa
from quality.sql_process import Queries, Table
queries = Queries()
assert queries.answer("SELECT 7", Table("t", pa.schema([("a", pa.int64())]), ("a",)), lambda columns: []) == 7
print(queries._child.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    until = time.monotonic() + 60
    while list(tmp_path.iterdir()) and time.monotonic() < until:  # removed by the process at its end
        time.sleep(0.05)
    assert told.returncode == -signal.SIGKILL and int(told.stdout)
    assert list(tmp_path.iterdir()) == []


def test_the_process_has_no_variable_of_this_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    with Queries() as queries:
        table = Table("t", pa.schema([("a", pa.int64())]), ("a",))
        assert queries.answer("SELECT 7", table, lambda _: []) == 7
        assert queries._child is not None
        environment = Path(f"/proc/{queries._child.process.pid}/environ").read_bytes()
    assert b"PYTHONPATH" in environment and b"hunter2" not in environment


def test_an_error_of_storage_is_none_of_the_query_and_ends_the_process() -> None:
    def broken(_: object) -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"a": [1]})
        raise OSError("storage is down")

    table = Table("t", pa.schema([("a", pa.int64())]), ("a",))
    with Queries() as queries:
        with pytest.raises(OSError, match="storage is down"):
            queries.answer("SELECT count(*) FROM t", table, broken)
        assert queries.answer("SELECT count(*) FROM t", table, lambda _: [pa.record_batch({"a": [1]})]) == 1


@pytest.mark.parametrize(
    ("query", "expected", "gives"),
    [
        ("SELECT count(*) FROM ${table} WHERE points = -1", {"mustNotBe": "0"}, "a number, and mustNotBe names a text, in quotes"),
        ("SELECT count(*) FROM ${table}", {"mustBe": "3"}, "a number, and mustBe names a text, in quotes"),
        ("SELECT min(email) FROM ${table}", {"mustNotBe": 0}, "a text, and mustNotBe names a number"),
    ],
)
def test_a_bound_of_another_kind_is_an_error_and_never_kept(query: str, expected: dict[str, Any], gives: str) -> None:
    """sodadata/docs#693: a threshold in quotes. The number 0 is not the text "0", and so it was what it must not be."""
    found = asked(query, **({"mustBe": None} | expected))
    assert (found.verdict, found.observed) == (Verdict.ERROR, None)
    assert gives in found.detail


@pytest.mark.parametrize("bound", [{"mustBe": 0.1}, {"mustBeLessOrEqualTo": 0.1}, {"mustBeGreaterOrEqualTo": 0.1}])
def test_a_decimal_at_its_bound_keeps_the_rule(bound: dict[str, float]) -> None:
    """sodadata/soda-core#1999: 0.1 of a query is a decimal, and 0.1 of a file a float."""
    assert asked("SELECT 0.1::DECIMAL(12,2)", **({"mustBe": None} | bound)).verdict is Verdict.OK
