"""What a message costs from poll to batch, part by part: the code of the job in a plain loop, without Beam, broker and lake.

    python -m benchmarks.stream.hot_path
    python -m benchmarks.stream.hot_path --poll 500 --profile parse,check

Messages are those of the load producer, the parts those that run in a bundle, in this order; a bundle has several polls.
Microseconds of CPU time of the whole process per message, the best of several rounds: what is left out is waiting, and what other
processes did meanwhile.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pyarrow as pa
import xxhash
from confluent_kafka import Message

from benchmarks.stream.payloads import iso, templates
from contracts.compiler.checker import RecordChecker
from contracts.compiler.rows import RowFinisher
from contracts.compiler.schemas import ROW_JSON, row_schema, to_arrow
from contracts.spec.project import Project
from lake.location import Lake
from lake.raw.log_ids import LogId
from lake.raw.segment_files import encode_segment
from transforms.batch import RowBatch, RowBatchCoder
from transforms.cut import Cut, cut_batches
from transforms.decode.kernel import RecordDecoder
from transforms.immediate import RecentIds, RowsTopic, _PublishFn
from transforms.kafka.connection import KafkaConnection
from transforms.read.kafka import _ReadFn
from transforms.read.messages import MessageBatch
from transforms.read.partitions import PartitionProgress
from transforms.read.poll import PartitionsReader
from transforms.read.topics import KafkaSource
from transforms.readers.progress import ReaderProgress

PROJECT = Path(__file__).parents[2] / "examples/webshop"
_LOG = LogId("web-events", "hot-path", 0)
_NOBODY = KafkaConnection("localhost:9", None)  # nothing is sent: the queue is emptied after each round
_PARTS: Mapping[str, str] = {
    "poll": "the client's messages to one list per partition",
    "judge": "times, offsets and watermarks of a poll; the MessageBatch",
    "keep": "messages kept for raw/ until the bundle ends",
    "parse": "JSON to dicts",
    "check": "dicts to columns, every rule of the contract",
    "finish": "computed columns, fingerprint, row hash, rank",
    "arrow": "columns to an Arrow table",
    "immediate": "rows with their JSON into the producer's queue",
    "cut": "the bundle's tables to one batch per window and shard",
    "encode": "batches to bytes for the shuffle to the fold",
    "decode": "and back",
    "raw": "the raw segment (Avro, zstd), without writing it",
}


class _Consumer:
    """A consumer whose polls are known beforehand."""

    def __init__(self, polls: list[list[Message]]) -> None:
        self._polls, self._next = polls, 0

    def consume(self, _most: int, _timeout_s: float) -> list[Message]:
        messages = self._polls[self._next % len(self._polls)]
        self._next += 1
        return messages

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_: None


class HotPath:
    """A bundle of several polls, and what the job does with it. Each part leaves its result for the next."""

    def __init__(self, poll: int, bundle: int, lake: Lake) -> None:
        now_ms = int(time.time() * 1_000)
        self._spec, contract = Project.load(PROJECT).source("web")
        self.messages = max(bundle // poll, 1) * poll
        self._polls = self.messages // poll
        made = _messages(self.messages, now_ms)
        self._payload_bytes = sum(len(message.value() or b"") for message in made)
        polls = [made[i : i + poll] for i in range(0, self.messages, poll)]
        with patch("transforms.read.poll.open_consumer", return_value=_Consumer(polls)):
            self._reader = PartitionsReader(_NOBODY, "hot-path", "fail")
        progress = PartitionProgress(_LOG.topic, _LOG.topic_id, _LOG.partition, next=0)
        self._progress = ReaderProgress((progress,))
        source = KafkaSource(
            connection=_NOBODY, group="hot-path", topic=_LOG.topic, topic_pattern=None, readers=(self._progress,), salts=(0,)
        )
        self._read = _ReadFn(source, self._spec, lake)
        self._checker, self._finisher = RecordChecker(contract, self._spec), RowFinisher(contract)
        self._schema, self._decoder = row_schema(contract), RecordDecoder(contract, self._spec, "hot-path")
        self._event_id, self._cut_as, self._coder = contract.event_id, Cut(window_s=60), RowBatchCoder()
        self._publish = _PublishFn(RowsTopic(_NOBODY, "rows"), contract)
        self._publish.setup()

    def prepare(self) -> None:
        """What is not measured: an empty bundle, an empty queue."""
        self._reader._next, self._reader._logs = {(_LOG.topic, 0): 0}, {(_LOG.topic, 0): _LOG}
        self._read.start_bundle()
        self._publish._producer.purge()
        self._publish._producer.poll(0)
        self._publish._recent = RecentIds()
        self._publish.start_bundle()

    def run(self, part: str) -> None:
        """One part for the whole bundle."""
        getattr(self, f"_{part}")()

    def _poll(self) -> None:
        self._polled = [self._reader.poll(10_000, 0.1) for _ in range(self._polls)]

    def _judge(self) -> None:
        self._judged = [self._read._judge(self._reader, self._progress, polled)[0] for polled in self._polled]
        self._batches = [MessageBatch.joined(list(batches.values())) for batches in self._judged]

    def _keep(self) -> None:
        for polled, batches in zip(self._polled, self._judged, strict=True):
            self._read._keep(_LOG, self._progress, polled[_LOG], batches[_LOG])

    def _parse(self) -> None:
        self._parsed = [batch.parse(self._spec) for batch in self._batches]

    def _check(self) -> None:
        self._checked = [self._checker.check(parsed.records, parsed.envelopes, failed=parsed.failed) for parsed in self._parsed]

    def _finish(self) -> None:
        pairs = zip(self._checked, self._batches, strict=True)
        self._columns = [self._finisher.finish(checked.columns, batch.times_us.tolist()) for checked, batch in pairs]

    def _arrow(self) -> None:
        self._tables, self._outgoing = [], []
        for columns, batch in zip(self._columns, self._batches, strict=True):
            columns["_source"], columns["_raw_file"] = [self._spec.name] * len(batch.logs), batch.logs
            columns["_position"] = batch.offsets.tolist()
            arrays = [to_arrow(field.type, columns[field.name]) for field in self._schema]
            self._tables.append(pa.Table.from_arrays(arrays, schema=self._schema))
            self._outgoing.append(self._tables[-1].append_column(ROW_JSON, pa.array(columns.row_json, ROW_JSON.type)))

    def _immediate(self) -> None:
        for table in self._outgoing:
            list(self._publish.process(RowBatch(table)))

    def _cut(self) -> None:
        self._rows = pa.concat_tables(self._tables)
        self._parts = [part.value[1] for part in cut_batches(self._rows, self._event_id, self._cut_as)]

    def _encode(self) -> None:
        self._encoded = [self._coder.encode(part) for part in self._parts]

    def _decode(self) -> None:
        self._decoded = [self._coder.decode(data) for data in self._encoded]

    def _raw(self) -> None:
        kept = self._read._unlanded[_LOG].messages
        self._segment = encode_segment(self._spec.name, _LOG, (0, len(kept)), kept, batched=False)

    def verify(self) -> None:
        """What was measured is what the job makes.

        Raises:
            AssertionError: it is not.
        """
        expected = pa.concat_tables([self._decoder.decode(batch).rows for batch in self._batches])
        assert self._rows.equals(expected), "the parts in a row give other rows than the decoder"
        assert sum(len(part.rows) for part in self._decoded) == len(expected) == self.messages, "rows are missing"

    @property
    def sizes(self) -> dict[str, float]:
        """Bytes per message."""
        sizes = {"payload": self._payload_bytes, "to the fold": sum(map(len, self._encoded)), "raw segment": len(self._segment)}
        return {name: size / self.messages for name, size in sizes.items()}


def measure(
    poll: int, bundle: int, rounds: int, lake: Lake, profiles: Mapping[str, cProfile.Profile]
) -> tuple[dict[str, float], HotPath]:
    """Microseconds per message of each part that is not profiled."""
    path = HotPath(poll, bundle, lake)
    best: dict[str, float] = {}
    for _ in range(rounds):
        path.prepare()
        gc.collect()
        gc.disable()  # as the decoder does; the rest makes too little for it to matter
        for part in _PARTS:
            if part in profiles:
                profiles[part].runcall(path.run, part)
                continue
            began = time.process_time_ns()
            path.run(part)
            used = (time.process_time_ns() - began) / 1_000 / path.messages
            best[part] = min(best.get(part, used), used)
        gc.enable()
    path.verify()
    return best, path


def _messages(count: int, now_ms: int) -> list[Message]:
    made = []
    for offset, (key, render) in enumerate(templates(count)):
        value = render(b"ajs-" + xxhash.xxh3_128_hexdigest(b"%d" % offset).encode(), iso(now_ms))
        made.append(Message(topic=_LOG.topic, partition=0, offset=offset, key=key, value=value, headers=[], timestamp=(1, now_ms)))
    return made


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    if unknown := [part for part in parts if part not in _PARTS]:
        raise argparse.ArgumentTypeError(f"no part {', '.join(unknown)}; there are {', '.join(_PARTS)}")
    return parts


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream.hot_path", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--poll", type=int, nargs="+", default=[10_000, 1_000, 250], metavar="N", help="messages in a poll")
    parser.add_argument("--bundle", type=int, default=10_000, metavar="N", help="messages in a bundle (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="of which the best counts (default: %(default)s)")
    parser.add_argument("--profile", type=_parts, default=[], metavar="PART,…", help="say which functions these parts spend it in")
    options = parser.parse_args(arguments)
    profiles = {part: cProfile.Profile() for part in options.profile}
    with TemporaryDirectory() as folder:
        lake = Lake.at(folder)
        measured = [measure(size, options.bundle, options.rounds, lake, profiles) for size in options.poll]
    print(*_report(options.poll, [figures for figures, _ in measured]), sep="\n")
    print("bytes a message: " + ", ".join(f"{name} {size:.0f}" for name, size in measured[0][1].sizes.items()))
    for part, profile in profiles.items():
        print(f"\n{part}, {options.rounds} rounds:")
        pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(12)
    return 0


def _report(sizes: list[int], figures: list[dict[str, float]]) -> list[str]:
    head = f"{'µs a message, polls of':<24}" + "".join(f"{size:>9,}" for size in sizes)
    lines = [
        f"{part:<24}" + "".join(f"{of[part]:>9.2f}" for of in figures) + f"   {what}"
        for part, what in _PARTS.items()
        if part in figures[0]
    ]
    return [head, *lines, f"{'all':<24}" + "".join(f"{sum(of.values()):>9.2f}" for of in figures)]


if __name__ == "__main__":
    sys.exit(main())
