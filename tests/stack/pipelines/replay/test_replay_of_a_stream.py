"""A stream replayed: what was late takes its place, and the tables are those of a bounded run over the same topic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from contracts.spec.project import Project
from devstack.stack import Stack
from lake.ledger.ledger import LedgerEntry, source_ledger
from lake.location import Lake
from lake.tables.fold import GRID_S
from operations.replay.promote import promote, rollback
from pipelines.ingest.options import IngestOptions
from pipelines.ingest.run import IngestReport
from pipelines.ingest.topics import Submitted, ingest_topics
from pipelines.replay.options import ReplayOptions
from pipelines.replay.run import run_replay
from tests.support import stream_population as population
from tests.support.kafka import Broker, Record
from tests.support.lake_state import WEEK, claimed, content_hash, merged_with_late, scan
from tests.support.live_job import live_job, published_ids
from tests.support.processes import PROJECT
from tests.support.stack import cancel_jobs, wait_for
from tests.support.stream_population import START, Sent, track
from transforms.converge.settle import settle

TABLE, LATE_TABLE = "validated.customer_event", "late.customer_event"
PARTITIONS = 3
WINDOW_S, LATENESS_S = 60, 120
HOUR = timedelta(hours=1)
OVER_MS = int((START + HOUR).timestamp() * 1000)
_PROJECT = Project.load(PROJECT)
_LIVE = ("--window", "1m", "--allowed-lateness", "2m", "--watermark-bound", "1s", "--early-panes", "1s", "--immediate", "off")
Key = tuple[str, int]


def on_time(prefix: str, first: int, count: int = 2 * PARTITIONS) -> list[Sent]:
    """Events of the hour after the population's."""
    return [
        Sent(track(f"{prefix}-{n}", START + HOUR + timedelta(seconds=n)), OVER_MS + 1000 * n) for n in range(first, first + count)
    ]


def stragglers(sent: list[Sent]) -> list[Sent]:
    """Events of windows that are over: new ones, and duplicates and conflicts of what was published."""
    new = [one for one in population.web(3, ids=20) if b"m-0" not in one.value]
    return [Sent(one.value, OVER_MS + 6_000 + n) for n, one in enumerate([*new, *sent[::5]])]


class Stream:
    """A topic, and the lake of a job that reads it."""

    def __init__(self, broker: Broker, topic: str, lake: Path) -> None:
        self._broker, self._topic, self._sent = broker, topic, 0
        self.uri, self.lake = broker.uri(topic), Lake.at(str(lake))

    def send(self, part: list[Sent]) -> None:
        """Dealt over the partitions."""
        self._broker.send(self._topic, [Record(one.value, one.time_ms, n % PARTITIONS) for n, one in enumerate(part)])
        self._sent += len(part)

    def is_accounted_for(self) -> bool:
        """Whether all that was sent has an outcome."""
        entry = ledger(self.lake)
        return entry.records_in == self._sent and entry.balanced

    def replay(self, name: str) -> None:
        """Replay all of it."""
        start = int(START.timestamp()) * 1_000_000
        options = ReplayOptions(
            name=name, dataset="customer_event", start=start - 3_600_000_000, end=start + 4 * 3_600_000_000, source=("web",),
            approved_by="tests", reason="however long ago it is",
        )  # fmt: skip
        assert run_replay(options, _PROJECT, self.lake, lambda _: None).exit_code == 0


def ledger(lake: Lake) -> LedgerEntry:
    """The ledger of the web source; empty where the lake is just being made."""
    if not lake.exists() or not published_ids(lake.path):
        return LedgerEntry()
    return sum(source_ledger(lake, _PROJECT.source("web")[0], TABLE).values(), LedgerEntry())


def content(lake: Lake) -> str:
    """The content hash, from the published columns and equal to what the table claims."""
    rows = scan(lake, TABLE)
    assert claimed(lake, TABLE) == (len(rows), content_hash(rows))
    return content_hash(rows)


def bounded(uri: str, lake: Path) -> str:
    """The content hash that a bounded run over the topic gives, with nothing late."""
    options = IngestOptions(
        source="web", input=(uri,), lake=str(lake), max_rejected=1.0, until="now", start="earliest", window=WINDOW_S,
        allowed_lateness=30 * 86_400, commit_every=1, late_panes=1,
    )  # fmt: skip
    report = ingest_topics(options, _PROJECT, lambda _: None)
    assert isinstance(report, IngestReport) and report.ledger.balanced and report.ledger.late == 0
    return content(Lake.at(str(lake)))


def by_key(rows: pa.Table) -> dict[Key, bytes]:
    """Row hashes by event id and cell of time."""
    times = rows.column("_window_time").cast(pa.int64()).to_pylist()
    cells = [time // (GRID_S * 1_000_000) for time in times]
    return dict(
        zip(zip(rows.column("event_id").to_pylist(), cells, strict=True), rows.column("_row_hash").to_pylist(), strict=True)
    )


def changes(lake: Lake, folder: str) -> dict[str, set[Key]]:
    """Keys of the files of changes, by kind."""
    found: dict[str, set[Key]] = {"added": set(), "removed": set(), "changed": set()}
    for path in (lake.path / folder).glob("*.parquet"):
        rows = pq.read_table(path)
        for kind, keys in found.items():
            keys.update(by_key(rows.filter(pc.equal(rows.column("_change"), kind))))
    return found


@contextmanager
def running(runner: str, stack: Stack, stream: Stream) -> Iterator[Callable[[Callable[[], Any], str], None]]:
    """A job without an end while the block runs; gives what waits for a condition while it does."""
    if runner == "prism":
        with live_job(stream.uri, stream.lake.path, *_LIVE) as job:
            yield job.wait
            job.interrupt()
        return
    options = IngestOptions(
        source="web", input=(stream.uri,), lake=stream.lake.root, max_rejected=1.0, immediate="off", commit_every=1, late_panes=1,
        window=WINDOW_S, allowed_lateness=LATENESS_S, watermark_bound=1, early_panes=1,
        runner="flink", flink=stack.flink_rest, workers=2, checkpoint_every=1,
    )  # fmt: skip
    submitted = ingest_topics(options, _PROJECT, lambda _: None)
    assert isinstance(submitted, Submitted)
    try:
        yield wait_for
    finally:
        cancel_jobs(stack, submitted.job_id)


RUNNERS = ["prism", pytest.param("flink", marks=pytest.mark.long)]


@pytest.mark.parametrize("runner", RUNNERS)
def test_what_a_replay_of_a_stream_changes_is_what_was_late(runner: str, stack: Stack, tmp_path: Path) -> None:
    broker = Broker(stack.kafka_bootstrap)
    with broker.topic(PARTITIONS) as topic:
        stream = Stream(broker, topic, tmp_path / "lake")
        sent = population.web(2)
        with running(runner, stack, stream) as wait:
            for part in (sent, on_time("later", 0), stragglers(sent)):  # each fills all partitions before the next begins
                stream.send(part)
                wait(stream.is_accounted_for, "all that was sent to be accounted for")
        lake = stream.lake
        settle(lake, _PROJECT.source("web")[1], "tests")  # what the job's next sweep would have done
        former, before, late = ledger(lake), scan(lake, TABLE), scan(lake, LATE_TABLE)
        assert former.late >= len(late) > 10
        merged = by_key(merged_with_late(lake, TABLE, LATE_TABLE, WEEK))
        had = by_key(before)
        expected = {
            "added": merged.keys() - had.keys(),
            "changed": {key for key in merged.keys() & had.keys() if merged[key] != had[key]},
            "removed": had.keys() - merged.keys(),
        }
        assert expected["added"]
        digest = content(lake)

        stream.replay("late-ones")
        assert content(lake) == digest and ledger(lake) == former
        done = promote("late-ones", _PROJECT, lake)
        assert changes(lake, done.changes) == expected
        assert (done.added, done.changed, done.removed) == tuple(len(expected[kind]) for kind in ("added", "changed", "removed"))
        assert content(lake) == bounded(stream.uri, tmp_path / "bounded") != digest
        now = ledger(lake)
        assert now.balanced and now.late == 0
        assert now == ledger(Lake.at(str(tmp_path / "bounded")))

        rollback("late-ones", _PROJECT, lake)
        assert content(lake) == digest
        assert ledger(lake) == former


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_job_that_runs_all_the_while_loses_nothing(runner: str, stack: Stack, tmp_path: Path) -> None:
    broker = Broker(stack.kafka_bootstrap)
    with broker.topic(PARTITIONS) as topic:
        stream = Stream(broker, topic, tmp_path / "lake")
        sent = population.web(2)
        with running(runner, stack, stream) as wait:
            for part in (sent, on_time("later", 0), stragglers(sent)):
                stream.send(part)
                wait(stream.is_accounted_for, "all that was sent to be accounted for")
            assert ledger(stream.lake).late > 10
            stream.send(on_time("during", 10))  # may be landed and published before, while or after the replay reads
            stream.replay("while-it-runs")
            stream.send(on_time("between", 20))
            promote("while-it-runs", _PROJECT, stream.lake)
            stream.send(on_time("after", 30))
            wait(stream.is_accounted_for, "all that was sent to be accounted for")
        assert content(stream.lake) == bounded(stream.uri, tmp_path / "bounded")
        now = ledger(stream.lake)
        assert now.late == 0
        assert now == ledger(Lake.at(str(tmp_path / "bounded")))
