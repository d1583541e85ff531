"""What holds for every file format, checked on bytes: whole and chunked reading agree, damage is told, nothing raises."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from contracts.codes import Violation
from contracts.spec.paths import PayloadPath
from contracts.spec.source import CsvDialect, FormatName, SourceSpec
from lake.formats import Bookmark, ParsedRecords, avro_blocks, compression, format_for, json_array, lines, parquet_groups
from lake.raw.files import scan_chunks
from tests.support.compressed import gzip_members, zstd_frames

CHUNK_BYTES = 64 << 20


@dataclass(frozen=True)
class Seen:
    """One record as a format gives it. violations: empty where it was decoded."""

    ordinal: int
    value: Any
    violations: tuple[Violation, ...]
    raw: bytes

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that it broke."""
        return tuple(v.rule for v in self.violations)


def spec_of(
    format: FormatName,
    *,
    columns: Sequence[str] = ("id",),
    records: str | None = None,
    csv: CsvDialect | None = None,
    record_bytes: int = 1 << 20,
    max_depth: int = 64,
) -> SourceSpec:
    """A source of this format whose columns have the names of the payload's fields."""
    return SourceSpec(
        name="test",
        dataset="test",
        version=1,
        format=format,
        columns={name: (PayloadPath((name,)),) for name in columns},
        records=PayloadPath.parse(records) if records else None,
        csv=csv or CsvDialect(),
        record_bytes=record_bytes,
        max_depth=max_depth,
    )


def read_whole(spec: SourceSpec, data: bytes) -> list[Seen]:
    """Every record from the start of the file. Ordinals must be 0, 1, 2, … without a gap."""
    seen: list[Seen] = []
    for block in format_for(spec).blocks(io.BytesIO(data), Bookmark()):
        assert block.start.ordinal == len(seen)
        assert block.count > 0
        seen += _told(block.parse(), block.start.ordinal, block.count)
    return seen


def read_in_chunks(spec: SourceSpec, data: bytes, chunk_bytes: int) -> list[Seen]:
    """Every record, chunk by chunk, each from its bookmark alone, as workers do."""
    chunks, *_ = scan_chunks(spec, io.BytesIO(data), chunk_bytes)
    seen: list[Seen] = []
    for ordinal, records, offset, _size in chunks:
        assert ordinal == len(seen)
        for block in format_for(spec).blocks(io.BytesIO(data), Bookmark(ordinal, offset)):
            if block.start.ordinal >= ordinal + records:
                break
            told = _told(block.parse(), block.start.ordinal, block.count)
            seen += told[: ordinal + records - block.start.ordinal]
        assert len(seen) == ordinal + records
    return seen


def agree(spec: SourceSpec, data: bytes, chunk_bytes: int) -> list[Seen]:
    """The law: chunked reading gives what whole reading gives, whatever the size of the chunks. Gives the records."""
    whole = read_whole(spec, data)
    assert read_in_chunks(spec, data, chunk_bytes) == whole
    return whole


def is_damaged(spec: SourceSpec, data: bytes) -> bool:
    """What landing notes of a file."""
    return scan_chunks(spec, io.BytesIO(data), CHUNK_BYTES)[1]


def _told(parsed: ParsedRecords, first: int, count: int) -> list[Seen]:
    assert len(parsed.records) == count
    assert set(parsed.failed) <= set(range(count))
    return [
        Seen(first + i, None if i in parsed.failed else value, tuple(parsed.failed.get(i, ())), parsed.raw(i))
        for i, value in enumerate(parsed.records)
    ]


@contextmanager
def small_pieces(size: int) -> Iterator[None]:
    """Make formats cut their blocks at this many bytes, so that small inputs have many."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (lines, json_array, avro_blocks):
            patch.setattr(module, "PIECE_BYTES", size)
        patch.setattr(compression, "_PLAIN_BYTES", size)
        patch.setattr(compression, "_GATHERED_BYTES", min(size, 64))
        patch.setattr(parquet_groups, "_BLOCK_ROWS", max(size // 10, 1))
        yield


@st.composite
def packings(draw: st.DrawFn, data: bytes) -> bytes:
    """These bytes plain, or cut at random places into gzip members or zstd frames."""
    kind = draw(st.sampled_from(["plain", "gzip", "zstd"]))
    if kind == "plain":
        return data
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
    parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return gzip_members(parts) if kind == "gzip" else zstd_frames(parts)


def peak_megabytes(format: FormatName, make: str) -> float:
    """The memory that a fresh process takes for landing and reading an input, beyond what its imports take.

    Args:
        format: of the input.
        make: Python expression of a binary file; ``Repeated`` (below) is at hand.
    """
    root = Path(__file__).parents[2]
    code = _MEASURE.format(format=format, make=make)
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True, timeout=120)
    return float(done.stdout)


class Repeated(io.RawIOBase):
    """A large file that takes no memory: head, the same piece many times, tail."""

    def __init__(self, head: bytes, piece: bytes, times: int, tail: bytes) -> None:
        super().__init__()
        self._parts = (head, piece, tail)
        self._ends = (len(head), len(head) + len(piece) * times, len(head) + len(piece) * times + len(tail))
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """See io.RawIOBase; gives at most the rest of the part it is in."""
        head, piece, tail = self._parts
        if self._at < self._ends[0]:
            out = head[self._at :]
        elif self._at < self._ends[1]:
            out = piece[(self._at - self._ends[0]) % len(piece) :]
        else:
            out = tail[self._at - self._ends[1] :]
        out = out if size < 0 else out[:size]
        self._at += len(out)
        return out

    def seek(self, offset: int, whence: int = 0) -> int:
        """See io.RawIOBase."""
        self._at = (0, self._at, self._ends[2])[whence] + offset
        return self._at

    def seekable(self) -> bool:
        """See io.RawIOBase."""
        return True


_MEASURE = """
import io, resource
from tests.support.compressed import gzip_repeated, zstd_repeated
from tests.support.format_laws import Repeated, spec_of
from lake.formats import Bookmark, format_for
from lake.raw.files import scan_chunks
spec = spec_of({format!r})
file = {make}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
scan_chunks(spec, file, 64 << 20)
for block in format_for(spec).blocks(file, Bookmark()):
    block.parse()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
