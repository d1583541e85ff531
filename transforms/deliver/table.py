"""Lanes of a validated table: its rows by user, in order of time, of one snapshot and one range.

Lane = hash of the user modulo the number of lanes. The snapshot's files are taken in *spans*, ranges of time that no file crosses,
one after the other. A place is the number of the span and the ordinal of the row among those of its lane in that span, by
(window time, source, raw file, position): the same in every attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from contracts.compiler.schemas import TIMESTAMP
from contracts.encode.events import EventEncoder
from lake.location import Lake
from lake.raw.log_ids import LogId
from lake.receipts.receipts import BEFORE, DELIVERED, REFUSED, all_receipts
from lake.tables.data_files import read_columns, with_schema
from lake.tables.iceberg import PublishedFile, published_files
from transforms.deliver.items import Item, items_of
from transforms.deliver.source import Read
from transforms.readers.progress import ReaderProgress

SPAN_BITS = 32
Which = Literal["unsettled", "refused", "all"]
_ORDER = ("_window_time", "_source", "_raw_file", "_position")
_READ_ROWS = 2_000
Digests = npt.NDArray[np.bytes_]


@dataclass(frozen=True, kw_only=True)
class TableLanes:
    """A range of a table. Places of lanes begin at 0.

    schema: of the table's rows. snapshot_id: whose files are read. [start_us, end_us): by ``_window_time``. lanes: how many there
    are in all. which: rows that have neither been delivered to this destination nor refused by it, those that it refused, or all.
    """

    lake: Lake
    table: str
    schema: pa.Schema
    snapshot_id: int
    start_us: int
    end_us: int
    destination: str
    run_id: str
    lanes: int
    which: Which
    readers: tuple[ReaderProgress, ...]
    salts: tuple[int, ...]

    def log(self, lane: int) -> LogId:
        """The name of a lane."""
        return LogId(self.table, self.run_id, lane)

    def open(self, number: int, readers: int, encoder: EventEncoder) -> TableReader:
        """See Lanes."""
        return TableReader(self, {self.log(lane): lane for lane in range(number, self.lanes, readers)}, encoder)


@dataclass
class _Span:
    """Rows of one span that belong to the lanes of this reader, by lane."""

    number: int
    rows: dict[LogId, pa.Table]


class TableReader:
    """Reads them, one span at a time: in memory are the needed columns of its own lanes."""

    def __init__(self, source: TableLanes, lanes: Mapping[LogId, int], encoder: EventEncoder) -> None:
        self._source, self._lanes, self._encoder = source, lanes, encoder
        table = source.lake.load(source.table)
        files = published_files(table, table.snapshot_by_id(source.snapshot_id))
        self._spans = spans([f for f in files if f.from_us < source.end_us and f.to_us > source.start_us])
        self._passed = _settled_before(source)
        self._span: _Span | None = None

    def refreshed(self, progress: ReaderProgress) -> ReaderProgress:
        """See LaneReader."""
        return progress

    def read(self, progress: ReaderProgress, read_to: Mapping[LogId, int], room: set[LogId], timeout_s: float) -> dict[LogId, Read]:
        """See LaneReader."""
        unfinished = {p.log for p in progress.partitions if not p.finished}
        current = min((read_to[log] >> SPAN_BITS for log in unfinished), default=0)
        found: dict[LogId, Read] = {}
        for log in sorted(unfinished & room):
            if read_to[log] >> SPAN_BITS == current or current >= len(self._spans):
                found[log] = self._read(log, current, read_to[log])
        return found

    def _read(self, log: LogId, number: int, read_to: int) -> Read:
        if number >= len(self._spans):
            return Read([], read_to, ended=True)
        if self._span is None or self._span.number != number:
            self._span = None  # frees the one before
            self._span = _Span(number, self._load(self._spans[number]))
        rows, base = self._span.rows[log], number << SPAN_BITS
        first = read_to - base
        part = rows.slice(first, _READ_ROWS)
        following = first + len(part)
        items = self._items(part, read_to)
        if following < len(rows):
            return Read(items, base + following)
        return Read(items, (number + 1) << SPAN_BITS, ended=number + 1 == len(self._spans))

    def _items(self, part: pa.Table, offset: int) -> list[Item]:
        columns = self._encoder.of_table(part)
        times = part.column("_window_time").cast(pa.int64()).to_pylist()
        items = items_of(self._encoder, columns, range(offset, offset + len(part)), times, [None] * len(part))
        passed = self._passed(self._encoder.event_ids(columns))
        if not any(passed):
            return items
        return [item._replace(event=None, reason=BEFORE) if skip else item for item, skip in zip(items, passed, strict=True)]

    def _load(self, files: Sequence[PublishedFile]) -> dict[LogId, pa.Table]:
        source, lanes = self._source, self._source.lanes
        columns = [*dict.fromkeys((*self._encoder.columns, *_ORDER))]
        schema = pa.schema([source.schema.field(name) for name in columns])
        low, high = (pa.scalar(us, TIMESTAMP) for us in (source.start_us, source.end_us))
        own = np.zeros(lanes, np.bool_)
        own[list(self._lanes.values())] = True
        narrowed = self._encoder.narrowed
        parts, lanes_of_parts = [narrowed(schema.empty_table())], [np.empty(0, np.int64)]
        for file in files:
            rows = narrowed(with_schema(read_columns(file.path, columns), schema))
            if file.from_us < source.start_us or file.to_us > source.end_us:
                time = rows.column("_window_time")
                rows = rows.filter(pc.and_(pc.greater_equal(time, low), pc.less(time, high)))
            lane_of = lanes_of_keys(self._encoder.keys_of_table(rows), lanes)
            mine = own[lane_of]
            parts.append(rows if mine.all() else rows.filter(pa.array(mine)))
            lanes_of_parts.append(lane_of[mine])
        return self._by_lane(pa.concat_tables(parts).combine_chunks(), np.concatenate(lanes_of_parts))

    def _by_lane(self, rows: pa.Table, lane_of: npt.NDArray[np.int64]) -> dict[LogId, pa.Table]:
        """The rows of each lane in order."""
        order = pc.sort_indices(rows, [(name, "ascending") for name in _ORDER]).to_numpy()
        order = order[np.argsort(lane_of[order], kind="stable")]
        rows, lane_of = rows.take(pa.array(order)), lane_of[order]
        bounds = {log: np.searchsorted(lane_of, [lane, lane + 1]).tolist() for log, lane in self._lanes.items()}
        return {log: rows.slice(begin, end - begin) for log, (begin, end) in bounds.items()}

    def lag(self) -> int | None:
        """See LaneReader: nobody waits for a range of a table."""
        return None

    def committed(self, progress: ReaderProgress) -> None:
        """See LaneReader: nobody watches."""

    def close(self) -> None:
        """See LaneReader."""
        self._span = None


def spans(files: Iterable[PublishedFile]) -> list[list[PublishedFile]]:
    """Files in groups by time, so that no two groups overlap; the earliest first."""
    found: list[list[PublishedFile]] = []
    reached = 0
    for file in sorted(files):
        if not found or file.from_us >= reached:
            found.append([])
        found[-1].append(file)
        reached = max(reached, file.to_us)
    return found


def lanes_of_keys(keys: Sequence[str], lanes: int) -> npt.NDArray[np.int64]:
    """The lane of each user."""
    lane_of = {key: xxhash.xxh3_64_intdigest(key.encode()) % lanes for key in set(keys)}
    return np.fromiter(map(lane_of.__getitem__, keys), np.int64, len(keys))


def digests(ids: Sequence[str]) -> Digests:
    """A hash of each id, 16 bytes."""
    return np.array([xxhash.xxh3_128_digest(event_id.encode()) for event_id in ids], dtype="S16")


def _settled_before(source: TableLanes) -> Callable[[Sequence[str]], Sequence[bool]]:
    """Whether ids are to be passed over, by the receipts of other runs."""
    if source.which == "all":
        return lambda ids: [False] * len(ids)
    delivered: list[Digests] = [digests([])]
    refused: list[Digests] = [digests([])]
    low, high = (pa.scalar(us, TIMESTAMP) for us in (source.start_us, source.end_us))
    for log, rows, _ in all_receipts(
        source.lake, source.destination, ["event_id", "window_time", "outcome"], (source.start_us, source.end_us)
    ):
        if log.topic_id == source.run_id:
            continue
        time = rows.column("window_time")
        within = rows.filter(pc.and_(pc.greater_equal(time, low), pc.less(time, high)))
        for outcome, into in ((DELIVERED, delivered), (REFUSED, refused)):
            into.append(digests(within.filter(pc.equal(within.column("outcome"), outcome)).column("event_id").to_pylist()))
    done, final = (np.concatenate(parts) for parts in (delivered, refused))
    if source.which == "unsettled" and not len(done) and not len(final):
        return lambda ids: [False] * len(ids)
    if source.which == "refused":
        wanted = np.setdiff1d(final, done)
        return lambda ids: [not hit for hit in np.isin(digests(ids), wanted)]
    settled = np.union1d(done, final)
    return lambda ids: np.isin(digests(ids), settled).tolist()
