"""Web events at a steady rate into a topic, and a file with exactly what was sent.

    python -m benchmarks.stream.producer --bootstrap localhost:29092 --topic web-events --rate 5000 --seconds 60 --ids sent.tsv

The schedule is the clock: event k is due at start + k / rate, and this time is its record time and its original, sent and received
time, whether the broker took it at once or after a pause. So latencies measured against it do not leave out what waited.

IDS gets a line per message that all in-sync replicas have acknowledged, in the order of the acknowledgements: id, kind, time in
milliseconds, partition, offset; separated by tabs. The client is idempotent: each line is one message in the topic, and where the
command exits with 0 there are no others. Kinds: ``event``; ``disordered``, whose time lies up to --disorder-s before the schedule;
``duplicate``, the bytes of an earlier event once more, sent at its time; ``copy``, an event of one to five minutes ago sent anew,
with its id and the times of now, so that the two lie in different minutes, and none twice; ``invalid``, which no contract accepts.
Ends after --seconds, or on SIGTERM or SIGINT: then too everything that was sent is acknowledged first.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import time
from collections import Counter, deque
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import xxhash
from confluent_kafka import KafkaError, Message, Producer

from benchmarks.stream.payloads import id_of, iso, templates

_TEMPLATES = 20_000
_TICK_S = 0.005
_REPORT_S = 0.5
_FLUSH_S = 300.0
_REPEATED_FROM = 20_000  # a duplicate repeats one of the last so many events
_PREFIX = b"ajs-"
_ID_LENGTH = len(_PREFIX) + 32
_COPIED_AGE_S = 61.0, 300.0  # of an event when it is copied; longer than a minute, so that the two never lie in the same one
EVENT, DISORDERED, DUPLICATE, COPY, INVALID = "event", "disordered", "duplicate", "copy", "invalid"


class Originals:
    """Which messages are events that have no copy yet, by their numbers; and which of them is copied next."""

    def __init__(self, rate: float, random: Random) -> None:
        self._youngest, self._oldest = (math.ceil(rate * age_s) for age_s in _COPIED_AGE_S)
        self._random = random
        self._free = bytearray()

    def add(self, *, is_event: bool) -> None:
        """The next message."""
        self._free.append(is_event)

    def take(self) -> int | None:
        """One of those that are old enough; None where there is none. It is not taken again."""
        end = len(self._free) - self._youngest + 1
        first = max(0, len(self._free) - self._oldest)
        number = self._free.find(1, first + int(self._random.random() * (end - first)), end) if end > 0 else -1
        if number < 0:
            return None
        self._free[number] = 0
        return number


class Load:
    """Sends on schedule and keeps account of what was acknowledged. For one thread."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._templates = templates(_TEMPLATES)
        self._random = Random(options.seed)
        self._originals = Originals(options.rate, self._random) if options.copies else None
        self._prefix = f"{os.getpid()}-{time.time_ns()}-".encode()
        self._recent: deque[tuple[bytes, bytes]] = deque(maxlen=_REPEATED_FROM)
        self._lines: list[str] = []
        self._told = {kind: partial(self._delivered, kind) for kind in (EVENT, DISORDERED, DUPLICATE, COPY, INVALID)}
        self._failures: Counter[str] = Counter()
        self.sent = self.acknowledged = 0
        self.late_ms_max = 0.0
        self.stopped = False
        self._producer = Producer(
            {
                "bootstrap.servers": options.bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": 5,
                "batch.size": 256 << 10,
                "queue.buffering.max.messages": 2_000_000,
                "queue.buffering.max.kbytes": 1_500_000,  # a broker may be away for a minute at full rate
                "delivery.timeout.ms": int(_FLUSH_S * 1_000),
                "reconnect.backoff.max.ms": 1_000,
                "log_level": 2,
            }
        )

    def run(self) -> int:
        """Send until the end, and wait for the last acknowledgement. Returns the exit code."""
        options = self._options
        start = time.time()
        total = None if options.seconds is None else int(options.rate * options.seconds)
        reported = start
        with Path(options.ids).open("w", encoding="ascii") as ids:
            while not self.stopped and (total is None or self.sent < total):
                now = time.time()
                due = int((now - start) * options.rate) + 1
                for number in range(self.sent, due if total is None else min(due, total)):
                    self._send(number, start + number / options.rate)
                self._producer.poll(0)
                if now - reported > _REPORT_S:
                    reported = now
                    self._write(ids)
                time.sleep(max(0.0, _TICK_S - (time.time() - now)))
            left = self._flush()
            self._write(ids)
        return self._end(start, left)

    def _send(self, number: int, due: float) -> None:
        options, random = self._options, self._random
        dice = random.random()
        due_ms = int(due * 1_000)
        kind, origin = EVENT, number
        if dice < options.duplicates and self._recent:
            kind = DUPLICATE
            key, payload = self._recent[int(random.random() * len(self._recent))]
        else:
            if dice < options.duplicates + options.disordered:
                kind = DISORDERED
                due_ms -= int(random.random() * options.disorder_s * 1_000)
            elif self._originals and dice < options.duplicates + options.disordered + options.copies:
                kind, origin = self._copied(number)
            key, render = self._templates[origin % _TEMPLATES]
            payload = render(_PREFIX + xxhash.xxh3_128_hexdigest(self._prefix + b"%d" % origin).encode(), iso(due_ms))
            if dice > 1 - options.invalid:
                kind, payload = INVALID, payload[:-40]  # not JSON any more; the id is still there
            elif options.duplicates and kind != COPY:
                self._recent.append((key, payload))
        if self._originals:
            self._originals.add(is_event=kind in (EVENT, DISORDERED))
        while True:
            try:
                self._producer.produce(options.topic, payload, key, timestamp=due_ms, on_delivery=self._told[kind])
                break
            except BufferError:  # the broker is away for longer than the queue lasts: fall behind, and catch up later
                self._producer.poll(0.1)
        self.sent += 1
        self.late_ms_max = max(self.late_ms_max, (time.time() - due) * 1_000)

    def _copied(self, number: int) -> tuple[str, int]:
        """What the message with this number is, and the number of the event that it holds."""
        origin = self._originals.take() if self._originals else None
        return (EVENT, number) if origin is None else (COPY, origin)

    def _delivered(self, kind: str, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures[error.name()] += 1
            return
        self.acknowledged += 1
        event_id = id_of(message.value() or b"", _ID_LENGTH).decode()
        self._lines.append(f"{event_id}\t{kind}\t{message.timestamp()[1]}\t{message.partition()}\t{message.offset()}\n")

    def _write(self, ids: Any) -> None:
        ids.writelines(self._lines)
        ids.flush()
        self._lines.clear()

    def _flush(self) -> int:
        until = time.monotonic() + _FLUSH_S
        while (left := self._producer.flush(1.0)) and time.monotonic() < until:
            pass
        return left

    def _end(self, start: float, left: int) -> int:
        taken_s, cpu = time.time() - start, time.process_time()
        said = {
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "seconds": round(taken_s, 3),
            "cpu_seconds": round(cpu, 3),
            "late_ms_max": round(self.late_ms_max, 1),
            "failures": dict(self._failures),
        }
        print(json.dumps(said))
        if left or self._failures:
            unsure = left + self._failures.total()
            print(f"{unsure} messages were not acknowledged; whether they are in the topic is unknown", file=sys.stderr)
            return 1
        return 0


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError("expected a share such as 0.01")
    return value


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    told = (__doc__ or "").split("\n", 1)[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream.producer", description=told)
    parser.add_argument("--bootstrap", required=True, metavar="HOST:PORT")
    parser.add_argument("--topic", required=True, help="it exists")
    parser.add_argument("--rate", type=float, default=5_000, help="messages a second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, help="how long (default: until SIGTERM)")
    parser.add_argument("--ids", required=True, metavar="FILE", help="where to write what was acknowledged")
    parser.add_argument("--duplicates", type=_share, default=0.0, metavar="SHARE", help="of messages that repeat an earlier one")
    parser.add_argument("--disordered", type=_share, default=0.0, metavar="SHARE", help="of events that come after their time")
    parser.add_argument("--disorder-s", type=float, default=3.0, metavar="SECONDS", help="how long after it (default: %(default)s)")
    parser.add_argument("--copies", type=_share, default=0.0, metavar="SHARE", help="of messages that copy an event of minutes ago")
    parser.add_argument("--invalid", type=_share, default=0.0, metavar="SHARE", help="of messages that are broken JSON")
    parser.add_argument("--seed", type=int, default=7, help="of the shares (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.rate <= 0:
        parser.error("--rate must be more than 0")
    load = Load(options)

    def stop(_signal: int, _frame: Any) -> None:
        load.stopped = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return load.run()


if __name__ == "__main__":
    sys.exit(main())
