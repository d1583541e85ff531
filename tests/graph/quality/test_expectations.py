"""Great Expectations says of rows what the checks of records say, in both directions."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from contracts.compiler.checker import RecordChecker
from contracts.compiler.schemas import TIMESTAMP, arrow_type
from contracts.spec.model import Column, ColumnType, Contract
from contracts.spec.paths import PayloadPath
from contracts.spec.quality import Expected, Operator, QualityRule, QualitySpec, RuleKind
from contracts.spec.rules import Compare, RequireAny, RequireWhen
from contracts.spec.source import SourceSpec
from contracts.units import us_to_datetime
from quality.expectations.frame import frame_of
from quality.expectations.judge import differing, evaluate_partition
from quality.expectations.run import Results, evaluate
from quality.expectations.suite import Expectation, Suite, suite_of
from quality.judge import judge_partitions
from quality.past import KnownHistory
from quality.verdicts import Partition, Verdict
from quality.view import LakeReferences, RowsView

ROWS = 10_000
_HOSTILE = 'it\'s "so" `x` \\ ] and True or [<script>alert(1)</script>'
_EDGE_US = (-62_135_596_800_000_000, 253_402_300_799_999_999, 0, 1_793_577_600_000_001)
CONTRACT = Contract(
    name="parity",
    version="1.0.0",
    kind="event",
    event_id="id",
    columns=(
        Column(name="id", type=ColumnType.STRING, required=True, min_length=1, max_length=12),
        Column(name="kind", type=ColumnType.STRING, required=True, enum=("a", "b", _HOSTILE)),
        Column(name="word", type=ColumnType.STRING, pattern=r"^\w+$", max_length=6),
        Column(name="anycase", type=ColumnType.STRING, pattern=r"(?i)^(x|y)+\d*$"),
        Column(name="mail", type=ColumnType.STRING, format="email"),
        Column(name="a b`c", type=ColumnType.STRING, min_length=2),
        Column(name="count", type=ColumnType.INTEGER, minimum=-5, maximum=2**53),
        Column(name="share", type=ColumnType.NUMBER, minimum=0, maximum=0.3),
        Column(name="price", type=ColumnType.DECIMAL, precision=20, scale=2, minimum=Decimal("0.10"), maximum=Decimal("1000.07")),
        Column(name="day", type=ColumnType.DATE, minimum=date(2026, 1, 1), maximum=date(2026, 12, 31)),
        Column(name="opened", type=ColumnType.TIMESTAMP),
        Column(name="closed", type=ColumnType.TIMESTAMP),
        Column(name="agreed", type=ColumnType.BOOLEAN),
        Column(name="whole", type=ColumnType.JSON),
        Column(name="choices", type=ColumnType.BOOLEAN_MAP),
    ),
    rules=(
        RequireAny(("word", "mail", "count")),
        RequireWhen("kind", frozenset({"b", _HOSTILE}), ("share", "day")),
        RequireWhen("agreed", frozenset({True}), ("price", "closed"), any_is_enough=True),
        RequireWhen("count", frozenset({3}), ("mail",)),
        Compare("opened", "<=", "closed"),
        Compare("price", ">", "share"),
        Compare("count", "==", "count"),
    ),
)
SPEC = SourceSpec(
    name="s", dataset="parity", version=1, format="parquet", columns={c.name: (PayloadPath((c.name,)),) for c in CONTRACT.columns}
)
_VALUES: dict[str, list[Any]] = {
    "id": ["i", "twelve chars", "", "thirteen char"],
    "kind": ["a", "b", _HOSTILE, "c", "A", ""],
    "word": ["ab", "toolong", "é", "٣", "a\n", "a b", "", "nul\0", "𝒳𝒳𝒳"],
    "anycase": ["X", "xyY12", "x٣", "z", ""],
    "mail": ["a@b.c", "a@b", "a@@b.c", "@", "a@b.c\n"],
    "a b`c": ["ab", "a", "", "\U0001f600"],
    "count": [0, -5, -6, 3, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)],
    "share": [0.0, 0.3, 0.30000000000000004, -0.0, -1e-300, 0.1 + 0.2, 1e308],
    "price": [Decimal(x) for x in ("0.10", "0.09", "1000.07", "1000.08", "5.00", "-0.01", "999999999999999999.99")],
    "day": [date(2026, 1, 1), date(2025, 12, 31), date(2026, 12, 31), date(2027, 1, 1), date(1, 1, 1), date(9999, 12, 31)],
    "opened": [us_to_datetime(us) for us in _EDGE_US],
    "closed": [us_to_datetime(us) for us in _EDGE_US] + [datetime(2026, 11, 2, tzinfo=UTC)],
    "agreed": [True, False],
    "whole": [{"a": 1}],
    "choices": [{"ads": True}],
}  # fmt: skip


def _rows() -> list[dict[str, Any]]:
    """Random rows whose columns have their types: most are right, many break one rule, some several."""
    rng = random.Random(18)
    good = {name: values[0] for name, values in _VALUES.items()}
    good |= {"share": 0.3, "price": Decimal("5.00"), "opened": _VALUES["opened"][2], "closed": _VALUES["closed"][4]}
    rows = []
    for _ in range(ROWS):
        row = dict(good)
        for name in rng.sample(list(_VALUES), rng.choice((0, 0, 1, 1, 2, 5, len(_VALUES)))):
            row[name] = rng.choice([None, *_VALUES[name]])
        if rng.random() < 0.02:
            row |= {"word": None, "mail": None, "count": None}
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def judged() -> tuple[list[dict[str, Any]], Results]:
    rows = _rows()
    suite = suite_of(CONTRACT)
    columns = [pa.array([row[name] for row in rows], arrow_type(CONTRACT.by_name[name])) for name in suite.columns]
    batch = pa.RecordBatch.from_arrays(columns, names=suite.columns)
    return rows, evaluate(suite, frame_of([batch], suite.columns), "parity")


_COLUMN_RULES = ("required", "enum", "pattern", "format", "length", "range")


def test_what_is_rejected_fails_and_what_fails_is_rejected(judged: tuple[list[dict[str, Any]], Results]) -> None:
    rows, results = judged
    assert not suite_of(CONTRACT).unmapped
    rejected = RecordChecker(CONTRACT, SPEC).check(rows).rejected
    ours: defaultdict[int, set[str]] = defaultdict(set)
    for number, violations in rejected.items():
        for violation in violations:
            ours[number].add(f"{violation.path}.{violation.rule}" if violation.rule in _COLUMN_RULES else violation.rule)
    theirs: defaultdict[int, set[str]] = defaultdict(set)
    for outcome in results.outcomes:
        assert not outcome.raised, outcome.expectation.rule
        kind = outcome.expectation.kind
        for number in outcome.failing:
            theirs[number].add(outcome.expectation.rule if kind in _COLUMN_RULES else kind)
    assert 2_000 < len(ours) < 8_000
    assert ours.keys() == theirs.keys()
    for number, found in ours.items():  # of columns that are wrong the checks say nothing more by rules over several
        assert found <= theirs[number]
        more = theirs[number] - found
        assert all(kind not in _COLUMN_RULES and "." not in kind for kind in more), (rows[number], more)
    met = {kind for found in ours.values() for kind in found}
    assert met == {o.expectation.rule if o.expectation.kind in _COLUMN_RULES else o.expectation.kind for o in results.outcomes}


def _partition_rules() -> tuple[QualityRule, ...]:
    """Every kind that both can judge, with every comparison that has an expectation."""
    shares = [
        (Operator.LESS_EQUAL, (20,), "percent", ""), (Operator.LESS, (20,), "rows", "b"), (Operator.BE, (0,), "rows", ""),
        (Operator.BETWEEN, (0, 12.5), "percent", "b"),
    ]  # fmt: skip
    kinds: list[tuple[RuleKind, str, dict[str, Any]]] = [
        (RuleKind.NULL_VALUES, "word", {}),
        (RuleKind.MISSING_VALUES, "word", {"values": ("", "ab")}),
        (RuleKind.MISSING_VALUES, "count", {"values": (None,)}),
        (RuleKind.INVALID_VALUES, "kind", {"values": ("a", _HOSTILE)}),
        (RuleKind.INVALID_VALUES, "word", {"pattern": r"^\w+$"}),
    ]
    rules = [
        QualityRule(name="", kind=kind, columns=(column,), unit=unit, expected=Expected(operator, values), source=source, **more)
        for kind, column, more in kinds
        for operator, values, unit, source in shares
    ]
    rules += [
        QualityRule(name="", kind=RuleKind.ROW_COUNT, unit="rows", expected=Expected(operator, values), source=source)
        for operator, values, source in (
            (Operator.GREATER, (99,), ""),
            (Operator.LESS_EQUAL, (0,), "nobody"),
            (Operator.BETWEEN, (1, 100), "b"),
        )
    ]
    zero = Expected(Operator.BE, (0,))
    for columns in (("id",), ("kind", "price"), ("whole",)):
        rules.append(QualityRule(name="", kind=RuleKind.UNIQUE, columns=columns, unit="rows", expected=zero))
    most = [Expected(Operator.GREATER_EQUAL, (80,)), Expected(Operator.GREATER, (80,)), Expected(Operator.BE, (100,))]
    rules += [QualityRule(name="", kind=RuleKind.COMPLETENESS, columns=("mail",), unit="percent", expected=each) for each in most]
    return tuple(replace(rule, name=f"{number} {rule.kind}") for number, rule in enumerate(rules))


def _view(rows: list[dict[str, Any]]) -> RowsView:
    names = [c.name for c in CONTRACT.columns if c.type not in (ColumnType.JSON, ColumnType.BOOLEAN_MAP)]
    table = pa.table({name: pa.array([row[name] for row in rows], arrow_type(CONTRACT.by_name[name])) for name in names})
    more = {
        "whole": pa.nulls(len(rows), pa.string()),
        "_window_time": pa.array([0] * len(rows), TIMESTAMP),
        "_source": pa.array(["ab"[n % 2] for n in range(len(rows))], pa.string()),
        "_raw_file": pa.array(["f"] * len(rows), pa.string()),
        "_position": pa.array(range(len(rows)), pa.int64()),
    }
    for name, column in more.items():
        table = table.append_column(name, column)
    return RowsView(table)


def test_rules_about_partitions_get_the_same_verdict_from_both() -> None:
    columns = tuple(Column(name=c.name, type=c.type, precision=c.precision, scale=c.scale) for c in CONTRACT.columns)
    contract = replace(CONTRACT, columns=columns, rules=(), quality=QualitySpec(_partition_rules()))
    suite = suite_of(contract)
    assert len(suite.expectations) == len(contract.quality.rules)
    met = set()
    for rows in (_rows()[:500], [{**row, "word": "x", "id": str(n)} for n, row in enumerate(_rows()[:8])], []):
        view, partition = _view(rows), Partition("parity", 0, 3_600_000_000)
        ours = list(judge_partitions(view, contract, [partition], KnownHistory({}), LakeReferences(None)))  # type: ignore[arg-type]
        theirs = evaluate_partition(view, contract, suite, partition).verdicts
        assert [(v.rule, v.verdict) for v in theirs] == [(v.rule, v.verdict) for v in ours]
        assert differing(ours, theirs) == []
        met |= {(v.kind, v.verdict) for v in theirs}
    kinds = {str(rule.kind) for rule in contract.quality.rules}
    assert {kind for kind, verdict in met if verdict is Verdict.OK} == kinds
    assert {kind for kind, verdict in met if verdict is Verdict.FAILED} == kinds


def test_results_and_pages_hold_no_value_and_load_nothing(judged: tuple[list[dict[str, Any]], Results]) -> None:
    _, results = judged
    text = json.dumps(results.document)
    for value in ("thirteen char", "toolong", "999999999999999999.99", "a@@b.c", "9999-12-31"):
        assert value not in text and value not in results.page
    assert _HOSTILE not in results.page and "&lt;script&gt;" in results.page  # the contract's own list of values
    assert not re.search(r"<script|<link|<img|<iframe|src=|href=|url\(|\son\w+=", results.page)
    assert "default-src 'none'" in results.page


def test_an_expectation_that_cannot_be_evaluated_is_an_error_without_its_message() -> None:
    arguments = {"column": "word", "max_value": 1.0}  # a text is no number
    suite = Suite((Expectation(rule="r", kind="range", type="ExpectColumnValuesToBeBetween", arguments=arguments, expected=""),))
    view, partition = _view(_rows()[:50]), Partition("parity", 0, 3_600_000_000)
    found = evaluate_partition(view, CONTRACT, suite, partition)
    assert [v.verdict for v in found.verdicts] == [Verdict.ERROR]
    assert "str" not in json.dumps(found.results.document["results"][0]["exception_info"])


def test_an_error_that_ends_the_whole_validation_is_told_by_its_expectation_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from great_expectations.datasource.fluent.interfaces import Batch

    validate = Batch.validate

    def breaking(self: Any, suite: Any, **more: Any) -> Any:
        if any(each.column == "count" for each in suite.expectations):
            raise ArithmeticError("7 is a value")
        return validate(self, suite, **more)

    monkeypatch.setattr(Batch, "validate", breaking)
    kind = "ExpectColumnValuesToNotBeNull"
    suite = Suite(
        tuple(Expectation(rule=n, kind="required", type=kind, arguments={"column": n}, expected="") for n in ("id", "count", "day"))
    )
    found = evaluate_partition(_view(_rows()[:3]), CONTRACT, suite, Partition("parity", 0, 3_600_000_000))
    assert [v.verdict is Verdict.ERROR for v in found.verdicts] == [False, True, False]
    assert "7 is" not in json.dumps(found.results.document) + found.results.page


def test_nothing_is_sent_and_nothing_is_written(tmp_path: Path) -> None:
    """In a process of its own: what is imported, and where telemetry is decided, is decided once."""
    program = """
import pathlib, socket, sys
def no(*_): raise AssertionError("a connection")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = no
import pandas as pd
from quality.expectations.run import evaluate
from quality.expectations.suite import Expectation, Suite
arguments = {"column": "x"}
suite = Suite((Expectation(rule="r", kind="required", type="ExpectColumnValuesToNotBeNull", arguments=arguments, expected=""),))
assert not evaluate(suite, pd.DataFrame({"x": [1, None]}, dtype=object), "t").outcomes[0].success
print(sorted(map(str, pathlib.Path.home().rglob("*"))), sorted(map(str, pathlib.Path(".").rglob("*"))))
"""
    (tmp_path / "home").mkdir()
    (tmp_path / "cwd").mkdir()
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path), "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path / "cwd", env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[] []\n"), done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cwd", "home"]
