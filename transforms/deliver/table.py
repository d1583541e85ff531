"""Lanes of a validated table: its rows by user, in order of time, of one snapshot and one range.

Lane = hash of the user modulo the number of lanes. The snapshot's files are taken in *spans*, ranges of time that no file crosses,
one after the other. A place is the number of the span and the ordinal of the row among those of its lane in that span, by
(window time, source, raw file, position): the same in every attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from contracts.compiler.schemas import TIMESTAMP
from contracts.encode.events import EventEncoder
from contracts.units import SECOND_US
from lake.location import Lake
from lake.receipts.lanes import LaneId
from lake.receipts.receipts import BEFORE, DELIVERED, REFUSED, all_receipts
from lake.tables.data_files import read_columns, with_schema
from lake.tables.iceberg import PublishedFile, horizon_s, published_files
from transforms.deliver.http.wire import Outgoing
from transforms.deliver.items import Item, items_of
from transforms.deliver.source import Read
from transforms.readers.progress import ProgressCoder, ReaderProgress
from transforms.readers.restriction import ReaderName

SPAN_BITS = 32
Which = Literal["unsettled", "refused", "all"]
_ORDER = ("_window_time", "_source", "_raw_file", "_position")
_READ_ROWS = 2_000
Digests = npt.NDArray[np.bytes_]


class TableLane(msgspec.Struct, frozen=True):
    """How far one lane is, of so many places. run_id: the run that shares the table out."""

    table: str
    run_id: str
    lane: int
    next: int
    end: int

    @property
    def id(self) -> LaneId:
        """See LaneProgress."""
        return LaneId(self.table, self.run_id, self.lane)

    @property
    def finished(self) -> bool:
        """See LaneProgress."""
        return self.next >= self.end

    def at(self, place: int) -> Self:
        """See LaneProgress."""
        return msgspec.structs.replace(self, next=place)


TableProgress = ReaderProgress[TableLane]


class TableProgressCoder(ProgressCoder):
    """Of readers of a table."""

    kind = TableProgress


def shared_out(table: str, run_id: str, files: Iterable[PublishedFile], lanes: int, readers: int) -> tuple[TableProgress, ...]:
    """So many lanes of these files, as so many readers have them in the beginning."""
    end = len(spans(files)) << SPAN_BITS
    return tuple(
        ReaderProgress(tuple(TableLane(table, run_id, lane, next=0, end=end) for lane in range(number, lanes, readers)))
        for number in range(readers)
    )


@dataclass(frozen=True, kw_only=True)
class TableLanes:
    """A range of a table. Places of lanes begin at 0.

    schema: of the table's rows. snapshot_id: whose files are read. [start_us, end_us): by ``_window_time``. lanes: how many there
    are in all. which: rows that have neither been delivered to this destination nor refused by it, those that it refused, or all.
    only: of those that it refused the ones that are sent again, as digests one after the other; None for every one.
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
    readers: tuple[TableProgress, ...]
    salts: tuple[int, ...]
    only: bytes | None = None

    @property
    def progress_coder(self) -> TableProgressCoder:
        """See LaneSource."""
        return TableProgressCoder()

    def open(self, name: ReaderName, encoder: EventEncoder) -> TableReader:
        """See Lanes."""
        return TableReader(self, range(name.number, self.lanes, name.readers), encoder)


@dataclass
class _Span:
    """Rows of one span that belong to the lanes of this reader, by lane."""

    number: int
    rows: dict[int, pa.Table]


class TableReader:
    """Reads them, one span at a time: in memory are the needed columns of its own lanes."""

    def __init__(self, source: TableLanes, lanes: Sequence[int], encoder: EventEncoder) -> None:
        self._source, self._lanes, self._encoder = source, lanes, encoder
        table = source.lake.load(source.table)
        files = published_files(table, table.snapshot_by_id(source.snapshot_id))
        self._spans = spans([f for f in files if f.from_us < source.end_us and f.to_us > source.start_us])
        self._passed, self._has = _settled_before(source, horizon_s(table) * SECOND_US)
        self._delivered: Outgoing | None = None
        self._span: _Span | None = None

    def refreshed(self, progress: TableProgress) -> TableProgress:
        """See LaneReader."""
        return progress

    def read(
        self, progress: TableProgress, read_to: Mapping[LaneId, int], room: set[LaneId], timeout_s: float
    ) -> dict[LaneId, Read]:
        """See LaneReader."""
        unfinished = {lane.id for lane in progress.lanes if not lane.finished}
        current = min((read_to[lane] >> SPAN_BITS for lane in unfinished), default=0)
        found: dict[LaneId, Read] = {}
        for lane in sorted(unfinished & room):
            if read_to[lane] >> SPAN_BITS == current or current >= len(self._spans):
                found[lane] = self._read(lane.number, current, read_to[lane])
        return found

    def _read(self, lane: int, number: int, read_to: int) -> Read:
        if number >= len(self._spans):
            return Read([], read_to, ended=True)
        if self._span is None or self._span.number != number:
            self._span = None  # frees the one before
            self._span = _Span(number, self._load(self._spans[number]))
        rows, base = self._span.rows[lane], number << SPAN_BITS
        first = read_to - base
        part = rows.slice(first, _READ_ROWS)
        following = first + len(part)
        items = self._items(part, read_to)
        if following < len(rows):
            return Read(items, base + following, delivered=self._delivered)
        return Read(items, (number + 1) << SPAN_BITS, number + 1 == len(self._spans), self._delivered)

    def _items(self, part: pa.Table, offset: int) -> list[Item]:
        columns = self._encoder.of_table(part)
        times = part.column("_window_time").cast(pa.int64()).to_pylist()
        items = items_of(self._encoder, columns, range(offset, offset + len(part)), times, [None] * len(part))
        ids = self._encoder.event_ids(columns)
        passed = self._passed(ids)
        if not any(passed):
            return items
        if self._delivered is None:
            there = (item for item, has in zip(items, self._has(ids), strict=True) if has and item.event is not None)
            self._delivered = next((Outgoing(item.event_id, item.event or b"", item.user) for item in there), None)
        return [item._replace(event=None, reason=BEFORE) if skip else item for item, skip in zip(items, passed, strict=True)]

    def _load(self, files: Sequence[PublishedFile]) -> dict[int, pa.Table]:
        source, lanes = self._source, self._source.lanes
        columns = [*dict.fromkeys((*self._encoder.columns, *_ORDER))]
        schema = pa.schema([source.schema.field(name) for name in columns])
        low, high = (pa.scalar(us, TIMESTAMP) for us in (source.start_us, source.end_us))
        own = np.zeros(lanes, np.bool_)
        own[list(self._lanes)] = True
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

    def _by_lane(self, rows: pa.Table, lane_of: npt.NDArray[np.int64]) -> dict[int, pa.Table]:
        """The rows of each lane in order."""
        order = pc.sort_indices(rows, [(name, "ascending") for name in _ORDER]).to_numpy()
        order = order[np.argsort(lane_of[order], kind="stable")]
        rows, lane_of = rows.take(pa.array(order)), lane_of[order]
        bounds = {lane: np.searchsorted(lane_of, [lane, lane + 1]).tolist() for lane in self._lanes}
        return {lane: rows.slice(begin, end - begin) for lane, (begin, end) in bounds.items()}

    def lag(self) -> int | None:
        """See LaneReader: nobody waits for a range of a table."""
        return None

    def committed(self, progress: TableProgress) -> None:
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


_Known = Callable[[Sequence[str]], Sequence[bool]]


def _settled_before(source: TableLanes, horizon_us: int) -> tuple[_Known, _Known]:
    """Whether ids are to be passed over, and whether the destination has them, by the receipts of other runs.

    A copy of a row may have been delivered whose pair the horizon has dropped since. So receipts count by their ids, and as far as
    the horizon reaches beyond the range.
    """
    if source.which == "all":
        return _none, _none
    delivered: list[Digests] = [digests([])]
    refused: list[Digests] = [digests([])]
    reach = source.start_us - horizon_us, source.end_us + horizon_us
    low, high = (pa.scalar(us, TIMESTAMP) for us in reach)
    for lane, rows, _ in all_receipts(source.lake, source.destination, ["event_id", "window_time", "outcome"], reach):
        if lane.version == source.run_id:
            continue
        time = rows.column("window_time")
        within = rows.filter(pc.and_(pc.greater_equal(time, low), pc.less(time, high)))
        for outcome, into in ((DELIVERED, delivered), (REFUSED, refused)):
            into.append(digests(within.filter(pc.equal(within.column("outcome"), outcome)).column("event_id").to_pylist()))
    done, final = (np.concatenate(parts) for parts in (delivered, refused))
    if source.which == "unsettled" and not len(done) and not len(final):
        return _none, _none
    has: _Known = lambda ids: np.isin(digests(ids), done).tolist()  # noqa: E731
    if source.which == "refused":
        wanted = np.setdiff1d(final, done)
        if source.only is not None:
            wanted = np.intersect1d(wanted, np.frombuffer(source.only, dtype=done.dtype))
        return lambda ids: [not hit for hit in np.isin(digests(ids), wanted)], has
    settled = np.union1d(done, final)
    return lambda ids: np.isin(digests(ids), settled).tolist(), has


def _none(ids: Sequence[str]) -> Sequence[bool]:
    return [False] * len(ids)
