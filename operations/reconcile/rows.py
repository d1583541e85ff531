"""The rows of a range of a validated table as digests: who should be at a destination, and with which content. 43 bytes a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts.compiler.schemas import TIMESTAMP, row_schema
from contracts.compiler.values import CANONICAL_JSON
from contracts.encode.events import EventEncoder, event_digest
from contracts.spec.destination import Destination
from contracts.spec.model import ColumnType, Contract
from contracts.units import HOUR_US, MINUTE_US
from lake.tables.data_files import read_columns, with_schema
from lake.tables.iceberg import PublishedFile
from transforms.deliver.table import Digests, digests

GOES = 0  # the code of the reason "" of rows that may leave
TIME_FIELDS = ("originalTimestamp", "timestamp")  # an event's own time: the first of these that it has
_SLICE_ROWS = 5_000
_top_level = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass
class RowIndex:
    """Rows, sorted by the hash of their id; rows of one id stand together.

    ids: hashes. contents: digest of the event of a row that may leave, else zeros, as readers of JSON give it back; sent: as it is
    sent, which differs where decimals have more digits than a reader of JSON keeps. fields: which set of top-level fields it has,
    see ``field_sets``. reasons: why it may not leave, as a place in ``reason_texts``; GOES where it may. young: received since a
    moment. minutes: window time, since the start of the range. places: see ``file_of``. files: with how many of their rows are in
    the range. hours: in which hours the events' own times lie, sorted. untimed: rows whose events have no time of their own.
    """

    ids: Digests
    contents: Digests
    sent: Digests
    fields: npt.NDArray[np.uint16]
    reasons: npt.NDArray[np.uint8]
    young: Bools
    minutes: npt.NDArray[np.int32]
    places: npt.NDArray[np.uint32]
    field_sets: list[frozenset[str]]
    reason_texts: list[str]
    files: list[tuple[PublishedFile, int]]
    hours: Ints
    untimed: int

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def firsts(self) -> Ints:
        """Where each id begins."""
        new = np.ones(len(self.ids), dtype=bool)
        new[1:] = self.ids[1:] != self.ids[:-1]
        return np.flatnonzero(new)

    def find(self, ids: Digests) -> Ints:
        """The first row of each id; -1 where there is none."""
        at = np.searchsorted(self.ids, ids)
        at[at == len(self.ids)] = 0
        hit = self.ids[at] == ids if len(self.ids) else np.zeros(len(ids), dtype=bool)
        return np.where(hit, at, -1)

    def rows_of(self, at: int) -> range:
        """All rows of the id that begins at this one."""
        end = at + 1
        while end < len(self.ids) and self.ids[end] == self.ids[at]:
            end += 1
        return range(at, end)

    def with_rows(self, firsts: Ints) -> tuple[Ints, Ints]:
        """All rows of the ids that begin at these rows, and of which of the ids each is."""
        ends = np.append(self.firsts, len(self.ids))
        counts = ends[np.searchsorted(ends, firsts) + 1] - firsts if len(firsts) else firsts
        which = np.repeat(np.arange(len(firsts)), counts)
        within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        return firsts[which] + within, which

    def file_of(self, row: int) -> tuple[PublishedFile, int]:
        """Its file, and which of the file's rows in the range it is."""
        place = int(self.places[row])
        for file, count in self.files:
            if place < count:
                return file, place
            place -= count
        raise IndexError(row)


class RangeRows:
    """Reads the rows of a range of a table, file by file.

    Args:
        destination: checked against the contract.
        contract: of its dataset.
        encoder: of both.
        start_us: first moment, by window time.
        end_us: the moment after.
    """

    def __init__(self, destination: Destination, contract: Contract, encoder: EventEncoder, start_us: int, end_us: int) -> None:
        self._encoder, self.start_us, self.end_us = encoder, start_us, end_us
        times = time_columns(destination, contract)
        self._times = times
        self._schema = row_schema(contract)
        named = [*encoder.columns, *(name for names in times for name in names), "_window_time", "_received_at"]
        self._columns = list(dict.fromkeys(named))
        # A decimal may have more digits than a reader of JSON gives back.
        self._exact = any(contract.by_name[p.column].type is ColumnType.DECIMAL for p in destination.placements)

    def read(self, file: PublishedFile, columns: Sequence[str]) -> pa.Table:
        """Some columns of a file's rows in the range, in the file's order."""
        wanted = [*dict.fromkeys((*columns, "_window_time"))]
        rows = with_schema(read_columns(file.path, wanted), pa.schema([self._schema.field(name) for name in wanted]))
        if file.from_us >= self.start_us and file.to_us <= self.end_us:
            return rows
        time = rows.column("_window_time")
        low, high = (pa.scalar(us, TIMESTAMP) for us in (self.start_us, self.end_us))
        return rows.filter(pc.and_(pc.greater_equal(time, low), pc.less(time, high)))

    def contents(self, file: PublishedFile, key: str, ids: pa.Array) -> tuple[Digests, Digests]:
        """Of the rows of these ids in a whole file that may leave: hashes of the ids, and digests of the events, see ``RowIndex``.

        Args:
            file: any of the table's.
            key: its key column.
            ids: values of the key.
        """
        columns = [*dict.fromkeys((*self._encoder.columns, key))]
        rows = with_schema(read_columns(file.path, columns), pa.schema([self._schema.field(name) for name in columns]))
        found = self._encoder.of_table(rows.filter(pc.is_in(rows.column(key).cast(pa.string()), value_set=ids)))
        goes = [i for i, why in enumerate(self._encoder.reasons(found)) if not why]
        going = {name: [values[i] for i in goes] for name, values in found.items()}
        events = self._encoder.events(going)
        if self._exact:
            events = [_given_back(event) for event in events]
        return digests(self._encoder.event_ids(going)), np.array(list(map(event_digest, events)), dtype="S16")

    def index(self, files: Sequence[PublishedFile], young_us: int, progress: Callable[[int, int], None]) -> RowIndex:
        """Read all.

        Args:
            files: those that meet the range.
            young_us: rows that were received at or after this moment are young.
            progress: is given the rows read and the rows there are.
        """
        most = sum(file.rows for file in files)
        ids, sent = (np.zeros(most, dtype="S16") for _ in range(2))
        contents = np.zeros(most, dtype="S16") if self._exact else sent
        fields, reasons = np.zeros(most, dtype=np.uint16), np.zeros(most, dtype=np.uint8)
        young, minutes = np.zeros(most, dtype=bool), np.zeros(most, dtype=np.int32)
        field_sets: dict[tuple[str, ...], int] = {}
        known: dict[str, int] = {"": GOES}
        hours: set[int] = set()
        counted: list[tuple[PublishedFile, int]] = []
        size = untimed = done = 0
        for file in files:
            rows = self.read(file, self._columns)
            for part in _slices(rows):
                span = slice(size, size + len(part))
                size += len(part)
                columns = self._encoder.of_table(part)
                ids[span] = digests(self._encoder.event_ids(columns))
                why = self._encoder.reasons(columns)
                reasons[span] = [known.setdefault(reason, len(known)) for reason in why]
                goes = [i for i, reason in enumerate(why) if not reason]
                events = self._encoder.events({name: [values[i] for i in goes] for name, values in columns.items()})
                shapes = [field_sets.setdefault(tuple(_top_level(event)), len(field_sets)) for event in events]
                at = span.start + np.array(goes, dtype=np.int64)
                fields[at] = shapes
                sent[at] = np.array(list(map(event_digest, events)), dtype="S16")
                if self._exact:
                    contents[at] = np.array([event_digest(_given_back(event)) for event in events], dtype="S16")
                young[span] = part.column("_received_at").cast(pa.int64()).to_numpy() >= young_us
                minutes[span] = (part.column("_window_time").cast(pa.int64()).to_numpy() - self.start_us) // MINUTE_US
                untimed += self._add_hours(part, hours)
            counted.append((file, len(rows)))
            done += file.rows
            progress(done, most)
        order = np.argsort(ids[:size], kind="stable")
        ids = ids[order]  # one by one, so that no more than one is there twice
        contents, sent = (contents[order], sent[order]) if self._exact else (both := sent[order], both)
        fields, reasons, young, minutes = fields[order], reasons[order], young[order], minutes[order]
        sets = [frozenset(names) for names in field_sets]
        when = np.array(sorted(hours), dtype=np.int64)
        places = order.astype(np.uint32)
        return RowIndex(ids, contents, sent, fields, reasons, young, minutes, places, sets, list(known), counted, when, untimed)

    def _add_hours(self, rows: pa.Table, hours: set[int]) -> int:
        """Note the hours of the events' own times; how many have none."""
        none: Any = np.ones(len(rows), dtype=bool)
        for names in self._times:
            times = pc.coalesce(*(rows.column(name) for name in names)) if names else None
            if times is not None:
                none &= np.asarray(times.is_null())
                known = times.drop_null().cast(pa.int64()).to_numpy()
                hours.update(np.unique(known // HOUR_US).tolist())
        return int(none.sum())


def time_columns(destination: Destination, contract: Contract) -> list[list[str]]:
    """The columns that fill each time field of the events, the first with a value; none where no time is sent."""
    found = []
    for name in TIME_FIELDS:
        columns = [p.column for p in destination.placements if p.path.steps == (name,)]
        if columns and all(contract.by_name[column].type is ColumnType.TIMESTAMP for column in columns):
            found.append(columns)
    return found


def _given_back(event: bytes) -> bytes:
    """As a reader of JSON gives it back."""
    return CANONICAL_JSON.encode(msgspec.json.decode(event))


def _slices(rows: pa.Table) -> Iterator[pa.Table]:
    for first in range(0, len(rows), _SLICE_ROWS):
        yield rows.slice(first, _SLICE_ROWS)
