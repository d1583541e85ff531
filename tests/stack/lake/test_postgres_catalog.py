"""A lake whose catalog is PostgreSQL: as one on SQLite, with three writers at once, and when the server dies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lake.location import Lake
from tests.support import runs
from tests.support.lake_state import difference, read_state
from tests.support.population import records, write_files
from tests.support.postgres import Postgres, missing, postgres
from tests.support.processes import finish, start_ingest
from tests.support.shop import LINES, TABLE, Shop

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"PostgreSQL is not installed: {missing()}")
_WRITERS = 3


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def catalog(server: Postgres) -> Iterator[str]:
    """The URL of an empty catalog."""
    yield server.url
    empty(server)


def empty(server: Postgres) -> None:
    lake = Lake("/nowhere", server.url)
    catalog = lake.catalog()
    catalog.destroy_tables()


def test_three_writers_at_once_give_what_one_gives(catalog: str, tmp_path: Path) -> None:
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


def test_a_server_that_dies_is_exit_3_and_the_same_command_goes_on(server: Postgres, catalog: str, tmp_path: Path) -> None:
    shop = Shop(tmp_path, f"catalog: {catalog}")
    path = shop.write_lines("web.jsonl", LINES)
    command = ("ingest", "web", "--input", path, "--lake", tmp_path / "lake", "--max-rejected", "100%", "--allow-damaged")
    server.kill()
    down = shop.headrace(*command)
    assert down.exit_code == 3 and "no answer" in down.stderr and "headrace@" not in down.stderr
    server.start()
    assert shop.headrace(*command).exit_code == 0
    assert shop.headrace("lake", "check", "--verify", "--lake", tmp_path / "lake").exit_code == 0


def test_a_catalog_that_lost_its_tables_is_made_again(server: Postgres, catalog: str, tmp_path: Path) -> None:
    shop = Shop(tmp_path, f"catalog: {catalog}")
    path = shop.write_lines("web.jsonl", LINES)
    where = ("--lake", tmp_path / "lake")
    assert shop.headrace("ingest", "web", "--input", path, *where, "--max-rejected", "100%", "--allow-damaged").exit_code == 0
    lake = Lake.at(str(tmp_path / "lake"), catalog)
    before = read_state(lake, [("web", TABLE)])
    empty(server)
    assert shop.headrace("lake", "check", *where).exit_code == 1
    assert shop.headrace("lake", "rebuild-catalog", *where).exit_code == 0
    assert difference(read_state(lake, [("web", TABLE)]), before) == ""
