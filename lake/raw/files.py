"""The raw layer: files landed verbatim, once per source and content, with an index of where their records begin."""

from __future__ import annotations

import fnmatch
import json
import logging
import os
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import BinaryIO, Literal

import msgspec
import numpy as np
import xxhash

from contracts.errors import ConfigurationError
from contracts.spec.model import dataset_name
from contracts.spec.source import SourceSpec
from contracts.units import us_to_datetime
from lake.formats import Bookmark, format_for
from lake.formats.containers import foreign_content
from lake.location import Lake
from lake.raw.batch import RawBlock
from lake.raw.inputs import Copied, InputError, InputFile, copy_input
from lake.storage import storage_of

_log = logging.getLogger(__name__)
CHUNK_BYTES = 64 << 20  # what one worker decodes before it cuts batches; bounds its memory
_ATTEMPTS = 3
_COPIED_AHEAD, _AHEAD_BYTES = 2, 1 << 30
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
    origin. records: how many it holds, damage included. damaged: a part of it cannot be read. lost_bytes: in records that are
    larger than they may be.
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
    lost_bytes: int = 0

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


def reader_id(spec: SourceSpec, *, former: bool = False) -> str:
    """Names everything that decides how a source's records are numbered, and the dataset that their outcomes are of.

    Args:
        spec: the source.
        former: as development versions named it, whose batches were one record where they were larger than ``record_bytes``, and
            whose rows of nothing but blank delimiters were none.
    """
    dataset = spec.raw_dataset or dataset_name(spec.dataset, spec.version)
    parts = [dataset, spec.format, str(spec.records or ""), str(spec.record_bytes)]
    if spec.format == "csv":
        parts += [spec.csv.quote, spec.csv.encoding, spec.csv.delimiter]
        if spec.csv.delimiter.isspace() and not former:
            parts.append("rows of blanks")
    if spec.records:
        parts.append(str(spec.max_depth))  # a batch that is too deep is one record
        parts += [] if former else ["items"]  # record_bytes bounds its items
    return xxhash.xxh3_64_hexdigest("\0".join(parts).encode())


def land_files(lake: Lake, spec: SourceSpec, files: Iterable[InputFile], chunk_bytes: int = CHUNK_BYTES) -> Generator[Landing]:
    """Copy files into ``raw/`` and index them, in their order: while one is indexed, the next are copied.

    Put-if-absent: of two copies or two runs at once, one is kept; of equal files of these, the first. Copies that wait take at most
    a gigabyte of disk, or one file.

    Raises:
        ConfigurationError: the same bytes were landed before and numbered by another reader.
        OSError: ``raw/`` cannot be written.
    """
    coming, stopped = deque(files), threading.Event()
    ahead: deque[_Ahead] = deque()
    with ThreadPoolExecutor(_COPIED_AHEAD, "land") as pool:
        try:
            while True:
                while coming and (not ahead or (len(ahead) <= _COPIED_AHEAD and _fits(coming[0], ahead))):
                    file = coming.popleft()
                    temporary = lake.storage.scratch(file.uri, "copy")
                    ahead.append((temporary, file, pool.submit(_copy, file, temporary, stopped)))
                if not ahead:
                    return
                temporary, file, copy = ahead[0]
                found = copy.result()
                yield found if isinstance(found, Landing) else _landed(lake, spec, file, found, temporary, chunk_bytes)
                temporary.unlink(missing_ok=True)
                ahead.popleft()
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)
            for temporary, _, _ in ahead:
                temporary.unlink(missing_ok=True)


_Ahead = tuple[Path, InputFile, "Future[Copied | Landing]"]


def _fits(file: InputFile, ahead: Iterable[_Ahead]) -> bool:
    return file.size_bytes + sum(other.size_bytes for _, other, _ in ahead) <= _AHEAD_BYTES


def land_file(lake: Lake, spec: SourceSpec, file: InputFile, chunk_bytes: int = CHUNK_BYTES) -> Landing:
    """One of ``land_files``."""
    return next(land_files(lake, spec, [file], chunk_bytes))


def _copy(file: InputFile, temporary: Path, stopped: threading.Event) -> Copied | Landing:
    uri, name = _names(file)
    if file.refused:
        return Landing(uri, file.refused[0], detail=file.refused[1])
    if not file.named and any(fnmatch.fnmatch(name, pattern) for pattern in IGNORED_NAMES):
        return Landing(uri, "ignored", detail="a hidden or unfinished file by its name")
    try:
        for _ in range(_ATTEMPTS):
            if stopped.is_set():
                break
            if copied := copy_input(file, temporary, stopped.is_set):
                return copied
    except InputError as error:
        return Landing(uri, error.status, detail=error.detail)
    return Landing(uri, "changing", detail=f"it changed while it was read, {_ATTEMPTS} times; land it when it is complete")


def _names(file: InputFile) -> tuple[str, str]:
    """Its URI and its name as they can be written down: names on disk are bytes."""
    uri = os.fsencode(file.uri).decode("utf-8", "replace")
    return uri, uri.rstrip("/").rsplit("/", 1)[-1]


def _landed(lake: Lake, spec: SourceSpec, file: InputFile, copied: Copied, copy: Path, chunk_bytes: int) -> Landing:
    uri, name = _names(file)
    known = find_raw_file(lake, spec.raw_source, copied.digest)
    if known is None:
        return _index(lake, spec, uri, name, copied, copy, chunk_bytes)
    _check_reader(known, spec, copy, chunk_bytes)
    return Landing(uri, "already landed", known, _kind_of(copy, spec) if known.damaged else "")


def _index(lake: Lake, spec: SourceSpec, uri: str, name: str, copied: Copied, copy: Path, chunk_bytes: int) -> Landing:
    digest = copied.digest
    received = us_to_datetime(copied.mtime_us)
    suffix = "".join(PurePath(name).suffixes[-2:])
    file_name = f"{digest}{suffix if len(suffix) <= _SUFFIX_LENGTH else ''}"
    path = f"raw/source={spec.raw_source}/dt={received:%Y-%m-%d}/hour={received:%H}/{file_name}"
    with copy.open("rb") as opened:
        chunks, damaged, lost_bytes = scan_chunks(spec, opened, chunk_bytes)
    raw_file = RawFile(
        raw_file=digest,
        path=path,
        source=spec.raw_source,
        name=name,
        reader=reader_id(spec),
        size_bytes=copy.stat().st_size,
        received_at_us=copied.mtime_us,
        records=sum(chunk[1] for chunk in chunks),
        damaged=damaged,
        chunks=tuple(chunks),
        lost_bytes=lost_bytes,
    )
    kind = _kind_of(copy, spec) if damaged else ""
    # With its time, so that another lake that takes this file in knows when it was received.
    lake.storage.upload(copy, lake.at_key(path), copied.mtime_us)
    index = _index_path(lake, spec.raw_source, digest)
    if lake.storage.put_if_absent(index, json.dumps(asdict(raw_file), indent=1).encode()):
        _log.info("landed %s: %d records, %d bytes", digest, raw_file.records, raw_file.size_bytes)
        return Landing(uri, "landed", raw_file, kind)
    known = find_raw_file(lake, spec.raw_source, digest)  # another run was faster; its place is the one that counts
    assert known is not None
    if known.path != raw_file.path:
        lake.storage.delete(lake.at_key(path))
    _check_reader(known, spec, copy, chunk_bytes)
    return Landing(uri, "already landed", known)


def _kind_of(copy: Path, spec: SourceSpec) -> str:
    """What a damaged file is, where that is another kind of file; "" where it is not known."""
    with copy.open("rb") as opened:
        what = foreign_content(opened, spec.format)
    return f"this is {what}, not {spec.format}" if what else ""


def scan_chunks(spec: SourceSpec, file: BinaryIO, chunk_bytes: int) -> tuple[list[tuple[int, int, int, int]], bool, int]:
    """Cut a file into chunks of about this many decompressed bytes; whether a part of it is damaged; bytes in too large records."""
    chunks: list[tuple[int, int, int, int]] = []
    start, records, size, damaged, lost_bytes = Bookmark(), 0, 0, False, 0
    for block in format_for(spec).blocks(file, Bookmark()):
        if records == 0:
            start = block.start
        records += block.count
        size += block.size_bytes
        damaged = damaged or block.damaged
        lost_bytes += block.lost_bytes
        if size >= chunk_bytes:
            chunks.append((start.ordinal, records, start.offset, size))
            records = size = 0
    if records:
        chunks.append((start.ordinal, records, start.offset, size))
    return chunks, damaged, lost_bytes


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


def _check_reader(known: RawFile, spec: SourceSpec, copy: Path, chunk_bytes: int) -> None:
    """Whether a landed file's records have the numbers that this source gives them."""
    if known.reader == reader_id(spec):
        return
    with copy.open("rb") as opened:
        same = known.reader == reader_id(spec, former=True) and scan_chunks(spec, opened, chunk_bytes)[0] == list(known.chunks)
    if not same:
        raise ConfigurationError(
            f"source {spec.name}: {known.name} was landed and its records numbered with other options "
            "(dataset and version, format, records, record_bytes, max_depth, csv quote, delimiter or encoding). Positions would "
            "change their meaning: give the changed source a new name (one with raw: is made as its owner), or use another lake."
        )
