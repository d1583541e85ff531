"""A gate beside a stream: partitions that still grow, and that it says in the end what one bounded run says."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.spec.quality import Expected, Operator, QualityRule, QualitySpec, RuleKind, Severity
from lake.location import AUDIT, Lake
from lake.tables.audit import begin_audit
from lake.tables.gate import unjudged_s
from lake.tables.holds import holds_of
from pipelines.ingest.graph import IngestGraph, Panes
from quality import ruling
from quality.gate_report import GateReport
from quality.judge import judge_partitions
from quality.store import judgements, newest
from tests.support.gated import GatedShop, public_ids
from tests.support.gated_table import CONTRACT, HOUR_S, judging, pairs_at, passed
from tests.support.shop import event
from tests.support.small_tables import NAME, make, put, row

ZERO = Expected(Operator.BE, (0,))
OF_PARTS = QualityRule(name="no_bad", kind=RuleKind.NULL_VALUES, severity=Severity.QUARANTINE, unit="rows", expected=ZERO)
GROWING = replace(CONTRACT, quality=QualitySpec(rules=(OF_PARTS,)))


@pytest.fixture(autouse=True)
def _judge() -> Iterator[None]:
    with judging():
        yield


def at(name: str, second: int, content: str = "x") -> dict[str, Any]:
    """A row that is received when it happens."""
    return row(name, second, content=content, position=second) | {"_received_at": second * 1_000_000}


def gated(path: Path) -> Lake:
    """An empty gated table."""
    lake = make(path, horizon_s=600)
    begin_audit(lake, NAME, HOUR_S, "begin")
    return lake


def beside(lake: Lake, **options: Any) -> GateReport:
    """A pass beside a stream."""
    return passed(lake, is_complete=False, **options)


def held(lake: Lake) -> dict[tuple[int, int], str]:
    """What is held, with the hash of its rows."""
    return {span: hold.content for span, hold in holds_of(lake.catalog().load_table(NAME)).items()}


def test_a_partition_waits_until_records_say_that_it_is_over(tmp_path: Path) -> None:
    lake = gated(tmp_path / "lake")
    put(lake, [at("a", 60)], HOUR_S)
    assert beside(lake).waiting == 1
    put(lake, [at("b", 3_500), at("c", 4_100)], HOUR_S)  # less than ten minutes after its end
    assert beside(lake).waiting == 2
    assert pairs_at(lake, "main") == set()
    put(lake, [at("d", 4_300)], HOUR_S)
    assert beside(lake).waiting == 1
    assert pairs_at(lake, "main") == {("a", 1), ("b", 58)}


def test_where_no_later_row_can_mend_what_is_wrong_a_partition_is_published_as_it_grows(tmp_path: Path) -> None:
    lake = gated(tmp_path / "lake")
    put(lake, [at("a", 60)], HOUR_S)
    assert beside(lake, contract=GROWING).waiting == 0
    assert pairs_at(lake, "main") == {("a", 1)}
    put(lake, [at("b", 120, "bad")], HOUR_S)
    assert [hold.rules for hold in beside(lake, contract=GROWING).held] == [("no_bad",)]
    assert pairs_at(lake, "main") == {("a", 1)}, "its good beginning stays"
    put(lake, [at("c", 4_300)], HOUR_S)
    beside(lake, contract=GROWING)
    assert pairs_at(lake, "main") == {("a", 1), ("c", 71)}


def test_a_stream_holds_in_the_end_what_one_bounded_run_holds(tmp_path: Path) -> None:
    rows = [at(f"e{n % 5}", n * 700, "bad" if n in (3, 11) else "x") for n in range(16)] + [at("end", 40_000)]
    bounded, stream = gated(tmp_path / "bounded"), gated(tmp_path / "stream")
    put(bounded, rows, HOUR_S)
    passed(bounded)
    for number in range(0, len(rows), 4):
        put(stream, rows[number : number + 4], HOUR_S)
        beside(stream)
    assert held(stream) == held(bounded)
    assert len(held(bounded)) == 2
    assert pairs_at(stream, AUDIT) == pairs_at(bounded, AUDIT)
    verdicts = [
        {
            key: (str(each.verdict.verdict), each.verdict.observed, each.verdict.rows)
            for key, each in newest(judgements(lake)).items()
        }
        for lake in (stream, bounded)
    ]
    assert verdicts[0] == {key: told for key, told in verdicts[1].items() if key[0].from_us < 39_600_000_000}
    assert pairs_at(stream, "main") == pairs_at(bounded, "main") - {("end", 666)}, "the last one waits"


def test_what_runs_beside_a_stream_judges_no_part_as_a_whole_unless_it_is_told_so(tmp_path: Path) -> None:
    """As release, promote, reprocess and a bounded run into the same dataset do."""
    lake = gated(tmp_path / "lake")
    put(lake, [at("a", 60), at("b", 4_000)], HOUR_S)
    assert beside(lake, lateness_s=900).waiting == 2
    report = passed(lake, held_too=True)
    assert (report.waiting, pairs_at(lake, "main")) == (2, set())
    assert "headrace quality release thing --complete" in report.warnings[0]
    put(lake, [at("c", 4_300)], HOUR_S)
    assert passed(lake).waiting == 2, "the stream waits for more than ten minutes"
    assert passed(lake, is_complete=True).waiting == 0
    assert pairs_at(lake, "main") == {("a", 1), ("b", 66), ("c", 71)}


def test_a_partition_that_was_published_as_it_grew_is_judged_as_a_whole_though_a_bounded_run_came_between(tmp_path: Path) -> None:
    lake = gated(tmp_path / "lake")
    put(lake, [at("a", 60)], HOUR_S)
    beside(lake, contract=GROWING)
    passed(lake, contract=GROWING, is_complete=True)
    put(lake, [at("c", 4_300)], HOUR_S)
    beside(lake, contract=GROWING)
    assert {each.verdict.partition.from_us for each in judgements(lake)} == {0}


def test_rows_that_wait_for_a_pass_are_told(tmp_path: Path) -> None:
    lake = gated(tmp_path / "lake")
    then_s = time.time() + 900
    put(lake, [at("a", 60, "bad")], HOUR_S)
    assert unjudged_s(lake, NAME, then_s) > 600
    passed(lake)
    assert unjudged_s(lake, NAME, then_s) == 0
    put(lake, [at("b", 120)], HOUR_S)
    assert unjudged_s(lake, NAME, then_s) > 600, "also where they come to what is held"
    beside(lake)
    assert unjudged_s(lake, NAME, then_s) == 0


def test_a_partition_that_was_held_stays_so_while_it_waits(tmp_path: Path) -> None:
    lake = gated(tmp_path / "lake")
    put(lake, [at("a", 60, "bad")], HOUR_S)
    assert len(passed(lake).held) == 1
    put(lake, [at("b", 120)], HOUR_S)
    report = beside(lake)
    assert (report.waiting, len(report.held), report.released) == (1, 1, ())
    assert pairs_at(lake, "main") == set()


def test_a_committer_takes_the_gate_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ruling, "judge_partitions", judge_partitions)  # the contract has rules of its own
    shop = GatedShop(tmp_path, deduplication="{horizon: none}")
    spec, contract = shop.project.source("web")
    lake = shop.lake()
    shop.take("first.jsonl", [event(1, 8, context={"page": {"url": "https://shop.example/"}})])
    graph = IngestGraph(lake=lake, contract=contract, spec=spec, run_id="stream", panes=Panes())
    sweeps = pickle.loads(pickle.dumps(graph._sweeps))  # as a worker gets it
    assert sweeps is not None, "without a horizon too"
    assert sweeps._try()
    assert public_ids(lake) == ["m-1"]
