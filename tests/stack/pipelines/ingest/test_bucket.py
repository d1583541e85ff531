"""A lake in a bucket: the same as a local one, from local files and from a bucket, also when the store breaks requests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from contracts.errors import ConfigurationError
from examples.webshop import generate as webshop
from lake.location import Lake
from lake.raw.files import open_raw, raw_files
from lake.raw.inputs import expand_inputs
from lake.raw.log_ids import LogId
from lake.raw.segment_files import RawMessage
from lake.raw.segments import PartitionLog, log_segments, logs_of, read_messages
from lake.runs.submission import Attempt, read_submission, record_ending, record_submission, submissions
from lake.storage import storage_of
from lake.tables.expire import expire_snapshots, orphans
from lake.upkeep import compact, list_tables
from tests.support import runs
from tests.support.buckets import Emulator
from tests.support.faulty import FAULTS, FaultyProxy, faulty
from tests.support.lake_state import LakeState, claimed, difference, read_state
from tests.support.population import FILE_TIME_S, records, write_files
from tests.support.small_tables import NAME, make, put, row

TABLE = "validated.customer_event"
WEBSHOP = Path(webshop.__file__).parent
FILE_TIME_US = round(FILE_TIME_S * 1_000_000)


def lake_at(location: str, tmp_path: Path) -> Lake:
    return Lake.at(location, f"sqlite:///{tmp_path}/catalog.db?timeout=60")


ingest = partial(runs.ingest, max_rejected=1.0)


def state(lake: Lake) -> LakeState:
    found = read_state(lake, [("web", TABLE)])
    assert claimed(lake, TABLE) == (len(found.rows[TABLE]), found.content_hash[TABLE])
    assert found.ledger["web"].balanced
    return found


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], tuple[list[Path], LakeState]]:
    """A population as files, and a local lake of them."""

    @cache
    def run() -> tuple[list[Path], LakeState]:
        folder = tmp_path_factory.mktemp("local")
        files = write_files(folder / "files", records(3), 4)
        lake = Lake.at(str(folder / "lake"))
        ingest(lake, files)
        return files, state(lake)

    return run


def put_inputs(files: Sequence[Path], folder: str) -> None:
    """Upload files with the times that they have, as a collector would that knows when it received them."""
    storage = storage_of(folder)
    for file in files:
        copy = storage.scratch(str(file))
        copy.write_bytes(file.read_bytes())
        storage.upload(copy, f"{folder}/{file.name}", FILE_TIME_US)


def test_a_lake_in_a_bucket_is_the_same_as_a_local_one(
    bucket: str, tmp_path: Path, local: Callable[[], tuple[list[Path], LakeState]]
) -> None:
    files, expected = local()
    lake = lake_at(f"{bucket}/some/lake", tmp_path)
    ingest(lake, files[:2])
    report = ingest(lake, files)
    assert report.manifest["ingested_files"] == 2
    assert not difference(state(lake), expected)
    again = ingest(lake, files)
    assert again.manifest["ingested_files"] == 0 and again.manifest["datasets"] == report.manifest["datasets"]
    assert all(t.verified is not False for t in list_tables(lake, verify=True))
    stored = storage_of(bucket).files(bucket)
    assert all(file.location.startswith(f"{bucket}/some/lake/") for file in stored)
    assert not [path for path in tmp_path.iterdir() if path.name != "catalog.db"]


def test_inputs_in_a_bucket_give_the_same_as_local_ones(
    bucket: str, tmp_path: Path, local: Callable[[], tuple[list[Path], LakeState]]
) -> None:
    files, expected = local()
    put_inputs(files, f"{bucket}/drop/day")
    lake = lake_at(f"{bucket}/lake", tmp_path)
    ingest(lake, [f"{bucket}/drop/*/part-0[0-1].jsonl"])
    ingest(lake, [f"{bucket}/drop"])
    assert not difference(state(lake), expected)
    local_lake = Lake.at(str(tmp_path / "local"))
    ingest(local_lake, [f"{bucket}/drop/**.jsonl"])
    assert not difference(state(local_lake), expected)


@pytest.mark.parametrize(("emulator", "seed"), [("gs", 1), ("gs", 2), ("s3", 1)], indirect=["emulator"])
def test_a_store_that_breaks_requests_changes_nothing(
    seed: int,
    bucket: str,
    emulator: Emulator,
    tmp_path: Path,
    local: Callable[[], tuple[list[Path], LakeState]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files, expected = local()
    put_inputs(files, f"{bucket}/drop")
    lake = lake_at(f"{bucket}/lake", tmp_path)
    with faulty(FaultyProxy(emulator.address, seed=seed, share=0.1)) as proxy:
        emulator.use(monkeypatch, proxy.address)
        ingest(lake, [f"{bucket}/drop/part-00.jsonl"])
        report = ingest(lake, [f"{bucket}/drop/*"])
        assert (report.manifest["ingested_files"], report.exit_code) == (3, 0)
    emulator.use(monkeypatch)
    assert set(proxy.broken) == set(FAULTS)
    assert not difference(state(lake), expected)


def test_patterns_find_objects_as_they_find_files(bucket: str, tmp_path: Path) -> None:
    names = ["a.jsonl", "b/c.jsonl", "b/d.csv", "b/e/f.jsonl", "b/_temporary/0/g.jsonl", "b/.hidden/h.jsonl", "bb.jsonl"]
    storage = storage_of(bucket)
    for name in names:
        storage.write(f"{bucket}/in/{name}", b"x")
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    storage.write(f"{bucket}/in/b/", b"")  # a folder, as the console makes them
    patterns = ["", "/", "/a.jsonl", "/b", "/b/", "/*.jsonl", "/*/*.jsonl", "/b/**/*.jsonl", "/**/*.csv", "/b/?.csv", "/[ab].jsonl"]
    for pattern in [*patterns, "/[!a].jsonl", "/b*"]:
        try:
            listed = expand_inputs((f"{tmp_path}{pattern}",))
            wanted = sorted(file.uri.removeprefix(f"{tmp_path}/") for file in listed if not file.refused)
        except ConfigurationError:
            wanted = []
        try:
            listed = expand_inputs((f"{bucket}/in{pattern}",))
            found = sorted(file.uri.removeprefix(f"{bucket}/in/") for file in listed if not file.refused)
        except ConfigurationError:
            found = []
        assert found == wanted, pattern


def test_an_input_that_was_replaced_while_it_was_listed_is_landed_as_it_is(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, lake = storage_of(bucket), lake_at(f"{bucket}/lake", tmp_path)
    line = b'{"messageId":"m-1","type":"page","anonymousId":"a","originalTimestamp":"2026-11-02T10:00:00Z"}\n'
    for name in ("gone", "kept"):
        storage.write(f"{bucket}/in/{name}.jsonl", line + name.encode() + b"\n")
    listed = expand_inputs((f"{bucket}/in",))
    monkeypatch.setattr("pipelines.ingest.files.expand_inputs", lambda _patterns: listed)
    storage.delete(f"{bucket}/in/gone.jsonl")
    storage.write(f"{bucket}/in/kept.jsonl", line)
    report = ingest(lake, [f"{bucket}/in"])
    assert {entry["uri"].rsplit("/", 1)[-1]: entry["status"] for entry in report.manifest["inputs"]} == {
        "gone.jsonl": "vanished", "kept.jsonl": "landed",
    }  # fmt: skip
    (file,) = raw_files(lake)
    with open_raw(next(file.as_chunks(lake))) as opened:
        assert opened.read() == line


def test_a_landing_log_in_a_bucket_merges_and_reads_each_offset_once(bucket: str, tmp_path: Path) -> None:
    lake = lake_at(f"{bucket}/lake", tmp_path)
    log = LogId("web", "topic-id", 0)
    first, second = (PartitionLog(lake, "web", log, batched=False) for _ in range(2))
    for offset in range(0, 140, 2):
        messages = [RawMessage(n, n, 1, None, b"%d" % n, ()) for n in range(offset, offset + 2)]
        (first if offset % 3 else second).land(offset, offset + 2, messages)
    segments = log_segments(lake, "web", log)
    assert [m.offset for segment in segments for m in read_messages(segment)] == list(range(140))
    assert len(segments) < 30
    assert logs_of(lake, "web") == [log]


def test_compaction_expiry_and_cleaning_in_a_bucket(bucket: str, tmp_path: Path) -> None:
    lake = lake_at(f"{bucket}/lake", tmp_path)
    make(lake)
    for n in range(3):
        put(lake, [row(f"e{n}-{k}", k * 700, position=k) for k in range(5)], 60)
    told = claimed(lake, NAME)
    before, after = compact(lake, NAME, to_s=86_400, run_id="c")
    assert after < before
    stored = {file.location for file in storage_of(bucket).files(bucket)}
    expired = expire_snapshots(lake, NAME, keep_s=0)
    assert expired.files == len(stored - {file.location for file in storage_of(bucket).files(bucket)}) > 0
    assert claimed(lake, NAME) == told
    assert all(t.verified is not False for t in list_tables(lake, verify=True))
    (data,) = {file.location.rsplit("/", 1)[0] for file in storage_of(bucket).files(bucket) if file.location.endswith(".parquet")}
    storage_of(bucket).write(f"{data}/left-behind.parquet", b"x")
    assert list(orphans(lake, 1_000)) == []
    until = time.monotonic() + 30
    while [file.location for file in orphans(lake, 0)] != [f"{data}/left-behind.parquet"]:
        assert time.monotonic() < until


def test_runs_and_submissions_are_kept_in_the_bucket(bucket: str, tmp_path: Path) -> None:
    lake = lake_at(f"{bucket}/lake", tmp_path)
    lake.create()
    first, second = (Attempt(letter * 32, datetime(2026, 11, 1, tzinfo=UTC)) for letter in "ab")
    assert read_submission(lake, "t-web-1") is None
    record_submission(lake, "t-web-1", ["ingest", "web"], "job", "localhost:1", first)
    record_submission(lake, "t-web-1", [], "job", "localhost:1", second)
    record_submission(lake, "t-web-2", ["ingest", "web"], "job", "localhost:1", first)
    ended = record_ending(lake, "t-web-1", "stopped", "gs://b/savepoint")
    found = read_submission(lake, "t-web-1")
    assert found and found.attempts == ended.attempts == (first, second)
    assert found.ended and (found.ended.how, found.ended.savepoint) == ("stopped", "gs://b/savepoint")
    assert [submission.run_id for submission in submissions(lake)] == ["t-web-2", "t-web-1"]


def test_the_command_line_takes_a_lake_in_a_bucket(bucket: str, tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "web.yaml").write_text((WEBSHOP / "sources" / "web.yaml").read_text())
    project = tmp_path / "headrace.yaml"
    project.write_text(f"lake: {bucket}/lake\n")
    (file,) = write_files(tmp_path / "files", records(4, 10), 1)
    put_inputs([file], f"{bucket}/drop")

    def headrace(*arguments: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(main, [*arguments, "--project", str(tmp_path)], catch_exceptions=False)
        return done.exit_code, done.stdout, done.stderr

    run = ("ingest", "web", "--input", f"{bucket}/drop/*.jsonl", "--max-rejected", "100%")
    code, _, told = headrace(*run)
    assert code == 2 and "a lake in a bucket needs a catalog" in told.replace("\n", " ")
    project.write_text(f"lake: {bucket}/lake\ncatalog: sqlite:///catalog.db\n")
    code, _, told = headrace("status")
    assert code == 2 and f"no lake at {bucket}" in told.replace("\n", "")
    assert headrace(*run)[0] == 0
    code, out, _ = headrace("status", "--json")
    assert code == 0 and [entry["state"] for entry in json.loads(out)] == ["finished"]
    code, out, _ = headrace("lake", "files", "--verify", "--json")
    assert code == 0 and json.loads(out)["raw"]["web"]["files"] == 1
    code, out, _ = headrace("deadletter", "list", "--json")
    letters = json.loads(out)
    assert code == 0 and letters
    assert headrace("lake", "clean", "--older-than", "1d", "--json")[0] == 0
