"""Kafka to Parquet as a quixstreams user writes it: a stateful filter with entries that expire, and a sink that writes at commits.

    python -m benchmarks.peers.quixstreams HOST:PORT TOPIC OUTPUT STATE

Two processes of it are one consumer group. An event id is remembered for two minutes under the message's key, in RocksDB and its
changelog topic (the docs' cookbook of state TTL), and its first row goes on at once: a tumbling window closes only with a newer
message of its partition, so the last ones of a stream would never come out (quixio/quix-streams#790). Equal ids have equal keys
here; where they have not, a ``group_by`` over a topic of its own is needed.
"""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path
from typing import Any

from quixstreams import Application, State
from quixstreams.sinks import BatchingSink, SinkBatch

from benchmarks.peers.judged import Row
from benchmarks.peers.messages import CODE, WINDOW_S, judge, write

COMMIT_S = 10.0
REMEMBERED = timedelta(seconds=2 * WINDOW_S)


def is_first(item: Row, state: State) -> bool:
    """Whether it is a dead letter, or the first row of its event id."""
    if CODE in item:
        return True
    event_id = item["event_id"]
    if state.exists(event_id):
        return False
    state.set(event_id, 1, ttl=REMEMBERED)
    return True


class ParquetSink(BatchingSink):
    """Files by minute, partition and first offset, so that what is written again after a failure replaces what was there."""

    def __init__(self, output: Path) -> None:
        super().__init__()
        self._output = output

    def write(self, batch: SinkBatch) -> None:
        """See its base."""
        write(self._output, f"{batch.partition}-{batch.start_offset}", (item.value for item in batch))


def judged(payload: bytes, _key: Any, timestamp_ms: int, _headers: Any) -> Row | None:
    """The row or dead letter of a message."""
    return judge(payload, timestamp_ms)


def run(broker: str, topic: str, output: Path, state: Path) -> None:
    """Read until SIGTERM."""
    app = Application(
        broker,
        consumer_group=f"quixstreams-{topic}",
        auto_offset_reset="earliest",
        commit_interval=COMMIT_S,
        state_dir=state,
        loglevel="WARNING",
    )
    messages = app.topic(topic, key_deserializer="bytes", value_deserializer="bytes")
    items = app.dataframe(messages).apply(judged, metadata=True).filter(lambda item: item is not None)
    items.filter(is_first, stateful=True).sink(ParquetSink(output))
    app.run()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.quixstreams")
    parser.add_argument("broker")
    parser.add_argument("topic")
    parser.add_argument("output", type=Path)
    parser.add_argument("state", type=Path)
    options = parser.parse_args()
    run(options.broker, options.topic, options.output, options.state)


if __name__ == "__main__":
    main()
