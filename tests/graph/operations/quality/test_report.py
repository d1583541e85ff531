"""Rules run by hand, what is kept of it, and the page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lake.acts import note_act
from operations.quality.examples import shape
from operations.quality.kept import kept, newest_of
from operations.quality.page import page
from operations.quality.report import report_on_run
from quality.store import judgements
from tests.support.shop import DAY, HOUR_US, WEB, Shop, event, strict

HOSTILE = "enough <script>alert(1)</script> \"'\x1b[31m"
START, END = "2026-11-02T08:00:00Z", "2026-11-02T16:00:00Z"


def with_rules(shop: Shop, severity: str) -> None:
    """The built-in contract, with rules about partitions."""
    if not (shop.folder / "datasets").exists():
        shop.write_contract("{horizon: 7d}")
    path = shop.folder / "datasets" / "customer_event.v1.yaml"
    contract = yaml.safe_load(path.read_text())
    contract["schema"][0]["quality"] = [
        {"metric": "rowCount", "name": HOSTILE, "severity": severity, "mustBeGreaterOrEqualTo": 20},
        {"metric": "rowCount", "name": "some", "mustBeGreaterThan": 0},
    ]
    for column in contract["schema"][0]["properties"]:
        if column["name"] == "page_url":
            column["quality"] = [{"metric": "nullValues", "severity": severity, "unit": "percent", "mustBeLessOrEqualTo": 10}]
    path.write_text(yaml.safe_dump(contract))


def visit(number: int, hour: int) -> str:
    return event(number, hour, userId=f"jane{number}@x.example", context={"page": {"url": f"https://x.example/{number}"}})


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, str, str]]:
    """Six good hours, then a source that lost the page and most of its events; the runs that wrote them."""
    shop = Shop(tmp_path_factory.mktemp("shop"))
    with_rules(shop, "warn")  # no gate: rows are published, whatever the rules say
    good = shop.ingest([visit(n, 8 + n % 6) for n in range(240)]).run_id
    assert shop.headrace("quality", "run", "customer_event").exit_code == 0
    shop.write_spec({**strict(WEB), "revision": 2})
    note_act(shop.lake(), "deadletter close", {"dataset": "customer_event"}, by="Ada", reason="known")
    bad = shop.ingest([event(1_000 + n, 14) for n in range(25)] + [event(2_000 + n, 15) for n in range(3)]).run_id
    yield shop, good, bad


def _run(shop: Shop, *given: object) -> tuple[dict[str, Any], int]:
    result = shop.headrace("quality", "run", "customer_event", "--json", *given)
    return json.loads(result.stdout), result.exit_code


def _verdicts(document: dict[str, Any]) -> dict[tuple[int, str], str]:
    """By hour of the day and rule."""
    hours = (int((v["partition"]["from_us"] - DAY) // HOUR_US) for v in document["verdicts"])
    return {(hour, v["rule"]): v["verdict"] for hour, v in zip(hours, document["verdicts"], strict=True)}


def test_partitions_of_a_time_or_of_a_run_are_judged_and_kept(judged: tuple[Shop, str, str]) -> None:
    shop, _, bad = judged
    document, code = _run(shop, "--start", START, "--end", END)
    found = _verdicts(document)
    assert code == 0  # they warn
    assert {hour for hour, _ in found} == set(range(8, 16))
    assert [key for key, verdict in found.items() if verdict != "ok"] == [
        (14, "page_url_nullValues"), (15, HOSTILE), (15, "page_url_nullValues"),
    ]  # fmt: skip
    again = kept(shop.lake(), document["id"])
    assert again and json.loads(json.dumps(again.document(), default=str)) == document
    of_run, _ = _run(shop, "--run", bad)
    assert {hour for hour, _ in _verdicts(of_run)} == {14, 15} and of_run["of_run"] == bad
    assert newest_of(shop.lake(), "customer_event") == kept(shop.lake(), of_run["id"])
    assert {each.run_id for each in judgements(shop.lake())} >= {document["id"], of_run["id"]}


def test_without_a_time_the_last_day_of_rows_is_judged_from_its_first_row_on(judged: tuple[Shop, str, str]) -> None:
    document, _ = _run(judged[0])
    assert {hour for hour, _ in _verdicts(document)} == set(range(8, 16))


def test_a_rule_that_holds_a_partition_is_exit_code_1_and_a_gated_dataset_keeps_its_own_history(
    judged: tuple[Shop, str, str],
) -> None:
    shop, _, _ = judged
    known = len(list(judgements(shop.lake())))
    with_rules(shop, "quarantine")
    try:
        document, code = _run(shop, "--start", START, "--end", END)
        assert code == 1 and len(document["verdicts"]) == 24
        assert len(list(judgements(shop.lake()))) == known
        assert _run(shop, "--start", START, "--end", "2026-11-02T10:00:00Z")[1] == 0
    finally:
        with_rules(shop, "warn")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--run", "20261102T100000000000Z-web-aaaaaa"), "no run"),
        (("--run", "r", "--start", START), "without --start"),
        (("--start", END, "--end", START), "no partition to judge"),
        (("--start", "1990-01-01T00:00:00Z"), "at most 10,000 at once"),
        (("--start", "today"), "a time such as"),
        (("--audit",), "no audit branch"),
    ],
)
def test_what_cannot_be_judged_is_refused(judged: tuple[Shop, str, str], given: tuple[str, ...], told: str) -> None:
    result = judged[0].headrace("quality", "run", "customer_event", *given)
    assert result.exit_code == 2 and told in result.output


def test_the_report_says_what_changed_since_the_last_good_partition(judged: tuple[Shop, str, str], tmp_path: Path) -> None:
    shop, good, _ = judged
    _run(shop, "--start", START, "--end", END)
    result = shop.headrace("quality", "report", "--dataset", "customer_event", "--page", tmp_path / "q.html", "--json")
    assert result.exit_code == 0
    (report,) = json.loads(result.stdout)
    assert report["severity"] == "warn" and report["good_run"] == good
    assert [(report[key]["from_us"] - DAY) // HOUR_US for key in ("good", "first_bad")] == [13, 14]
    assert [e["what"] for e in report["changes"]] == ["headrace deadletter close", "source web: another spec"]
    assert report["volumes"] == [["web", 25, 40]]
    assert [p["observed"] for p in report["trends"]["some"]] == [40.0] * 6 + [25.0, 3.0]
    examples = [e for e in report["examples"] if e["verdict"]["rule"] == "page_url_nullValues"]
    assert examples and all(e["shapes"] == [["page_url", "no value"]] for e in examples)
    assert report["commands"][0] == f"headrace changes --since {good} --dataset customer_event"


def test_the_page_is_safe_and_needs_nothing_else(judged: tuple[Shop, str, str], tmp_path: Path) -> None:
    shop, _, _ = judged
    document, _ = _run(shop, "--start", START, "--end", END)
    told = shop.headrace("quality", "report", document["id"], "--page", tmp_path / "q.html")
    assert told.exit_code == 0, told.output
    text = (tmp_path / "q.html").read_text("utf-8")
    assert "<script" not in text and "\x1b" not in text and "enough &lt;script&gt;" in text
    assert "\\x1b" in text and not re.search(r"src=|href=|url\(", text)
    assert "jane" not in text and "x.example" not in text
    assert text.count("<svg") >= 3 and "40 → 25" not in text
    assert [len(re.findall(rf"<{tag}\b", text)) for tag in ("table", "details", "div")] == [
        text.count(f"</{tag}>") for tag in ("table", "details", "div")
    ]


def test_a_run_without_verdicts_says_how_to_judge_it(judged: tuple[Shop, str, str]) -> None:
    shop, good, _ = judged
    result = shop.headrace("quality", "report", good)
    assert result.exit_code == 2 and "headrace quality run" in result.output


def test_more_broken_rules_than_are_shown_at_once_are_folded_away(judged: tuple[Shop, str, str]) -> None:
    shop, _, _ = judged
    document, _ = _run(shop, "--start", "2026-11-01T00:00:00Z", "--end", END)  # hours without rows before the first
    text = page(report_on_run(shop.lake(), shop.project, document["id"]))
    assert len([v for v in document["verdicts"] if v["verdict"] == "failed"]) > 20
    assert "more</summary>" in text and text.count("<details") == text.count("</details>")


def test_great_expectations_is_run_beside_and_its_pages_are_kept(judged: tuple[Shop, str, str]) -> None:
    shop, _, bad = judged
    result = shop.headrace("quality", "run", "customer_event", "--run", bad, "--engine", "both")
    assert "the engines differ" not in result.output
    found = newest_of(shop.lake(), "customer_event")
    assert found and {each.engine for each in found.verdicts} == {"headrace", "great-expectations"}
    documents = [shop.lake().path / each for each in found.documents]
    assert len(documents) == 4 and all(path.stat().st_mode & 0o077 == 0 for path in documents)
    assert not any("jane" in path.read_text("utf-8") for path in documents)
    theirs = {(e.verdict.rule, e.verdict.verdict) for e in found.verdicts if e.engine == "great-expectations"}
    assert ("page_url_nullValues", "failed") in theirs and ("event_id.required", "ok") in theirs


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "no value"), ("", "empty text"), ("Jane 4", "text of 6 characters: digits, letters, blanks"),
        ("a@b", "text of 3 characters: letters, signs"), (-12.5, "negative number of 2 digits and a fraction"),
        (True, "true or false"), (7, "number of 1 digits"),
    ],
)  # fmt: skip
def test_shapes_say_no_value(value: object, told: str) -> None:
    assert shape(value) == told
