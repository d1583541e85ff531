"""A lake whose catalog is behind Iceberg's REST interface: as one on SQLite, and with three writers at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pyiceberg.table.update.snapshot import ManageSnapshots

from lake.location import Lake
from lake.tables.exchange import note_state
from lake.tables.iceberg import HASH_PROPERTY, ROWS_PROPERTY, RUN_PROPERTY, committed
from lake.tables.transactions import RefTransaction
from tests.support import runs
from tests.support.iceberg_rest import rest_catalog
from tests.support.lake_state import difference, read_state
from tests.support.population import records, write_files
from tests.support.postgres import missing, postgres
from tests.support.processes import finish, start_ingest
from tests.support.shop import LINES, TABLE, Shop
from tests.support.small_tables import NAME, make, put, row
from tests.support.stack import require_tools

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"PostgreSQL is not installed: {missing()}")
_WRITERS = 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require_tools()
    with postgres() as database, rest_catalog(database, tmp_path_factory.mktemp("warehouse")) as url:
        yield url


@pytest.fixture
def catalog(server: str) -> Iterator[str]:
    """The URL of an empty catalog."""
    yield server
    forget_tables(server)


def forget_tables(url: str) -> None:
    found = Lake("/nowhere", url).catalog()
    for space in found.list_namespaces():
        for name in found.list_tables(space):
            found.drop_table(name)


def test_three_writers_at_once_give_what_one_gives_on_sqlite(catalog: str, tmp_path: Path) -> None:
    files = write_files(tmp_path / "drop", records(3, 600), 9)
    alone = Lake.at(str(tmp_path / "alone"))
    runs.ingest(alone, files, max_rejected=1.0, allow_damaged=True)
    shared = Lake.at(str(tmp_path / "shared"), catalog)
    project = Shop(tmp_path / "project", f"catalog: {catalog}")
    writers = [
        start_ingest(Path(shared.root), files[n::_WRITERS], "--allow-damaged", "--project", str(project.folder))
        for n in range(_WRITERS)
    ]
    for writer in writers:
        code, out, err = finish(writer)
        assert code == 0, out + err
    found = read_state(shared, [("web", TABLE)])
    assert difference(found, read_state(alone, [("web", TABLE)])) == ""
    assert found.ledger["web"].balanced


def test_a_replay_is_promoted_and_rolled_back_and_the_lake_is_sound(catalog: str, tmp_path: Path) -> None:
    shop = Shop(tmp_path, f"catalog: {catalog}\nreplay: {{maxAge: 36500d}}")
    path = shop.write_lines("web.jsonl", LINES)
    where = ("--lake", tmp_path / "lake")

    def run(*arguments: object) -> str:
        done = shop.headrace(*arguments, *where)
        assert done.exit_code == 0, done.output
        return done.stdout

    run("ingest", "web", "--input", path, "--max-rejected", "100%", "--allow-damaged")
    before = read_state(Lake.at(str(tmp_path / "lake"), catalog), [("web", TABLE)])
    run("replay", "run", "again", "--dataset", "customer_event", "--start", "2026-11-02T00:00:00Z", "--end", "2026-11-03T00:00:00Z")
    run("replay", "promote", "again")
    run("replay", "rollback", "again")
    run("lake", "compact")
    run("lake", "expire", "--older-than", "1s")
    run("lake", "check", "--verify")
    assert difference(read_state(Lake.at(str(tmp_path / "lake"), catalog), [("web", TABLE)]), before) == ""


def test_a_catalog_that_lost_its_tables_is_made_again(catalog: str, tmp_path: Path) -> None:
    shop = Shop(tmp_path, f"catalog: {catalog}")
    path = shop.write_lines("web.jsonl", LINES)
    where = ("--lake", tmp_path / "lake")
    assert shop.headrace("ingest", "web", "--input", path, *where, "--max-rejected", "100%", "--allow-damaged").exit_code == 0
    lake = Lake.at(str(tmp_path / "lake"), catalog)
    before = read_state(lake, [("web", TABLE)])
    forget_tables(catalog)
    assert shop.headrace("lake", "check", *where).exit_code == 1
    assert shop.headrace("lake", "rebuild-catalog", *where).exit_code == 0
    assert difference(read_state(lake, [("web", TABLE)]), before) == ""


@pytest.mark.parametrize(
    ("url", "code", "told"),
    [
        ("rest+http://user:s3cr3t@127.0.0.1:1/x", 3, "catalog http://127.0.0.1/x: no answer (ConnectionError)"),
        ("{here}/nothing", 2, "catalog http://127.0.0.1/nothing: "),
    ],
)
def test_one_that_does_not_answer_or_is_none_is_told(server: str, url: str, code: int, told: str, tmp_path: Path) -> None:
    shop = Shop(tmp_path, f"catalog: {url.format(here=server)}")
    path = shop.write_lines("web.jsonl", LINES[:1])
    done = shop.headrace("ingest", "web", "--input", path, "--lake", tmp_path / "lake")
    assert done.exit_code == code, done.output
    assert told in done.stderr and "s3cr3t" not in done.stderr


def test_a_commit_that_another_branch_outran_is_tried_again(catalog: str, tmp_path: Path) -> None:
    lake = make(Lake.at(str(tmp_path / "lake"), catalog))
    put(lake, [row("first", 5)], 3_600)
    stale = lake.load(NAME)
    with RefTransaction(stale) as transaction, ManageSnapshots(transaction) as manage:
        manage.create_branch(stale.metadata.current_snapshot_id or 0, "replay.other")
    stale, other = lake.load(NAME), replace(lake, branch="replay.other")
    put(other, [row("of the replay", 3_605, position=1)], 3_600)
    tries = iter((stale, lake.load(NAME)))

    def commit() -> None:
        table = next(tries)
        with RefTransaction(table) as transaction:
            note_state(transaction, {RUN_PROPERTY: "r", ROWS_PROPERTY: "1", HASH_PROPERTY: "0"}, "main")

    committed(NAME, commit)
    assert next(tries, None) is None, "the first try was refused"
