"""The laws of storage, for a disk and for a bucket, and how long and how often a bucket is asked."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.errors import ComponentDownError, ConfigurationError
from lake.location import Lake
from lake.raw.inputs import expand_inputs
from lake.storage import Storage, storage_of
from lake.storage.file_io import ObjectFileIO
from lake.storage.object_reader import READ_BYTES
from lake.storage.objects import ObjectStorage
from lake.storage.places import object_storage
from tests.support.buckets import SCHEMES, Emulator
from tests.support.faulty import FAULTS, STATUSES, FaultyProxy, faulty

ODD = "a b/ü#?%&=+.txt"


@pytest.fixture(params=["disk", *SCHEMES])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "disk":
        return str(tmp_path)
    emulator: Emulator = request.getfixturevalue(f"{request.param}_emulator")
    emulator.use(monkeypatch)
    return emulator.make_bucket()


@pytest.fixture
def storage(place: str) -> Storage:
    return storage_of(place)


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 5_000])
def test_what_is_written_is_read(storage: Storage, place: str, content: bytes) -> None:
    location = f"{place}/{ODD}"
    storage.write(location, b"before")
    storage.write(location, content)
    assert storage.read(location) == content
    assert storage.read(location, first=300) == content[:300]
    assert storage.stat(location).size_bytes == len(content)
    with storage.open(location) as file:
        assert file.read() == content
        assert file.seek(-1, os.SEEK_END) == len(content) - 1 if content else True
        file.seek(min(7, len(content)))
        assert file.read(3) == content[7:10]
        assert file.tell() == min(10, len(content))


def test_what_is_not_there_is_not_found(storage: Storage, place: str) -> None:
    storage.write(f"{place}/folder/file", b"x")
    for read in (storage.read, storage.open, storage.stat):
        for missing in (f"{place}/none", f"{place}/folder/fil"):
            with pytest.raises(FileNotFoundError):
                read(missing)
    assert not storage.delete(f"{place}/none")
    assert storage.names(f"{place}/none") == storage.folders(f"{place}/none") == storage.files(f"{place}/none") == []


def test_listings_tell_names_folders_sizes_and_times(storage: Storage, place: str) -> None:
    for number, name in enumerate(("a/1", "a/2", "a/b/3", "a/b/c/4", "ab/5", f"a/{ODD}")):
        storage.write(f"{place}/{name}", b"x" * number)
    assert sorted(storage.names(f"{place}/a")) == [f"{place}/a/1", f"{place}/a/2"]
    assert storage.folders(f"{place}/a") == ["a b", "b"]
    found = storage.files(f"{place}/a")
    assert {f.location: f.size_bytes for f in found} == {
        f"{place}/a/1": 0, f"{place}/a/2": 1, f"{place}/a/b/3": 2, f"{place}/a/b/c/4": 3, f"{place}/a/{ODD}": 5,
    }  # fmt: skip
    assert found == sorted(found) and found[0] == storage.stat(f"{place}/a/1")
    assert storage.delete(f"{place}/a/b/3")
    assert not storage.delete(f"{place}/a/b/3")
    assert storage.names(f"{place}/a/b") == []


@pytest.mark.parametrize("size", [10, 9 << 20])  # in one request, and in a session of several
def test_of_many_who_put_at_once_exactly_one_writes(storage: Storage, place: str, size: int) -> None:
    for number in range(8 if size < 100 else 1):
        location = f"{place}/raw/{number}"
        contents = [bytes([65 + who]) * size for who in range(6)]
        with ThreadPoolExecutor(len(contents)) as pool:
            wrote = list(pool.map(lambda content, at=location: storage.put_if_absent(at, content), contents))
        assert wrote.count(True) == 1
        assert storage.read(location) == contents[wrote.index(True)]


def test_updates_at_once_are_as_if_one_after_the_other(storage: Storage, place: str) -> None:
    def increment(_: int) -> None:
        for _ in range(5):
            storage.update(f"{place}/count", lambda known: str(int(known or b"0") + 1).encode())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(increment, range(4)))
    assert storage.read(f"{place}/count") == b"20"
    storage.update(f"{place}/count", lambda _known: None)
    assert storage.read(f"{place}/count") == b"20"


def test_a_local_file_is_moved_there_whole(storage: Storage, place: str) -> None:
    location = f"{place}/data/x.parquet"
    storage.write(location, b"before")
    file = storage.scratch(location)
    file.write_bytes(b"abc")
    storage.upload(file, location, modified_us=1_600_000_000_000_000)
    assert storage.read(location) == b"abc" and not file.exists()
    (landed,) = expand_inputs((location,))
    assert (landed.size_bytes, landed.mtime_us) == (3, 1_600_000_000_000_000)


def test_map_keeps_the_order(storage: Storage) -> None:
    assert storage.map(lambda number: number * 2, range(100)) == list(range(0, 200, 2))


def test_a_lake_is_there_once_it_was_made(place: str, tmp_path: Path) -> None:
    lake = Lake.at(f"{place}/my/lake", f"sqlite:///{tmp_path}/catalog.db")
    assert not lake.exists()
    lake.create()
    lake.create()
    assert lake.exists() and not Lake.at(f"{place}/my", lake.catalog_url).exists()
    assert lake.storage.put_if_absent(lake.at_key("raw/x"), b"one")
    assert not lake.storage.put_if_absent(lake.at_key("raw/x"), b"two")
    assert pickle.loads(pickle.dumps(lake)).storage.read(lake.at_key("raw/x")) == b"one"


# What only a bucket does


def test_a_lake_in_a_bucket_needs_a_catalog_and_a_bucket(bucket: str, emulator: Emulator, tmp_path: Path) -> None:
    scheme = f"{emulator.scheme}://"
    with pytest.raises(ConfigurationError, match=rf"lake {scheme}b/l: a lake in a bucket needs a catalog .* headrace.yaml"):
        Lake.at(f"{scheme}b/l")
    with pytest.raises(ConfigurationError, match=f"{scheme}/x: names no bucket; expected {scheme}BUCKET/PREFIX"):
        Lake.at(f"{scheme}/x", "sqlite://")
    with pytest.raises(ConfigurationError, match="there is no such bucket; make it, or name another"):
        Lake.at(f"{scheme}not-there/lake", f"sqlite:///{tmp_path}/c.db").create()
    with pytest.raises(ConfigurationError, match="there is no bucket not-there at http://"):
        expand_inputs((f"{scheme}not-there/*.jsonl",))
    with pytest.raises(ConfigurationError, match="is in a bucket; this needs a local lake"):
        _ = Lake.at(f"{bucket}/lake", f"sqlite:///{tmp_path}/c.db").raw


def test_an_open_object_stays_as_it_was_when_it_was_opened(bucket: str) -> None:
    location, old = f"{bucket}/x", b"a" * (READ_BYTES + 10)
    storage = storage_of(bucket)
    storage.write(location, old)
    with storage.open(location) as file:
        head = file.read(10)
        storage.write(location, b"b" * (READ_BYTES + 10))
        try:
            rest = file.read()
        except FileNotFoundError:  # its state is gone: a bucket without versions
            return
        assert head + rest == old


def test_a_large_object_is_read_in_ranges(bucket: str, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(2 * READ_BYTES + 5)
    storage_of(bucket).write(f"{bucket}/x", content)
    with faulty(FaultyProxy(emulator.address, share=0)) as proxy:
        emulator.use(monkeypatch, proxy.address)
        with storage_of(bucket).open(f"{bucket}/x") as file:
            assert file.read() == content
        assert proxy.requests == 4  # what it is, and three ranges


def test_a_thousand_objects_and_one_are_listed_without_asking_for_each(
    bucket: str, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = storage_of(bucket)
    storage.map(lambda number: storage.write(f"{bucket}/in/{number}.jsonl", b"x"), range(1_001))
    with faulty(FaultyProxy(emulator.address, share=0)) as proxy:
        emulator.use(monkeypatch, proxy.address)
        assert len(storage_of(bucket).files(f"{bucket}/in")) == 1_001
        assert proxy.requests <= 2
        if emulator.scheme == "gs":  # S3 has no metadata in its listings
            assert len(expand_inputs((f"{bucket}/in",))) == 1_001
            assert proxy.requests <= 4


@pytest.fixture
def flaky(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FaultyProxy]]:
    """Makes ``gs://`` or ``s3://`` mean a proxy that breaks requests."""
    with faulty(FaultyProxy(emulator.address, share=0)) as proxy:

        def begin(share: float, *only: int | str, matching: str = "") -> FaultyProxy:
            proxy.share, proxy.only, proxy.matching = share, only or FAULTS, matching
            return proxy

        emulator.use(monkeypatch, proxy.address)
        yield begin


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("size", [100, 9 << 20])
def test_each_fault_is_survived_and_a_lost_answer_does_not_cost_the_victory(
    emulator: Emulator, flaky: Callable[..., FaultyProxy], fault: int | str, size: int
) -> None:
    bucket, proxy = emulator.make_bucket(), flaky(0.4, fault)
    storage = storage_of(bucket)
    numbers = range(4 if size == 100 else 2)
    for number in numbers:
        location, content = f"{bucket}/{number}", os.urandom(size)
        assert storage.put_if_absent(location, content)
        assert not storage.put_if_absent(location, content)
        assert storage.read(location) == content
        with storage.open(location) as file:
            assert file.read() == content
    assert {f.location for f in storage.files(bucket)} == {f"{bucket}/{n}" for n in numbers}
    assert proxy.broken.get(fault)


def test_one_of_many_is_told_that_it_wrote_also_when_answers_are_lost(
    emulator: Emulator, flaky: Callable[..., FaultyProxy]
) -> None:
    bucket, proxy = emulator.make_bucket(), flaky(0.3, "reset after", matching="upload" if emulator.scheme == "gs" else "PUT")
    storage = storage_of(bucket)
    for number in range(20):
        location = f"{bucket}/{number}"
        with ThreadPoolExecutor(3) as pool:
            wrote = list(pool.map(lambda _, at=location: storage.put_if_absent(at, b"the same"), range(3)))
        assert wrote.count(True) == 1
    storage.write(f"{bucket}/count", b"0")
    for _ in range(20):
        storage.update(f"{bucket}/count", lambda known: str(int(known or b"0") + 1).encode())
    assert storage.read(f"{bucket}/count") == b"20"
    assert proxy.broken["reset after"] >= 5


@pytest.mark.parametrize("fault", [*STATUSES, "reset before"])
def test_a_store_that_does_not_answer_is_told_in_a_sentence(
    emulator: Emulator, flaky: Callable[..., FaultyProxy], fault: int | str
) -> None:
    proxy, location = flaky(1.0, fault), f"{emulator.scheme}://b/x"
    storage: ObjectStorage = replace(object_storage(location), deadline_s=0.3)
    told = f"HTTP {fault}" if isinstance(fault, int) else r"\w+"
    with pytest.raises(
        ComponentDownError, match=rf"^object storage http://\S+: no answer for {location} in 0 s \({told}\); is it reach"
    ):
        storage.read(location)
    assert proxy.requests > 1


@pytest.mark.parametrize(("status", "told"), [(401, "the credentials are not accepted"), (403, "no permission")])
def test_a_refusal_is_not_tried_again(emulator: Emulator, flaky: Callable[..., FaultyProxy], status: int, told: str) -> None:
    proxy = flaky(1.0, status)
    location = f"{emulator.scheme}://b/x"
    with pytest.raises(ConfigurationError, match=f"{location}: object storage: {told}"):
        storage_of(location).write(location, b"")
    assert proxy.requests == 1


def test_pyiceberg_writes_whole_objects_or_none(bucket: str) -> None:
    io, location = ObjectFileIO(), f"{bucket}/metadata/v1.json"
    with pytest.raises(RuntimeError), io.new_output(location).create() as out:
        out.write(b"half")
        raise RuntimeError
    assert not io.new_input(location).exists()
    with io.new_output(location).create() as out:
        out.write(b"whole")
    assert len(io.new_input(location)) == 5
    with pytest.raises(FileExistsError), io.new_output(location).create() as out:
        out.write(b"again")
    with io.new_output(location).create(overwrite=True) as out:
        out.write(b"another")
    with io.new_input(location).open() as file:
        assert file.read() == b"another"
    io.delete(location)
    assert not io.new_input(location).exists()


@pytest.mark.parametrize(
    ("module", "scheme", "told"),
    [
        ("google.cloud.storage", "gs", "gs:// needs google-cloud-storage: pip install headrace[gcs]"),
        ("boto3", "s3", "s3:// needs boto3: pip install headrace[s3]"),
    ],
)
def test_without_the_client_library_it_is_said_how_to_install_it(module: str, scheme: str, told: str) -> None:
    code = (
        f"import sys; sys.modules['{module}'] = None\n"
        "from lake.storage import storage_of\n"
        "from contracts.errors import ConfigurationError\n"
        f"try: storage_of('{scheme}://b/x')\n"
        "except ConfigurationError as error: print(error)\n"
        "print(type(storage_of('/tmp')).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{told}\nLocalStorage\n"
