"""A lost catalog is made again from what lies in the lake; ``headrace lake check`` tells what does not fit, and what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lake.tables.iceberg import manifests_of, published_files
from tests.support.lake_state import scan
from tests.support.shop import LINES, TABLE, Shop, event, strict


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A lake with a replay that is promoted, and one that is open."""
    shop = Shop(tmp_path_factory.mktemp("shop"))
    shop.ingest(LINES)
    shop.write_spec(strict(shop.spec))
    shop.run("mended", 8, 10)
    shop.promote("mended")
    shop.write_spec(shop.spec)
    shop.run("open", 10, 12)
    return shop


@pytest.fixture
def shop(made: Shop, tmp_path: Path) -> Shop:
    """The same lake in its place, since Iceberg names files by absolute paths; what a test changes is taken back."""
    kept = tmp_path / "kept"
    shutil.copytree(made.folder / "lake", kept, symlinks=True)
    yield made
    shutil.rmtree(made.folder / "lake")
    shutil.copytree(kept, made.folder / "lake", symlinks=True)


def everything(shop: Shop) -> dict[str, Any]:
    """Rows, hashes, ledger, branches and tags."""
    lake = shop.lake()
    tables = {name: lake.catalog().load_table(name) for name in (TABLE, "ops.dead_letter", "ops.ledger")}
    return {
        "state": shop.state(),
        "ledger": shop.ledger(),
        "refs": {name: table.metadata.refs for name, table in tables.items()},
        "rows": sorted(scan(lake, TABLE)["event_id"].to_pylist()),
        "files": {name: sorted(file.path for file in published_files(table)) for name, table in tables.items()},
    }


def check(shop: Shop, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = shop.headrace("lake", "check", "--json", *arguments)
    return done.exit_code, json.loads(done.stdout)


def findings(document: dict[str, Any]) -> set[tuple[str, str, str]]:
    """What does not fit; what is only noted aside."""
    return {(found["part"], found["state"], found["what"]) for found in document["findings"] if found["state"] != "noted"}


def catalog(shop: Shop) -> Path:
    return shop.folder / "lake" / "catalog.db"


def newest(shop: Shop) -> Path:
    return sorted((shop.folder / "lake/warehouse/validated/customer_event/metadata").glob("*.metadata.json"))[-1]


def test_a_sound_lake_is_told_so(shop: Shop) -> None:
    code, document = check(shop, "--verify")
    assert (code, document["sound"], document["findings"]) == (0, True, [])
    assert {"tables", "data files", "raw files", "records in the ledger"} <= document["looked_at"].keys()


def test_a_catalog_that_is_deleted_under_a_promoted_replay_comes_back_as_it_was(shop: Shop) -> None:
    before = everything(shop)
    catalog(shop).unlink()
    assert findings(check(shop)[1]) == {("catalog", "missing", "tables that it does not know")}
    done = shop.headrace("lake", "rebuild-catalog")
    assert done.exit_code == 0, done.output
    assert everything(shop) == before
    assert check(shop, "--verify")[0] == 0
    assert shop.headrace("replay", "rollback", "mended").exit_code == 0
    assert shop.state()[0] == before["state"][0] + 3, "the replay can still be taken back, as before"


def test_it_may_be_given_again_and_leaves_alone_what_is_known(shop: Shop) -> None:
    before = everything(shop)
    done = json.loads(shop.headrace("lake", "rebuild-catalog", "--json").stdout)
    assert {entry["was"] == entry["now"] for entry in done} == {True}
    assert everything(shop) == before


def test_a_catalog_from_a_backup_takes_the_newest_state_where_it_is_asked_to(shop: Shop) -> None:
    old = shop.folder / "catalog.old"
    shutil.copy(catalog(shop), old)
    shop.ingest(
        [json.dumps({"messageId": "later", "type": "page", "anonymousId": "a", "originalTimestamp": "2026-11-02T12:00:00Z"})]
    )
    before = everything(shop)
    shutil.copy(old, catalog(shop))
    assert everything(shop) != before
    assert shop.headrace("lake", "rebuild-catalog", "--known-too").exit_code == 0
    assert everything(shop) == before


def test_a_torn_metadata_file_is_passed_over(shop: Shop) -> None:
    before = everything(shop)
    catalog(shop).unlink()
    number = int(newest(shop).name.split("-")[0]) + 1
    newest(shop).with_name(f"{number:05d}-11111111-2222-4333-8444-555555555555.metadata.json").write_text('{"format-vers')
    assert shop.headrace("lake", "rebuild-catalog").exit_code == 0
    assert everything(shop) == before


def test_a_commit_whose_manifest_list_is_gone_is_passed_over_and_told(shop: Shop) -> None:
    """As when a machine is switched off in the midst of a commit (apache/incubator-xtable#176)."""
    before = everything(shop)
    shop.ingest([event(n, 12) for n in range(300, 305)])
    table = shop.lake().load(TABLE)
    states = {snapshot.snapshot_id for snapshot in table.snapshots()}
    head = table.current_snapshot()
    assert head and len(states) > 1
    Path(head.manifest_list.removeprefix("file://")).unlink()
    catalog(shop).unlink()
    done = shop.headrace("lake", "rebuild-catalog")
    assert done.exit_code == 0 and "passed over, a manifest list is gone" in done.stdout, done.output
    assert shop.state() == before["state"]
    assert ("ledger of web", "missing", "files with accepted records whose rows are gone") in findings(check(shop)[1])


def test_a_commit_that_lost_before_the_newest_is_passed_over(shop: Shop) -> None:
    before = everything(shop)
    catalog(shop).unlink()
    before_last = Path(json.loads(newest(shop).read_text())["metadata-log"][-1]["metadata-file"].removeprefix("file://"))
    number = before_last.name.partition("-")[0]
    before_last.with_name(f"{number}-11111111-2222-4333-8444-555555555555.metadata.json").write_text(before_last.read_text())
    assert shop.headrace("lake", "rebuild-catalog").exit_code == 0
    assert everything(shop) == before


def test_of_two_that_may_be_the_current_one_a_person_chooses(shop: Shop) -> None:
    before, right = everything(shop), newest(shop)
    catalog(shop).unlink()
    rival = right.with_name(f"{right.name.split('-')[0]}-ffffffff-2222-4333-8444-555555555555.metadata.json")
    rival.write_text(right.read_text())
    done = shop.headrace("lake", "rebuild-catalog")
    assert done.exit_code == 2
    assert "several metadata files may be the current one" in done.stderr
    assert right.name in done.stderr and rival.name in done.stderr and f"{before['state'][0]:,} rows" in done.stderr
    done = shop.headrace("lake", "rebuild-catalog", "--use", f"{TABLE}={right.name}")
    assert done.exit_code == 0, done.output
    assert everything(shop) == before


@pytest.mark.parametrize(
    ("use", "told"),
    [
        ("validated.nothing=x", "no table validated.nothing in"),
        (f"{TABLE}=x", "no metadata file 'x'; the newest are:"),
        ("x", "expected TABLE=FILE"),
    ],
)
def test_a_choice_that_is_none_is_refused(shop: Shop, use: str, told: str) -> None:
    done = shop.headrace("lake", "rebuild-catalog", "--use", use)
    assert done.exit_code == 2 and told in done.stderr


def _any_data_file(shop: Shop) -> Path:
    return Path(published_files(shop.lake().load(TABLE))[0].path.removeprefix("file://"))


def _manifest(shop: Shop) -> Path:
    table = shop.lake().load(TABLE)
    snapshot = table.current_snapshot()
    assert snapshot
    return Path(manifests_of(table, snapshot)[0].manifest_path.removeprefix("file://"))


def _raw_file(shop: Shop) -> Path:
    return next((shop.folder / "lake/raw/source=web").glob("dt=*/hour=*/*"))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Shop], None], set[tuple[str, str, str]]]] = {
    "a data file is gone": (lambda shop: _any_data_file(shop).unlink(), {(TABLE, "missing", "data files")}),
    "a data file is cut": (
        lambda shop: _any_data_file(shop).write_bytes(_any_data_file(shop).read_bytes()[:-9]),
        {(TABLE, "changed", "data files of another size than was written")},
    ),
    "a manifest is gone": (lambda shop: _manifest(shop).unlink(), {(TABLE, "missing", "manifests")}),
    "a metadata file is gone": (lambda shop: newest(shop).unlink(), {("catalog", "missing", "metadata files that it names")}),
    "a raw file is gone": (
        lambda shop: _raw_file(shop).unlink(),
        {("raw of web", "missing", "raw files that the index names")},
    ),
    "a raw file has another byte": (
        lambda shop: _flip(_raw_file(shop)),
        {("raw of web", "changed", "raw files with other bytes than were landed")},
    ),
    "a raw file has no index": (
        lambda shop: _raw_file(shop).with_name("0" * 64 + ".jsonl").write_text("{}\n") and None,
        {("raw", "orphaned", "raw files without an index")},
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_told_with_a_remedy(shop: Shop, damage: str) -> None:
    do, expected = DAMAGES[damage]
    do(shop)
    code, document = check(shop, "--verify")
    assert findings(document) == expected
    assert code == (0 if {state for _, state, _ in expected} == {"orphaned"} else 1)
    assert all(found["names"] and found["remedy"] for found in document["findings"])


def test_records_without_an_outcome_are_told(shop: Shop) -> None:
    table = shop.lake().catalog().load_table("ops.ledger")
    table.delete()
    _, document = check(shop)
    assert findings(document) == {("ledger of web", "missing", "files with records that have no outcome")}


@pytest.mark.parametrize("layout", ["as written", "compacted", "cut"])
def test_lost_data_files_are_taken_out_and_a_replay_brings_their_rows_back(shop: Shop, layout: str) -> None:
    """What the remedies say."""
    shop.headrace("replay", "rollback", "mended")
    shop.headrace("replay", "discard", "open")
    if layout == "compacted":
        shop.headrace("lake", "compact", "--to", "1d")
    before, rows = shop.state(), shop.ledger()
    lose = _cut if layout == "cut" else Path.unlink
    lose(_any_data_file(shop))
    done = shop.headrace("lake", "repair")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[1].split()[:2] == [TABLE, "1"] and "2026-11-02T" in done.stdout
    _, document = check(shop, "--verify")
    assert findings(document) == {("ledger of web", "missing", "files with accepted records whose rows are gone")}
    lost = shop.ledger().lost
    assert shop.ledger().out == rows.out - lost and lost > 0
    shop.run("repaired", 0, 24)
    shop.promote("repaired")
    assert (shop.state(), shop.ledger()) == (before, rows)
    assert check(shop, "--verify")[0] == 0


def test_lost_outcomes_are_taken_out_and_made_again_by_the_same_input(shop: Shop) -> None:
    shop.headrace("replay", "rollback", "mended")
    shop.headrace("replay", "discard", "open")
    before, rows = shop.state(), shop.ledger()
    for file in published_files(shop.lake().load("ops.ledger")):
        Path(file.path.removeprefix("file://")).unlink()
    assert ("ops.ledger", "missing", "data files") in findings(check(shop)[1])
    assert shop.headrace("lake", "repair").exit_code == 0
    assert findings(check(shop)[1]) == {("ledger of web", "missing", "files with records that have no outcome")}
    done = shop.headrace("ingest", "web", "--input", shop.folder / "drop/lake-0.jsonl", "--max-rejected", "1", "--allow-damaged")
    assert done.exit_code == 0, done.output
    assert (shop.state(), shop.ledger()) == (before, rows)


def test_where_nothing_is_lost_nothing_is_repaired(shop: Shop) -> None:
    shop.headrace("replay", "discard", "open")
    before = everything(shop)
    assert json.loads(shop.headrace("lake", "repair", "--json").stdout) == []
    assert everything(shop) == before
