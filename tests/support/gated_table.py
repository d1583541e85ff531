"""A small gated table without a pipeline: rows of a few hours, and a rule that fails where a row's content is ``bad``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

from contracts.spec.model import Contract
from contracts.spec.quality import QualityRule, QualitySpec, RuleKind, Severity
from lake.location import Lake
from lake.tables.data_files import read_columns
from lake.tables.swap import files_at
from lake.tables.sweep import sweep
from quality import ruling
from quality.gate import pass_gate
from quality.gate_report import GateOptions, GateReport
from quality.verdicts import Partition, RuleVerdict, Verdict
from tests.support.small_tables import NAME

HOUR_S = 3_600
RULE = QualityRule(name="no_bad", kind=RuleKind.SQL, severity=Severity.QUARANTINE)
CONTRACT = Contract(
    name="thing", version="1.0.0", kind="event", columns=(), event_id="event_id", quality=QualitySpec(rules=(RULE,))
)
Pair = tuple[str, int]  # event id and minute


def judged_by_content(view: Any, contract: Contract, partitions: Sequence[Partition], *_: Any) -> Iterator[RuleVerdict]:
    """A rule that fails where a row's content is bad."""
    (told,) = contract.quality.rules
    for partition in partitions:
        contents = [c for b in view.batches(["content"], partition.from_us, partition.to_us) for c in b["content"].to_pylist()]
        bad = contents.count("bad")
        yield RuleVerdict(
            rule=told.name, kind=told.kind, column=None, severity=told.severity, partition=partition,
            verdict=Verdict.FAILED if bad else Verdict.OK, observed=float(bad), expected="= 0", rows=len(contents), failing=bad,
        )  # fmt: skip


@contextmanager
def judging() -> Iterator[None]:
    """While this lasts, gates judge so."""
    with mock.patch.object(ruling, "judge_partitions", judged_by_content):
        yield


def passed(lake: Lake, contract: Contract = CONTRACT, run_id: str = "pass", **options: Any) -> GateReport:
    """A pass of the gate."""
    settle = partial(sweep, lake.auditing([NAME]), NAME, key="event_id", run_id="sweep")
    return pass_gate(lake, contract, GateOptions(run_id=run_id, **options), settle)[1]


def pairs_at(lake: Lake, ref: str) -> set[Pair]:
    """Pairs of a branch or tag; each is there once."""
    table = lake.catalog().load_table(NAME)
    found = [
        (key, time // 60_000_000)
        for file in files_at(table, ref)
        for rows in [read_columns(file.path, ["event_id", "_window_time"])]
        for key, time in zip(rows["event_id"].to_pylist(), rows["_window_time"].cast("int64").to_pylist(), strict=True)
    ]
    assert len(found) == len(set(found))
    return set(found)
