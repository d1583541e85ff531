"""What users of other tools reported about their checks, tried on rules; each names the report."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from contracts.spec.files.quality import read_items
from contracts.spec.model import Contract
from contracts.spec.quality import Expected, Operator
from contracts.spec.quality_checks import rule_problems
from quality.measure import Context, CountingMeasure, judged_share
from quality.past import KnownHistory
from quality.rules import measure_of
from quality.sql_process import Queries
from quality.verdicts import Partition, RuleVerdict, Verdict
from quality.view import RowsView
from tests.support.partitions import CONTRACT, Tables, contract_with, judged, rows_of

AMOUNTS = [{"amount": Decimal("1.00")}, {"amount": Decimal("19.99")}, {"amount": Decimal("3.00")}]


def said(item: dict[str, Any], rows: list[dict[str, Any]]) -> RuleVerdict:
    (verdict,) = judged(contract_with(item), rows_of(rows))
    return verdict


def refused(column: str, **item: Any) -> str:
    """What is said of a rule below a column, as the contract is read."""
    problems: list[str] = []
    for _, rule in read_items([{"metric": "nullValues", "mustBe": 0, **item}], column, problems):
        problems += rule_problems(rule, CONTRACT.by_name)
    return "; ".join(problems)


@pytest.mark.parametrize("values", [[1, 19.99], [1, 3]])
def test_whole_numbers_are_values_of_a_decimal_column(values: list[Any]) -> None:
    """fivetran/great_expectations#7126: a value of the set raised an exception; here the whole pass of a gate died of it."""
    valid = {"metric": "invalidValues", "below": "amount", "arguments": {"validValues": values}, "mustBe": 1}
    missing = {"metric": "missingValues", "below": "amount", "arguments": {"missingValues": [None, *values]}, "mustBe": 2}
    assert (said(valid, AMOUNTS).verdict, said(missing, AMOUNTS).verdict) == (Verdict.OK, Verdict.OK)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("amount", 0.125), ("amount", 1e15), ("amount", math.nan), ("score", 2**53 + 1),
        ("points", 2**64),
    ],
)  # fmt: skip
def test_a_value_that_a_column_cannot_have_is_refused_and_not_rounded(column: str, value: Any) -> None:
    """fivetran/great_expectations#7126, databrickslabs/dqx#965."""
    told = refused(column, metric="invalidValues", arguments={"validValues": [value]})
    assert f"is no value of {column}" in told


@pytest.mark.parametrize("given", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("operator", ["mustNotBe", "mustBeLessThan", "mustBeGreaterThan"])
def test_a_bound_that_nothing_breaks_is_refused(operator: str, given: float) -> None:
    """netdata/netdata#21149: NaN passed all comparisons."""
    assert f"{operator}: {given} is no bound" in refused("email", mustBe=None, **{operator: given})
    between = refused("email", mustBe=None, mustNotBeBetween=[given, given])
    assert "mustNotBeBetween" in between


@pytest.mark.parametrize("given", ["5%", "5", True])
def test_a_percentage_in_quotes_is_refused(given: Any) -> None:
    """sodadata/docs#693: 5% in one check and 5 in the next."""
    assert f"{given!r} is not a number" in refused("email", unit="percent", mustBe=None, mustBeLessThan=given)


def test_a_sensitivity_without_end_is_refused() -> None:
    """elementary-data/elementary#1227: with an odd sensitivity nothing ever failed."""
    rule = {"rule": "null_share", "sensitivity": math.inf}
    told = refused("email", type="custom", engine="headrace", metric=None, mustBe=None, implementation=rule)
    assert "inf is not a number above 0" in told


@pytest.mark.parametrize("name", ["two\nlines", "two\u2028lines", " ", "x" * 201])
def test_a_name_that_no_line_can_show_is_refused(name: str) -> None:
    """dbt-labs/dbt-core#9752, databricks/dbt-databricks#1309: names of tests that the place of their results cannot have."""
    assert "quality[0].name:" in refused("email", name=name)


@pytest.mark.parametrize("name", ["a/b", 'Expect "email" to be unique.', "${table}", "<b>x</b>", "ümlaut", "\x1b[31mred"])
def test_a_name_of_words_is_kept(name: str) -> None:
    """dbt-labs/dbt-core#9752: a name in words for people."""
    assert said({"metric": "rowCount", "mustBe": 1, "name": name}, [{}]).rule == name


@pytest.mark.parametrize(
    ("operator", "value", "observed", "holds"),
    [
        (Operator.BE, (0.1,), "0.1", True),
        (Operator.BE, (0.1,), "0.10", True),
        (Operator.NOT_BE, (0.1,), "0.1", False),
        (Operator.GREATER_EQUAL, (99.9,), "99.9", True),
        (Operator.LESS_EQUAL, (0.3,), "0.3", True),
        (Operator.LESS, (0.1,), "0.1", False),
        (Operator.BETWEEN, (19.99, 20.01), "20.01", True),
        (Operator.BE, (7,), "7.00", True),
    ],
)
def test_a_decimal_is_compared_with_the_number_that_is_written(
    operator: Operator, value: tuple[Any, ...], observed: str, holds: bool
) -> None:
    """sodadata/soda-core#1999: the float next to 0.1 is another number, so a sum of cents at its bound broke the rule."""
    assert Expected(operator, value).holds(Decimal(observed)) is holds


@pytest.mark.parametrize(
    ("counted", "rows", "told"),
    [(58_334_353, 58_335_240, "99.998 %"), (3, 1_864_458, "0.000161 %"), (99_999_999, 100_000_000, "99.999999 %"), (5, 5, "100 %")],
)
def test_all_but_a_few_rows_are_not_told_as_all(counted: int, rows: int, told: str) -> None:
    """sodadata/soda-core#2090 and #2331: 99.998 percent were 100, 0.00016 percent were 0."""
    contract = contract_with({"metric": "nullValues", "below": "email", "unit": "percent", "mustBeLessThan": 100})
    measure = measure_of(contract.quality.rules[0], _context(contract))
    assert isinstance(measure, CountingMeasure)
    verdict = judged_share(measure, counted, rows, "have no email", measure.samples)
    assert told in verdict.detail
    assert (verdict.verdict is Verdict.OK) is (counted < rows)


def _context(contract: Contract) -> Context:
    return Context(RowsView(rows_of([])), contract, Partition("order", 0, 1), KnownHistory({}), Tables(), Queries())


@pytest.mark.parametrize(
    ("item", "verdict"),
    [
        ({"metric": "nullValues", "below": "email", "unit": "percent", "mustBeLessThan": 100}, Verdict.SKIPPED),
        ({"metric": "nullValues", "below": "email", "unit": "percent", "mustBeGreaterThan": 0}, Verdict.SKIPPED),
        ({"metric": "duplicateValues", "below": "email", "unit": "percent", "mustBe": 0}, Verdict.SKIPPED),
        ({"metric": "rowCount", "mustBeGreaterThan": 0}, Verdict.FAILED),
        ({"metric": "nullValues", "below": "email", "mustBeGreaterThan": 0}, Verdict.FAILED),
    ],
)
def test_shares_of_no_rows_are_neither_right_nor_an_error(item: dict[str, Any], verdict: Verdict) -> None:
    """sodadata/soda-core#2407, fivetran/great_expectations#2451 and #2726, metaplane/dbt-expectations#19, awslabs/deequ#395."""
    assert said(item, []).verdict is verdict
