"""What changed around a lake, from its manifests and records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.spec.quality import Severity
from contracts.units import datetime_to_us, us_to_datetime
from lake.acts import note_act
from lake.location import Lake
from lake.runs.basis import RunBasis
from lake.runs.manifest import STARTED, read_run, run_file, write_document, write_started
from operations.changes.changes import changes_between, moment_of
from operations.changes.entries import ChangeEntry, ChangeKind
from quality.store import Judgement, keep_verdicts
from quality.verdicts import Partition, RuleVerdict, Verdict
from tests.support.shop import LINES, RECEIVED_S, WEB, Shop, event, strict

AGES_AGO, NEVER = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
FIRST = "20261102T100000000000Z-web-aaaaaa"
T = datetime(2026, 11, 2, 10, tzinfo=UTC)


def widen(shop: Shop) -> None:
    """The built-in contract with a column more."""
    shop.write_contract("{horizon: 7d}")
    path = shop.folder / "datasets" / "customer_event.v1.yaml"
    contract = yaml.safe_load(path.read_text())
    contract["version"] = "1.1.0"
    contract["schema"][0]["properties"].append({"name": "mood", "logicalType": "string"})
    path.write_text(yaml.safe_dump(contract))


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, str]]:
    """A lake in which much has changed since its first run."""
    shop = Shop(tmp_path_factory.mktemp("shop"))
    first = shop.ingest(LINES).run_id
    shop.write_spec(strict({**WEB, "revision": 2}))
    widen(shop)
    shop.ingest([event(n, 10) for n in range(200, 240)], window=7_200)
    shop.run("mend", 8, 10)
    shop.promote("mend")
    note_act(shop.lake(), "deadletter show", {"dead_letter_id": "3f2a"}, reason="a ticket")
    yield shop, first


def _since(shop: Shop, run_id: str) -> list[ChangeEntry]:
    return changes_between(shop.lake(), moment_of(shop.lake(), run_id), NEVER)


def test_each_change_since_a_run_is_told_once_by_the_first_that_worked_by_it(lived: tuple[Shop, str]) -> None:
    found = [e for e in _since(*lived) if e.kind is not ChangeKind.VOLUME]
    assert [(e.kind, e.what) for e in found] == [
        (ChangeKind.CONTRACT, "customer_event: contract 1.1.0, was 1.0.0"),
        (ChangeKind.SOURCE, "source web: another spec"),
        (ChangeKind.OPTION, "--window is 7200, was 3600"),
        (ChangeKind.ACT, "replay mend of customer_event was begun"),
        (ChangeKind.ACT, "replay mend of customer_event was promoted: its rows are live"),
        (ChangeKind.ACT, "headrace deadletter show"),
    ]
    assert found[0].details == ("mood is new: string",)
    assert "revision is 2, was 1" in found[1].details
    assert found[-1].details == ("dead_letter_id 3f2a", "reason: a ticket")
    assert all(e.by for e in found if e.kind is ChangeKind.ACT)
    assert found == sorted(found, key=lambda e: e.order)


def test_volume_is_by_the_time_that_records_hold(lived: tuple[Shop, str]) -> None:
    shop, _ = lived
    received = us_to_datetime(RECEIVED_S * 1_000_000)
    found = changes_between(
        shop.lake(), received + timedelta(minutes=1), received + timedelta(minutes=30), kinds=[ChangeKind.VOLUME]
    )
    live = shop.state()[0]
    assert len(found) == 1
    assert (found[0].subject, found[0].after, found[0].datasets) == ("web", "0", ("customer_event",))
    assert int(found[0].before or 0) >= live > 100  # rows, and letters
    assert "(-100%)" in found[0].what


def test_of_another_dataset_only_what_concerns_all_is_told(lived: tuple[Shop, str]) -> None:
    shop, first = lived
    found = changes_between(shop.lake(), moment_of(shop.lake(), first), NEVER, ["contact"])
    assert [e.what for e in found] == ["headrace deadletter show"]


def test_the_command_says_it_and_gives_one_document(lived: tuple[Shop, str]) -> None:
    shop, first = lived
    told = shop.headrace("changes", "--since", first)
    assert told.exit_code == 0 and "--window is 7200, was 3600" in told.output
    document = json.loads(shop.headrace("changes", "--since", first, "--kind", "source", "--json").output)
    assert [(e["kind"], e["subject"], e["after"][:3]) for e in document] == [("source", "web", "r2-")]
    assert (
        "nothing changed" in shop.headrace("changes", "--since", "2026-11-01T00:00:00Z", "--until", "2026-11-01T01:00:00Z").output
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--since", "yesterday"), "or a time such as"),
        (("--since", "2026-11-02T10:00:00"), "expected a run"),
        (("--since", FIRST), "no run"),
        (("--since", "2026-11-02T10:00:00Z", "--until", "2026-11-02T09:00:00Z"), "must be after"),
    ],
)
def test_what_is_no_time_is_refused(lived: tuple[Shop, str], given: tuple[str, ...], told: str) -> None:
    result = lived[0].headrace("changes", *given)
    assert result.exit_code == 2 and told in result.output


def _run(lake: Lake, run_id: str, minute: int, basis: RunBasis | None) -> None:
    write_started(lake, run_id, T + timedelta(minutes=minute), "web", basis=basis)


def _whats(lake: Lake, since: datetime) -> list[str]:
    return [e.what for e in changes_between(lake, since, NEVER)]


@pytest.fixture
def empty(tmp_path: Path) -> Lake:
    lake = Lake.at(str(tmp_path / "lake"))
    lake.create()
    return lake


BASIS = RunBasis(sources={"web": "r1-a"}, options={"runner": "direct", "workers": 2}, libraries={"pyarrow": "25.0"}, headrace="1.0")


def test_a_run_that_goes_on_by_another_version_tells_both(empty: Lake) -> None:
    _run(empty, FIRST, 0, BASIS)
    _run(empty, FIRST, 5, BASIS)  # started again, and nothing changed
    _run(empty, FIRST, 9, replace(BASIS, headrace="1.1", libraries={"pyarrow": "26.0"}))
    run = read_run(empty, FIRST)
    assert run and [b.headrace for b in run.bases] == ["1.0", "1.1"]
    found = changes_between(empty, T + timedelta(minutes=1), NEVER)
    assert [(e.at[11:16], e.kind, e.what) for e in found] == [
        ("10:09", ChangeKind.CODE, "headrace is 1.1, was 1.0"),
        ("10:09", ChangeKind.LIBRARY, "pyarrow is 26.0, was 25.0"),
    ]


def test_an_option_that_is_no_longer_given_is_a_change_and_one_that_says_what_to_read_is_none(empty: Lake) -> None:
    _run(empty, FIRST, 0, replace(BASIS, options={"runner": "direct", "workers": 2, "input": ["a"]}))
    _run(empty, FIRST.replace("T10", "T11"), 60, replace(BASIS, options={"runner": "flink", "num_shards": 8, "input": ["b"]}))
    assert _whats(empty, T + timedelta(minutes=1)) == [
        "--num-shards is 8, was not given",
        "--runner is flink, was direct",
        "--workers is not given, was 2",
    ]


def test_runs_of_earlier_versions_make_no_first_run_of_what_they_did_not_tell(empty: Lake) -> None:
    _run(empty, FIRST, 0, None)
    _run(empty, FIRST.replace("T10", "T11"), 60, BASIS)
    assert _whats(empty, AGES_AGO) == []
    _run(empty, FIRST.replace("T10", "T12"), 120, replace(BASIS, sources={"web": "r2-b"}))
    assert _whats(empty, AGES_AGO) == ["source web: another spec; what changed in it is not known"]


def test_a_change_and_its_way_back_are_two_changes(empty: Lake) -> None:
    for hour, state in enumerate(("r1-a", "r2-b", "r1-a")):
        _run(empty, FIRST.replace("T10", f"T1{hour}"), 60 * hour, replace(BASIS, sources={"web": state}))
    found = changes_between(empty, T + timedelta(minutes=1), NEVER)
    assert [(e.before, e.after) for e in found] == [("r1-a", "r2-b"), ("r2-b", "r1-a")]


def test_notes_of_later_versions_are_read_without_what_they_added(empty: Lake) -> None:
    note: dict[str, Any] = {
        "run_id": FIRST,
        "started_at": "2026-11-02T10:00:00.000Z",
        "source": "web",
        "pid": 1,
        "host": "elsewhere",
    }
    later = {"contracts": {}, "sources": {"web": "r1-a"}, "since": "2026-11-02T10:00:00.000Z", "headrace": "9", "moods": {}}
    write_document(run_file(empty, FIRST, STARTED), {**note, "works_by": [later]})
    assert _whats(empty, AGES_AGO) == ["source web: the first run with it"]


def test_a_partition_that_breaks_rules_and_then_passes_is_told_twice(empty: Lake) -> None:
    partition = Partition("order", 0, 3_600_000_000)
    for minute, verdict in enumerate((Verdict.OK, Verdict.FAILED, Verdict.FAILED, Verdict.OK)):
        told = RuleVerdict(
            rule="enough", kind="rowCount", column=None, severity=Severity.QUARANTINE, partition=partition, verdict=verdict,
            observed=3.0, expected="≥ 20 rows", rows=3, detail="3 rows; expected ≥ 20 rows.",
        )  # fmt: skip
        at_us = datetime_to_us(T + timedelta(minutes=minute))
        keep_verdicts(empty, [Judgement(run_id=FIRST, at_us=at_us, snapshot_id=1, contract_version="1.0.0", verdict=told)])
    found = changes_between(empty, T, NEVER, ["order"], [ChangeKind.GATE])
    assert [(e.at[11:16], e.after, e.what.split("Z ")[-1]) for e in found] == [
        ("10:01", "quarantine", "breaks rules that hold it"),
        ("10:03", None, "passes its rules now"),
    ]
    assert found[0].details == ("enough (quarantine): 3 rows; expected ≥ 20 rows.",)
