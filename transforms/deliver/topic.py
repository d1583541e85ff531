"""Lanes that are partitions of a topic of rows, as ``PublishRows`` writes it: keyed by user, so a user's rows are in one lane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec

from contracts.encode.events import FILTERED, EventEncoder, Row
from lake.raw.log_ids import LogId
from transforms.deliver.items import MALFORMED, Item, items_of
from transforms.deliver.source import Read
from transforms.read.kafka import KafkaSource, with_new_partitions
from transforms.read.poll import PartitionsReader
from transforms.readers.progress import ReaderProgress

_POLL_MESSAGES = 2_000


@dataclass(frozen=True)
class TopicLanes:
    """Partitions of a topic."""

    source: KafkaSource

    @property
    def readers(self) -> tuple[ReaderProgress, ...]:
        """See Lanes."""
        return self.source.readers

    @property
    def salts(self) -> tuple[int, ...]:
        """See Lanes."""
        return self.source.salts

    def open(self, number: int, readers: int, encoder: EventEncoder) -> TopicReader:
        """See Lanes."""
        return TopicReader(self.source, number, readers, encoder)


class TopicReader:
    """Reads them."""

    def __init__(self, source: KafkaSource, number: int, readers: int, encoder: EventEncoder) -> None:
        self._source, self._number, self._readers, self._encoder = source, number, readers, encoder
        self._reader = PartitionsReader(source.connection, source.group, source.on_gap)

    def refreshed(self, progress: ReaderProgress) -> ReaderProgress:
        """See LaneReader."""
        return with_new_partitions(self._reader, self._source, self._number, self._readers, progress)

    def read(self, progress: ReaderProgress, read_to: Mapping[LogId, int], room: set[LogId], timeout_s: float) -> dict[LogId, Read]:
        """See LaneReader.

        Raises:
            OffsetGapError: offsets are gone and the policy says fail.
        """
        partitions = [msgspec.structs.replace(p, next=read_to[p.log]) for p in progress.partitions]
        self._reader.resume(partitions)
        self._reader.pause({p.log for p in partitions if p.log not in room})
        ends = {p.log: p.end for p in partitions}
        found = {}
        for log, part in self._reader.poll(_POLL_MESSAGES, timeout_s).items():
            end = ends[log]
            messages = part.messages if end is None else [m for m in part.messages if (m.offset() or 0) < end]
            following = part.next if end is None else min(part.next, end)
            found[log] = Read(self._items(messages, log), following, end is not None and following >= end)
        return found

    def _items(self, messages: Sequence[Any], log: LogId) -> list[Item]:
        """Items in order of offsets. What is no row of ours, or says nothing, is an item that is not sent."""
        rows: list[Row] = []
        places: list[tuple[int, int, int]] = []
        others: list[Item] = []
        for message in messages:
            offset, record_us = int(message.offset()), int(message.timestamp()[1]) * 1_000
            value = message.value()
            if value is None:  # a tombstone
                others.append(Item(offset, f"{log}:{offset}", record_us, record_us, None, FILTERED))
                continue
            try:
                row = self._encoder.row(value)
                window_us = next((int(text) for name, text in message.headers() or () if name == "window_time"), record_us)
            except (msgspec.MsgspecError, ValueError, TypeError):
                others.append(Item(offset, f"{log}:{offset}", record_us, record_us, None, MALFORMED))
                continue
            rows.append(row)
            places.append((offset, window_us, record_us))
        if not rows:
            return others
        items = items_of(self._encoder, self._encoder.of_rows(rows), *zip(*places, strict=True))
        return sorted(items + others, key=attrgetter("offset")) if others else items

    def lag(self) -> int | None:
        """See LaneReader."""
        return self._reader.lag()

    def committed(self, progress: ReaderProgress) -> None:
        """See LaneReader."""
        self._reader.commit({(p.topic, p.partition): p.next for p in progress.partitions})

    def close(self) -> None:
        """See LaneReader."""
        self._reader.close()
