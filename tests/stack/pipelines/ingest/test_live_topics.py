"""A job without an end, on this machine: topics that grow, come and go, partitions that are idle, rows that go out at once."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
import xxhash

from devstack.stack import Stack
from lake.location import Lake
from lake.raw.log_ids import LogId
from lake.tables.iceberg import known_files
from tests.support.kafka import Broker, Received, Record
from tests.support.lake_state import row_digest, scan
from tests.support.live_job import live_job
from tests.support.stream_population import track

NOW = ("--immediate", "off", "--early-panes", "1s")


@pytest.fixture
def broker(stack: Stack) -> Broker:
    return Broker(stack.kafka_bootstrap)


def events(*numbers: int, partition: int | None = None, ago_s: int = 0, user: str = "u-1") -> list[Record]:
    """Events m-<number> of now, or of some time ago."""
    at = datetime.now(UTC) - timedelta(seconds=ago_s)
    return [Record(track(f"m-{n}", at, userId=user), int(at.timestamp() * 1000), partition) for n in numbers]


def named(*numbers: int) -> set[str]:
    return {f"m-{n}" for n in numbers}


def test_a_job_follows_its_topics(broker: Broker, tmp_path: Path) -> None:
    """New partitions, a topic that appears later, and one that is made again with more records than the first had."""
    with broker.topic(prefix="follow") as topic:
        later = f"{topic}-later"
        broker.send(topic, events(0, 1))
        with live_job(broker.uri(), tmp_path, *NOW, "--topic-pattern", f"{topic}.*") as job:
            job.wait_for_ids(named(0, 1))
            try:
                broker.grow(topic, 2)
                broker.send(topic, events(2, partition=1))
                broker.create(later)
                broker.send(later, events(3))
                job.wait_for_ids(named(2, 3), "rows of a new partition and a new topic")
                broker.delete(topic)
                broker.create(topic, 2)
                broker.send(topic, [*events(*range(10, 20), partition=0), *events(20, partition=1)])
                job.wait_for_ids(named(*range(10, 21)), "rows of a topic that was made again")
            finally:
                broker.delete(later)
            again = LogId(topic, broker.topic_id(topic), 0)
            job.wait(lambda: job.landed().get(again) == 10, "all of it to be landed under its own id")


def test_a_webhook_that_is_sent_again_days_later_becomes_one_row_beside_the_stream(broker: Broker, tmp_path: Path) -> None:
    """Published at once, and dropped by the next sweep, while rows go on coming."""
    with broker.topic() as topic, live_job(broker.uri(topic), tmp_path, *NOW) as job:
        for days_ago in (6, 3, 0):
            broker.send(topic, events(1, ago_s=days_ago * 86_400))
        lake = Lake.at(str(tmp_path))

        def copies() -> tuple[int, int]:
            table = lake.load("validated.customer_event")
            files = known_files(table, None)
            return tuple(sum(f.rows for f in files if f.dropped == dropped) for dropped in (False, True))  # type: ignore[return-value]

        job.wait_for_ids(named(1))
        broker.send(topic, events(2))
        job.wait_for_ids(named(1, 2))
        job.wait(lambda: copies() == (2, 2), "copies to be dropped")
        broker.send(topic, events(1))
        broker.send(topic, events(3))
        job.wait_for_ids(named(1, 2, 3))
        tagged = lake.load("validated.customer_event").metadata.snapshot_by_name("settled")
        assert tagged is not None


def test_offsets_that_go_while_a_job_is_behind_end_it(broker: Broker, tmp_path: Path) -> None:
    with broker.topic() as topic:
        broker.send(topic, events(*range(3)))
        with live_job(broker.uri(topic), tmp_path, *NOW) as job:
            job.wait_for_ids(named(*range(3)))
            job.process.send_signal(signal.SIGSTOP)  # it falls behind
            broker.send(topic, events(*range(3, 9)))
            broker.delete_before(topic, {0: 7})
            job.process.send_signal(signal.SIGCONT)
            assert job.ended() == 1
            told = "".join(job.output).strip().splitlines()[-1]
            assert f"topic {topic}, partition 0: offset 3 is not there; the broker has 7 to 9" in told
        with live_job(broker.uri(topic), tmp_path, *NOW, "--on-offset-gap", "earliest") as job:
            job.wait_for_ids(named(0, 1, 2, 7, 8))


def test_an_idle_partition_does_not_hold_windows_open(broker: Broker, tmp_path: Path) -> None:
    with broker.topic(2) as topic:
        broker.send(topic, [r for n in range(5) for r in events(n, partition=0, ago_s=600 - 60 * n)])
        with live_job(broker.uri(topic), tmp_path, "--immediate", "off", "--idle-timeout", "2s") as job:
            job.wait_for_ids(named(*range(5)))  # windows fire only when W passes them: there are no early panes
            broker.send(topic, events(7, partition=1))  # it wakes up, and is not late
            job.wait(lambda: 0 < sum(job.landed().values()) == 6, "the last record to be landed")
            job.wait_for_ids(named(7))


def test_a_partition_that_is_not_idle_holds_windows_open(broker: Broker, tmp_path: Path) -> None:
    """The counterpart: with a long time-out the first record of the other partition releases them."""
    with broker.topic(2) as topic:
        broker.send(topic, [r for n in range(5) for r in events(n, partition=0, ago_s=600 - 60 * n)])
        with live_job(broker.uri(topic), tmp_path, "--immediate", "off", "--idle-timeout", "1h") as job:
            job.wait(lambda: sum(job.landed().values()) == 5, "all to be landed")
            assert job.ids() == set()
            broker.send(topic, events(9, partition=1))
            job.wait_for_ids(named(*range(4)))


def test_an_interrupt_ends_a_job_and_the_next_goes_on(broker: Broker, tmp_path: Path) -> None:
    with broker.topic(2) as topic:
        broker.send(topic, events(*range(5)))
        with live_job(broker.uri(topic), tmp_path, *NOW) as job:
            job.wait_for_ids(named(*range(5)))
            assert job.interrupt() == 130
            assert "Traceback" not in "".join(job.output)
        broker.send(topic, events(*range(5, 8)))
        with live_job(broker.uri(topic), tmp_path, *NOW, "--group", f"{topic}-group") as job:
            job.wait_for_ids(named(*range(8)))
            job.wait(
                lambda: sum(max(o, 0) for o in broker.group_offsets(f"{topic}-group", topic).values()) == 8, "the group's offsets"
            )


# The immediate branch


def keyed(broker: Broker, topic: str) -> dict[str, list[Received]]:
    """Messages of the immediate topic by key, in order."""
    found: dict[str, list[Received]] = {}
    for message in broker.received(topic):
        found.setdefault((message.key or b"").decode(), []).append(message)
    return found


def ids_of(messages: Sequence[Received]) -> list[str]:
    return [(m.headers["event_id"] or b"").decode() for m in messages]


def test_rows_go_out_at_once_in_order_and_once(exclusive_stack: Stack, tmp_path: Path) -> None:
    """Key, headers, canonical JSON; the order of each key; repeats suppressed; nothing lost when the broker dies in the middle."""
    stack, broker = exclusive_stack, Broker(exclusive_stack.kafka_bootstrap)
    with broker.topic(2) as topic, broker.topic(3) as out:
        first = [r for n in range(60) for r in events(n, user=f"u-{n % 7}", partition=n % 7 % 2)]
        broker.send(topic, [*first, *first[::3], Record(b"no json", first[0].time_ms)])
        with live_job(broker.uri(topic), tmp_path, "--immediate", out, "--early-panes", "1s") as job:
            job.wait(lambda: len(broker.received(out)) >= 60, "rows in the topic")
            job.wait_for_ids(named(*range(60)))
            found = broker.received(out)
            assert sorted(ids_of(found)) == sorted(named(*range(60)))
            for user, messages in keyed(broker, out).items():
                assert ids_of(messages) == [f"m-{n}" for n in range(60) if f"u-{n % 7}" == user]
            rows = {row["event_id"]: row for row in scan(Lake.at(str(tmp_path)), "validated.customer_event").to_pylist()}
            for message in found:
                row = rows[ids_of([message])[0]]
                assert xxhash.xxh3_128_digest(message.value or b"") == row["_row_hash"]
                assert row_digest({n: v for n, v in row.items() if not n.startswith("_")}) == row["_row_hash"]
                micros = (row["_window_time"] - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
                assert message.headers == {
                    "event_id": row["event_id"].encode(), "dataset": b"customer_event", "version": b"1.0.0",
                    "window_time": str(micros).encode(),
                }  # fmt: skip
            stack.kill("kafka")
            stack.up()
            second = [r for n in range(60, 100) for r in events(n, user=f"u-{n % 7}", partition=n % 7 % 2)]
            broker.send(topic, second)
            job.wait(lambda: set(ids_of(broker.received(out))) == named(*range(100)), "rows after the broker died")
            job.wait_for_ids(named(*range(100)))
            for user, messages in keyed(broker, out).items():
                assert list(dict.fromkeys(ids_of(messages))) == [f"m-{n}" for n in range(100) if f"u-{n % 7}" == user]


def test_a_row_that_no_message_can_hold_stops_nothing(broker: Broker, tmp_path: Path) -> None:
    large = json.loads(track("m-0", datetime.now(UTC)))
    large["properties"] = {"noise": Random(1).randbytes(300_000).hex()}  # so that it is large when it is compressed too
    with broker.topic() as topic, broker.topic(max_message_bytes="200000") as out:
        broker.send(topic, [Record(json.dumps(large).encode(), int(time.time() * 1000)), *events(1, 2)])
        with live_job(broker.uri(topic), tmp_path, "--immediate", out, "--early-panes", "1s") as job:
            job.wait(lambda: set(ids_of(broker.received(out))) == named(1, 2), "the other rows")
            job.wait_for_ids(named(0, 1, 2))
