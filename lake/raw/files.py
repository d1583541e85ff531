"""The raw layer: files landed verbatim, once per source and content, with an index of where their records begin."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import BinaryIO, Literal

import msgspec
import numpy as np
import xxhash

from contracts.compiler.timestamps import us_to_datetime
from contracts.errors import ConfigurationError
from contracts.spec.source import SourceSpec
from lake.formats import Bookmark, format_for
from lake.location import Lake
from lake.objects import put_if_absent
from lake.raw.batch import RawBlock
from lake.storage import is_object, local_path, storage_of
from lake.storage.inputs import object_inputs

CHUNK_BYTES = 64 << 20  # what one worker decodes before it cuts batches; bounds its memory
_COPY_BYTES = 1 << 20
_ATTEMPTS = 3
_SUFFIX_LENGTH = 32
IGNORED_NAMES = (".*", "_*", "*.tmp", "*.part", "*.partial", "*.crc", "*.inprogress", "*.swp", "Thumbs.db", "*~")

Status = Literal["landed", "already landed", "ignored", "vanished", "unreadable", "changing"]


@dataclass(frozen=True)
class RawChunk:
    """A stretch of records of one raw file: what one worker decodes at once.

    ordinal, records: positions [ordinal, ordinal + records). offset: where reading begins (see Bookmark). size_bytes: decompressed.
    """

    raw_file: str
    path: str
    received_at_us: int
    ordinal: int
    records: int
    offset: int
    size_bytes: int

    def blocks(self, spec: SourceSpec) -> Iterator[RawBlock]:
        """See RawBatch."""
        end = self.ordinal + self.records
        with open_raw(self) as file:
            for block in format_for(spec).blocks(file, Bookmark(self.ordinal, self.offset)):
                first = block.start.ordinal
                if first >= end:
                    return
                parsed = block.parse().first(end - first)
                count = len(parsed.records)
                positions = np.arange(first, first + count)
                yield RawBlock(parsed, positions, [self.raw_file] * count, [self.received_at_us] * count)


@dataclass(frozen=True)
class RawFile:
    """One landed file, as its index says.

    raw_file: its id, the SHA-256 of its bytes. path: relative to the lake. received_at_us: when the first copy was written at its
    origin. records: how many it holds, damage included. damaged: a part of it cannot be read.
    """

    raw_file: str
    path: str
    source: str
    name: str
    reader: str
    size_bytes: int
    received_at_us: int
    records: int
    damaged: bool
    chunks: tuple[tuple[int, int, int, int], ...]  # ordinal, records, offset, size_bytes

    def as_chunks(self, lake: Lake) -> Iterator[RawChunk]:
        """The file's chunks."""
        for ordinal, records, offset, size in self.chunks:
            yield RawChunk(self.raw_file, lake.at_key(self.path), self.received_at_us, ordinal, records, offset, size)


@dataclass(frozen=True)
class Landing:
    """What became of one input."""

    uri: str
    status: Status
    file: RawFile | None = None
    detail: str = ""


@dataclass(frozen=True)
class InputFile:
    """One file to land. mtime_us: its generation time at its origin."""

    uri: str
    size_bytes: int
    mtime_us: int


def expand_inputs(patterns: tuple[str, ...]) -> list[InputFile]:
    """Files behind paths, folders (recursively, but for hidden folders) and globs, local or ``gs://``; the oldest first, each once.

    Raises:
        ConfigurationError: a pattern finds nothing, all such are named; or is a URI of another kind.
    """
    found: dict[str, InputFile] = {}
    missing: list[str] = []
    for pattern in patterns:
        try:
            if is_object(pattern):
                files = [InputFile(found.location, found.size_bytes, modified_us) for found, modified_us in object_inputs(pattern)]
            else:
                files = [_local_input(path) for path in _local_files(local_path(pattern, "input"))]
        except ValueError as error:  # of pathlib, for a glob such as a/**.json
            raise ConfigurationError(f"input {pattern}: not a glob: {error}") from None
        if not files:
            missing.append(pattern)
        found.update((file.uri, file) for file in files)
    if missing:
        raise ConfigurationError("no file found for " + ", ".join(missing) + "; give a path, a folder or a glob in quotes")
    return sorted(found.values(), key=lambda file: (file.mtime_us, file.uri))


def _local_files(pattern: str) -> list[Path]:
    path = Path(pattern).expanduser().absolute()
    if os.path.isdir(path):
        unreadable: list[Path] = []  # folders; told when they are landed
        files: list[Path] = []
        for folder, folders, names in os.walk(path, onerror=lambda error: unreadable.append(Path(error.filename))):
            folders[:] = [name for name in folders if not name.startswith((".", "_"))]  # of writers at work, as Spark's _temporary
            files += [Path(folder, name) for name in names]
        return files + unreadable
    if os.path.lexists(path):
        return [path]
    anchor = Path(path.anchor)
    return [p for p in anchor.glob(str(path.relative_to(anchor))) if not os.path.isdir(p)]


def _local_input(path: Path) -> InputFile:
    try:
        status = path.stat()
    except OSError:
        return InputFile(str(path), 0, 0)  # told when it is landed
    return InputFile(str(path), status.st_size, status.st_mtime_ns // 1000)


def reader_id(spec: SourceSpec) -> str:
    """Names everything that decides how a source's records are numbered, and the dataset that their outcomes are of."""
    parts = [spec.dataset, spec.format, str(spec.records or ""), str(spec.record_bytes)]
    if spec.format == "csv":
        parts += [spec.csv.quote, spec.csv.encoding, spec.csv.delimiter]
    if spec.records:
        parts.append(str(spec.max_depth))  # a batch that is too deep is one record
    return xxhash.xxh3_64_hexdigest("\0".join(parts).encode())


def land_file(lake: Lake, spec: SourceSpec, file: InputFile, chunk_bytes: int = CHUNK_BYTES) -> Landing:
    """Copy one file into ``raw/`` and index it. Put-if-absent: of two copies or two runs at once, one is kept.

    Raises:
        ConfigurationError: the same bytes were landed before and numbered by another reader.
    """
    uri = os.fsencode(file.uri).decode("utf-8", "replace")  # what can be written down: names on disk are bytes
    name = uri.rstrip("/").rsplit("/", 1)[-1]
    if any(fnmatch.fnmatch(name, pattern) for pattern in IGNORED_NAMES):
        return Landing(uri, "ignored", detail="a hidden or unfinished file by its name")
    temporary = lake.storage.scratch(file.uri, "copy")
    try:
        for _ in range(_ATTEMPTS):
            copied = _copy(file, temporary)
            if copied is not None:
                break
        else:
            return Landing(uri, "changing", detail=f"it changed while it was read, {_ATTEMPTS} times; land it when it is complete")
        known = find_raw_file(lake, spec.name, copied.digest)
        if known is not None:
            _check_reader(known, spec)
            return Landing(uri, "already landed", known)
        return _index(lake, spec, uri, name, copied, temporary, chunk_bytes)
    except _InputError as error:
        return Landing(uri, error.status, detail=error.detail)
    finally:
        temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Copied:
    digest: str
    mtime_us: int


class _InputError(Exception):
    """The input, not the lake, cannot be read."""

    def __init__(self, status: Status, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise _InputError("vanished", "it was listed, and was gone when it was opened") from None
    except OSError as error:
        raise _InputError("unreadable", (error.strerror or "input/output error").lower()) from None


def _copy(file: InputFile, target: Path) -> _Copied | None:
    """Copy and hash; None where the file changed meanwhile."""
    if is_object(file.uri):
        return _copy_object(file, target)
    digest = hashlib.sha256()
    with _reading():
        before = os.stat(file.uri)
        if stat.S_ISDIR(before.st_mode):
            os.listdir(file.uri)
            raise _InputError("unreadable", "it is a folder")
        if not stat.S_ISREG(before.st_mode):  # opening a pipe would wait for its other end
            raise _InputError("unreadable", "it is not a regular file")
        source = open(file.uri, "rb")  # noqa: SIM115 - closed below
    with source, target.open("wb") as out:
        while piece := _read(source):
            digest.update(piece)
            out.write(piece)
    with _reading():
        after = os.stat(file.uri)
    same = (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns)
    return _Copied(digest.hexdigest(), after.st_mtime_ns // 1000) if same else None


def _copy_object(file: InputFile, target: Path) -> _Copied | None:
    """As ``_copy``, of one state of an object: it cannot change while it is read, but it can be replaced."""
    digest = hashlib.sha256()
    with _reading():
        source = storage_of(file.uri).open(file.uri)
    with source, target.open("wb") as out:
        try:
            while piece := source.read(_COPY_BYTES):
                digest.update(piece)
                out.write(piece)
        except FileNotFoundError:  # this state was replaced; the next attempt finds another, or nothing
            return None
    return _Copied(digest.hexdigest(), file.mtime_us)


def _read(source: BinaryIO) -> bytes:
    with _reading():
        return source.read(_COPY_BYTES)


def _index(lake: Lake, spec: SourceSpec, uri: str, name: str, copied: _Copied, copy: Path, chunk_bytes: int) -> Landing:
    digest = copied.digest
    received = us_to_datetime(copied.mtime_us)
    suffix = "".join(PurePath(name).suffixes[-2:])
    file_name = f"{digest}{suffix if len(suffix) <= _SUFFIX_LENGTH else ''}"
    path = f"raw/source={spec.name}/dt={received:%Y-%m-%d}/hour={received:%H}/{file_name}"
    with copy.open("rb") as opened:
        chunks, damaged = scan_chunks(spec, opened, chunk_bytes)
    raw_file = RawFile(
        raw_file=digest,
        path=path,
        source=spec.name,
        name=name,
        reader=reader_id(spec),
        size_bytes=copy.stat().st_size,
        received_at_us=copied.mtime_us,
        records=sum(chunk[1] for chunk in chunks),
        damaged=damaged,
        chunks=tuple(chunks),
    )
    # With its time, so that another lake that takes this file in knows when it was received.
    lake.storage.upload(copy, lake.at_key(path), copied.mtime_us)
    index = _index_path(lake, spec.name, digest)
    if put_if_absent(lake, index, json.dumps(asdict(raw_file), indent=1).encode()):
        return Landing(uri, "landed", raw_file)
    known = find_raw_file(lake, spec.name, digest)  # another run was faster; its place is the one that counts
    assert known is not None
    if known.path != raw_file.path:
        lake.storage.delete(lake.at_key(path))
    _check_reader(known, spec)
    return Landing(uri, "already landed", known)


def scan_chunks(spec: SourceSpec, file: BinaryIO, chunk_bytes: int) -> tuple[list[tuple[int, int, int, int]], bool]:
    """Cut a file into chunks of about this many decompressed bytes; and whether a part of it is damaged."""
    chunks: list[tuple[int, int, int, int]] = []
    start, records, size, damaged = Bookmark(), 0, 0, False
    for block in format_for(spec).blocks(file, Bookmark()):
        if records == 0:
            start = block.start
        records += block.count
        size += block.size_bytes
        damaged = damaged or block.damaged
        if size >= chunk_bytes:
            chunks.append((start.ordinal, records, start.offset, size))
            records = size = 0
    if records:
        chunks.append((start.ordinal, records, start.offset, size))
    return chunks, damaged


def _index_path(lake: Lake, source: str, digest: str) -> str:
    return lake.at_key(f"raw/source={source}/_index/{digest}.json")


def find_raw_file(lake: Lake, source: str, digest: str) -> RawFile | None:
    """The index of a landed file, or None."""
    try:
        return _read_index(lake, _index_path(lake, source, digest))
    except FileNotFoundError:
        return None


def raw_files(lake: Lake, source: str | None = None) -> list[RawFile]:
    """Every landed file, of one source or of all."""
    storage, raw = lake.storage, lake.at_key("raw")
    folders = [f"source={source}"] if source else [name for name in storage.folders(raw) if name.startswith("source=")]
    indexes = [found for folder in folders for found in sorted(storage.names(f"{raw}/{folder}/_index")) if found.endswith(".json")]
    return storage.map(lambda location: _read_index(lake, location), indexes)


def _read_index(lake: Lake, location: str) -> RawFile:
    return msgspec.json.decode(lake.storage.read(location), type=RawFile)


def open_raw(chunk: RawChunk) -> BinaryIO:
    """The raw file that holds a chunk, as it lies there."""
    return storage_of(chunk.path).open(chunk.path)


def _check_reader(known: RawFile, spec: SourceSpec) -> None:
    if known.reader != reader_id(spec):
        raise ConfigurationError(
            f"source {spec.name}: {known.name} was landed and its records numbered with other options "
            "(dataset, format, records, record_bytes, max_depth, csv quote, delimiter or encoding). Positions would change their "
            "meaning: give the changed source a new name, or use another lake."
        )
