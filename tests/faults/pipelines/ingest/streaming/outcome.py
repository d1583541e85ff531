"""What was sent against what was published, landed and sent on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import xxhash
from confluent_kafka import Consumer, TopicPartition

from contracts.spec.project import Project
from lake.ledger.ledger import LedgerEntry, log_ledger
from lake.raw.log_ids import LogId
from lake.raw.segments import log_segments, read_messages
from tests.faults.pipelines.ingest.streaming.live_job import IMMEDIATE, LATE_TABLE, SOURCE, TABLE, LiveJob
from tests.support.processes import PROJECT

_COLUMNS = ("id", "kind", "time_ms", "partition", "offset")
_SHOWN = 5
Faults = Mapping[str, tuple[float, float]]  # name: when it began and when it was over, seconds


@dataclass
class Sent:
    """What the producer wrote down. lines: its columns. events: lines whose rows belong into the tables, once each."""

    lines: pa.Table

    @classmethod
    def read(cls, job: LiveJob) -> Sent:
        """All whole lines."""
        data = job.ids.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        options = pyarrow.csv.ReadOptions(column_names=_COLUMNS)
        return cls(pyarrow.csv.read_csv(pa.BufferReader(whole), options, pyarrow.csv.ParseOptions(delimiter="\t")))

    @property
    def events(self) -> pa.Table:
        return self.lines.filter(pc.is_in(self.lines["kind"], pa.array(["event", "disordered"])))

    def count(self, kind: str) -> int:
        return int(pc.sum(pc.equal(self.lines["kind"], kind)).as_py() or 0)

    def below(self, ends: Mapping[LogId, int]) -> Sent:
        """What lies below these offsets."""
        limits = pa.array([end for _, end in sorted((log.partition, end) for log, end in ends.items())])
        return Sent(self.lines.filter(pc.less(self.lines["offset"], limits.take(self.lines["partition"].combine_chunks()))))


def published_ids(job: LiveJob, table: str) -> pa.ChunkedArray:
    """Event ids of a table's rows."""
    return job.lake.catalog().load_table(table).scan(selected_fields=("event_id",)).to_arrow()["event_id"].cast(pa.string())


def check_published(job: LiveJob, sent: Sent, faults: Faults, *, complete: bool) -> int:
    """Every event is in the table or among the late ones, and in neither twice.

    Args:
        job: whose tables.
        sent: what must be there.
        faults: to tell when what is missing was sent.
        complete: whether nothing else may be there.

    Returns:
        How many are among the late ones only.
    """
    rows, late = published_ids(job, TABLE), published_ids(job, LATE_TABLE)
    for name, ids in ((TABLE, rows), (LATE_TABLE, late)):
        assert len(ids) == len(pc.unique(ids)), f"{name}: {_repeated(ids)} are there more than once"
    events = sent.events
    there = pa.chunked_array([*rows.chunks, *late.chunks], pa.string())
    missing = events.filter(pc.invert(pc.is_in(events["id"], there.combine_chunks())))
    assert len(missing) == 0, f"{len(missing)} of {len(events)} events are lost: {_told(missing, faults)}"
    if complete:
        strange = there.filter(pc.invert(pc.is_in(there, events["id"].combine_chunks())))
        assert len(strange) == 0, f"{len(strange)} rows were never sent, such as {strange[:_SHOWN].to_pylist()}"
    only_late = pc.invert(pc.is_in(late, rows.combine_chunks()))
    return int(pc.sum(only_late).as_py() or 0)


def _told(missing: pa.Table, faults: Faults) -> str:
    """When they were sent, by fault, and where the first ones lie."""
    counts: Counter[str] = Counter()
    for time_ms in missing["time_ms"].to_pylist():
        names = [name for name, (began, ended) in faults.items() if began - 10 <= time_ms / 1_000 <= ended]
        counts[" or ".join(names) or "no fault"] += 1
    where = missing.slice(0, _SHOWN).select(["id", "partition", "offset", "time_ms"]).to_pylist()
    return f"sent during {dict(counts)}; {where}"


def _repeated(ids: pa.ChunkedArray) -> list[str]:
    counts = pc.value_counts(ids)
    found = counts.filter(pc.greater(counts.field("counts"), 1))
    return [f"{len(found)} ids", *found.field("values")[:_SHOWN].to_pylist()]


def check_ledger(job: LiveJob, sent: Sent, ends: Mapping[LogId, int]) -> LedgerEntry:
    """It adds up to what the topic has, by what was sent."""
    spec, _ = Project.load(PROJECT).source(SOURCE)
    entry = sum((log_ledger(job.lake, spec, TABLE, log) for log in job.logs), LedgerEntry())
    assert entry.balanced, entry
    assert entry.records_in == sum(ends.values()) == len(sent.lines), (entry, ends, len(sent.lines))
    assert entry.dead_letter == entry.codes.get("malformed") == sent.count("invalid"), entry
    assert entry.out == len(published_ids(job, TABLE)), entry
    assert entry.duplicate + entry.late + entry.out == len(sent.lines) - sent.count("invalid"), entry
    return entry


def check_raw(job: LiveJob, ends: Mapping[LogId, int]) -> None:
    """Who reads raw/ sees each offset once, in order."""
    for log, end in ends.items():
        offsets = [m.offset for segment in log_segments(job.lake, SOURCE, log) for m in read_messages(segment)]
        assert offsets == list(range(end)), f"raw/ of {log}: {len(offsets)} messages of {end}"


def check_immediate(job: LiveJob, sent: Sent) -> int:
    """Every event was sent on; what came again is the same. Returns how many messages were repeats."""
    wanted = set(sent.events["id"].to_pylist())
    seen: dict[str, int] = {}
    repeats = 0
    for event_id, digest in _immediate(job):
        if event_id in seen:
            repeats += 1
            assert seen[event_id] == digest, f"{IMMEDIATE}: event {event_id} came again with another value"
        seen[event_id] = digest
    assert wanted <= seen.keys(), f"{IMMEDIATE}: {len(wanted - seen.keys())} events are lost, such as {_some(wanted - seen.keys())}"
    assert seen.keys() <= wanted, f"{IMMEDIATE}: {_some(seen.keys() - wanted)} were never sent"
    return repeats


def _some(ids: set[str]) -> list[str]:
    return sorted(ids)[:_SHOWN]


def _immediate(job: LiveJob) -> Iterator[tuple[str, int]]:
    """Event id and digest of each message that the immediate branch has sent."""
    number = job.cluster.describe([IMMEDIATE])[IMMEDIATE].number
    ends = job.cluster.offsets([(IMMEDIATE, partition) for partition in range(number)], "latest")
    left = {partition: end for (_, partition), end in ends.items() if end}
    silent = 0
    consumer = Consumer({"bootstrap.servers": job.stack.kafka_bootstrap, "group.id": "check", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(IMMEDIATE, partition, 0) for partition in left])
        while left:
            messages = consumer.consume(50_000, 1.0)  # waits as long where there are fewer
            silent = 0 if messages else silent + 1
            assert silent < 30, f"{IMMEDIATE}: no more messages within 30 s, of {left}"
            for message in messages:
                assert message.error() is None, message.error()
                headers = dict(message.headers() or ())
                value = message.value() or b""
                yield str(headers["event_id"], "utf-8"), xxhash.xxh3_64_intdigest(value)
                if message.offset() + 1 >= left.get(message.partition(), 0):
                    left.pop(message.partition(), None)
    finally:
        consumer.close()
