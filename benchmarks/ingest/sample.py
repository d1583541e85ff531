"""The sample: web events of the demo's generator as plain JSON lines, in the order of arrival or shuffled over the day."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import zstandard

from examples.webshop.generate import RECORDS_MIN, generate

CACHE = Path(__file__).parents[2] / ".cache/bench"
WEB_SHARE = 0.6  # of the generator's records
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Sample:
    """A folder of ``.jsonl`` files and what is in it."""

    folder: Path
    events: int
    size_bytes: int

    @classmethod
    def at(cls, folder: Path) -> Sample:
        """A sample that lies there."""
        files = sorted(folder.glob("*.jsonl"))
        events = sum(path.read_bytes().count(b"\n") for path in files)
        return cls(folder, events, sum(path.stat().st_size for path in files))


def make_sample(events: int, seed: int, *, shuffled: bool = False) -> Sample:
    """About so many events of one day; reused where it was made before.

    Shuffled: the same lines in random order over the same files, so that every file reaches every hour of the day.
    """
    folder = CACHE / f"{events}-{seed}-{'shuffled' if shuffled else 'ordered'}"
    if not folder.is_dir():
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.unfinished")
        unfinished.mkdir(parents=True)
        if shuffled:
            _shuffle(make_sample(events, seed).folder, unfinished, seed)
        else:
            _generate(unfinished, events, seed)
        os.replace(unfinished, folder)
    return Sample.at(folder)


def head_of(sample: Sample, events: int) -> Sample:
    """The first so many events of a sample, in files of the same names and times."""
    folder = sample.folder.with_name(f"{sample.folder.name}-first-{events}")
    if not folder.is_dir():
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.unfinished")
        unfinished.mkdir()
        left = events
        for path in sorted(sample.folder.glob("*.jsonl")):
            lines = path.read_bytes().splitlines(keepends=True)[:left]
            _write(unfinished / path.name, lines, path.stat().st_mtime_ns)
            left -= len(lines)
            if left == 0:
                break
        os.replace(unfinished, folder)
    return Sample.at(folder)


def _generate(folder: Path, events: int, seed: int) -> None:
    """The generator's good web files, without byte-order marks, CRLF, blank lines and compression."""
    made = folder / "generated"
    generate(made, max(RECORDS_MIN, round(events / WEB_SHARE)), seed, days=1)
    for path in sorted(made.glob("web/events-[0-9]*")):
        target = folder / (path.name.split(".")[0] + ".jsonl")
        _write(target, (line + b"\n" for line in _lines(path)), path.stat().st_mtime_ns)
    shutil.rmtree(made)


def _lines(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    elif path.suffix == ".zst":
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            data = reader.read()
    return (line.rstrip(b"\r") for line in data.removeprefix(_BOM).split(b"\n") if line.strip())


def _shuffle(source: Path, target: Path, seed: int) -> None:
    files = sorted(source.glob("*.jsonl"))
    lines = [line for path in files for line in path.read_bytes().splitlines(keepends=True)]
    Random(seed).shuffle(lines)
    last_mtime_ns = max(path.stat().st_mtime_ns for path in files)
    for number, path in enumerate(files):
        part = lines[len(lines) * number // len(files) : len(lines) * (number + 1) // len(files)]
        _write(target / path.name, part, last_mtime_ns)


def _write(path: Path, lines: Iterable[bytes], mtime_ns: int) -> None:
    """Its time stands in for a missing receivedAt, so it is the same for all contestants."""
    with path.open("wb") as file:
        file.writelines(lines)
    os.utime(path, ns=(mtime_ns, mtime_ns))
