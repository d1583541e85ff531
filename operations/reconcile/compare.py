"""The events of an export against the rows of a range, by digests."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from contracts.compiler.values import CANONICAL_JSON
from contracts.encode.events import event_digest
from operations.reconcile.export import Exported
from operations.reconcile.rows import GOES, Bools, Ints, RowIndex
from transforms.deliver.table import Digests, digests

NO_TIME = -(2**63)
_decode = msgspec.json.decode


@dataclass(frozen=True)
class Unmatched:
    """Events of the export whose ids are not among the rows of the range, each once. times: NO_TIME where not known."""

    ids: pa.Array
    hashes: Digests
    times: Ints
    types: list[str | None]

    def __len__(self) -> int:
        return len(self.hashes)

    def where(self, chosen: Bools) -> Unmatched:
        """Some of them."""
        kinds = [kind for kind, keep in zip(self.types, chosen.tolist(), strict=True) if keep]
        return Unmatched(self.ids.filter(pa.array(chosen)), self.hashes[chosen], self.times[chosen], kinds)


class Comparison:
    """Takes an export page by page.

    Args:
        index: the rows.
        fields: top-level fields that an event of the destination may have.
        start_us: first moment of the range.
        end_us: the moment after.
        contents: compare them, where the export has them; else ids only.

    Attributes:
        there: by row; of an id's first row whether the destination has it.
        differs: by row; of an id's first row whether the destination has it with another content than any of its rows.
        counts: ``events``, ``repeated`` (ids met before), ``compared`` (contents that were compared), ``ids_only``, ``other_times``
            (ids that are not known here, with a time of their own beyond the range).
    """

    def __init__(self, index: RowIndex, fields: frozenset[str], start_us: int, end_us: int, *, contents: bool = True) -> None:
        self._by_content = contents
        self._index, self._fields, self._start_us, self._end_us = index, fields, start_us, end_us
        self.there, self.differs = (np.zeros(len(index), dtype=bool) for _ in range(2))
        self.counts: Counter[str] = Counter()
        self._goes = index.reasons == GOES
        self._contents: list[tuple[int, int, bytes]] = []  # of events that differ: first row, number, digest it may be sent with
        self._differing: list[str] = []  # ids of these events, by their number
        self._unmatched: list[tuple[pa.Array, Digests, Ints]] = []
        self._types: list[str | None] = []

    def add(self, page: Sequence[Exported]) -> None:
        """Compare a page."""
        hashes = digests([event.event_id for event in page])
        at = self._index.find(hashes)
        self.counts["events"] += len(page)
        self._compare([event for event, known in zip(page, (at >= 0).tolist(), strict=True) if known], at[at >= 0])
        self._keep([event for event, known in zip(page, (at >= 0).tolist(), strict=True) if not known], hashes[at < 0])

    def _compare(self, events: Sequence[Exported], at: Ints) -> None:
        """Most are there once, in the bytes that were sent; only the others are looked at one by one."""
        first = np.zeros(len(at), dtype=bool)
        first[np.unique(at, return_index=True)[1]] = True
        self.counts["repeated"] += int((~first | self.there[at]).sum())
        self.there[at] = True
        if not self._by_content:
            self.counts["ids_only"] += len(events)
            return
        known = np.fromiter((event.event is not None for event in events), dtype=bool, count=len(events))
        as_sent = np.array([event_digest(event.event) if event.event is not None else b"" for event in events], dtype="S16")
        same = self._goes[at] & (self._index.contents[at] == as_sent)
        self.counts["ids_only"] += int((~known).sum())
        self.counts["compared"] += int(same.sum())
        for i in np.flatnonzero(known & ~same).tolist():
            rows = [row for row in self._index.rows_of(int(at[i])) if self._goes[row]]
            content = events[i].event
            if rows and content is not None:
                self.counts["compared"] += 1
                self._look(int(at[i]), rows, events[i].event_id, _decode(content))

    def _look(self, at: int, rows: Sequence[int], event_id: str, event: dict[str, Any]) -> None:
        """An event with fields in another order, with fields of the destination's own, or with another content."""
        index = self._index
        for row in rows:
            digest = _restricted(event, index.field_sets[index.fields[row]])
            if index.contents[row] == digest.rstrip(b"\0"):  # a single element of an array comes without the zeros at its end
                return
        self.differs[at] = True
        own = self._fields.intersection(event)
        sets = {own, *(fields for fields in index.field_sets if fields <= own)}
        number = len(self._differing)
        self._contents += [(at, number, content) for content in sorted({_restricted(event, fields) for fields in sets})]
        self._differing.append(event_id)

    def contents(self) -> tuple[Ints, Ints, Digests]:
        """What events that differ may have been sent as: first row, the event's number and digest, several of some."""
        rows, numbers, found = zip(*self._contents, strict=True) if self._contents else ((), (), ())
        return np.array(rows, dtype=np.int64), np.array(numbers, dtype=np.int64), np.array(found, dtype="S16")

    def differing(self) -> pa.Array:
        """Their ids, by the event's number."""
        return pa.array(self._differing, pa.string())

    def _keep(self, events: Sequence[Exported], hashes: Digests) -> None:
        times = [NO_TIME if (us := event.own_time_us()) is None else us for event in events]
        here = [i for i, us in enumerate(times) if us == NO_TIME or self._start_us <= us < self._end_us]
        self.counts["other_times"] += len(events) - len(here)
        if here:
            ids = pa.array([events[i].event_id for i in here], pa.string())
            self._unmatched.append((ids, hashes[here], np.array([times[i] for i in here], dtype=np.int64)))
            self._types += [None if (kind := events[i].type()) is None else sys.intern(kind) for i in here]

    def unmatched(self) -> Unmatched:
        """Those whose ids are not among the rows; repeats are counted."""
        ids, hashes, times = (list(part) for part in zip(*self._unmatched, strict=True)) if self._unmatched else ([], [], [])
        joined = np.concatenate([digests([]), *hashes])
        first = np.zeros(len(joined), dtype=bool)
        first[np.unique(joined, return_index=True)[1]] = True
        self.counts["repeated"] += int((~first).sum())
        numbers = np.concatenate([np.empty(0, dtype=np.int64), *times])
        found = Unmatched(pa.concat_arrays([pa.array([], pa.string()), *ids]), joined, numbers, self._types)
        self._unmatched, self._types = [], []
        return found.where(first)


def _restricted(event: dict[str, Any], fields: frozenset[str]) -> bytes:
    """The digest of an event without other top-level fields."""
    return event_digest(CANONICAL_JSON.encode({name: value for name, value in event.items() if name in fields}))
