from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from contracts.errors import ConfigurationError
from contracts.spec.paths import PayloadPath
from contracts.spec.source import CsvDialect
from lake.location import Lake
from lake.raw import files
from lake.raw.files import Landing, RawFile, find_raw_file, land_file, land_files, raw_files, reader_id
from lake.raw.inputs import Copied, InputFile, copy_input, expand_inputs
from lake.raw.records import read_record
from tests.support.format_laws import small_pieces, spec_of

SPEC = spec_of("jsonl")
TEN_O_CLOCK_S = 1_793_613_600
DEADLINE_S = 60.0


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake.at(str(tmp_path / "lake"))
    made.create()
    return made


def write(path: Path, content: bytes, mtime_s: int = TEN_O_CLOCK_S) -> InputFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (mtime_s, mtime_s))
    (found,) = expand_inputs((str(path),))
    return found


def of_folder(file: InputFile) -> InputFile:
    """The same file, as one of a folder."""
    return replace(file, named=False)


def landed(landing: Landing) -> RawFile:
    assert landing.file is not None
    return landing.file


def files_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def test_a_file_is_landed_verbatim_under_its_hash_and_its_hour(lake: Lake, tmp_path: Path) -> None:
    content = b'{"id":1}\r\n{"id":'
    landing = land_file(lake, SPEC, write(tmp_path / "events.jsonl", content))
    file = landed(landing)
    digest = hashlib.sha256(content).hexdigest()
    assert landing.status == "landed"
    assert file.raw_file == digest
    assert file.path == f"raw/source=test/dt=2026-11-02/hour=10/{digest}.jsonl"
    assert (lake.path / file.path).read_bytes() == content
    assert (file.records, file.damaged, file.size_bytes, file.received_at_us) == (2, False, len(content), TEN_O_CLOCK_S * 10**6)
    assert find_raw_file(lake, "test", digest) == file
    assert raw_files(lake) == raw_files(lake, "test") == [file]
    assert files_in(lake.temporary) == []


def test_the_same_content_is_landed_once_whatever_its_name_and_time(lake: Lake, tmp_path: Path) -> None:
    first = land_file(lake, SPEC, write(tmp_path / "a.jsonl", b"{}"))
    second = land_file(lake, SPEC, write(tmp_path / "b" / "c.json", b"{}", TEN_O_CLOCK_S + 90_000))
    assert (first.status, second.status) == ("landed", "already landed")
    assert first.file == second.file
    assert len(files_in(lake.raw)) == 2  # the bytes and their index


def test_the_same_content_of_another_source_is_landed_again(lake: Lake, tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", b"{}")
    assert [land_file(lake, replace(SPEC, name=name), file).status for name in ("one", "two")] == ["landed", "landed"]
    assert [f.source for f in raw_files(lake)] == ["one", "two"]


def test_the_same_name_with_other_content_is_another_file(lake: Lake, tmp_path: Path) -> None:
    one = landed(land_file(lake, SPEC, write(tmp_path / "a.jsonl", b"{}")))
    two = landed(land_file(lake, SPEC, write(tmp_path / "a.jsonl", b"[]")))
    assert one.raw_file != two.raw_file
    assert len(raw_files(lake)) == 2


@pytest.mark.parametrize("names", [("a.jsonl", "b.jsonl"), ("a.jsonl", "a.json.gz")])
def test_many_threads_that_land_the_same_content_at_once_leave_one_whole_copy(
    lake: Lake, tmp_path: Path, names: tuple[str, str]
) -> None:
    for round_number in range(12):
        content = b'{"id":%d}\n' % round_number * 2_000
        inputs = [write(tmp_path / f"{i}" / names[i % 2], content, TEN_O_CLOCK_S + 4_000 * (i % 3)) for i in range(8)]
        with ThreadPoolExecutor(8) as pool:
            landings = list(pool.map(lambda file: land_file(lake, SPEC, file), inputs))
        assert sorted(landing.status for landing in landings) == ["already landed"] * 7 + ["landed"]
        assert len({landing.file for landing in landings}) == 1
        assert (lake.path / landed(landings[0]).path).read_bytes() == content
        digest = landed(landings[0]).raw_file
        assert len([p for p in files_in(lake.raw) if digest in p.name]) == 2  # the bytes and their index
    assert files_in(lake.temporary) == []


def test_of_equal_files_the_first_counts_though_another_is_copied_sooner(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = [write(tmp_path / f"{n}.jsonl", b"{}", TEN_O_CLOCK_S + n) for n in range(5)]
    later = threading.Event()

    def copy(file: InputFile, target: Path, stopped: Callable[[], bool]) -> Copied | None:
        if file is inputs[0]:
            assert later.wait(DEADLINE_S)
        copied = copy_input(file, target, stopped)
        later.set()
        return copied

    monkeypatch.setattr(files, "copy_input", copy)
    landings = list(land_files(lake, SPEC, inputs))
    assert [landing.status for landing in landings] == ["landed", *["already landed"] * 4]
    assert [landing.uri for landing in landings] == [file.uri for file in inputs]
    assert {landed(landing).received_at_us for landing in landings} == {TEN_O_CLOCK_S * 10**6}


def test_copies_ahead_take_a_bounded_part_of_the_disk(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_AHEAD_BYTES", 5_000)
    inputs = [write(tmp_path / f"{n}.jsonl", b'{"n":%d}\n' % n * (100 + 150 * (n % 3))) for n in range(12)]
    copied, most = 0, 0

    def copy(file: InputFile, target: Path, stopped: Callable[[], bool]) -> Copied | None:
        nonlocal copied, most
        found = copy_input(file, target, stopped)
        copied += 1
        with suppress(FileNotFoundError):  # one was landed while this looked
            most = max(most, sum(path.stat().st_size for path in files_in(lake.temporary)))
        return found

    monkeypatch.setattr(files, "copy_input", copy)
    assert [landing.status for landing in land_files(lake, SPEC, inputs)] == ["landed"] * 12
    assert copied == 12
    assert max(file.size_bytes for file in inputs) <= most <= 5_000


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_full_disk_is_told_in_its_turn_and_leaves_no_copy(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    inputs = [write(tmp_path / f"{n}.jsonl", b'{"n":%d}' % n) for n in range(6)]

    def copy(file: InputFile, target: Path, stopped: Callable[[], bool]) -> Copied | None:
        if file is inputs[failing]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return copy_input(file, target, stopped)

    monkeypatch.setattr(files, "copy_input", copy)
    seen = []
    with pytest.raises(OSError, match="No space left"):
        seen.extend(landing.status for landing in land_files(lake, SPEC, inputs))
    assert len(raw_files(lake)) == failing
    assert files_in(lake.temporary) == []


def test_who_goes_away_early_leaves_no_copy(lake: Lake, tmp_path: Path) -> None:
    landings = land_files(lake, SPEC, [write(tmp_path / f"{n}.jsonl", b'{"n":%d}' % n) for n in range(6)])
    assert next(landings).status == "landed"
    landings.close()
    assert len(raw_files(lake)) == 1
    assert files_in(lake.temporary) == []


def test_a_copy_that_nobody_wants_any_more_ends(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", b"x" * (5 << 20))
    asked: list[int] = []

    def stopped() -> bool:
        asked.append(1)
        return len(asked) == 3

    assert copy_input(file, tmp_path / "copy", stopped) is None
    assert (tmp_path / "copy").stat().st_size <= 2 << 20


@pytest.mark.parametrize(
    "name", [".DS_Store", ".events.jsonl.swp", "_SUCCESS", "a.tmp", "a.jsonl.part", "a.crc", "Thumbs.db", "a.jsonl~", "a.partial"]
)
def test_hidden_and_unfinished_files_are_ignored(name: str, lake: Lake, tmp_path: Path) -> None:
    file = write(tmp_path / "in" / name, b"{}")
    assert land_file(lake, SPEC, of_folder(file)).status == "ignored"
    assert files_in(lake.raw) == []
    assert land_file(lake, SPEC, file).status == "landed"  # who names it means it


def test_what_a_folder_leaves_out_is_told_and_links_out_of_it_are_refused(lake: Lake, tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "in"
    for path in (outside / "secret.jsonl", folder / "a.jsonl", folder / "_temporary" / "b.jsonl", folder / "sub" / "c.jsonl"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'{"id":"%s"}' % path.name.encode())
    (folder / "out.jsonl").symlink_to(outside / "secret.jsonl")
    (folder / "up.jsonl").symlink_to("../outside/secret.jsonl")
    (folder / "within.jsonl").symlink_to("sub/c.jsonl")
    (folder / "elsewhere").symlink_to(outside)
    expected = {
        "a.jsonl": "landed", "c.jsonl": "landed", "within.jsonl": "already landed", "out.jsonl": "unreadable",
        "up.jsonl": "unreadable", "_temporary": "ignored", "elsewhere": "ignored",
    }  # fmt: skip

    def told(*patterns: str) -> dict[str, str]:
        landings = [land_file(lake, SPEC, file) for file in expand_inputs(patterns)]
        return {Path(landing.uri).name: landing.status.removeprefix("already ") for landing in landings}

    found = told(str(folder))
    assert found == {name: status.removeprefix("already ") for name, status in expected.items()}
    of_glob = told(str(folder / "*"))
    assert of_glob == {
        name: found[name] for name in ("a.jsonl", "within.jsonl", "out.jsonl", "up.jsonl", "_temporary", "elsewhere")
    } | {"sub": "ignored"}
    assert told(str(folder / "out.jsonl")) == {"out.jsonl": "landed"}  # by its own name
    assert "sub" not in told(str(folder / "**" / "*"))


def test_what_is_no_file_is_told(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    found = {}
    for name in ("folder", "pipe", "loop", "dangling", "gone"):
        landing = land_file(lake, SPEC, InputFile(str(tmp_path / name), 0, 0))
        found[name] = (landing.status, landing.detail)
    assert found == {
        "folder": ("unreadable", "it is a folder"),
        "pipe": ("unreadable", "it is not a regular file"),
        "loop": ("unreadable", "too many levels of symbolic links"),
        "dangling": ("vanished", "it was listed, and was gone when it was opened"),
        "gone": ("vanished", "it was listed, and was gone when it was opened"),
    }
    assert files_in(lake.temporary) == []


def test_a_lake_that_cannot_be_written_is_no_fault_of_the_input(lake: Lake, tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", b"{}")
    lake.temporary.rmdir()
    with pytest.raises(FileNotFoundError):
        land_file(lake, SPEC, file)


def test_names_may_be_long_or_no_unicode(lake: Lake, tmp_path: Path) -> None:
    for number, name in enumerate((b"M\xfcller.jsonl", b"a." + b"x" * 240, b"no suffix", b"a.b.c.d.jsonl.gz", b" .jsonl")):
        landing = land_file(lake, SPEC, write(tmp_path / os.fsdecode(name), b'{"id":%d}' % number))
        assert landing.status == "landed"
        json.dumps(landing.uri).encode()
        assert landing.uri.encode()
        assert find_raw_file(lake, "test", landed(landing).raw_file) == landing.file
        assert len(Path(landed(landing).path).name) < 100
    assert landed(landing).path.endswith(".jsonl")


def test_received_at_is_of_the_bytes_that_were_read_not_of_the_listing(lake: Lake, tmp_path: Path) -> None:
    listed = write(tmp_path / "a.jsonl", b"{}")
    write(tmp_path / "a.jsonl", b'{"id":2}', TEN_O_CLOCK_S + 60)
    assert landed(land_file(lake, SPEC, listed)).received_at_us == (TEN_O_CLOCK_S + 60) * 10**6


@pytest.mark.parametrize(
    ("spec", "other"),
    [
        (SPEC, replace(SPEC, record_bytes=99)),
        (SPEC, replace(SPEC, format="json_array")),
        (SPEC, replace(SPEC, records=PayloadPath(("batch",)))),
        (spec_of("jsonl", records="batch"), spec_of("jsonl", records="batch", max_depth=3)),
        (spec_of("csv"), spec_of("csv", csv=CsvDialect(delimiter=";"))),
        (spec_of("csv"), spec_of("csv", csv=CsvDialect(quote="'"))),
        (spec_of("csv"), spec_of("csv", csv=CsvDialect(encoding="cp1252"))),
    ],
)
def test_a_source_whose_records_would_be_numbered_otherwise_is_refused(
    spec: object, other: object, lake: Lake, tmp_path: Path
) -> None:
    assert isinstance(spec, type(SPEC))
    assert isinstance(other, type(SPEC))
    file = write(tmp_path / "a.jsonl", b"{}")
    land_file(lake, spec, file)
    with pytest.raises(ConfigurationError, match="numbered with other options"):
        land_file(lake, other, file)


BATCHES = spec_of("jsonl", records="batch", record_bytes=60)


@pytest.mark.parametrize(("items", "fits"), [(2, True), (9, False)])
def test_a_file_that_a_version_before_has_numbered_is_taken_as_it_is_where_its_numbers_hold(
    items: int, fits: bool, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = b'{"batch": [%s]}' % b", ".join([b'{"n": 1}'] * items)
    file = write(tmp_path / "a.jsonl", line)
    whole = [(0, 2 if fits else 1, 0, len(line))]  # a batch that is larger than a record may be was one record
    with monkeypatch.context() as before:
        before.setattr(files, "reader_id", partial(reader_id, former=True))
        before.setattr(files, "scan_chunks", lambda *_: (whole, False, 0))
        land_file(lake, BATCHES, file)
    if fits:
        assert land_file(lake, BATCHES, file).status == "already landed"
    else:
        with pytest.raises(ConfigurationError, match="numbered with other options"):
            land_file(lake, BATCHES, file)


def test_options_that_number_nothing_may_change() -> None:
    assert reader_id(SPEC) == reader_id(replace(SPEC, max_depth=3, csv=CsvDialect(quote="'"), timezone="Europe/Berlin"))


def test_inputs_are_files_folders_and_globs_each_file_once_and_sorted(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "sub/deep/c.jsonl", "sub/[odd]*.jsonl"):
        write(tmp_path / name, b"{}")
    found = expand_inputs(
        (str(tmp_path / "b.jsonl"), f"file://{tmp_path}", str(tmp_path / "*.jsonl"), str(tmp_path / "sub/[odd]*.jsonl"))
    )
    assert [Path(file.uri).relative_to(tmp_path).as_posix() for file in found] == [
        "a.jsonl",
        "b.jsonl",
        "sub/[odd]*.jsonl",
        "sub/deep/c.jsonl",
    ]
    assert all((file.size_bytes, file.mtime_us) == (2, TEN_O_CLOCK_S * 10**6) for file in found)


def test_all_patterns_that_find_nothing_are_named(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", b"{}")
    with pytest.raises(ConfigurationError, match=r"no file found for .*/b\.jsonl, .*/\*\.csv"):
        expand_inputs((str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"), str(tmp_path / "*.csv")))


def test_put_if_absent_writes_once(lake: Lake) -> None:
    path = lake.raw / "x.json"
    assert lake.storage.put_if_absent(str(path), b"one")
    assert not lake.storage.put_if_absent(str(path), b"two")
    assert path.read_bytes() == b"one"
    assert files_in(lake.temporary) == []


def test_chunks_cover_every_record_and_each_record_is_found_by_its_position(lake: Lake, tmp_path: Path) -> None:
    lines = [b'{"id":%d}' % i for i in range(200)]
    lines[77] = b"{broken"
    with small_pieces(50):
        file = landed(land_file(lake, SPEC, write(tmp_path / "a.jsonl", b"\n".join(lines)), chunk_bytes=300))
        chunks = list(file.as_chunks(lake))
        assert len(chunks) > 5
        assert [chunk.ordinal for chunk in chunks] == [sum(c.records for c in chunks[:i]) for i in range(len(chunks))]
        assert sum(chunk.records for chunk in chunks) == file.records == 200
        assert [read_record(lake, SPEC, file.raw_file, i) for i in range(200)] == lines
        for position in (-1, 200):
            with pytest.raises(ConfigurationError, match="no record at"):
                read_record(lake, SPEC, file.raw_file, position)
    with pytest.raises(ConfigurationError, match="no record at"):
        read_record(lake, SPEC, "0" * 64, 0)
