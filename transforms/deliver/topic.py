"""Lanes that are partitions of a topic of rows, as ``PublishRows`` writes it: keyed by user, so a user's rows are in one lane."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from contracts.compiler.clocks import NO_TIME_US, record_times_us, within_reason
from contracts.encode.events import FILTERED, EventEncoder, Row
from contracts.units import SECOND_US
from lake.raw.log_ids import LogId
from lake.receipts.lanes import LaneId
from transforms.deliver.items import MALFORMED, Item, items_of
from transforms.deliver.source import Read
from transforms.read.discover import with_new_partitions
from transforms.read.partitions import PartitionsProgress, ReaderProgressCoder
from transforms.read.poll import PartitionsReader
from transforms.read.topics import KafkaSource
from transforms.readers.restriction import ReaderName

_POLL_MESSAGES = 2_000


@dataclass(frozen=True)
class TopicLanes:
    """Partitions of a topic."""

    source: KafkaSource

    @property
    def readers(self) -> tuple[PartitionsProgress, ...]:
        """See LaneSource."""
        return self.source.readers

    @property
    def salts(self) -> tuple[int, ...]:
        """See LaneSource."""
        return self.source.salts

    @property
    def progress_coder(self) -> ReaderProgressCoder:
        """See LaneSource."""
        return self.source.progress_coder

    def open(self, name: ReaderName, encoder: EventEncoder) -> TopicReader:
        """See Lanes."""
        return TopicReader(self.source, name, encoder)


class TopicReader:
    """Reads them."""

    def __init__(
        self, source: KafkaSource, name: ReaderName, encoder: EventEncoder, clock: Callable[[], float] = time.time
    ) -> None:
        self._source, self._name, self._encoder, self._clock = source, name, encoder, clock
        self._reader = PartitionsReader(source.connection, source.group, source.on_gap)

    def refreshed(self, progress: PartitionsProgress) -> PartitionsProgress:
        """See LaneReader."""
        return with_new_partitions(self._reader, self._source, self._name, progress)

    def read(
        self, progress: PartitionsProgress, read_to: Mapping[LaneId, int], room: set[LaneId], timeout_s: float
    ) -> dict[LaneId, Read]:
        """See LaneReader.

        Raises:
            OffsetGapError: offsets are gone and the policy says fail.
        """
        partitions = [p.at(read_to[LaneId(*p.id)]) for p in progress.lanes]
        self._reader.resume(partitions)
        self._reader.pause({p.log for p in partitions if LaneId(*p.id) not in room})
        ends = {p.log: p.end for p in partitions}
        found = {}
        for log, part in self._reader.poll(_POLL_MESSAGES, timeout_s).items():
            end = ends[log]
            messages = part.messages if end is None else [m for m in part.messages if (m.offset() or 0) < end]
            following = part.next if end is None else min(part.next, end)
            found[LaneId(*log)] = Read(self._items(messages, log), following, end is not None and following >= end)
        return found

    def _items(self, messages: Sequence[Any], log: LogId) -> list[Item]:
        """Items in order of offsets. What is no row of ours, or says nothing, is an item that is not sent."""
        rows: list[Row] = []
        places: list[tuple[int, int, int]] = []
        others: list[Item] = []
        now_us = int(self._clock() * SECOND_US)
        for message in messages:
            offset, record_us = int(message.offset()), int(record_times_us(np.array(message.timestamp()[1])))
            since_us = now_us if record_us == NO_TIME_US else min(record_us, now_us)  # no row waits before it came, or since 1970
            value = message.value()
            if value is None:  # a tombstone
                others.append(Item(offset, f"{log}:{offset}", record_us, since_us, None, FILTERED))
                continue
            try:
                row = self._encoder.row(value)
                window_us = within_reason(next((int(t) for name, t in message.headers() or () if name == "window_time"), record_us))
            except (msgspec.MsgspecError, ValueError, TypeError):
                others.append(Item(offset, f"{log}:{offset}", record_us, since_us, None, MALFORMED))
                continue
            rows.append(row)
            places.append((offset, window_us, since_us))
        if not rows:
            return others
        items = items_of(self._encoder, self._encoder.of_rows(rows), *zip(*places, strict=True))
        return sorted(items + others, key=attrgetter("offset")) if others else items

    def lag(self) -> int | None:
        """See LaneReader."""
        return self._reader.lag()

    def committed(self, progress: PartitionsProgress) -> None:
        """See LaneReader."""
        self._reader.commit({(p.topic, p.partition): p.next for p in progress.lanes})

    def close(self) -> None:
        """See LaneReader."""
        self._reader.close()
