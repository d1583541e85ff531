"""Rules that are judged by history: what they observe, what is kept of it, and what they learn from."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from contracts.spec.model import Column, ColumnType
from contracts.spec.quality import DeclaredDays, QualityCalendar
from contracts.units import HOUR_US, datetime_to_us
from quality.history import State
from quality.learnt import bucket_of, is_personal
from quality.past import KnownHistory, Past
from quality.verdicts import Partition, RuleVerdict, Verdict
from tests.support.partitions import AT_US, CONTRACT, contract_with, judged, ours, rows_of


def past(hours: int, observed: float | None, *, rows: int = 100, observation: str = "", at_us: int = AT_US, **more: Any) -> Past:
    start = at_us - hours * HOUR_US
    given = {"verdict": Verdict.OK, "run_id": f"run {hours}", **more}
    return Past(
        partition=Partition("order", start, start + HOUR_US), observed=observed, rows=rows, observation=observation, **given
    )


def said(item: dict[str, Any], rows: list[dict[str, Any]], known: list[Past], **more: Any) -> RuleVerdict:
    contract = contract_with(item, **more)
    (rule,) = contract.quality.rules
    (verdict,) = judged(contract, rows_of(rows), history=KnownHistory({rule.name: sorted(known, key=lambda p: p.partition)}))
    return verdict


WEEKS = [past(h, 100.0 + h % 3) for h in range(1, 6 * 168)]
VOLUME = ours(rule="volume")


def many(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"after_s": n % 3_600, **fields} for n in range(count)]


def test_a_cold_start_is_learning_and_not_ok() -> None:
    verdict = said(VOLUME, many(100), WEEKS[:20])
    assert (verdict.verdict, verdict.observed, verdict.baseline) == (Verdict.LEARNING, 100.0, ())
    assert verdict.detail.startswith("100 rows; learning, 20 of ")


def test_volume_is_what_it_was_or_not() -> None:
    fine, none = said(VOLUME, many(101), WEEKS), said(VOLUME, [], WEEKS)
    assert (fine.verdict, none.verdict, none.observed) == (Verdict.OK, Verdict.FAILED, 0.0)
    assert fine.expected.startswith("between ") and fine.baseline and set(fine.baseline) <= {p.run_id for p in WEEKS}
    assert "expected between" in none.detail
    assert said(ours(rule="volume", sensitivity=1_000), [], WEEKS).verdict is Verdict.OK


def test_what_failed_was_held_accepted_or_declared_is_not_learnt_from() -> None:
    bad = [replace(p, observed=1.0, verdict=Verdict.FAILED) for p in WEEKS[:400]]
    assert said(VOLUME, many(101), [*bad, *WEEKS[400:]]).verdict is Verdict.OK
    for state in (State.HELD, State.ACCEPTED, State.DECLARED):
        told = said(VOLUME, many(101), [replace(p, observed=1.0, state=state) for p in WEEKS])
        assert told.verdict is Verdict.LEARNING, state
    normal = [replace(p, observed=1.0, state=State.ACCEPTED, new_normal=True) for p in WEEKS]
    assert said(VOLUME, many(1), normal).verdict is Verdict.OK


def test_a_declared_day_is_not_judged() -> None:
    day = datetime.fromtimestamp(AT_US / 1e6, UTC).date()
    calendar = QualityCalendar("UTC", (DeclaredDays(day, day, "ignore", "stocktaking"),))
    verdict = said(VOLUME, [], WEEKS, calendar=calendar)
    assert verdict.verdict is Verdict.SKIPPED and "stocktaking" in verdict.detail


def test_the_same_hour_is_that_of_the_contracts_zone() -> None:
    """With daylight saving time 9 in the morning of Berlin is 7 in UTC, without it 8; only one of these hours is busy."""
    night = datetime(2027, 3, 28, 1, tzinfo=UTC)  # from here on clocks in Berlin are two hours ahead
    busy_utc = {True: 7, False: 8}
    monday = datetime_to_us(datetime(2027, 3, 29, 7, tzinfo=UTC))
    known = []
    for hours in range(1, 6 * 168):
        at = datetime.fromtimestamp(monday / 1e6 - hours * 3_600, UTC)
        known.append(past(hours, 500.0 if at.hour == busy_utc[at >= night] else 50.0, at_us=monday))
    rows = [{"at_us": monday + n} for n in range(500)]
    told = {}
    for zone in ("Europe/Berlin", "UTC"):
        contract = contract_with(VOLUME, calendar=QualityCalendar(zone))
        history = KnownHistory({"volume": sorted(known, key=lambda p: p.partition)})
        (verdict,) = judged(contract, rows_of(rows), history=history, hour=(monday - AT_US) // HOUR_US)
        told[zone] = verdict.verdict
    assert told == {"Europe/Berlin": Verdict.OK, "UTC": Verdict.FAILED}


def test_null_shares_are_judged_by_how_many_rows_tell_them() -> None:
    item = ours(rule="null_share", column="email")
    known = [past(h, 5.0 + h % 2, rows=1_000) for h in range(1, 3 * 168)]
    rows = many(600) + many(400, email="a")
    verdict = said(item, rows, known)
    assert (verdict.verdict, verdict.observed) == (Verdict.FAILED, 60.0)
    assert verdict.detail.startswith("60 % of 1,000 rows have no email; expected between")
    assert said(item, many(1) + many(18, email="a"), known).verdict is Verdict.OK
    assert said(item, [], known).verdict is Verdict.SKIPPED


def observed_of(item: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    return dict(json.loads(said(item, rows, []).observation))


def test_a_new_category_is_named_and_a_personal_one_is_not() -> None:
    counts = {"new": 50, "paid": 50}
    known = [past(h, 0.0, observation=json.dumps({"counts": counts, "rows": 100})) for h in range(1, 3 * 168)]
    rows = many(40, status="new") + many(40, status="paid") + many(20, status="lost")
    verdict = said(ours(rule="distribution", column="status"), rows, known)
    assert verdict.verdict is Verdict.FAILED and "values never seen before 20 %" in verdict.detail
    fine = said(ours(rule="distribution", column="status"), many(50, status="new") + many(50, status="paid"), known)
    assert (fine.verdict, fine.detail) == (Verdict.OK, "status is distributed as before.")


def test_of_personal_columns_only_buckets_are_kept() -> None:
    rows = many(3, email="ada@example.com") + many(2, email="bob@example.com") + many(1)
    kept = observed_of(ours(rule="distribution", column="email"), rows)
    assert sorted(kept["buckets"].values()) == [2, 3] and kept["rows"] == 6
    assert all(name.startswith("bucket ") for name in kept["buckets"])
    assert bucket_of(Decimal("-123.4")) == "-1e2" and bucket_of(0) == "0" and bucket_of(999) == "1e2"
    columns = CONTRACT.by_name
    assert is_personal(columns["email"]) and not is_personal(columns["status"])
    assert is_personal(replace(columns["status"], classification=None))
    assert not is_personal(replace(columns["email"], classification="Public"))


@pytest.mark.parametrize(
    ("of", "is_hidden"),
    [
        ({"type": ColumnType.STRING}, True),
        ({"type": ColumnType.INTEGER}, True),
        ({"type": ColumnType.DECIMAL}, True),
        ({"type": ColumnType.BOOLEAN}, False),
        ({"type": ColumnType.STRING, "enum": ("new", "paid")}, False),
        ({"type": ColumnType.STRING, "enum": ("f", "m"), "classification": "personal"}, True),
        ({"type": ColumnType.STRING, "enum": ("a", "b"), "identifier": "user"}, True),
        ({"type": ColumnType.BOOLEAN, "classification": "restricted"}, True),
        ({"type": ColumnType.STRING, "classification": "internal"}, False),
    ],
)
def test_values_are_hidden_unless_the_contract_says_that_they_need_not_be(of: dict[str, Any], is_hidden: bool) -> None:
    assert is_personal(Column(name="x", **of)) is is_hidden


def test_no_value_of_an_unclassified_column_is_kept_or_told() -> None:
    rows = many(60, customer_id="ada@example.com") + many(40, customer_id="447911123456")
    item = ours(rule="distribution", column="customer_id")
    observation = said(item, rows, []).observation
    known = [past(h, 0.0, observation=observation) for h in range(1, 3 * 168)]
    moved = said(item, many(10, customer_id="ada@example.com") + many(90, customer_id="Lovelace"), known)
    assert moved.verdict is Verdict.FAILED
    for told in (observation, str(moved)):
        assert not any(value in told for value in ("ada", "447911", "Lovelace"))


def test_a_column_that_is_classified_anew_is_learnt_anew() -> None:
    item = ours(rule="distribution", column="status")
    known = [past(h, 0.0, observation=json.dumps({"buckets": {"bucket 7": 9}, "rows": 9})) for h in range(1, 3 * 168)]
    assert said(item, many(100, status="new"), known).verdict is Verdict.LEARNING


def test_numbers_are_kept_as_quantiles() -> None:
    rows = many(100)
    for number, row in enumerate(rows):
        row["amount"] = Decimal(number)
    kept = observed_of(ours(rule="distribution", column="amount"), rows)
    assert kept == {"rows": 100, "shares": [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99], "values": [0, 4, 24, 49, 74, 94, 98]}
    known = [past(h, 0.0, observation=json.dumps(kept)) for h in range(1, 3 * 168)]
    assert said(ours(rule="distribution", column="amount"), rows, known).verdict is Verdict.OK
    for row in rows:
        row["amount"] *= 100
    verdict = said(ours(rule="distribution", column="amount"), rows, known)
    assert verdict.verdict is Verdict.FAILED and "amount is not distributed as before: q0.99 9,800" in verdict.detail


def test_nan_and_infinity_are_no_numbers_of_a_distribution() -> None:
    rows = [{"score": value} for value in (1.0, float("nan"), float("inf"), None)]
    kept = observed_of(ours(rule="distribution", column="score"), rows)
    assert (kept["rows"], kept["values"]) == (1, [1.0] * 7)
    assert observed_of(ours(rule="distribution", column="score"), [{"score": float("nan")}])["rows"] == 0


def test_a_sample_of_many_rows_is_fair_and_the_same_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(1)
    rows = [{"after_s": 1, "status": "ab"[n % 4 == 0], "hash": chance.getrandbits(120)} for n in range(4_000)]
    monkeypatch.setattr("quality.learnt.SAMPLE_ROWS", 900)
    kept = observed_of(ours(rule="distribution", column="status"), rows)
    assert kept["rows"] == 900 and 0.2 < kept["counts"]["b"] / 900 < 0.3
    chance.shuffle(rows)
    assert observed_of(ours(rule="distribution", column="status"), rows) == kept


def test_only_the_most_frequent_values_are_kept() -> None:
    kept = observed_of(ours(rule="distribution", column="status"), [{"status": f"s{n:03}", "after_s": 1} for n in range(500)])
    assert len(kept["counts"]) == 200 and kept["rows"] == 500


@pytest.mark.parametrize("column", ["consent", "day", "at"])
def test_a_distribution_of_other_types_is_refused(column: str) -> None:
    from contracts.spec.quality_checks import rule_problems

    (rule,) = contract_with(ours(rule="distribution", column=column)).quality.rules
    assert "null_share is for any type" in next(rule_problems(rule, CONTRACT.by_name))
