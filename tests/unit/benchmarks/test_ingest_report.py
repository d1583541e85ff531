from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.ingest import history
from benchmarks.ingest.bench import Contest, Series
from benchmarks.ingest.budget import Stages
from benchmarks.ingest.charts import Bar, bars_of, lines_of
from benchmarks.ingest.measure import Measured
from benchmarks.ingest.outcome import Result
from benchmarks.ingest.page import write_page
from benchmarks.ingest.report import across, document_of, ratio_lines, sample_lines
from benchmarks.ingest.sample import Sample

RESULT = Result(rows=9, content_hash="aa", ids="bb", dead_letters=(("malformed", 1),))


def contest(events: int = 1_000_000, **series: Series) -> Contest:
    return Contest(Sample(Path("nowhere"), events, 7_000_000, events), RESULT, series)


def series(*wall_s: float, events: int = 1_000_000, **told: Any) -> Series:
    return Series(events, [Measured(seconds, seconds * 2, 1 << 20) for seconds in wall_s], **told)


def document(**told: Series) -> dict[str, Any]:
    return document_of({"arrival-1000000": contest(**told)}, "python -m benchmarks.ingest", 7, 2)


def lines_of_sample(**told: Series) -> str:
    return "\n".join(sample_lines(document(**told)["samples"]["arrival-1000000"]))


def test_a_peer_with_another_output_is_shown_as_that_and_is_never_the_fastest() -> None:
    text = lines_of_sample(job=series(4.0, 6.0), loop=series(3.0, 3.0), duckdb=series(1.0, 1.0, differs=["5 rows too many"]))
    assert re.search(r"\| DuckDB +\| +2 \| 1,000,000 \| differs +\|", text)
    assert "DuckDB puts out something else: 5 rows too many" in text
    assert "The least wall time per event with the job's output: bare loop." in text


def test_a_peer_with_the_same_output_can_be_the_fastest() -> None:
    text = lines_of_sample(job=series(4.0), duckdb=series(1.0))
    assert "with the job's output: DuckDB." in text
    assert "something else" not in text


def test_a_peer_that_does_not_take_the_input_says_why_and_what_it_ran_on() -> None:
    text = lines_of_sample(job=series(4.0), duckdb=series(1.0, events=900_000, refused="NaN at 7"))
    assert re.search(r"\| DuckDB +\| +2 \| +900,000 \| other input \|", text)
    assert "lines that any reader of JSON takes: `NaN at 7`" in text
    assert "job's output: `headrace ingest`." in text


def test_a_peer_without_figures_has_none_in_the_table() -> None:
    text = lines_of_sample(job=series(4.0), polars=series(missing="not installed: make peers"))
    assert re.search(r"\| polars +\| +2 \| 1,000,000 \| none +\| +– \|", text)
    assert "polars: no figures. not installed: make peers" in text


def test_a_ratio_says_that_the_outputs_are_not_the_same() -> None:
    entry = document(job_2=series(4.0), duckdb=series(1.0, differs=["x"]), job=series(4.0))["samples"]["arrival-1000000"]
    (line,) = [line for line in ratio_lines(entry) if "DuckDB" in line]
    assert "**0.25** (aim 0.3, not reached; by CPU time 0.25; output or input of DuckDB is not the job's)" in line


def test_medians_stand_beside_the_least_and_the_most() -> None:
    assert re.search(r"\| +4\.0 \| +2\.0–9\.0 \| +8\.0 \|", lines_of_sample(job=series(2.0, 9.0, 4.0)))


def test_orders_and_sizes_are_compared_with_arrival_and_the_smallest() -> None:
    contests = {
        "arrival-1000000": contest(job=series(10.0)),
        "shuffled-1000000": contest(job=series(20.0)),
        "arrival-5000000": contest(5_000_000, job=series(53.0, events=5_000_000)),
    }
    told = across(document_of(contests, "", 7, 1)["samples"])
    assert [(item["ratio"], item["aim"], item["reached"]) for item in told] == [(0.5, 0.8, False), (1.06, 1.1, True)]


def test_the_page_needs_nothing_else_and_tells_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "HISTORY", tmp_path / "history.jsonl")
    monkeypatch.setattr(history, "_commit", lambda: "0123abcd")
    told = document(job=series(4.0, 5.0), loop=series(2.0, 2.0), duckdb=series(1.0, 1.0, differs=["<b> differs"]))
    told["budget"] = {"events": 10, "us_per_event": {"fold": 2.5}}
    history.record(told)
    history.record(told)
    write_page(told, history.entries(), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert not re.search(r"https?://|<script|<link|src=|@import|url\(", page)
    assert "&lt;b&gt; differs" in page
    for picture in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(picture)
    assert page.count("<circle") >= 4, "points over time"
    assert "fold" in page


def test_the_inner_of_two_stages_counts_and_generators_count_while_they_work() -> None:
    stages = Stages()
    for label, name in (("outer", "outer"), ("inner", "inner"), ("items", "items")):
        stages.wrap(label, __name__, name)
    outer()
    assert stages.seconds["inner"] > 3 * stages.seconds["outer"] > 0
    before = stages.seconds["items"]
    for _ in items():
        burn(0.05)
    assert stages.seconds["items"] - before < 0.05, "what a consumer does between two items is its own"


def burn(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def outer() -> None:
    burn(0.01)
    inner()


def inner() -> None:
    burn(0.1)


def items() -> Iterator[int]:
    for number in range(3):
        burn(0.005)
        yield number


def test_charts_without_anything_to_draw_are_sound() -> None:
    assert "Nothing recorded" in lines_of({}, "x", "y")
    ElementTree.fromstring(bars_of([], "s"))
    ElementTree.fromstring(bars_of([Bar("nothing", 0.0, 0.0, 0.0)], "s"))
    ElementTree.fromstring(lines_of({"one": [(1.0, 0.0)]}, "x", "y", ["here", "there"]))
