"""The sample: web events of the demo's generator as plain JSON lines; in order of arrival, shuffled, or half invalid."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import zstandard

from benchmarks.ingest.web_event import WebEvent, breaks_cross_field_rules
from examples.webshop.defects import EVENT_DEFECTS, PROPERTIES, EventDefect
from examples.webshop.generate import RECORDS_MIN, generate
from examples.webshop.truth import DEAD_LETTER

CACHE = Path(__file__).parents[2] / ".cache/bench"
WEB_SHARE = 0.6  # of the generator's records
ORDERS = {
    "arrival": "in order of arrival",
    "shuffled": "event times shuffled over 24 h",
    "half_invalid": "half of them invalid",
}
_BOM = b"\xef\xbb\xbf"
_BEYOND_64_BITS = re.compile(rb"[:,\[] *-?[0-9]{19}")
# What makes any event invalid, and what only an event of type track.
_DEFECTS = tuple(d for d in EVENT_DEFECTS if d.expected == DEAD_LETTER and "web" in d.sources and not d.count)
_OF_TRACK_ONLY = {"track_without_event"} | {
    d.name for d in _DEFECTS if d.line and d.name not in ("truncated_json", "bare_text", "array_for_object")
}
_Object = dict[str, Any] | None
_Text = str | None
_Time = str | int | None


class _Readable(msgspec.Struct):
    """What a reader of JSON takes that wants one type per field."""

    messageId: _Text = None
    type: _Text = None
    event: _Text = None
    name: _Text = None
    userId: _Text = None
    anonymousId: _Text = None
    previousId: _Text = None
    groupId: _Text = None
    originalTimestamp: _Time = None
    timestamp: _Time = None
    sentAt: _Time = None
    receivedAt: _Time = None
    context: _Object = None
    properties: _Object = None
    traits: _Object = None
    integrations: _Object = None
    schemaVersion: int | None = None


_is_sound = msgspec.json.Decoder(WebEvent).decode
_read = msgspec.json.Decoder(_Readable).decode


@dataclass(frozen=True)
class Sample:
    """A folder of ``.jsonl`` files and what is in it. asked: how many events were asked for; the generator makes about as many."""

    folder: Path
    events: int
    size_bytes: int
    asked: int

    @classmethod
    def at(cls, folder: Path, asked: int) -> Sample:
        """A sample that lies there."""
        files = sorted(folder.glob("*.jsonl"))
        lines = sum(path.read_bytes().count(b"\n") for path in files)
        return cls(folder, lines, sum(path.stat().st_size for path in files), asked)


def make_sample(events: int, seed: int, order: str = "arrival") -> Sample:
    """About so many events of one day; reused where it was made before.

    Args:
        events: how many.
        seed: of everything that is random.
        order: a key of ORDERS. Shuffled: the same lines in random order over the same files, so that every file reaches every hour
            of the day. Half invalid: the same lines, but half of them with one of the generator's defects, each about as often.
    """
    folder = CACHE / f"{events}-{seed}-{order}"
    if not folder.is_dir():
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.unfinished")
        unfinished.mkdir(parents=True)
        if order == "shuffled":
            _shuffle(make_sample(events, seed).folder, unfinished, seed)
        elif order == "half_invalid":
            _spoil_half(make_sample(events, seed).folder, unfinished, seed)
        else:
            _generate(unfinished, events, seed)
        os.replace(unfinished, folder)
    return Sample.at(folder, events)


def readable_part(sample: Sample) -> Sample:
    """The lines that any reader of JSON takes: objects in UTF-8 with one type per field, no key twice, no integer beyond 64 bits.

    What breaks the contract in any other way is still among them.
    """
    folder = sample.folder.with_name(f"{sample.folder.name}-readable")
    if not folder.is_dir():
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.unfinished")
        unfinished.mkdir()
        for path in sorted(sample.folder.glob("*.jsonl")):
            lines = filter(is_readable, path.read_bytes().splitlines(keepends=True))
            _write(unfinished / path.name, lines, path.stat().st_mtime_ns)
        os.replace(unfinished, folder)
    return Sample.at(folder, sample.asked)


def is_readable(line: bytes) -> bool:
    """See readable_part."""
    if _BEYOND_64_BITS.search(line) or len(line) > 1 << 20 or line.count(b"{") + line.count(b"[") > 64:
        return False
    try:
        _read(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


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
    return Sample.at(folder, sample.asked)


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


def _spoil_half(source: Path, target: Path, seed: int) -> None:
    rng = Random(f"{seed}:half invalid")
    for path in sorted(source.glob("*.jsonl")):
        lines = (_spoil(line, rng) for line in path.read_bytes().splitlines())
        _write(target / path.name, (line + b"\n" for line in lines), path.stat().st_mtime_ns)


def _spoil(line: bytes, rng: Random) -> bytes:
    """A sound event with a defect, in half of the cases; what is not sound stays as it is."""
    if rng.random() >= 0.5:
        return line
    try:
        event = _is_sound(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return line
    if breaks_cross_field_rules(event):
        return line
    any_defect = event.type == "track" and PROPERTIES in line
    fit: list[EventDefect] = [d for d in _DEFECTS if any_defect or d.name not in _OF_TRACK_ONLY]
    return rng.choice(fit).make(line, rng)


def _write(path: Path, lines: Iterable[bytes], mtime_ns: int) -> None:
    """Its time stands in for a missing receivedAt, so it is the same for all contestants."""
    with path.open("wb") as file:
        file.writelines(lines)
    os.utime(path, ns=(mtime_ns, mtime_ns))
