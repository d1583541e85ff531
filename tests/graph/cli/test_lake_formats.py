"""``headrace lake upgrade``, ``downgrade`` and ``why``: lakes of format 1, other horizons, and what became of every copy."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from lake.location import Lake
from lake.runs.manifest import write_started
from lake.runs.replays import Step, add_event
from lake.runs.submission import Attempt, record_ending, record_submission
from lake.tables.expire import expire_snapshots, orphans
from lake.tables.iceberg import known_files, layout_of
from operations import upgrade as module
from tests.support.copies import at, conflicts, ingest, ledger, lines, project, published
from tests.support.lake_state import scan
from tests.support.tiers import thinned

COPIES = [at(1), at(3), at(5, v="y"), at(20), at(1, id="b")]
ALL = [("a", "10-01 10:00"), ("a", "10-03 10:00"), ("a", "10-05 10:00"), ("a", "10-20 10:00"), ("b", "10-01 10:00")]
KEPT = [ALL[0], ALL[3], ALL[4]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    project(tmp_path)
    ingest(tmp_path, "a.jsonl", lines(COPIES))
    return tmp_path


def headrace(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--project", str(path)])


def document(path: Path, *arguments: str) -> Any:
    told = headrace(path, *arguments, "--json")
    assert told.exit_code == 0, told.output
    return json.loads(told.stdout)


def test_a_lake_goes_back_to_format_1_and_comes_again(path: Path) -> None:
    before = {step["after"]["table"]: step["after"] for step in document(path, "lake", "upgrade", "--dry-run")}
    assert published(path) == KEPT
    assert document(path, "lake", "downgrade")[0]["after"]["format"] == 1
    assert published(path) == ALL
    table = Lake.at(str(path / "lake")).load("validated.thing")
    assert "dropped" not in table.metadata.refs and "settled" not in table.metadata.refs
    refused = headrace(path, "ingest", "src", "--input", str(path / "in"))
    assert refused.exit_code == 2
    assert f"headrace lake upgrade --project {path} --dry-run says what it will do" in refused.stderr
    dry = document(path, "lake", "upgrade", "--dry-run")
    assert all(step["needed"] for step in dry)
    assert published(path) == ALL, "a dry run changes nothing"
    after = document(path, "lake", "upgrade")
    assert published(path) == KEPT
    assert {step["after"]["table"]: step["after"] for step in after} == before
    assert not any(step["needed"] for step in document(path, "lake", "upgrade"))
    assert ledger(path).balanced


STEPS = {
    "upgrade": ("_unsettle", "_begin", "sweep", "note_duplicates", "_as_this_format"),
    "downgrade": ("_unsettle", "_without_notes", "remove_letters", "_begin", "sweep", "_as_format_1"),
}
MOMENTS = [(verb, step, "before") for verb, steps in STEPS.items() for step in steps]  # and so after the one before
MOMENTS += [(verb, steps[-1], "after") for verb, steps in STEPS.items()]


@pytest.mark.parametrize(("verb", "step", "moment"), thinned(MOMENTS, 3))
def test_killed_anywhere_it_is_done_again_or_taken_back(
    path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, step: str, moment: str
) -> None:
    ingest(path, "a2.jsonl", lines([at(1), at(1, id="b", v="z")]))  # a duplicate and a conflict of one minute
    letters, entry = conflicts(path), ledger(path)
    if verb == "upgrade":
        document(path, "lake", "downgrade")
    given = getattr(module, step)

    def killed(*arguments: Any, **more: Any) -> Any:
        if moment == "after":
            given(*arguments, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, step, killed)
        headrace(path, "lake", verb)
    for again in (verb, "downgrade" if verb == "upgrade" else "upgrade", "upgrade"):
        steps = document(path, "lake", again)
        assert {step["after"]["format"] for step in steps} == {2 if again == "upgrade" else 1}
        assert published(path) == (KEPT if again == "upgrade" else ALL)
    assert not any(step["needed"] for step in document(path, "lake", "upgrade"))
    assert (conflicts(path), ledger(path)) == (letters, entry)


@pytest.mark.parametrize("verb", ["upgrade", "downgrade"])
def test_jobs_are_refused_while_it_is_not_finished(path: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    if verb == "upgrade":
        document(path, "lake", "downgrade")

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "_begin", killed)
        headrace(path, "lake", verb)
    refused = headrace(path, "ingest", "src", "--input", str(path / "in"))
    assert refused.exit_code == 2
    assert f"{verb} was not finished (table validated.thing). Give again: headrace lake {verb}" in refused.stderr
    text = Lake.at(str(path / "lake")).load("validated.thing").properties["headrace.layout.grid-s"]
    assert text == f"60 ({verb} not finished)", "jobs of the version before compare it with 60"


def test_format_1_has_nothing_of_format_2(path: Path) -> None:
    document(path, "lake", "downgrade")
    lake = Lake.at(str(path / "lake"))
    for name in ("validated.thing", "late.thing", "ops.dead_letter"):
        table = lake.load(name)
        assert {p: v for p, v in table.properties.items() if p.startswith("headrace.")} == {
            "headrace.layout.grid-s": "60",
            "headrace.layout.num-shards": "4",
        }
        assert {*table.metadata.refs} <= {"main"}
    assert conflicts(path) == 0, "in format 1 the copy of another content is published"
    assert not {"duplicate"} & {*scan(lake, "ops.ledger").column("outcome").to_pylist()}


def test_there_and_back_every_hash_is_as_before(path: Path) -> None:
    first = {step["after"]["table"]: step["after"]["content_hash"] for step in document(path, "lake", "downgrade")}
    upgraded = {step["before"]["table"]: step["before"]["content_hash"] for step in document(path, "lake", "upgrade")}
    again = {step["after"]["table"]: step["after"]["content_hash"] for step in document(path, "lake", "downgrade")}
    assert first == upgraded == again
    assert headrace(path, "lake", "files", "--verify").exit_code == 0


def test_tables_without_horizon_are_never_tagged(path: Path) -> None:
    document(path, "lake", "downgrade")
    document(path, "lake", "upgrade")
    lake = Lake.at(str(path / "lake"))
    assert "settled" in lake.load("validated.thing").metadata.refs
    for name in ("late.thing", "ops.dead_letter"):  # no job would move the tag on, and expiry would keep what it names
        assert {*lake.load(name).metadata.refs} <= {"main"}


def test_a_dry_run_tells_how_much_and_how_long(path: Path) -> None:
    assert "nothing was changed" not in headrace(path, "lake", "upgrade", "--dry-run").stdout
    document(path, "lake", "downgrade")
    work = {step["before"]["table"]: step["work"] for step in document(path, "lake", "upgrade", "--dry-run")}
    assert work["validated.thing"]["files"] > 0
    assert work["validated.thing"]["size_bytes"] > 0
    assert 0 < work["validated.thing"]["seconds"] < 60
    text = headrace(path, "lake", "upgrade", "--dry-run").stdout
    assert "1 → 2" in text
    assert "none → 7d" in text
    assert "s in all; nothing was changed" in text


def test_files_show_how_many_rows_are_dropped(path: Path) -> None:
    tables = {t["table"]: t for t in document(path, "lake", "files", "--verify")["tables"]}
    assert (tables["validated.thing"]["rows"], tables["validated.thing"]["dropped"]) == (3, 2)
    assert tables["validated.thing"]["verified"]


def test_a_dataset_without_a_contract_gets_the_default_and_keeps_what_it_has(path: Path) -> None:
    contract = (path / "datasets" / "thing.v1.yaml", path / "sources" / "src.yaml")
    kept = [file.read_text() for file in contract]
    document(path, "lake", "downgrade")
    for file in contract:
        file.unlink()
    told = headrace(path, "lake", "upgrade")
    assert "validated.thing: no contract of it in this project; it gets the default horizon, 7d" in told.stdout
    assert published(path) == KEPT
    for file, content in zip(contract, kept, strict=True):
        file.write_text(content)
    project(path, "{horizon: 3d}")
    document(path, "lake", "upgrade")
    for file in contract:
        file.unlink()
    assert not any(step["needed"] for step in document(path, "lake", "upgrade"))
    assert layout_of(Lake.at(str(path / "lake")).load("validated.thing")).horizon_s == 3 * 86_400


def test_what_is_going_on_is_ended_first(path: Path) -> None:
    lake = Lake.at(str(path / "lake"))
    run_id = "20260101T000000000000Z-src-000000"
    write_started(lake, run_id, datetime(2026, 1, 1, tzinfo=UTC), "src")
    for verb in ("upgrade", "downgrade"):
        refused = headrace(path, "lake", verb)
        assert refused.exit_code == 2
        assert f"run {run_id} is going on" in refused.stderr
    (path / "lake" / "_runs" / run_id / "started.json").unlink()
    record_submission(lake, run_id, ["ingest"], run_id, "localhost:1", Attempt("j", datetime(2026, 1, 1, tzinfo=UTC)))
    refused = headrace(path, "lake", "upgrade")
    assert refused.exit_code == 2
    assert f"headrace job stop --project {path} {run_id}" in refused.stderr
    record_ending(lake, run_id, "stopped", "savepoint")
    assert headrace(path, "lake", "upgrade").exit_code == 0
    add_event(lake, "r", Step.BEGUN, {"dataset": "thing", "ranges": [[0, 60_000_000]]})
    assert "replay r is open; promote or discard it first" in headrace(path, "lake", "downgrade").stderr
    assert published(path) == KEPT


def test_letters_are_those_of_the_horizon(path: Path) -> None:
    assert conflicts(path) == 1
    for deduplication, letters in (("{horizon: 3d}", 1), ("{horizon: 1d}", 0), ("{horizon: 7d}", 1), ("{horizon: none}", 0)):
        project(path, deduplication)
        document(path, "lake", "upgrade")
        assert conflicts(path) == letters, deduplication
        assert ledger(path).balanced


def test_derived_ids_go_into_the_horizon_and_out_of_it(path: Path) -> None:
    ingest(path, "d.jsonl", lines([at(1, id="", v="d"), at(2, id="", v="d")]))
    derived = [("", "10-01 10:00"), ("", "10-02 10:00")]
    assert [row for row in published(path) if not row[0]] == derived
    for rule, rows in (("horizon", derived[:1]), ("minute", derived), ("horizon", derived[:1])):
        project(path, f"{{horizon: 7d, derived: {rule}}}")
        document(path, "lake", "upgrade")
        assert [row for row in published(path) if not row[0]] == rows, rule
        assert ledger(path).balanced


def test_another_horizon_is_an_upgrade(path: Path) -> None:
    for deduplication, rows in (("{horizon: 3d}", KEPT), ("{horizon: unlimited}", [ALL[0], ALL[4]]), ("{horizon: none}", ALL)):
        project(path, deduplication)
        refused = headrace(path, "ingest", "src", "--input", str(path / "in"))
        assert refused.exit_code == 2
        assert "headrace lake upgrade" in refused.stderr
        document(path, "lake", "upgrade")
        assert published(path) == rows, deduplication
        ingest(path, "a.jsonl", lines(COPIES))
        assert published(path) == rows


def test_why_tells_each_copy_and_for_which_it_was_dropped(path: Path) -> None:
    found = document(path, "lake", "why", "a")
    told = [(c["state"], c["at"][:10], c["copy_of"] and c["copy_of"][:10], c["input"], c["position"]) for c in found["copies"]]
    assert told == [
        ("published", "2026-10-01", None, "a.jsonl", 0),
        ("dropped", "2026-10-03", "2026-10-01", "a.jsonl", 1),
        ("conflicting_duplicate", "2026-10-05", None, "a.jsonl", 2),
        ("dropped", "2026-10-05", "2026-10-01", "a.jsonl", 2),
        ("published", "2026-10-20", None, "a.jsonl", 3),
    ]
    text = headrace(path, "lake", "why", "a").stdout
    assert "copy of 2026-10-01 10:00:00Z, same content" in text
    assert "thing: deduplication horizon 7d" in text
    nothing = headrace(path, "lake", "why", "c")
    assert nothing.exit_code == 1
    assert "no copy of 'c' in" in nothing.stderr


def test_why_knows_rejected_records_and_says_nothing_of_them(path: Path) -> None:
    ingest(path, "bad.jsonl", lines([at(1, id="n" * 300, at="soon")]))
    (copy,) = document(path, "lake", "why", "n" * 300, "--dataset", "thing")["copies"]
    assert (copy["state"], copy["input"], copy["position"]) == ("bad_timestamp", "bad.jsonl", 0)
    text = headrace(path, "lake", "why", "n" * 300)
    assert "soon" not in text.output
    assert headrace(path, "lake", "why", "a", "--dataset", "other").exit_code == 1


def test_expiry_leaves_what_is_dropped_and_settled(path: Path) -> None:
    document(path, "lake", "why", "a")  # makes filters, if no sweep did
    data = path / "lake" / "warehouse" / "validated" / "thing" / "data"
    before = {p.name.removesuffix(".keys") for p in data.glob("*.keys")}
    ingest(path, "b.jsonl", lines([at(2), at(6)]))
    document(path, "lake", "why", "a")
    lake = Lake.at(str(path / "lake"))
    expire_snapshots(lake, "validated.thing", keep_s=0)
    files = known_files(lake.load("validated.thing"), None)
    live = {f.path.rsplit("/", 1)[-1] for f in files}
    assert sum(f.rows for f in files if f.dropped) == 4
    filters = {p.name.removesuffix(".keys") for p in data.glob("*.keys")}
    assert before - live, "some files were replaced"
    assert filters, "some filters are left"
    assert filters <= live, "the filter of an expired file goes with it"
    orphaned = {Path(file.location).name for file in orphans(lake, -1)}
    assert {p.name for p in data.glob("*.parquet")} - orphaned == live
    assert not orphaned & {f"{name}.keys" for name in filters}
    table = lake.load("validated.thing")
    assert len(scan(lake, "validated.thing", table.metadata.refs["settled"].snapshot_id)) == 3
    assert len(scan(lake, "validated.thing", table.metadata.refs["dropped"].snapshot_id)) == 4
    document(path, "lake", "why", "a")
    ingest(path, "c.jsonl", lines([at(7)]))
    assert published(path) == KEPT
