"""Writes down when the messages of a topic arrive: a consumer as any other, in a process of its own.

    python -m benchmarks.stream.arrivals --bootstrap localhost:29092 --topic headrace.validated.customer_event --out arrivals.tsv

A line per message, event id and milliseconds since 1970 by this consumer's clock when it was given the message, separated by a tab.
Reads from where the topic ends now, says ``ready`` when it does, and goes on until SIGTERM.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, TopicPartition

_POLL_S = 0.2
_WRITE_EVERY_S = 1.0


def follow(consumer: Consumer, out: Path, stopped: Any) -> None:
    """Write until ``stopped()``."""
    lines: list[str] = []
    written = time.monotonic()
    with out.open("w", encoding="utf-8") as file:
        while not stopped():
            message = consumer.poll(_POLL_S)
            now = time.time()
            if message is not None and message.error() is None:
                event_id = dict(message.headers() or ())["event_id"]
                lines.append(f"{event_id.decode() if isinstance(event_id, bytes) else event_id}\t{now * 1_000:.1f}\n")
            if time.monotonic() - written > _WRITE_EVERY_S:
                file.writelines(lines)
                file.flush()
                lines.clear()
                written = time.monotonic()
        file.writelines(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream.arrivals", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--bootstrap", required=True, metavar="HOST:PORT")
    parser.add_argument("--topic", required=True, help="it exists")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: ending.append(number))
    consumer = Consumer(
        {
            "bootstrap.servers": options.bootstrap,
            "group.id": "arrivals",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 10,
        }
    )
    try:
        partitions = consumer.list_topics(options.topic, timeout=30).topics[options.topic].partitions
        ends = [consumer.get_watermark_offsets(TopicPartition(options.topic, number), timeout=30) for number in partitions]
        begin = [high if high >= 0 else OFFSET_END for _, high in ends]
        consumer.assign([TopicPartition(options.topic, number, at) for number, at in zip(partitions, begin, strict=True)])
        print("ready", flush=True)
        follow(consumer, options.out, lambda: bool(ending))
    finally:
        consumer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
