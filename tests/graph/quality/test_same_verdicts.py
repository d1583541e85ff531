"""The order of rows, their batches and the files that they lie in make no difference; nor does a table differ from a window."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from contracts.compiler.schemas import row_schema
from lake.location import Lake
from lake.tables.data_files import write_rows
from lake.tables.iceberg import Layout, ensure_table
from lake.tables.swap import CommitLabels, replace_files
from quality.past import KnownHistory, Past
from quality.sql_process import Queries
from quality.verdicts import Partition, Verdict
from quality.view import LakeView, RowsView
from tests.support.partitions import AT_US, CONTRACT, Tables, contract_with, judged, letters_of, ours, rows_of

HOUR_US = 3_600_000_000
RULES = (
    {"metric": "rowCount", "mustBeGreaterThan": 3},
    {"metric": "nullValues", "below": "email", "unit": "percent", "mustBeLessThan": 20},
    {"metric": "missingValues", "below": "status", "arguments": {"missingValues": [None, ""]}, "mustBe": 0},
    {"metric": "invalidValues", "below": "status", "arguments": {"pattern": "^[a-z]$"}, "mustBe": 0},
    {"metric": "duplicateValues", "below": "customer_id", "mustBe": 0},
    {"type": "sql", "name": "sum", "query": "SELECT sum(score) FROM ${table}", "mustBeLessThan": 1},
    {"type": "sql", "name": "first", "query": "SELECT first(points) FROM ${table}", "mustBe": 1},
    ours(rule="unique", name="wide", columns=["customer_id", "points"], across="1d", mustBe=0),
    ours(rule="completeness", columns=["email", "amount"], mustBeGreaterThan=50),
    ours(rule="references", columns="customer_id", dataset="contact", to="customer_id", grace="1h", mustBe=0),
    ours(rule="agreement", columns="customer_id", dataset="contact", to="customer_id", mustBeGreaterThan=50),
    ours(rule="freshness", mustBeLessThan="10m"),
    ours(rule="delay", mustBeLessThan=10),
    ours(rule="dead_letters", mustBeLessThan=10),
    ours(rule="volume"),
    ours(rule="null_share", column="email"),
    ours(rule="distribution", column="status"),
    ours(rule="distribution", column="score"),
    ours(rule="distribution", column="amount", source="web"),
)
CONTRACT_OF_ALL = contract_with(*RULES)
_row = st.fixed_dictionaries(
    {
        "customer_id": st.sampled_from(["a", "b", "c", None]),
        "email": st.sampled_from(["a@x", "", None]),
        "status": st.sampled_from(["p", "q", "", "?", None]),
        "amount": st.none() | st.decimals(min_value=-(10**9), max_value=10**9, places=2).map(Decimal),
        "score": st.none() | st.floats(allow_infinity=False, allow_nan=False, width=32),
        "points": st.none() | st.integers(-(2**63), 2**63 - 1),
        "after_s": st.integers(-7_200, 7_200),
        "delay_s": st.integers(-5, 100),
        "source": st.sampled_from(["web", "crm"]),
    }
)


ZERO: dict[str, Any] = {"customer_id": "a", "after_s": 0}


@dataclass(frozen=True)
class Cut:
    """A view that gives rows in another order and in other batches each time."""

    rows: pa.Table
    seed: int
    snapshot_id: int | None = None

    def batches(self, columns: Sequence[str], from_us: int | None, to_us: int | None) -> Iterator[pa.RecordBatch]:
        """See TableView."""
        chance = random.Random(self.seed)
        places = list(range(len(self.rows)))
        chance.shuffle(places)
        while places:
            size = chance.randint(1, 5)
            part, places = places[:size], places[size:]
            yield from RowsView(self.rows.take(pa.array(part)).combine_chunks()).batches(columns, from_us, to_us)

    def newest_us(self, before_us: int | None = None) -> int | None:
        """See TableView."""
        return RowsView(self.rows).newest_us(before_us)


def _history() -> KnownHistory:
    def past(name: str, hours: int, observed: float, observation: str = "") -> Past:
        start = AT_US - hours * HOUR_US
        return Past(
            partition=Partition("order", start, start + HOUR_US), verdict=Verdict.OK, observed=observed, rows=10,
            observation=observation, run_id=f"r{hours}", judged_us=1,
        )  # fmt: skip

    counts = '{"counts": {"p": 6, "q": 4}, "rows": 10}'
    return KnownHistory(
        {
            "volume": [past("volume", h, 10.0) for h in range(400, 0, -1)],
            "email_null_share": [past("email_null_share", h, 10.0) for h in range(400, 0, -1)],
            "status_distribution": [past("status_distribution", h, 0.0, counts) for h in range(400, 0, -1)],
        }
    )


HISTORY = _history()
QUERIES = Queries()


@pytest.fixture(autouse=True, scope="module")
def _ended() -> Iterator[None]:
    with QUERIES:
        yield


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.explicit, Phase.generate])
@example(rows=[ZERO | {"score": 0.0}, ZERO | {"score": -0.0}, ZERO], seed=22)  # which of two equal numbers comes first
@given(rows=st.lists(_row, max_size=15), seed=st.integers(0, 1_000))
def test_order_and_batches_make_no_difference(rows: list[dict[str, Any]], seed: int) -> None:
    table = rows_of([{**row, "hash": n * 2_654_435_761 % 2**64} for n, row in enumerate(rows)])
    other = rows_of([{"customer_id": c, "after_s": 5_000} for c in "ax"])
    letters = letters_of([{"after_s": 5}, {"after_s": 3_599}])
    whole = judged(
        CONTRACT_OF_ALL, table, tables=Tables({"contact": RowsView(other)}, RowsView(letters)), history=HISTORY, queries=QUERIES
    )
    cut = Tables({"contact": Cut(other, seed)}, Cut(letters, seed))
    assert judged(CONTRACT_OF_ALL, Cut(table, seed), tables=cut, history=HISTORY, queries=QUERIES) == whole
    assert len({verdict.rule for verdict in whole}) == len(RULES)
    if rows and all(0 <= row["after_s"] < 3_600 for row in rows):
        assert all(verdict.rows <= len(rows) + 2 for verdict in whole)


def test_files_of_a_table_and_rows_of_a_window_give_the_same_verdicts(tmp_path: Path) -> None:
    chance = random.Random(7)
    given_rows = [
        {
            "customer_id": chance.choice("abc"), "email": chance.choice(["a@x", None]), "status": chance.choice("pqz"),
            "amount": Decimal(chance.randint(0, 10_000)) / 100, "score": chance.random(), "points": chance.randint(0, 9),
            "after_s": chance.uniform(-3_600, 7_200), "delay_s": chance.random(), "source": chance.choice(["web", "crm"]),
            "hash": chance.getrandbits(64),
        }
        for _ in range(100)
    ]  # fmt: skip
    rows = rows_of(given_rows)
    tables = Tables({"contact": RowsView(rows_of([{"customer_id": "a", "after_s": 9_000}]))})
    window = judged(CONTRACT_OF_ALL, rows, tables=tables, history=HISTORY, queries=QUERIES)
    for number, cuts in enumerate((1, 7)):
        lake = lake_in(tmp_path / f"lake{number}")
        view = _published(lake, rows, cuts)
        assert view.snapshot_id is not None
        assert judged(CONTRACT_OF_ALL, view, tables=tables, history=HISTORY, queries=QUERIES) == window
        assert view.newest_us() == RowsView(rows).newest_us()
        assert view.newest_us(AT_US) == RowsView(rows).newest_us(AT_US)
        assert view.newest_us(AT_US - 10 * HOUR_US) is None


def lake_in(path: Path) -> Lake:
    lake = Lake.at(str(path))
    lake.create()
    return lake


def _published(lake: Lake, rows: pa.Table, cuts: int) -> LakeView:
    """A table that holds the rows in so many files; their ranges are wider than their rows."""
    table = ensure_table(lake, CONTRACT.table, row_schema(CONTRACT), Layout())
    files = [rows.take(pa.array(range(n, len(rows), cuts))) for n in range(cuts)]
    span = AT_US - 5 * HOUR_US, AT_US + 5 * HOUR_US
    paths = [write_rows(table, part, *span, shard) for shard, part in enumerate(files)]
    replace_files(table, [], paths, CommitLabels("r"), "main")
    view = LakeView.of(lake, CONTRACT.table)
    assert view is not None and len(view.files) == cuts
    return view


def test_there_is_no_view_of_a_table_that_is_not_there(tmp_path: Path) -> None:
    lake = lake_in(tmp_path / "lake")
    assert LakeView.of(lake, CONTRACT.table) is None
    ensure_table(lake, CONTRACT.table, row_schema(CONTRACT), Layout())
    view = LakeView.of(lake, CONTRACT.table)
    assert view is not None and view.snapshot_id is None and view.newest_us() is None
    assert [v.verdict for v in judged(contract_with({"metric": "rowCount", "mustBe": 0}), view)] == [Verdict.OK]


@pytest.mark.parametrize("column", ["email", "points"])
def test_a_column_that_a_table_does_not_have_yet_is_null(tmp_path: Path, column: str) -> None:
    rows = rows_of([{"email": "a", "points": 1}])
    without = RowsView(rows.drop_columns([column]))
    contract = contract_with({"metric": "nullValues", "below": column, "mustBe": 1}, ours(rule="null_share", column=column))
    assert [v.verdict for v in judged(contract, without)] == [Verdict.OK, Verdict.LEARNING]
