"""Receipts: what became of every row that a lane took, durable once the destination has answered and before anything else is sent.

A lane is a partition of a topic, or a share of a table by user; its receipts lie in
``deliveries/<destination>/receipts/<topic or table>/<topic id or run>/<partition or lane>/<from>-<to>-<refused>.parquet``, named by
the places that they cover, [from, to), and by how many events in them were refused. A file appears whole and never changes. Of two
workers that send the same rows (a frozen one and its replacement) the destination sees the same ids, and whoever reads receipts
takes of each file the places that no earlier one covers. Small files are merged as they come. So a restart knows what was sent up
to the last answer, and only requests in flight are ever sent again.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.compiler.schemas import TIMESTAMP
from lake.location import Lake
from lake.receipts.lanes import LaneId
from lake.storage import read_parquet, read_parquet_schema

DELIVERED, REFUSED, WITHHELD, FILTERED, BEFORE = "delivered", "refused", "withheld", "filtered", "before"
LANE_PREFIX = "lane:"
MERGE_AT = 64
MERGED_BYTES = 32 << 20
SCHEMA = pa.schema(
    [
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("window_time", TIMESTAMP, nullable=False),
        pa.field("outcome", pa.string(), nullable=False),  # delivered, refused or withheld; others are only counted
        pa.field("reason", pa.string()),  # why it was refused or withheld
        pa.field("status", pa.int32()),  # HTTP status of the answer that decided
        pa.field("digest", pa.binary(16)),  # of the event as it was sent
        pa.field("event", pa.binary()),  # only of what was refused
        pa.field("settled_at", TIMESTAMP, nullable=False),
    ]
)
_COUNTS = b"headrace.counts"
_TIMES = b"headrace.window-times"  # first and last, microseconds
_SUFFIX = ".parquet"


class Receipt(NamedTuple):
    """What became of one row; see SCHEMA. Times in microseconds."""

    offset: int
    event_id: str
    window_time_us: int
    outcome: str
    reason: str | None
    status: int | None
    digest: bytes | None
    event: bytes | None
    settled_at_us: int


@dataclass(frozen=True)
class DeliveredReceipts:
    """Receipts of events that one answer settled, all of them delivered; a column of ``Receipt`` each."""

    offsets: Sequence[int]
    event_ids: Sequence[str]
    window_times_us: Sequence[int]
    status: int | None
    digests: Sequence[bytes]
    settled_at_us: int

    def __len__(self) -> int:
        return len(self.offsets)


@dataclass(frozen=True, order=True)
class ReceiptFile:
    """One file. start, end: the places that are to be taken from it. refused: events in it that were refused."""

    start: int
    end: int
    refused: int
    location: str

    @classmethod
    def parse(cls, location: str) -> ReceiptFile:
        """By its name."""
        start, end, refused = location.rsplit("/", 1)[-1].removesuffix(_SUFFIX).split("-")
        return cls(int(start), int(end), int(refused), location)


Counts = Counter[str]  # delivered, refused, withheld:<reason>, filtered, before (settled by an earlier run)


class LaneReceipts:
    """Receipts of one lane, as one worker writes them. Not for several threads."""

    def __init__(self, lake: Lake, destination: str, lane: LaneId) -> None:
        self._lake, self._folder = lake, lane_folder(lake, destination, lane)
        self._written = sum(
            file.size_bytes <= MERGED_BYTES // 2 for file in lake.storage.files(self._folder)
        )  # since the last merge

    def covered(self) -> list[tuple[int, int]]:
        """Places that have receipts, [from, to), in order and disjoint."""
        return [(file.start, file.end) for file in list_receipts(self._lake, self._folder)]

    def write(self, start: int, end: int, receipts: Sequence[Receipt] | DeliveredReceipts, others: Counts) -> Counts:
        """Write the receipts of [start, end); durable on return.

        Args:
            start: first place.
            end: the one after the last.
            receipts: of all rows in there but those that are only counted.
            others: those.

        Returns:
            How the rows count.
        """
        if isinstance(receipts, DeliveredReceipts):
            counts, rows = Counter({DELIVERED: len(receipts)}) + others, _table_of_delivered(receipts)
        else:
            counts, rows = counts_of(receipts) + others, _table(receipts)
        if end <= start:
            return counts
        content = _encoded(rows, counts)
        self._lake.storage.put_if_absent(f"{self._folder}/{_name(start, end, counts[REFUSED])}", content)
        self._written += 1
        if self._written >= MERGE_AT:
            self._written = 0
            with contextlib.suppress(FileNotFoundError):  # a rival was faster
                self._merge()
        return counts

    def _merge(self) -> None:
        """Put small neighbours together. The whole is there before its parts go, and reading takes each place once."""
        storage = self._lake.storage
        sizes = {file.location: file.size_bytes for file in storage.files(self._folder)}
        groups: list[list[ReceiptFile]] = [[]]
        size = 0
        kept = list_receipts(self._lake, self._folder)
        for file in kept:
            own = sizes.get(file.location, MERGED_BYTES)
            joins = groups[-1] and groups[-1][-1].end == file.start and own <= MERGED_BYTES // 2 and size + own <= MERGED_BYTES
            if not joins:
                groups.append([])
                size = 0
            groups[-1].append(file)
            size += own
        for group in groups:
            if len(group) > 1:
                counts: Counts = Counter()
                tables = []
                for file in group:
                    rows, own_counts = read_receipts(file)
                    tables.append(rows)
                    counts.update(own_counts)
                merged = _encoded(pa.concat_tables(tables), counts)
                storage.put_if_absent(f"{self._folder}/{_name(group[0].start, group[-1].end, counts[REFUSED])}", merged)
                for file in group:
                    storage.delete(file.location)
        for location in set(sizes) - {file.location for file in kept}:  # parts of a merger that was killed, or of a rival
            storage.delete(location)


def counts_of(receipts: Iterable[Receipt]) -> Counts:
    """Receipts counted."""
    return Counter(f"{r.outcome}:{r.reason}" if r.outcome == WITHHELD else r.outcome for r in receipts)


def deliveries_folder(lake: Lake, destination: str) -> str:
    """Where everything about a destination lies."""
    return lake.at_key(f"deliveries/{destination}")


def lane_folder(lake: Lake, destination: str, lane: LaneId) -> str:
    """Where the receipts of a lane lie."""
    return f"{deliveries_folder(lake, destination)}/receipts/{lane.rows_from}/{lane.version}/{lane.number}"


def lane_name(lane: LaneId) -> str:
    """A lane in the position of a dead letter."""
    return f"{LANE_PREFIX}{lane.rows_from}:{lane.version}:{lane.number}"


def lanes_of(lake: Lake, destination: str) -> list[LaneId]:
    """The lanes of a destination that have receipts."""
    storage, root = lake.storage, f"{deliveries_folder(lake, destination)}/receipts"
    return [
        LaneId(rows_from, version, int(number))
        for rows_from in storage.folders(root)
        for version in storage.folders(f"{root}/{rows_from}")
        for number in sorted(storage.folders(f"{root}/{rows_from}/{version}"), key=int)
    ]


def list_receipts(lake: Lake, folder: str) -> list[ReceiptFile]:
    """Files of a lane in order; each place is in one of them."""
    listed = sorted((ReceiptFile.parse(location) for location in lake.storage.names(folder)), key=lambda f: (f.start, -f.end))
    files: list[ReceiptFile] = []
    reached = -1
    for file in listed:
        if file.end > reached:
            files.append(ReceiptFile(max(file.start, reached), file.end, file.refused, file.location))
            reached = file.end
    return files


def read_receipts(file: ReceiptFile, columns: Sequence[str] | None = None) -> tuple[pa.Table, Counts]:
    """The receipts of a file at the places that are to be taken from it, and how they count.

    Raises:
        FileNotFoundError: it was merged with others since it was listed; list again.
    """
    wanted = None if columns is None else list(dict.fromkeys(["offset", *columns]))
    rows = read_parquet(file.location, wanted)
    counts: Counts = Counter(json.loads(rows.schema.metadata[_COUNTS]))
    if (named := ReceiptFile.parse(file.location)) and named.start < file.start:
        rows = rows.filter(pc.greater_equal(rows.column("offset"), file.start))
        if {"outcome", "reason"} <= set(rows.column_names):
            outcomes = zip(rows.column("outcome").to_pylist(), rows.column("reason").to_pylist(), strict=True)
            counts = Counter(f"{o}:{r}" if o == WITHHELD else o for o, r in outcomes)
    return rows.replace_schema_metadata(None), counts


def all_receipts(
    lake: Lake, destination: str, columns: Sequence[str] | None = None, within_us: tuple[int, int] | None = None
) -> Iterator[tuple[LaneId, pa.Table, Counts]]:
    """Receipts of a destination, file by file; each place of a lane once, though others merge files meanwhile.

    Args:
        lake: where they lie.
        destination: its name.
        columns: those that are needed; None for all.
        within_us: files without a row whose window time is in [from, to) are passed over; of others all rows come.
    """
    for lane in lanes_of(lake, destination):
        yield from ((lane, rows, counts) for rows, counts in lane_receipts(lake, destination, lane, columns, within_us=within_us))


def lane_receipts(
    lake: Lake,
    destination: str,
    lane: LaneId,
    columns: Sequence[str] | None = None,
    start: int = -1,
    within_us: tuple[int, int] | None = None,
) -> Iterator[tuple[pa.Table, Counts]]:
    """Receipts of one lane from a place on, file by file; see ``all_receipts``."""
    folder, reached = lane_folder(lake, destination, lane), start
    while True:
        files = [file for file in list_receipts(lake, folder) if file.end > reached]
        try:
            for file in files:
                part = ReceiptFile(max(file.start, reached, 0), file.end, file.refused, file.location)
                read = read_receipts(part, columns) if within_us is None or _reaches(file, *within_us) else None
                reached = file.end
                if read is not None:
                    yield read
            return
        except FileNotFoundError:
            continue


def _reaches(file: ReceiptFile, from_us: int, to_us: int) -> bool:
    times = (read_parquet_schema(file.location).metadata or {}).get(_TIMES)
    if times is None:  # no row at all
        return False
    first, last = json.loads(times)
    return bool(first < to_us and last >= from_us)


def _table(receipts: Sequence[Receipt]) -> pa.Table:
    columns = zip(*receipts, strict=True) if receipts else ([] for _ in SCHEMA)
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)], SCHEMA)


def _table_of_delivered(receipts: DeliveredReceipts) -> pa.Table:
    columns = [
        receipts.offsets, receipts.event_ids, receipts.window_times_us, DELIVERED, None, receipts.status, receipts.digests, None,
        receipts.settled_at_us,
    ]  # fmt: skip
    arrays = [
        pa.array(values, field.type) if isinstance(values, Sequence) and not isinstance(values, str)
        else pa.repeat(pa.scalar(values, field.type), len(receipts))
        for values, field in zip(columns, SCHEMA, strict=True)
    ]  # fmt: skip
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _encoded(rows: pa.Table, counts: Counts) -> bytes:
    out = io.BytesIO()
    metadata = {_COUNTS: json.dumps(counts, sort_keys=True).encode()}
    if len(rows):
        metadata[_TIMES] = json.dumps([x.value for x in pc.min_max(rows.column("window_time")).values()]).encode()
    rows = rows.replace_schema_metadata(metadata)
    repeating = ["outcome", "reason", "status", "settled_at"]
    pq.write_table(rows, out, compression="zstd", use_dictionary=repeating)
    return out.getvalue()


def _name(start: int, end: int, refused: int) -> str:
    return f"{start:020d}-{end:020d}-{refused}{_SUFFIX}"
