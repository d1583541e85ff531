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
import xxhash

from contracts.compiler.timestamps import us_to_datetime
from contracts.errors import ConfigurationError
from contracts.source import SourceSpec
from transforms.formats import Bookmark, format_for
from transforms.lake.location import Lake, local_path
from transforms.lake.objects import put_if_absent, temporary_path

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
            yield RawChunk(self.raw_file, str(lake.path / self.path), self.received_at_us, ordinal, records, offset, size)


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
    """Files behind paths, folders (recursively, but for hidden folders) and globs; the oldest first, each once.

    Raises:
        ConfigurationError: a pattern finds nothing, all such are named; or is a URI of another kind.
    """
    found: dict[str, InputFile] = {}
    missing: list[str] = []
    for pattern in patterns:
        plain = local_path(pattern, "input")
        try:
            files = [_local_input(path) for path in _local_files(plain)]
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
    temporary = temporary_path(lake, os.fsencode(file.uri), "copy")
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


def _read(source: BinaryIO) -> bytes:
    with _reading():
        return source.read(_COPY_BYTES)


def _index(lake: Lake, spec: SourceSpec, uri: str, name: str, copied: _Copied, copy: Path, chunk_bytes: int) -> Landing:
    digest = copied.digest
    received = us_to_datetime(copied.mtime_us)
    folder = lake.raw / f"source={spec.name}" / f"dt={received:%Y-%m-%d}" / f"hour={received:%H}"
    suffix = "".join(PurePath(name).suffixes[-2:])
    path = folder / f"{digest}{suffix if len(suffix) <= _SUFFIX_LENGTH else ''}"
    with copy.open("rb") as opened:
        chunks, damaged = scan_chunks(spec, opened, chunk_bytes)
    raw_file = RawFile(
        raw_file=digest,
        path=str(path.relative_to(lake.path)),
        source=spec.name,
        name=name,
        reader=reader_id(spec),
        size_bytes=copy.stat().st_size,
        received_at_us=copied.mtime_us,
        records=sum(chunk[1] for chunk in chunks),
        damaged=damaged,
        chunks=tuple(chunks),
    )
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(copy, ns=(copied.mtime_us * 1_000,) * 2)  # so that another lake that takes this file in knows when it was received
    os.replace(copy, path)
    index = _index_path(lake, spec.name, digest)
    index.parent.mkdir(parents=True, exist_ok=True)
    if put_if_absent(lake, index, json.dumps(asdict(raw_file), indent=1).encode()):
        return Landing(uri, "landed", raw_file)
    known = find_raw_file(lake, spec.name, digest)  # another run was faster; its place is the one that counts
    assert known is not None
    if known.path != raw_file.path:
        path.unlink(missing_ok=True)
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


def _index_path(lake: Lake, source: str, digest: str) -> Path:
    return lake.raw / f"source={source}" / "_index" / f"{digest}.json"


def find_raw_file(lake: Lake, source: str, digest: str) -> RawFile | None:
    """The index of a landed file, or None."""
    try:
        return msgspec.json.decode(_index_path(lake, source, digest).read_bytes(), type=RawFile)
    except FileNotFoundError:
        return None


def raw_files(lake: Lake, source: str | None = None) -> list[RawFile]:
    """Every landed file, of one source or of all."""
    pattern = f"source={source or '*'}/_index/*.json"
    return [msgspec.json.decode(path.read_bytes(), type=RawFile) for path in sorted(lake.raw.glob(pattern))]


def _check_reader(known: RawFile, spec: SourceSpec) -> None:
    if known.reader != reader_id(spec):
        raise ConfigurationError(
            f"source {spec.name}: {known.name} was landed and its records numbered with other options "
            "(dataset, format, records, record_bytes, max_depth, csv quote, delimiter or encoding). Positions would change their "
            "meaning: give the changed source a new name, or use another lake."
        )
