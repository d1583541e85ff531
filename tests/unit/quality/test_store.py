"""Verdicts that a lake keeps, and the history that is read from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contracts.units import DAY_US, HOUR_US
from lake.location import Lake
from lake.tables.iceberg import committed
from lake.upkeep import compact
from quality.acceptances import Acceptance
from quality.history import State
from quality.store import QUALITY, Judgement, judgements, keep_verdicts, newest
from quality.stored import StoredHistory
from quality.verdicts import Partition, RuleVerdict, Severity, Verdict
from tests.support.partitions import AT_US


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake.at(str(tmp_path / "lake"))
    made.create()
    return made


def verdict(hour: int = 0, rule: str = "volume", **more: object) -> RuleVerdict:
    partition = Partition("order", AT_US + hour * HOUR_US, AT_US + (hour + 1) * HOUR_US)
    given = RuleVerdict(
        rule=rule, kind="volume", column=None, severity=Severity.WARN, partition=partition, verdict=Verdict.OK, observed=7.0,
        expected="between 1 and 9", rows=7, failing=2, samples=(("web", "f", 3),), detail="7 rows.", baseline=("a", "b"),
        observation='{"counts": {}}',
    )  # fmt: skip
    return replace(given, **more)  # type: ignore[arg-type]


def kept(lake: Lake, *verdicts: RuleVerdict, at_us: int = 1, run_id: str = "r", content: str | None = None) -> None:
    given = [
        Judgement(run_id=run_id, at_us=at_us, snapshot_id=5, contract_version="1.0.0", verdict=each, content=content)
        for each in verdicts
    ]
    keep_verdicts(lake, given)


def test_a_verdict_comes_back_as_it_was(lake: Lake) -> None:
    told = [
        verdict(),
        verdict(rule="text", observed="another text", column="email"),
        verdict(rule="none", observed=None, samples=(), baseline=(), observation=""),
        verdict(rule="large", observed=str(2**70)),
    ]
    kept(lake, *told)
    found = {each.verdict.rule: each for each in judgements(lake)}
    assert [found[each.rule].verdict for each in told] == told
    assert {(each.run_id, each.at_us, each.snapshot_id, each.contract_version) for each in found.values()} == {("r", 1, 5, "1.0.0")}


def test_there_is_nothing_where_nothing_was_kept(lake: Lake) -> None:
    keep_verdicts(lake, [])
    assert list(judgements(lake)) == [] and StoredHistory(lake, "order").past("volume", AT_US) == []


def test_verdicts_are_found_by_what_they_are_of(lake: Lake) -> None:
    kept(lake, verdict(0), verdict(1), verdict(1, rule="other"), run_id="first", at_us=10)
    kept(lake, verdict(2), run_id="second", at_us=20)
    kept(lake, verdict(2), run_id="second", at_us=20)  # a commit whose answer was lost

    def hours(**wanted: object) -> list[int]:
        return sorted((each.verdict.partition.from_us - AT_US) // HOUR_US for each in judgements(lake, **wanted))  # type: ignore[arg-type]

    assert hours() == [0, 1, 1, 2]
    assert hours(from_us=AT_US + HOUR_US) == [1, 1, 2] and hours(to_us=AT_US + HOUR_US) == [0]
    assert hours(run_id="second") == [2] and hours(rule="other") == [1] and hours(dataset="contact") == []
    assert hours(judged_before_us=20) == [0, 1, 1]


def test_the_newest_judgement_of_a_rule_counts(lake: Lake) -> None:
    kept(lake, verdict(observed=3.0), at_us=20, run_id="b")
    kept(lake, verdict(observed=1.0), at_us=10, run_id="c")
    kept(lake, verdict(observed=2.0), at_us=20, run_id="a")
    chosen = newest(judgements(lake))
    assert [each.verdict.observed for each in chosen.values()] == [3.0]
    (past,) = StoredHistory(lake, "order").past("volume", AT_US + DAY_US)
    assert (past.observed, past.run_id, past.judged_us, past.rows, past.observation) == (3.0, "b", 20, 7, '{"counts": {}}')


def test_history_knows_what_was_held_and_what_people_said(lake: Lake) -> None:
    bad = {"severity": Severity.QUARANTINE, "verdict": Verdict.FAILED}
    kept(lake, verdict(0), verdict(0, rule="keys", **bad), verdict(1), verdict(2), verdict(2, rule="keys", verdict=Verdict.FAILED))
    kept(lake, verdict(3), verdict(3, rule="keys", **bad), content="7-aa")
    history = StoredHistory(lake, "order", accepted(3, "7-aa"))
    found = history.past("volume", AT_US + DAY_US)
    assert [(past.state, past.new_normal) for past in found] == [
        (State.HELD, False), (State.PUBLISHED, False), (State.PUBLISHED, False), (State.ACCEPTED, True),
    ]  # fmt: skip
    assert history.past("volume", AT_US + HOUR_US) == found[:1]  # up to the end of a partition
    assert history.past("another", AT_US + DAY_US) == []


def accepted(hour: int, content: str, *, new_normal: bool = True) -> dict[Partition, list[Acceptance]]:
    partition = verdict(hour).partition
    return {partition: [Acceptance(partition, content, ("keys",), "Ada", "a sale", "2026-01-01", new_normal)]}


@pytest.mark.parametrize(
    ("later", "content", "state", "new_normal"),
    [
        ({"rule": "keys", "severity": Severity.STOP, "verdict": Verdict.FAILED}, "7-aa", State.ACCEPTED, True),
        ({"rule": "keys", "severity": Severity.STOP, "verdict": Verdict.FAILED}, "9-bb", State.HELD, False),  # other rows
        ({"rule": "more", "severity": Severity.STOP, "verdict": Verdict.FAILED}, "7-aa", State.HELD, False),  # another rule
        ({"rule": "keys", "severity": Severity.STOP, "verdict": Verdict.FAILED}, None, State.HELD, False),  # nobody knows of what
        ({"rule": "keys", "severity": Severity.STOP}, "9-bb", State.PUBLISHED, False),  # good rows came since
    ],
)
def test_an_acceptance_is_of_the_rows_and_rules_that_it_names(
    lake: Lake, later: dict[str, object], content: str | None, state: State, new_normal: bool
) -> None:
    kept(lake, verdict(0), verdict(0, rule="keys", severity=Severity.STOP, verdict=Verdict.FAILED), content="7-aa", at_us=1)
    kept(lake, verdict(0), verdict(0, **later), content=content, at_us=2)
    (past,) = StoredHistory(lake, "order", accepted(0, "7-aa")).past("volume", AT_US + DAY_US)
    assert (past.state, past.new_normal, past.judged_us) == (state, new_normal, 2)


def test_a_rule_that_is_gone_holds_nothing_any_more(lake: Lake) -> None:
    kept(lake, verdict(0), verdict(0, rule="gone", severity=Severity.STOP, verdict=Verdict.ERROR), at_us=1)
    kept(lake, verdict(0), at_us=2)
    history = StoredHistory(lake, "order")
    assert [past.state for past in history.past("volume", AT_US + DAY_US)] == [State.PUBLISHED]
    assert history.past("gone", AT_US + DAY_US) == [] and {rule for _, rule in newest(judgements(lake))} == {"volume"}


def test_history_looks_as_far_back_as_it_is_asked(lake: Lake) -> None:
    kept(lake, *(verdict(-24 * day) for day in (1, 30, 62, 64, 100)))
    history = StoredHistory(lake, "order")
    assert len(history.past("volume", AT_US)) == 3
    assert len(history.past("volume", AT_US - 30 * DAY_US)) == 2  # it is read again, further back
    assert len(history.past("volume", AT_US)) == 3


def test_a_commit_to_the_table_of_verdicts_stands_beside_others(lake: Lake) -> None:
    kept(lake, verdict(0))
    assert committed(QUALITY, lambda: lake.load(QUALITY)).current_snapshot() is not None
    branch = replace(lake, branch="audit.order")
    kept(branch, verdict(1))  # judged on a branch, known to everybody
    assert len(list(judgements(lake))) == len(list(judgements(branch))) == 2


def test_many_small_commits_become_few_files_of_the_same_verdicts(lake: Lake) -> None:
    told = [verdict(hour) for hour in range(17)]
    for each in told:
        kept(lake, each)
    files = list(lake.load(QUALITY).scan().plan_files())
    assert len(files) <= 2
    assert sorted((each.verdict for each in judgements(lake)), key=lambda each: each.partition) == told
    assert compact(lake, QUALITY, to_s=1, run_id="c") == (len(files), 1)
    assert len(list(judgements(lake))) == 17 and compact(lake, QUALITY, to_s=1, run_id="c") == (1, 1)
