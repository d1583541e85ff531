"""Quality rules in contract files: what is read, and what is refused with its line."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.errors import ConfigurationError
from contracts.spec.files.quality_rules import RULES
from contracts.spec.model import Contract
from contracts.spec.odcs import load_contract
from contracts.spec.project import BUILT_IN_DATASETS
from contracts.spec.quality import Expected, Operator, Reference, RuleKind, Severity

ORDER = BUILT_IN_DATASETS / "order.v1.yaml"
PAGE = Path(__file__).parents[4] / "docs" / "reference" / "quality.md"


def with_quality(tmp_path: Path, table: Any = None, column: Any = None, partitions: Any = None) -> Contract:
    """The contract of orders with these rules alone; those of a column stand at email."""
    given = yaml.safe_load(ORDER.read_text("utf-8"))
    given["customProperties"] = [entry for entry in given["customProperties"] if entry["property"] != "partitions"]
    if partitions is not None:
        given["customProperties"].append({"property": "partitions", "value": partitions})
    given["schema"][0]["quality"] = table or []
    email = next(each for each in given["schema"][0]["properties"] if each["name"] == "email")
    email["quality"] = column or []
    path = tmp_path / "order.v1.yaml"
    path.write_text(yaml.safe_dump(given, sort_keys=False), "utf-8")
    return load_contract(path)


def custom(**implementation: Any) -> dict[str, Any]:
    return {"type": "custom", "engine": "headrace", "implementation": implementation}


def test_rules_are_read_those_of_the_table_first(tmp_path: Path) -> None:
    refers = custom(rule="references", columns="customer_id", dataset="contact", to="contact_id", grace="1d", mustBe=0)
    table = [
        {"metric": "rowCount", "mustBeBetween": [1, 9], "severity": "stop", "name": "some"},
        refers | {"severity": "quarantine"},
    ]
    column = [
        {"metric": "missingValues", "arguments": {"missingValues": [None, ""]}, "unit": "percent", "mustBeLessThan": 1.5},
        custom(rule="completeness", mustBeGreaterThan=90),
        {"type": "sql", "query": "SELECT 1", "mustBe": "x"},
    ]
    contract = with_quality(tmp_path, table, column)
    some, known, missing, whole, query = contract.quality.rules
    assert (some.name, some.kind, some.severity, some.column) == ("some", RuleKind.ROW_COUNT, Severity.STOP, None)
    assert some.expected == Expected(Operator.BETWEEN, (1, 9))
    assert (known.name, known.grace_s, known.reference) == ("customer_id_references", 86_400, Reference("contact", ("contact_id",)))
    assert (missing.name, missing.column, missing.values, missing.unit) == ("email_missingValues", "email", (None, ""), "percent")
    assert (whole.columns, whole.unit) == (("email",), "percent")
    assert (query.name, query.expected) == ("email_sql", Expected(Operator.BE, ("x",)))
    assert contract.gated and not with_quality(tmp_path, table[:0], column).gated


def test_partitions_and_days_are_read(tmp_path: Path) -> None:
    days = [{"day": date(2026, 12, 25), "treat_as": "sunday"}, {"from": "2026-12-28", "to": "2026-12-31", "reason": "stocktaking"}]
    spec = with_quality(tmp_path, partitions={"length": "15m", "zone": "Europe/Berlin", "days": days}).quality
    assert (spec.partition_s, spec.calendar.zone) == (900, "Europe/Berlin")
    assert [(d.first.day, d.last.day, d.treat_as) for d in spec.calendar.days] == [(25, 25, "sunday"), (28, 31, "ignore")]
    assert with_quality(tmp_path).quality.partition_s == 3_600


def test_texts_and_other_engines_are_left_to_others(tmp_path: Path) -> None:
    items = [{"type": "text", "description": "x"}, {"type": "custom", "engine": "soda", "implementation": "x"}]
    assert with_quality(tmp_path, items).quality.rules == ()


@pytest.mark.parametrize(
    ("table", "column", "told"),
    [
        ({"metric": "nullValues", "mustBe": 0}, None, "metric: nullValues is about a column; write it below the column"),
        (None, {"metric": "rowCount", "mustBe": 0}, "metric: is about the table"),
        ({"metric": "rowCount", "mustBe": 0, "unit": "percent"}, None, "unit: a count of rows is no percentage"),
        ({"metric": "rowCount", "mustBe": "many"}, None, "mustBe: 'many' is not a number"),
        ({"metric": "rowCount", "mustBe": 1, "arguments": {"pattern": "x"}}, None, "arguments: pattern is not of rowCount"),
        (None, {"metric": "invalidValues", "mustBe": 0}, "arguments: invalidValues needs validValues, pattern or both"),
        (None, {"metric": "missingValues", "mustBe": 0}, "arguments: missingValues needs missingValues"),
        (
            None,
            {"metric": "invalidValues", "arguments": {"pattern": "("}, "mustBe": 0},
            "arguments.pattern is no regular expression",
        ),
        (None, {"metric": "invalidValues", "arguments": {"validValues": [1]}, "mustBe": 0}, "1 is no value of email"),
        (
            {"metric": "duplicateValues", "arguments": {"properties": ["items"]}, "mustBe": 0},
            None,
            "items is of type json, which is no key",
        ),
        ({"type": "sql", "query": "SELECT ${model}", "mustBe": 0}, None, "query: ${model} stands for nothing; known: ${table}"),
        (
            {"type": "sql", "query": "SELECT now()", "mustBe": 0},
            None,
            "query: now() does not follow from the rows of the partition",
        ),
        ({"type": "sql", "query": "SELECT {column}", "mustBe": 0}, None, "query: ${column} is of rules below a column"),
        (custom(rule="unique", mustBe=0), None, "implementation.columns: missing; name them, or write the rule"),
        (custom(rule="volume", mustBe=0), None, "implementation: no key 'mustBe'"),
        (
            custom(rule="references", columns=["email"], dataset="a", to=["b", "c"], mustBe=0),
            None,
            "to: 2 columns for 1",
        ),
        (custom(rule="delay", quantile=2, mustBe=0), None, "implementation.quantile: 2 is not above 0 and at most 1"),
        (custom(rule="dead_letters", codes=["odd"], mustBe=0), None, "implementation.codes[0]"),
        ({"metric": "rowCount", "mustBeBetween": [9, 1]}, None, "mustBeBetween: the smaller number stands first"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(tmp_path: Path, table: Any, column: Any, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        with_quality(tmp_path, [table] if table else None, [column] if column else None)
    message = str(caught.value)
    assert told in message and "order.v1.yaml:" in message
    line = int(re.findall(r"\n  - order\.v1\.yaml:(\d+): ", message)[0])
    text = (tmp_path / "order.v1.yaml").read_text("utf-8").splitlines()
    assert line > next(number for number, each in enumerate(text) if each.strip() in ("quality:", "- quality:"))


def test_two_rules_of_one_name_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"quality\[1\].name: two rules are called rowCount"):
        with_quality(tmp_path, [{"metric": "rowCount", "mustBe": 1}] * 2)


def test_shipped_rules_hold_nothing() -> None:
    for path in sorted(BUILT_IN_DATASETS.glob("*.yaml")):
        contract = load_contract(path)
        assert contract.quality.rules and not contract.gated


def test_the_reference_has_every_rule_and_key() -> None:
    text = PAGE.read_text("utf-8")
    for name, model in RULES.items():
        line = next(each for each in text.splitlines() if each.startswith(f"| `{name}` |"))
        keys = {field.alias or key for key, field in model.model_fields.items()} - {"rule", "source"}
        keys = {key for key in keys if not key.startswith("must")} | ({"mustBe…"} if "must_be" in model.model_fields else set())
        assert all(f"`{key}`" in line for key in keys), (name, keys)
