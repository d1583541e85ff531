"""The raw layer for message logs: what was read from a Kafka partition, landed in order, each position once.

A *log* is one partition of one topic, by the topic's id, so that a topic that was deleted and made again is another log. Its
segments lie in ``raw/source=S/kafka/<topic>/<topic id>/<partition>/<from>-<to>.avro``: Avro files named by the offsets that they
cover, [from, to), 20 digits each. A segment appears whole, once, and never changes, so its name says all that others must know of
it. Of two workers that read the same offsets (a frozen one and its replacement) the second lands what the first left. Where they
overlap all the same, whoever reads a log takes of each segment the offsets that no earlier one covers (``LogSegment.start``): each
position is seen once, also after crashes.

Small segments are merged as they come, by copying their blocks: at most ``MERGE_AT`` small ones lie in a partition's folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from contracts.errors import ConfigurationError
from lake.location import Lake
from lake.raw.log_ids import LogId
from lake.raw.segment_files import RawMessage, SegmentHeader, encode_segment, join_segments, messages_in, parse_header
from lake.storage import storage_of

MERGE_AT = 64
MERGED_BYTES = 64 << 20
_HEADER_BYTES = 1 << 16
_SUFFIX = ".avro"


@dataclass(frozen=True)
class LogSegment:
    """One segment as a reader sees it.

    start, end: the offsets that are to be taken from it. runs: positions of the whole segment. first_ms, last_ms: smallest and
    largest record time, None where it holds no message.
    """

    path: str
    source: str
    log: LogId
    start: int
    end: int
    runs: tuple[int, ...]
    messages: int
    first_ms: int | None
    last_ms: int | None
    size_bytes: int


class PartitionLog:
    """The landing log of one partition, as one worker writes it. Not for several threads."""

    def __init__(self, lake: Lake, source: str, log: LogId, *, batched: bool) -> None:
        self._lake, self._source, self._log, self._batched = lake, source, log, batched
        self._folder = log_folder(lake, source, log)
        self._merge_at = MERGE_AT  # when so many segments lie here, small ones are merged

    def land(self, start: int, end: int, messages: Sequence[RawMessage]) -> int:
        """Land what was read of [start, end), but for what is landed already.

        Args:
            start: first offset that this worker covers.
            end: the offset after the last.
            messages: those that the broker had in there, by offset.

        Returns:
            How many messages were landed.
        """
        landed = 0
        covered = [_covers(path) for path in _listed(self._lake, self._folder)]
        pieces = _uncovered(covered, start, end)
        for piece in pieces:
            part = [m for m in messages if piece[0] <= m.offset < piece[1]]
            content = encode_segment(self._source, self._log, piece, part, batched=self._batched)
            if self._lake.storage.put_if_absent(f"{self._folder}/{_name(piece)}", content):
                landed += len(part)
        if len(covered) + len(pieces) >= self._merge_at:
            self._merge()
        return landed

    def _merge(self) -> None:
        """Put neighbouring small segments together.

        The whole is there under a name of its own before its parts go, so neither a crash nor somebody else who does the same at
        any moment changes what is read.
        """
        group: list[str] = []
        size = reached = 0
        storage = self._lake.storage
        listed = _listed(self._lake, self._folder)
        sizes = {file.location: file.size_bytes for file in storage.files(self._folder)}
        for path in listed:
            covers = _covers(path)
            if covers[1] <= reached:  # a part whose merger was killed before it went, or what two workers landed
                storage.delete(path)
                continue
            if path not in sizes:  # somebody else is merging
                return
            own = sizes[path]
            if own > MERGED_BYTES // 2 or size + own > MERGED_BYTES or covers[0] != reached:
                group, size = [], 0
            reached = covers[1]
            if own <= MERGED_BYTES // 2:
                group.append(path)
                size += own
        if len(group) >= MERGE_AT:
            with contextlib.suppress(FileNotFoundError):
                covers, content = join_segments(storage.map(storage.read, group))
                storage.put_if_absent(f"{self._folder}/{_name(covers)}", content)
                storage.map(storage.delete, group)
        self._merge_at = len(_listed(self._lake, self._folder)) + MERGE_AT - 1


def _name(covers: tuple[int, int]) -> str:
    return f"{covers[0]:020d}-{covers[1]:020d}{_SUFFIX}"


def _covers(path: str) -> tuple[int, int]:
    first, end = path.rsplit("/", 1)[-1].removesuffix(_SUFFIX).split("-")
    return int(first), int(end)


def _uncovered(covered: Sequence[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]]:
    """What is left of [start, end). covered: sorted by where they begin."""
    left = []
    for low, high in covered:
        if low >= end:
            break
        if low > start:
            left.append((start, low))
        start = max(start, high)
    return [*left, (start, end)] if start < end else left


def log_folder(lake: Lake, source: str, log: LogId) -> str:
    """Where a log's segments lie."""
    return lake.at_key(f"raw/source={source}/kafka/{log.topic}/{log.topic_id}/{log.partition}")


def logs_of(lake: Lake, source: str) -> list[LogId]:
    """The logs of a source that were ever landed."""
    storage, root = lake.storage, lake.at_key(f"raw/source={source}/kafka")
    ids = [(topic, topic_id) for topic in storage.folders(root) for topic_id in storage.folders(f"{root}/{topic}")]
    return sorted(LogId(*ids_, int(number)) for ids_ in ids for number in storage.folders("/".join((root, *ids_))))


def log_segments(lake: Lake, source: str, log: LogId) -> list[LogSegment]:
    """The segments of a log in order; of each what no earlier one covers."""
    folder = log_folder(lake, source, log)
    while True:
        found: list[LogSegment] = []
        covered = 0
        try:
            listed = _listed(lake, folder)
            sizes = {file.location: file.size_bytes for file in lake.storage.files(folder)}
            headers = lake.storage.map(lambda path: _read_header(lake, path), listed)
            for path, header in zip(listed, headers, strict=True):
                start, end = max(header.covers[0], covered), header.covers[1]
                covered = max(covered, end)
                if start < end:
                    found.append(
                        LogSegment(
                            path, header.source, log, start, end, tuple(header.runs), header.messages,
                            header.first_ms, header.last_ms, sizes[path],
                        )
                    )  # fmt: skip
        except (FileNotFoundError, KeyError):  # a merge came between: list again
            continue
        return found


def _listed(lake: Lake, folder: str) -> list[str]:
    """The segments of a folder by where they begin, the longest first.

    One listing may miss a merged segment, and its parts that went meanwhile; not two listings alike.
    """
    found = _names(lake, folder)
    while (again := _names(lake, folder)) != found:
        found = again
    return sorted(found, key=lambda path: (_covers(path)[0], -_covers(path)[1]))


def _names(lake: Lake, folder: str) -> set[str]:
    return {path for path in lake.storage.names(folder) if path.endswith(_SUFFIX)}


def landed_up_to(lake: Lake, source: str, log: LogId, start: int) -> int:
    """The offset after the last that was landed; ``start`` where nothing was."""
    return max((_covers(path)[1] for path in _listed(lake, log_folder(lake, source, log))), default=start)


def read_messages(segment: LogSegment) -> Iterator[RawMessage]:
    """The messages of a segment within [start, end)."""
    with storage_of(segment.path).open(segment.path) as file:
        yield from (message for message in messages_in(file) if segment.start <= message.offset < segment.end)


def read_message(lake: Lake, source: str, log: LogId, offset: int) -> RawMessage:
    """One message.

    Raises:
        ConfigurationError: it is not there.
    """
    for segment in log_segments(lake, source, log):
        if segment.start <= offset < segment.end:
            for message in read_messages(segment):
                if message.offset == offset:
                    return message
    raise ConfigurationError(f"source {source}: no message {offset} of {log} in raw/; was a raw segment removed?")


def _read_header(lake: Lake, path: str) -> SegmentHeader:
    size = _HEADER_BYTES
    while True:
        head = lake.storage.read(path, first=size)
        try:
            return parse_header(head)[0]
        except (EOFError, IndexError, ValueError):
            if len(head) < size:
                raise OSError(f"raw segment {path}: its header cannot be read; was it changed?") from None
            size *= 4
