"""What each kind of rule says of a partition."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from contracts.spec.model import Contract
from contracts.spec.quality import Expected, Operator
from quality.keys import KeyCounts
from quality.verdicts import RuleVerdict, Severity, Verdict, gate_verdict, partition_at, partitions_between
from quality.view import RowsView
from tests.support.partitions import AT_US, CONTRACT, Tables, contract_with, judged, letters_of, ours, rows_of

HOUR_S, DAY_S = 3_600, 86_400
Row = dict[str, Any]
Short = tuple[str, Any, int, int]


def said(item: dict[str, Any], rows: list[dict[str, Any]], **more: Any) -> RuleVerdict:
    (verdict,) = judged(contract_with(item), rows_of(rows), **more)
    return verdict


def short(verdict: RuleVerdict) -> tuple[str, Any, int, int]:
    return str(verdict.verdict), verdict.observed, verdict.rows, verdict.failing


EMAILS = [{"email": "a@x"}, {"email": None}, {"email": ""}, {"email": "N/A"}]


@pytest.mark.parametrize(
    ("item", "rows", "expected"),
    [
        ({"metric": "rowCount", "mustBe": 2}, [{}, {}], ("ok", 2.0, 2, 0)),
        ({"metric": "rowCount", "mustBeGreaterThan": 0}, [], ("failed", 0.0, 0, 0)),
        ({"metric": "rowCount", "mustBeBetween": [1, 2]}, [{}, {}], ("ok", 2.0, 2, 0)),
        ({"metric": "rowCount", "mustNotBeBetween": [1, 2]}, [{}, {}], ("failed", 2.0, 2, 0)),
        ({"metric": "nullValues", "below": "email", "mustBe": 0}, EMAILS, ("failed", 1.0, 4, 1)),
        ({"metric": "nullValues", "below": "email", "unit": "percent", "mustBeLessOrEqualTo": 25}, EMAILS, ("ok", 25.0, 4, 1)),
        ({"metric": "nullValues", "below": "email", "unit": "percent", "mustBeLessThan": 25}, EMAILS, ("failed", 25.0, 4, 1)),
        ({"metric": "nullValues", "below": "email", "mustBe": 0}, [{}, {}], ("failed", 2.0, 2, 2)),
        ({"metric": "nullValues", "below": "consent", "mustBe": 1}, [{}, {"consent": [("ads", True)]}], ("ok", 1.0, 2, 1)),
        (
            {"metric": "missingValues", "below": "email", "arguments": {"missingValues": [None, "", "N/A"]}, "mustBe": 0},
            EMAILS,
            ("failed", 3.0, 4, 3),
        ),
        (
            {"metric": "missingValues", "below": "email", "arguments": {"missingValues": ["", "N/A"]}, "mustBe": 2},
            EMAILS,
            ("ok", 2.0, 4, 2),
        ),
        (
            {"metric": "missingValues", "below": "amount", "arguments": {"missingValues": [-1, 0.5]}, "mustBe": 0},
            [{"amount": Decimal("-1.00")}, {"amount": Decimal("0.50")}, {"amount": Decimal("0.51")}, {}],
            ("failed", 2.0, 4, 2),
        ),
        (
            {"metric": "invalidValues", "below": "status", "arguments": {"validValues": ["new", "paid"]}, "mustBe": 0},
            [{"status": "new"}, {"status": "old"}, {"status": None}, {"status": "NEW"}],
            ("failed", 2.0, 4, 2),
        ),
        (
            {"metric": "invalidValues", "below": "status", "arguments": {"pattern": "^[a-z]+$"}, "mustBe": 0},
            [{"status": "new"}, {"status": "new\n"}, {"status": None}],
            ("failed", 1.0, 3, 1),
        ),
        (
            {"metric": "invalidValues", "below": "points", "arguments": {"validValues": [2**62]}, "mustBe": 0},
            [{"points": 2**62}, {"points": 2**62 + 1}],
            ("failed", 1.0, 2, 1),
        ),
        (
            {"metric": "duplicateValues", "below": "customer_id", "mustBe": 0},
            [{"customer_id": c} for c in ("a", "a", "a", "b", None, None)],
            ("failed", 2.0, 4, 2),
        ),
        (
            {"metric": "duplicateValues", "arguments": {"properties": ["customer_id", "points"]}, "mustBe": 1},
            [{"customer_id": c, "points": p} for c, p in (("a", 1), ("a", 1), ("a", 11), ("a1", 1), ("a", None), ("a", None))],
            ("ok", 1.0, 4, 1),
        ),
        (ours(rule="unique", columns="day", mustBe=0), [{"day": None}, {"day": None}], ("skipped", None, 0, 0)),
        (
            ours(rule="completeness", columns=["email", "status"], mustBeGreaterOrEqualTo=50),
            [{"email": "a", "status": "s"}, {"email": "a"}, {"status": "s"}, {}],
            ("failed", 25.0, 4, 3),
        ),
        (ours(rule="completeness", columns="email", mustBeGreaterOrEqualTo=100), [{"email": ""}], ("ok", 100.0, 1, 0)),
        (ours(rule="freshness", mustBeLessThan="15m"), [{"after_s": HOUR_S - 900}, {"after_s": 1}], ("failed", 900.0, 2, 0)),
        (ours(rule="freshness", mustBeLessOrEqualTo="15m"), [{"after_s": HOUR_S - 900}], ("ok", 900.0, 1, 0)),
        (ours(rule="freshness", mustBeLessThan="2h"), [{"after_s": -HOUR_S}], ("failed", 7_200.0, 0, 0)),
        (ours(rule="freshness", mustBeLessThan="2h"), [], ("skipped", None, 0, 0)),
        (ours(rule="freshness", source="crm", mustBeLessThan="1h"), [{"after_s": 60}], ("skipped", None, 0, 0)),
        (
            ours(rule="freshness", source="crm", mustBeLessThan="1h"),
            [{"after_s": 60}, {"after_s": -3 * DAY_S, "source": "crm"}],
            ("failed", float(3 * DAY_S + HOUR_S), 0, 0),
        ),
        (ours(rule="delay", mustBeLessThan=10), [{"delay_s": s} for s in (1, 2, 9.5, -3)], ("ok", 9.5, 4, 0)),
        (ours(rule="delay", quantile=0.5, mustBeLessThan=1), [{"delay_s": s} for s in (1, 2, 9.5, -3)], ("failed", 1.0, 4, 0)),
        (ours(rule="delay", mustBeLessThan=10), [], ("skipped", None, 0, 0)),
    ],
    ids=lambda value: None,
)
def test_each_rule_says_what_it_should(item: Row, rows: list[Row], expected: Short) -> None:
    assert short(said(item, rows)) == expected


PERCENT = {"unit": "percent", "mustBe": 0}


@pytest.mark.parametrize(
    "item",
    [
        {"metric": "nullValues", "below": "email", **PERCENT},
        {"metric": "nullValues", "below": "email", "mustBe": 0},
        {"metric": "invalidValues", "below": "email", "arguments": {"validValues": ["a"]}, **PERCENT},
        {"metric": "duplicateValues", "below": "email", **PERCENT},
        ours(rule="completeness", columns="email", mustBeGreaterOrEqualTo=99),
        ours(rule="null_share", column="email"),
        ours(rule="distribution", column="status"),
        ours(rule="dead_letters", mustBeLessThan=1),
    ],
    ids=lambda item: item.get("metric") or item["implementation"]["rule"],
)
def test_nothing_is_right_about_no_rows(item: dict[str, Any]) -> None:
    verdict = said(item, [{"after_s": -1}, {"after_s": HOUR_S}])  # the bounds are half open
    assert short(verdict) == ("skipped", None, 0, 0)


def test_bounds_of_a_partition_are_half_open() -> None:
    rows = [{"after_s": s} for s in (-0.000001, 0, HOUR_S - 0.000001, HOUR_S)]
    assert said({"metric": "rowCount", "mustBe": 2}, rows).verdict is Verdict.OK


def test_percentages_at_a_bound_are_exact() -> None:
    for rows, nulls in ((700, 7), (300, 3), (100, 1), (70_000, 700)):
        item = {"metric": "nullValues", "below": "email", "unit": "percent", "mustBeLessOrEqualTo": 1}
        contract = contract_with(item)
        made = rows_of([{"after_s": 1}]).take([0] * rows)
        emails = [None] * nulls + ["a"] * (rows - nulls)
        made = made.set_column(made.schema.get_field_index("email"), "email", [emails])
        assert [v.verdict for v in judged(contract, made)] == [Verdict.OK]


def test_the_first_rows_that_fail_are_named_and_no_value_is() -> None:
    rows = [{"email": None, "file": f"f{n % 2}", "position": 20 - n} for n in range(20)] + [{"email": "ada@example.com"}]
    verdict = said({"metric": "nullValues", "below": "email", "mustBe": 0}, rows)
    assert verdict.samples == tuple(("shop", "f0", n) for n in (2, 4, 6, 8, 10))
    assert "ada" not in str(verdict)
    assert verdict.detail == "20 of 21 (95.2 %) rows have no email; expected = 0 rows."


def test_a_source_is_looked_at_alone() -> None:
    rows = [{"source": "web"}, {"source": "web", "email": "a"}, {"source": "crm", "email": "a"}]
    assert short(said(ours(rule="completeness", source="web", columns="email", mustBeGreaterThan=99), rows)) == (
        "failed",
        50.0,
        2,
        1,
    )
    assert short(said(ours(rule="completeness", source="crm", columns="email", mustBeGreaterThan=99), rows)) == ("ok", 100.0, 1, 0)


def test_a_key_is_unique_across_partitions_too() -> None:
    rows = [{"customer_id": c, "after_s": s} for c, s in (("a", -10), ("b", -HOUR_S - 1), ("a", 1), ("b", 2), ("c", 3), ("c", 4))]
    assert short(said(ours(rule="unique", columns="customer_id", mustBe=0), rows)) == ("failed", 1.0, 4, 1)
    verdict = said(ours(rule="unique", columns="customer_id", across="1h", mustBe=0), rows)
    assert short(verdict) == ("failed", 2.0, 4, 2)
    assert [place[2] for place in verdict.samples] == [2, 4, 5]


def test_more_keys_than_are_held_are_counted_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"customer_id": f"c{n % 700}"} for n in range(1_000)]
    contract = contract_with(
        {"metric": "duplicateValues", "below": "customer_id", "mustBe": 0},
        ours(rule="references", columns="customer_id", dataset="contact", to="customer_id", mustBe=0),
        ours(rule="agreement", columns="customer_id", dataset="contact", to="customer_id", mustBe=100),
    )
    tables = Tables({"contact": RowsView(rows_of([{"customer_id": f"c{n}"} for n in range(0, 700, 7)]))})
    whole = judged(contract, rows_of(rows), tables=tables)
    monkeypatch.setattr("quality.keys.MOST_KEYS", 50)
    assert judged(contract, rows_of(rows), tables=tables) == whole
    assert [v.observed for v in whole] == [300.0, 857.0, 100 * 100 / 700]
    counts = KeyCounts()
    counts.add(rows_of(rows).column("customer_id").combine_chunks(), pa.array([True] * 1_000))
    assert len(counts.table()) <= 50 and counts.buckets >= 16


REFERS = {"rule": "references", "columns": "customer_id", "dataset": "contact", "to": "customer_id", "mustBe": 0}


def contacts(*given: tuple[str | None, int]) -> Tables:
    return Tables({"contact": RowsView(rows_of([{"customer_id": c, "after_s": s} for c, s in given]))})


def test_a_key_that_the_other_dataset_lacks_fails() -> None:
    rows = [{"customer_id": c} for c in ("a", "b", "b", None)]
    verdict = said(ours(**REFERS), rows, tables=contacts(("a", -DAY_S), (None, 0)))
    assert short(verdict) == ("failed", 2.0, 3, 2)
    assert [place[2] for place in verdict.samples] == [1, 2]
    assert short(said(ours(**REFERS | {"unit": "percent"}), rows, tables=contacts(("a", 0), ("b", 5 * DAY_S)))) == ("ok", 0.0, 3, 0)


def test_a_dataset_without_a_table_is_nothing_to_judge_by() -> None:
    for rule in (REFERS, REFERS | {"rule": "agreement"}):
        verdict = said(ours(**rule), [{"customer_id": "a"}])
        assert (verdict.verdict, verdict.detail) == (Verdict.SKIPPED, "There is no table of contact yet.")


@pytest.mark.parametrize(
    ("newest_s", "expected"),
    [
        (0, "skipped"),  # the other side is as far as the row: it may still come
        (DAY_S - 1, "skipped"),
        (DAY_S, "failed"),  # the other side has come as far as the grace period
        (DAY_S + 10, "failed"),
    ],
)
def test_what_arrives_later_has_its_grace(newest_s: int, expected: str) -> None:
    rows = [{"customer_id": "a", "after_s": 0}, {"customer_id": "late", "after_s": 0}]
    verdict = said(ours(**REFERS, grace="1d"), rows, tables=contacts(("a", newest_s)))
    assert verdict.verdict == expected
    if expected == "skipped":
        assert "1 more may still come to contact, whose rows reach" in verdict.detail
    arrived = said(ours(**REFERS, grace="1d"), rows, tables=contacts(("a", newest_s), ("late", newest_s)))
    assert arrived.verdict is Verdict.OK


def test_an_open_row_that_turns_nothing_waits_without_a_word() -> None:
    rule = ours(**{**REFERS, "mustBe": None, "mustBeLessThan": 5}, grace="1d")
    rule["implementation"] = {k: v for k, v in rule["implementation"].items() if v is not None}
    assert said(rule, [{"customer_id": "late"}], tables=contacts(("a", 0))).verdict is Verdict.OK


def test_agreement_counts_distinct_keys_of_two_sources() -> None:
    rows = [{"customer_id": c, "source": "web"} for c in ("a", "a", "b", "c", "d", None)]
    other = [
        {"customer_id": c, "source": s, "after_s": t} for c, s, t in (("a", "crm", 0), ("b", "erp", 0), ("c", "crm", -3 * DAY_S))
    ]
    rule = {"rule": "agreement", "columns": "customer_id", "dataset": "contact", "to": "customer_id", "source": "web"}
    tables = Tables({"contact": RowsView(rows_of(other))})
    assert short(said(ours(**rule, mustBeGreaterThan=50), rows, tables=tables)) == ("ok", 75.0, 6, 1)
    assert said(ours(**rule, with_source="crm", mustBeGreaterThan=50), rows, tables=tables).observed == 50.0
    verdict = said(ours(**rule, with_source="crm", within="1d", mustBeGreaterThan=50), rows, tables=tables)
    assert (verdict.observed, verdict.verdict) == (25.0, Verdict.FAILED)
    assert verdict.detail == "1 of 4 customer_id are in contact of crm; expected > 50 percent."


def test_dead_letters_count_against_all_records_of_the_partition() -> None:
    given: list[dict[str, Any]] = [{}, {"code": "too_large"}, {"code": "withdrawn"}, {"dataset": "contact"}, {"after_s": HOUR_S}]
    tables = Tables(dead_letters=RowsView(letters_of([*given, {"source": "web"}])))
    assert short(said(ours(rule="dead_letters", mustBeLessThan=50), [{}], tables=tables)) == ("failed", 75.0, 4, 3)
    assert short(said(ours(rule="dead_letters", codes="too_large", unit="rows", mustBe=1), [{}], tables=tables)) == (
        "ok",
        1.0,
        2,
        1,
    )
    assert short(said(ours(rule="dead_letters", source="web", mustBe=100), [{}], tables=tables)) == ("ok", 100.0, 1, 1)


def test_nan_and_null_are_never_as_they_must_be() -> None:
    for operator in Operator:
        expected = Expected(operator, (1, 2) if "etween" in operator else (1,))
        assert not expected.holds(None) and not expected.holds(math.nan)
    assert Expected(Operator.NOT_BE, (1,)).holds("a") and not Expected(Operator.BE, (1,)).holds("1")


def test_severities_make_a_gate() -> None:
    items = [
        {"metric": "rowCount", "name": str(n), "mustBe": n, "severity": s} for n, s in enumerate(("stop", "quarantine", "warn"))
    ]
    contract = contract_with(*items)
    assert contract.gated and not contract_with(items[2]).gated and not CONTRACT.gated
    verdicts = judged(contract, rows_of([{}]))
    assert [v.verdict for v in verdicts] == [Verdict.FAILED, Verdict.OK, Verdict.FAILED]
    assert gate_verdict(verdicts) is Severity.STOP and gate_verdict(verdicts[1:]) is Severity.WARN
    assert gate_verdict(verdicts[1:2]) is None and gate_verdict([]) is None


def test_partitions_cover_a_range_without_gaps_also_before_1970() -> None:
    contract: Contract = contract_with(partition_s=900)
    cut = list(partitions_between(contract, -1, 900_000_001))
    assert [(p.from_us, p.to_us) for p in cut] == [(-900_000_000, 0), (0, 900_000_000), (900_000_000, 1_800_000_000)]
    assert partition_at(contract, -1) == cut[0] and partition_at(contract, 0) == cut[1]
    assert list(partitions_between(contract, AT_US, AT_US)) == []


def test_a_part_that_breaks_a_rule_for_good_is_known() -> None:
    finals = {"mustBe": 0, "mustBeLessThan": 3}
    for operator in ("mustBe", "mustBeLessThan", "mustBeGreaterThan"):
        (rule,) = contract_with({"metric": "nullValues", "below": "email", operator: finals.get(operator, 1)}).quality.rules
        assert rule.holds_for_parts == (operator in finals)
    (share,) = contract_with({"metric": "nullValues", "below": "email", "unit": "percent", "mustBe": 0}).quality.rules
    assert not share.holds_for_parts


def test_a_share_that_is_tiny_is_not_nothing() -> None:
    """soda-core#2331: three of 1,864,458 rows were shown, and judged, as 0 percent."""
    whole = rows_of([{"email": "a"}]).take(pa.array([0] * 100_000))
    rows = pa.concat_tables([whole, rows_of([{"email": None, "position": 9, "file": "g"}])])
    (verdict,) = judged(contract_with({"metric": "nullValues", "below": "email", "unit": "percent", "mustBe": 0}), rows)
    assert (verdict.verdict, verdict.failing) == (Verdict.FAILED, 1) and 0 < float(verdict.observed or 0) < 0.001


@dataclass
class CountedView:
    """A view that knows how often it was read."""

    view: RowsView
    reads: int = 0
    snapshot_id: int | None = None

    def batches(self, columns: Sequence[str], from_us: int | None, to_us: int | None) -> Iterator[pa.RecordBatch]:
        """See TableView."""
        self.reads += 1
        return self.view.batches(columns, from_us, to_us)

    def newest_us(self, before_us: int | None = None) -> int | None:
        """See TableView."""
        return self.view.newest_us(before_us)


@pytest.mark.parametrize(("most_bytes", "reads"), [(1 << 20, 2), (40, 3 + 3 + 2)])
def test_another_table_is_read_once_for_all_partitions_if_its_keys_fit(
    monkeypatch: pytest.MonkeyPatch, most_bytes: int, reads: int
) -> None:
    monkeypatch.setattr("quality.keys.MOST_REMEMBERED", most_bytes)
    other = CountedView(RowsView(rows_of([{"customer_id": f"customer {n}", "source": "crm"} for n in range(50)])))
    tables = Tables({"contact": other})
    to = {"dataset": "contact", "to": "customer_id", "columns": "customer_id"}
    contract = contract_with(ours(rule="references", **to, mustBe=1), ours(rule="agreement", **to, with_source="crm", mustBe=25))
    rows = rows_of(
        [{"customer_id": f"customer {n % 7 + 46}", "after_s": hour * 3_600 + n} for hour in range(3) for n in range(3, 7)]
    )
    told = [[(v.verdict, v.failing) for v in judged(contract, rows, tables=tables, hour=hour)] for hour in range(3)]
    assert told == [told[0]] * 3 and told[0][0] == (Verdict.FAILED, 3)
    assert other.reads == reads
