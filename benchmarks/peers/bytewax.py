"""Kafka to Parquet as a bytewax user writes it: a dataflow with recovery, keyed by shard, whose sink writes at each snapshot.

    python -m bytewax.recovery FOLDER 2
    python -m bytewax.run "benchmarks.peers.bytewax:flow('HOST:PORT TOPIC OUTPUT')" -r FOLDER -s 10 -b 0 -a "ADDRESS;ADDRESS" -i 0

The first of an event id in its minute goes on at once; ids are remembered for two more minutes, and what is older is dropped. So
nothing waits for the end of a window. (A window of bytewax has a watermark per key, and what comes behind it is late although the
window is still open: bytewax/bytewax#127. How far two partitions are apart would decide what is lost.) Snapshots hold the ids only.
Workers of one process share the interpreter's lock, so there are two processes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSourceMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from benchmarks.peers.judged import Row
from benchmarks.peers.messages import CODE, MINUTE, WINDOW_S, judge, write

SHARDS = 4
REMEMBERED_S = 2 * WINDOW_S
State = dict[int, frozenset[str]]


def by_shard(message: KafkaSourceMessage[bytes | None, bytes | None]) -> Iterable[tuple[str, Row]]:
    """The row or dead letter of a message under its shard."""
    item = judge(message.value or b"", message.timestamp[1])
    if item is not None:
        key = item["raw"] if CODE in item else item["event_id"].encode()
        yield str(zlib.crc32(key) % SHARDS), item


class FirstOfId(StatefulBatchLogic[Row, Row, State]):
    """Lets the first row of an event id through, per minute."""

    def __init__(self, state: State | None) -> None:
        self._ids = {minute: set(ids) for minute, ids in (state or {}).items()}
        self._newest = max(self._ids, default=0)

    def on_batch(self, values: list[Row]) -> tuple[Iterable[Row], bool]:
        """See its base."""
        return [item for item in values if CODE in item or self._is_first(item)], False

    def _is_first(self, row: Row) -> bool:
        minute = row[MINUTE]
        if minute > self._newest:
            self._newest = minute
            self._ids = {kept: ids for kept, ids in self._ids.items() if kept >= minute - REMEMBERED_S}
        if minute < self._newest - REMEMBERED_S:
            return False
        ids = self._ids.setdefault(minute, set())
        known = row["event_id"] in ids
        ids.add(row["event_id"])
        return not known

    def snapshot(self) -> State:
        """See its base."""
        return {minute: frozenset(ids) for minute, ids in self._ids.items()}


class ParquetPartition(StatefulSinkPartition[Row, int]):
    """Keeps what comes, and writes it when there is a snapshot: what a file holds is never read again."""

    def __init__(self, output: Path, shard: str, number: int) -> None:
        self._output, self._shard, self._number = output, shard, number
        self._items: list[Row] = []

    def write_batch(self, values: list[Row]) -> None:
        """See its base."""
        self._items += values

    def snapshot(self) -> int:
        """See its base; after a failure the same files are written again."""
        if self._items:
            write(self._output, f"{self._shard}-{self._number}", self._items)
            self._number += 1
            self._items = []
        return self._number


class ParquetSink(FixedPartitionedSink[Row, int]):
    """Files by minute and shard."""

    def __init__(self, output: Path) -> None:
        self._output = output

    def list_parts(self) -> list[str]:
        """See its base."""
        return [str(shard) for shard in range(SHARDS)]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> ParquetPartition:
        """See its base."""
        return ParquetPartition(self._output, for_part, resume_state or 0)

    def part_fn(self, item_key: str) -> int:
        """See its base."""
        return int(item_key)


def flow(told: str) -> Dataflow:
    """The dataflow. told: broker, topic and output folder, with spaces between them."""
    broker, topic, output = told.split(" ", 2)
    made = Dataflow("web_events")
    messages = kop.input("read", made, brokers=[broker], topics=[topic])
    op.raises("failed", messages.errs)
    items = op.flat_map("judge", messages.oks, by_shard)
    first = op.stateful_batch("first", items, FirstOfId)
    op.output("write", first, ParquetSink(Path(output)))
    return made
