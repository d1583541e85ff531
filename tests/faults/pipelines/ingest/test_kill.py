"""A run may be killed at any point: what is visible is whole, and the same command again gives what one run would have given."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner

from cli.main import main
from lake.location import Lake
from lake.upkeep import folded_tables
from tests.support import runs
from tests.support.lake_state import LakeState, claimed, content_hash, difference, read_state, scan
from tests.support.population import records, write_files
from tests.support.processes import finish, start_ingest, wait_until
from tests.support.tiers import thinned

TABLE = "validated.customer_event"
FILES = 4
FILE_LIMIT_BYTES = 80_000
SLICE = "30000"  # so that the files take two or three graph runs


def ingest(lake: Path, files: list[Path], num_shards: int = 4) -> None:
    """The same command again, in this process."""
    report = runs.ingest(lake, files, max_rejected=1.0, slice_bytes=int(SLICE), num_shards=num_shards)
    assert report.exit_code == 0, report.reasons


def headrace(*arguments: str) -> Any:
    """A verb's JSON document."""
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_files(tmp_path_factory.mktemp("files"), records(99), FILES)


@pytest.fixture(scope="module")
def undisturbed(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> LakeState:
    lake = tmp_path_factory.mktemp("undisturbed") / "lake"
    ingest(lake, files)
    return read_state(lake, [("web", TABLE)])


def there(lake: Path, pattern: str, count: int = 1) -> bool:
    return sum(1 for _ in lake.glob(pattern)) >= count


def metadata(table: str, version: int) -> str:
    return f"warehouse/{table}/metadata/{version:05d}-*.metadata.json"


# Each names what must be there before the run is killed.
POINTS: dict[str, Callable[[Path], bool]] = {
    "when it began": partial(there, pattern="_runs/*/started.json"),
    "after the second raw file": partial(there, pattern="raw/source=web/dt=*/hour=*/*", count=2),
    "after the last raw file's index": partial(there, pattern="raw/source=web/_index/*", count=FILES),
    "after the first data file": partial(there, pattern="warehouse/validated/customer_event/data/*.parquet"),
    "after the first metadata of rows": partial(there, pattern=metadata("validated/customer_event", 1)),
    "after the first metadata of dead letters": partial(there, pattern=metadata("ops/dead_letter", 1)),
    "after the first data file of the ledger": partial(there, pattern="warehouse/ops/ledger/data/*.parquet"),
    "after the first metadata of the ledger": partial(there, pattern=metadata("ops/ledger", 1)),
    "after the second metadata of rows": partial(there, pattern=metadata("validated/customer_event", 2)),
}


def assert_whole(lake: Path) -> None:
    """What any reader sees, of any snapshot, is what that snapshot claims."""
    opened = Lake.at(str(lake))
    for name in folded_tables(opened):
        for snapshot in opened.catalog().load_table(name).snapshots():
            assert snapshot.summary is not None
            told = snapshot.summary.additional_properties
            rows = scan(opened, name, snapshot.snapshot_id)
            if "headrace.rows" not in told:  # the first half of a transaction; no reader's current snapshot
                continue
            ours = content_hash(rows) if name.startswith("validated.") else told["headrace.content-hash"]
            assert (len(rows), ours) == (int(told["headrace.rows"]), told["headrace.content-hash"])


@pytest.mark.parametrize("point", thinned(POINTS, 2))
def test_run_killed_and_run_again_equals_an_undisturbed_run(
    point: str, files: list[Path], undisturbed: LakeState, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    process = start_ingest(lake, files, "--slice-bytes", SLICE)
    held = wait_until(process, lambda: POINTS[point](lake))
    process.kill()
    process.communicate()
    assert held, "the run ended before it could be killed"
    if claimed_tables(lake):
        assert claimed(Lake.at(str(lake)), TABLE) == (len(rows := scan(Lake.at(str(lake)), TABLE)), content_hash(rows))
    ingest(lake, files)
    assert not difference(read_state(lake, [("web", TABLE)]), undisturbed)


def claimed_tables(lake: Path) -> list[str]:
    opened = Lake.at(str(lake))
    return [name for name in folded_tables(opened) if name == TABLE] if there(lake, metadata("ops/ledger", 0)) else []


@pytest.mark.parametrize("seed", range(2))
def test_run_killed_twice_at_random_equals_an_undisturbed_run(
    seed: int, files: list[Path], undisturbed: LakeState, tmp_path: Path
) -> None:
    lake, rng = tmp_path / "lake", Random(seed)
    for _ in range(2):
        process = start_ingest(lake, files, "--slice-bytes", SLICE)
        wait_until(process, partial(there, lake, "raw/source=web/_index/*"))
        until = time.monotonic() + rng.uniform(0, 1.5)
        wait_until(process, lambda until=until: time.monotonic() >= until)  # type: ignore[misc]
        process.kill()
        process.communicate()
    ingest(lake, files)
    assert not difference(read_state(lake, [("web", TABLE)]), undisturbed)
    assert_whole(lake)


def test_readers_see_only_whole_states_while_a_run_goes_on(files: list[Path], undisturbed: LakeState, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    process = start_ingest(lake, files, "--slice-bytes", SLICE)
    assert wait_until(process, partial(there, lake, metadata("ops/ledger", 0)))
    opened = Lake.at(str(lake))
    seen = set()
    while process.poll() is None:
        table = opened.catalog().load_table(TABLE)
        snapshot = table.current_snapshot()
        if snapshot is not None and snapshot.snapshot_id not in seen:
            rows = table.scan().to_arrow()
            assert snapshot.summary is not None
            told = snapshot.summary.additional_properties
            assert (str(len(rows)), content_hash(rows)) == (told["headrace.rows"], told["headrace.content-hash"])
            seen.add(snapshot.snapshot_id)
    assert finish(process)[0] == 0
    assert_whole(lake)
    assert not difference(read_state(lake, [("web", TABLE)]), undisturbed)


def test_losers_of_a_run_killed_after_its_rows_were_published_become_dead_letters(tmp_path: Path) -> None:
    """The winner of the second run replaces a row of the first; a crash between its two commits must not forget the row."""
    event = {"messageId": "m", "type": "page", "anonymousId": "a", "originalTimestamp": "2026-11-01T10:00:00Z"}
    first = json.dumps({**event, "receivedAt": "2026-11-01T10:00:09Z", "properties": {"content": 1}})
    second = json.dumps({**event, "receivedAt": "2026-11-01T10:00:01Z", "properties": {"content": 2}})
    (file,), (other,) = write_files(tmp_path / "one", [first], 1), write_files(tmp_path / "two", [second], 1)
    ingest(tmp_path / "undisturbed", [file])
    ingest(tmp_path / "undisturbed", [other])
    expected = read_state(tmp_path / "undisturbed", [("web", TABLE)])
    assert expected.ledger["web"].codes == {"conflicting_duplicate": 1}
    lake = tmp_path / "lake"
    ingest(lake, [file])
    rows = claimed(Lake.at(str(lake)), TABLE)
    process = start_ingest(lake, [other])
    assert wait_until(process, lambda: claimed(Lake.at(str(lake)), TABLE) != rows)
    process.kill()
    process.communicate()
    ingest(lake, [other])
    assert not difference(read_state(lake, [("web", TABLE)]), expected)


def test_status_shows_a_killed_run_as_stopped_and_clean_removes_only_what_it_left(
    files: list[Path], undisturbed: LakeState, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    process = start_ingest(lake, files)
    assert wait_until(process, lambda: POINTS["after the first data file"](lake))
    (running,) = headrace("status", "--lake", str(lake))
    assert running["state"] == "running"
    process.kill()
    process.communicate()
    (stopped,) = headrace("status", "--lake", str(lake))
    assert stopped["state"] == "killed"
    ingest(lake, files)
    assert [run["state"] for run in headrace("status", "--lake", str(lake))] == ["finished", "killed"]

    (lake / "_tmp" / "left-over").write_bytes(b"half a file")
    named = snapshots_of(lake)
    data = {str(path) for path in lake.glob("warehouse/*/*/data/*")}
    raw = sorted(lake.glob("raw/**/*"))
    assert data - named, "the killed run left no file behind"
    for path in [*lake.glob("warehouse/*/*/data/*"), *lake.glob("_tmp/*")]:
        os.utime(path, (time.time() - 60, time.time() - 60))
    would = headrace("lake", "clean", "--lake", str(lake), "--older-than", "1s", "--dry-run")
    assert {str(path) for path in lake.glob("warehouse/*/*/data/*")} == data
    assert headrace("lake", "clean", "--lake", str(lake), "--older-than", "1s")["files"] == would["files"]
    left = {str(path) for path in lake.glob("warehouse/*/*/data/*")}
    assert {path for path in left if not path.endswith(".keys")} == named
    assert {path.removesuffix(".keys") for path in left} == named, "a filter of a file that went"
    assert not list(lake.glob("_tmp/*"))
    assert sorted(lake.glob("raw/**/*")) == raw
    assert not difference(read_state(lake, [("web", TABLE)]), undisturbed)
    assert_whole(lake)


FOLDED = (TABLE, "late.customer_event", "ops.dead_letter", "ops.ledger")


def snapshots_of(lake: Path) -> set[str]:
    """Files that any snapshot names: time travel needs them."""
    catalog = Lake.at(str(lake)).catalog()
    tables = [catalog.load_table(name) for name in FOLDED]
    return {
        task.file.file_path.removeprefix("file://")
        for table in tables
        for snapshot in table.snapshots()
        for task in table.scan(snapshot_id=snapshot.snapshot_id).plan_files()
    }


def errors_in(err: str) -> list[str]:
    """Lines of stderr but for warnings."""
    return [line for line in err.splitlines() if line and not line.startswith("warning: ")]


@pytest.mark.parametrize("point", ["when it began", "after the first data file"])
def test_interrupt_ends_with_130_and_one_line(point: str, files: list[Path], undisturbed: LakeState, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    process = start_ingest(lake, files, "--slice-bytes", SLICE)
    assert wait_until(process, lambda: POINTS[point](lake))
    os.killpg(process.pid, signal.SIGINT)
    code, out, err = finish(process)
    assert code == 130
    assert out == ""
    assert errors_in(err) == ["headrace: stopped. What was committed stays; run the same command again to go on."]
    ingest(lake, files)
    assert not difference(read_state(lake, [("web", TABLE)]), undisturbed)


@pytest.mark.parametrize("number_of_files", [1, 6], ids=["while landing", "while folding"])
def test_full_disk_is_one_clear_error_and_the_next_run_goes_on(number_of_files: int, tmp_path: Path) -> None:
    """Six files fit, one of them all does not; nor does the data file that their rows would make."""
    noise = Random(1)
    lines = [
        json.dumps(
            {
                "messageId": f"m-{number}", "type": "page", "anonymousId": "a", "receivedAt": "2026-11-01T10:00:01Z",
                "originalTimestamp": "2026-11-01T10:00:00Z",
                "properties": {"noise": base64.b64encode(noise.randbytes(600)).decode()},
            }
        )
        for number in range(300)
    ]  # fmt: skip
    inputs = write_files(tmp_path / "in", lines, number_of_files)
    assert (max(path.stat().st_size for path in inputs) > FILE_LIMIT_BYTES) == (number_of_files == 1)
    ingest(tmp_path / "undisturbed", inputs, num_shards=1)
    process = start_ingest(tmp_path / "lake", inputs, "--num-shards", "1", file_limit_bytes=FILE_LIMIT_BYTES)
    code, _, err = finish(process)
    assert code == 3, err
    assert "Traceback" not in err
    assert len(errors_in(err)) == 1
    ingest(tmp_path / "lake", inputs, num_shards=1)
    expected = read_state(tmp_path / "undisturbed", [("web", TABLE)])
    assert not difference(read_state(tmp_path / "lake", [("web", TABLE)]), expected)
