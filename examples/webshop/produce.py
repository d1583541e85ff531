"""Puts the webshop's web events into a Kafka topic.

    python -m examples.webshop.produce --bootstrap localhost:29092 --topic web-events
    python -m examples.webshop.produce --bootstrap localhost:29092 --topic web-events --live --rate 200

Without --live the sample as it is: a message per line, whose record time is the time of receipt in it, as if a collector had sent
it then. With --live the same events happen now: their times are moved to the time of sending, and when the sample ends it begins
again under new ids. Retries and conflicts stay what they are. Lines that are no JSON go out as they are.

The topic is made where it is missing, with --partitions and without a limit of age: of record times that lie in the past the
broker's retention would soon leave nothing.
"""

from __future__ import annotations

import argparse
import itertools
import re
import signal
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from examples.webshop.generate import RECORDS_MIN
from examples.webshop.generate import main as generate
from examples.webshop.people import iso
from lake.formats.compression import DamagedInputError, read_pieces

HERE = Path(__file__).parent
_CALL_S = 30.0
_TICK_S = 0.01
_MESSAGE_BYTES = 4_000_000  # one of the defects is a line that is too large
_TOPIC = {"retention.ms": "-1", "max.message.bytes": str(_MESSAGE_BYTES)}
_TIME = re.compile(rb'"(originalTimestamp|sentAt|receivedAt)":(?:"([^"]*)"|(\d+))')
_DIGITS = {10: 1, 13: 1_000, 16: 1_000_000}  # of a number since 1970, in this century: units in a second
_ID = re.compile(rb'"messageId":"([^"]+)"')


class Event(NamedTuple):
    """A line of the sample. received_ms: when it was received; of a line that does not say, the time of its file."""

    received_ms: int
    key: bytes | None
    body: bytes


def read_sample(folder: Path) -> list[Event]:
    """The web events of a generated sample in the order of receipt; a file that lies there twice is read once."""
    events: list[Event] = []
    seen: set[bytes] = set()
    for path in sorted((folder / "web").glob("*.jsonl*")):
        content = path.read_bytes()
        if content not in seen:
            seen.add(content)
            events += _events(path)
    return sorted(events, key=lambda event: event.received_ms)


def _events(path: Path) -> Iterator[Event]:
    file_ms = path.stat().st_mtime_ns // 1_000_000
    for line in _lines(path):
        try:
            event = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            event = {}
        found = _milliseconds(event.get("receivedAt")) if isinstance(event, dict) else None
        who = (event.get("userId") or event.get("anonymousId")) if isinstance(event, dict) else None
        yield Event(file_ms if found is None else found, who.encode() if isinstance(who, str) else None, line)


def _lines(path: Path) -> Iterator[bytes]:
    """Whole lines that are not blank; what follows damage is left out."""
    text = b""
    with path.open("rb") as file:
        try:
            for piece in read_pieces(file):
                text += piece
        except DamagedInputError:
            text = text[: text.rfind(b"\n") + 1]
    yield from (line for line in text.removeprefix(b"\xef\xbb\xbf").splitlines() if line.strip())


def _milliseconds(text: object) -> int | None:
    """A text with a zone; nothing else is a time."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return None if at.tzinfo is None else round(at.timestamp() * 1000)


def live(events: list[Event], rate: float, start_ms: int) -> Iterator[Event]:
    """The events as if they happened from a time on, without end: event k is received at start + k / rate.

    Copies of an event keep its original timestamp, so that they stay what they are: retries, or conflicts.
    """
    number = itertools.count()
    for lap in itertools.count():
        shifts: dict[bytes, int] = {}
        for event in events:
            received_ms = start_ms + int(next(number) * 1000 / rate)
            match = _ID.search(event.body)
            shift = received_ms - event.received_ms
            first = shifts.setdefault(match[1], shift) if match else shift
            body = _moved(event.body, first, shift)
            if match and lap:
                body = body.replace(match[0], match[0][:-1] + b'-%d"' % lap, 1)
            yield Event(received_ms, event.key, body)


def _moved(body: bytes, original_ms: int, transport_ms: int) -> bytes:
    """The text with its times moved; those that are no times stay."""

    def move(match: re.Match[bytes]) -> bytes:
        name, text, number = match.groups()
        by_ms = original_ms if name == b"originalTimestamp" else transport_ms
        if number is not None:
            units = _DIGITS.get(len(number), 0)
            return b'"%s":%d' % (name, int(number) + by_ms * units // 1000)
        at = _milliseconds(text.decode("utf-8", "replace"))
        return match[0] if at is None else b'"%s":"%s"' % (name, iso(at + by_ms).encode())

    return _TIME.sub(move, body)


def make_topic(bootstrap: str, topic: str, partitions: int) -> None:
    """Make the topic where it is missing.

    Raises:
        KafkaException: the broker does not answer, or refuses.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    if topic not in admin.list_topics(timeout=_CALL_S).topics:
        try:
            admin.create_topics([NewTopic(topic, partitions, config=_TOPIC)])[topic].result(_CALL_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


class _Sending:
    """A producer that counts. For one thread."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        settings: dict[str, Any] = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5, "log_level": 2}
        self._producer, self._topic = Producer(settings | {"message.max.bytes": _MESSAGE_BYTES}), topic
        self.sent = self.failed = 0
        self.stopped = False

    def send(self, events: Iterator[Event], rate: float | None, seconds: float | None) -> None:
        """Send until the end, until so many seconds are over, or until stopped; everything is acknowledged then, or has failed."""
        start = time.monotonic()
        for number, event in enumerate(events):
            while rate and not self.stopped and time.monotonic() < start + number / rate:
                self._producer.poll(_TICK_S)
            if self.stopped or (seconds is not None and time.monotonic() > start + seconds):
                break
            self._send(event)
        self.failed += self._producer.flush(_CALL_S)

    def _send(self, event: Event) -> None:
        while True:
            try:
                self._producer.produce(
                    self._topic, event.body, event.key, timestamp=event.received_ms, on_delivery=self._delivered
                )  # fmt: skip
                self._producer.poll(0)
                return
            except BufferError:  # the queue is full
                self._producer.poll(_TICK_S)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.sent += 1
        else:
            self.failed += 1


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0 everything is acknowledged, 3 it is not."""
    parser = argparse.ArgumentParser(prog="python -m examples.webshop.produce", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--bootstrap", default="localhost:29092", metavar="HOST:PORT", help="(default: %(default)s)")
    parser.add_argument("--topic", default="web-events", help="made where it is missing (default: %(default)s)")
    parser.add_argument("--partitions", type=int, default=4, help="of a topic that is made (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=HERE / "data", metavar="DIR", help="the sample; generated where it is missing")
    parser.add_argument("--records", type=int, default=60_000, help=f"of a sample that is generated, at least {RECORDS_MIN}")
    parser.add_argument("--live", action="store_true", help="events happen now, and never end")
    parser.add_argument("--rate", type=float, help="events a second (default: with --live 200, else as fast as possible)")
    parser.add_argument("--seconds", type=float, help="how long at most (default: to the end; with --live until Ctrl-C or SIGTERM)")
    options = parser.parse_args(arguments)
    rate = options.rate or (200.0 if options.live else None)
    if rate is not None and rate <= 0:
        parser.error("--rate must be more than 0")
    if not (options.data / "truth.parquet").exists():
        generate(["--output", str(options.data), "--records", str(options.records)])
    events = read_sample(options.data)
    try:
        make_topic(options.bootstrap, options.topic, options.partitions)
    except KafkaException as error:
        print(f"Kafka {options.bootstrap}: {error.args[0].name()}; is it running? headrace stack up starts one", file=sys.stderr)
        return 3
    sending = _Sending(options.bootstrap, options.topic)
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda _signal, _frame: setattr(sending, "stopped", True)) for number in numbers]
    stream = live(events, rate, int(time.time() * 1000)) if options.live and rate else iter(events)
    sending.send(stream, rate, options.seconds)
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    told = f", {sending.failed:,} not acknowledged" if sending.failed else ""
    print(f"{sending.sent:,} messages in topic {options.topic}{told}")
    return 3 if sending.failed else 0


if __name__ == "__main__":
    sys.exit(main())
