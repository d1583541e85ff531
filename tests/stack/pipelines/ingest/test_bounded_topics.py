"""``headrace ingest kafka://… --until``: where it begins and ends, what is gone, and what is told when it cannot."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from devstack.stack import Stack
from lake.location import Lake
from lake.raw.log_ids import LogId
from lake.raw.segments import log_segments, logs_of, read_messages
from tests.support.kafka import Broker, Record
from tests.support.lake_state import scan
from tests.support.processes import PROJECT
from tests.support.stack import free_ports
from tests.support.stream_population import START, track
from transforms.kafka.connection import KafkaCluster

NOWHERE = "kafka://localhost:1/t"
FIRST_MS = int(START.timestamp() * 1000)


def headrace(*arguments: object) -> Result:
    """The command line in this process."""
    return CliRunner().invoke(main, [*map(str, arguments)])


def ingest(uri: str, lake: Path, *options: object, source: str = "web") -> Result:
    return headrace(
        "ingest", source, "--input", uri, "--lake", lake, "--project", PROJECT, "--max-rejected", "100%", "--commit-every", "1s",
        "--late-panes", "1s", "--json", *options,
    )  # fmt: skip


def ledger(done: Result, source: str = "web") -> dict[str, Any]:
    """The ledger that a run told; it was a good one."""
    assert done.exit_code == 0, done.output
    entry: dict[str, Any] = json.loads(done.stdout)["ledger"][source]
    assert entry["pending"] == 0
    return entry


def told(done: Result, exit_code: int) -> str:
    """The one sentence (or one line per wrong option) of a run that did not do it."""
    assert done.exit_code == exit_code, done.output
    assert "Traceback" not in done.output and done.stdout == ""
    return done.stderr.strip()


def events(first: int, count: int, partitions: int = 1) -> list[Record]:
    """Events m-<first>…, a second of record time apart, dealt over partitions."""
    numbers = range(first, first + count)
    return [Record(track(f"m-{n}", START + timedelta(seconds=n)), FIRST_MS + 1000 * n, n % partitions) for n in numbers]


def ids(lake: Path) -> list[str]:
    """Published ids, by number."""
    found = scan(Lake.at(str(lake)), "validated.customer_event").column("event_id").to_pylist()
    return sorted(found, key=lambda name: int(name.split("-")[1]))


def named(*numbers: int) -> list[str]:
    return [f"m-{n}" for n in numbers]


def at(second: int) -> str:
    return (datetime.fromtimestamp(FIRST_MS / 1000, UTC) + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")


@pytest.fixture
def broker(stack: Stack) -> Broker:
    return Broker(stack.kafka_bootstrap)


# Wrong use


def test_wrong_options_for_a_topic_are_told_all_at_once(tmp_path: Path) -> None:
    words = told(
        ingest(NOWHERE, tmp_path, "--slice-bytes", "1M", "--allow-damaged", "--workers", "2", "--from-savepoint", "x",
               "--start", at(9), "--until", at(8)), 2,
    )  # fmt: skip
    for name in ("--slice-bytes", "--allow-damaged", "--workers", "--from-savepoint", "--until"):
        assert name in words


def test_options_of_topics_are_refused_for_files(tmp_path: Path) -> None:
    done = headrace("ingest", "web", "--input", tmp_path, "--lake", tmp_path / "lake", "--project", PROJECT, "--until", "now",
                    "--start", "latest", "--watermark-bound", "0s", "--topic-pattern", "x")  # fmt: skip
    words = told(done, 2)
    for name in ("--until", "--start", "--watermark-bound", "--topic-pattern"):
        assert name in words


def test_values_that_cannot_be_read_are_told_all_at_once(tmp_path: Path) -> None:
    wrong = ("--start", "yesterday", "--until", "tomorrow", "--topic-pattern", "(", "--on-offset-gap", "skip")
    words = told(ingest(NOWHERE, tmp_path, *wrong), 2)
    for name in ("--start", "--until", "--topic-pattern", "--on-offset-gap"):
        assert name in words


@pytest.mark.parametrize(
    ("uri", "options", "words"),
    [
        ("kafka://localhost:1", (), "kafka://HOST:PORT/TOPIC"),
        ("kafka:/t", (), "expected kafka://HOST:PORT/TOPIC"),
        ("kafka://user:hunter2@localhost:1/t", (), "--client-config"),
        (NOWHERE, ("--topic-pattern", "t.*"), "--topic-pattern"),
        (NOWHERE, ("--allow-held",), "--allow-held: for a run that ends"),
        (NOWHERE, ("--input", "kafka://localhost:1/u"), "one kafka:// address"),
        (NOWHERE, ("--start", "2999-01-01T00:00:00Z"), "lies in the future"),
        (NOWHERE, ("--client-config", "/nowhere/at/all"), "/nowhere/at/all: No such file"),
    ],
)
def test_wrong_use_ends_before_a_broker_is_asked(uri: str, options: tuple[str, ...], words: str, tmp_path: Path) -> None:
    said = told(ingest(uri, tmp_path / "lake", *options), 2)
    assert words in said and "hunter2" not in said
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize("source", ["crm", "orders"])
def test_a_source_of_another_format_is_refused(source: str, tmp_path: Path) -> None:
    assert "only jsonl is read" in told(ingest(NOWHERE, tmp_path / "lake", source=source), 2)


def test_a_client_setting_that_is_refused_does_not_show_its_value(tmp_path: Path) -> None:
    file = tmp_path / "client.properties"
    file.write_text("security.protocol=hunter2\n")
    said = told(ingest(NOWHERE, tmp_path / "lake", "--client-config", file), 2)
    assert "security.protocol is not accepted" in said and "hunter2" not in said


# Components that are not there


def test_a_broker_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KafkaCluster.__init__.__kwdefaults__, "deadline_s", 0.5)
    address = f"localhost:{free_ports().kafka}"
    said = told(ingest(f"kafka://{address}/t", tmp_path / "lake", "--until", "now"), 3)
    assert (
        said.splitlines()[-1]
        == f"headrace: Kafka {address}: no answer (nobody answers at {address}). Is it running, and the address right?"
    )
    assert not (tmp_path / "lake").exists()


def test_a_topic_that_is_not_there(broker: Broker, tmp_path: Path) -> None:
    with broker.topic(prefix="web-events") as topic:
        said = told(ingest(broker.uri(topic.replace("events", "event")), tmp_path / "lake", "--until", "now"), 2)
        assert f"did you mean {topic}" in said
        said = told(ingest(broker.uri(), tmp_path / "lake", "--until", "now", "--topic-pattern", "nothing-.*"), 2)
        assert "no topic matches 'nothing-.*'" in said
    assert not (tmp_path / "lake").exists()


# Where it begins and ends


def test_committed_goes_on_where_the_ledger_ends(broker: Broker, tmp_path: Path) -> None:
    with broker.topic(2) as topic:
        broker.send(topic, events(0, 10, 2))
        assert ledger(ingest(broker.uri(topic), tmp_path, "--until", "now"))["out"] == 10
        broker.send(topic, events(10, 4, 2))
        assert ledger(ingest(broker.uri(topic), tmp_path, "--until", "now"))["records_in"] == 4
    assert ids(tmp_path) == named(*range(14))


def test_a_time_begins_and_ends_at_the_first_record_that_is_not_before_it(broker: Broker, tmp_path: Path) -> None:
    with broker.topic(2) as topic:
        broker.send(topic, events(0, 20, 2))
        assert ledger(ingest(broker.uri(topic), tmp_path, "--start", at(5), "--until", at(12)))["records_in"] == 7
        assert ids(tmp_path) == named(*range(5, 12))
        nothing = ledger(ingest(broker.uri(topic), tmp_path, "--start", "latest", "--until", "now"))
        assert nothing["records_in"] == 0
        assert ledger(ingest(broker.uri(topic), tmp_path, "--start", at(19), "--until", at(30)))["records_in"] == 1
        assert ledger(ingest(broker.uri(topic), tmp_path, "--start", "earliest", "--until", "now"))["records_in"] == 20
    assert ids(tmp_path) == named(*range(20))


def test_an_end_before_what_is_accounted_for_reads_nothing(broker: Broker, tmp_path: Path) -> None:
    with broker.topic() as topic:
        broker.send(topic, events(0, 6))
        ingest(broker.uri(topic), tmp_path, "--until", "now")
        assert ledger(ingest(broker.uri(topic), tmp_path, "--until", at(3)))["records_in"] == 0


def test_now_does_not_wait_for_a_transaction_that_is_open(broker: Broker, tmp_path: Path) -> None:
    with broker.topic() as topic:
        broker.send(topic, events(0, 3))
        with broker.transaction(topic, events(3, 2)) as open_one:
            assert ledger(ingest(broker.uri(topic), tmp_path, "--until", "now"))["records_in"] == 3
            assert ledger(ingest(broker.uri(topic), tmp_path, "--until", at(30)))["records_in"] == 0
            open_one.commit_transaction(30)
        assert ledger(ingest(broker.uri(topic), tmp_path, "--until", "now"))["records_in"] == 2
    assert ids(tmp_path) == named(*range(5))


def test_several_topics_by_a_pattern(broker: Broker, tmp_path: Path) -> None:
    with broker.topic(2, prefix="some") as one, broker.topic(3, prefix="some") as two, broker.topic(prefix="awesome") as other:
        for topic, first in ((one, 0), (two, 10), (other, 20)):
            broker.send(topic, events(first, 5))
        assert ledger(ingest(broker.uri(), tmp_path, "--until", "now", "--topic-pattern", "some-.*"))["records_in"] == 10
    assert ids(tmp_path) == named(*range(5), *range(10, 15))


# What is gone


def test_offsets_that_are_gone_fail_the_run_unless_told_otherwise(broker: Broker, tmp_path: Path) -> None:
    with broker.topic() as topic:
        broker.send(topic, events(0, 5))
        ingest(broker.uri(topic), tmp_path, "--until", "now")
        broker.send(topic, events(5, 5))
        broker.delete_before(topic, {0: 8})
        said = told(ingest(broker.uri(topic), tmp_path, "--until", "now"), 1)
        assert f"{topic}[0] at 5 (there is 8 to 10)" in said and "--on-offset-gap earliest" in said
        assert ids(tmp_path) == named(*range(5))
        assert ledger(ingest(broker.uri(topic), tmp_path, "--until", "now", "--on-offset-gap", "earliest"))["records_in"] == 2
    assert ids(tmp_path) == named(*range(5), 8, 9)


def test_a_topic_that_was_made_again_is_another_log(broker: Broker, tmp_path: Path) -> None:
    with broker.topic() as topic:
        before = broker.topic_id(topic)
        broker.send(topic, events(0, 5))
        ingest(broker.uri(topic), tmp_path, "--until", "now")
        broker.delete(topic)
        broker.create(topic)
        broker.send(topic, events(5, 3))
        assert ledger(ingest(broker.uri(topic), tmp_path, "--until", "now"))["records_in"] == 3
        logs = {LogId(topic, before, 0), LogId(topic, broker.topic_id(topic), 0)}
    assert set(logs_of(Lake.at(str(tmp_path)), "web")) == logs
    assert ids(tmp_path) == named(*range(8))


# What messages can be


def test_messages_that_are_no_record_are_dead_letters_with_their_bytes(broker: Broker, tmp_path: Path) -> None:
    values = [None, b"", b" ", b"\n", track("m-1", START) + b"\r\n", b"{}\n{}", b"\n" + track("m-2", START)]
    with broker.topic() as topic:
        broker.send(topic, [Record(value, FIRST_MS, 0, key=b"\xff", headers=(("h", b"\x00"), ("h", None))) for value in values])
        entry = ledger(ingest(broker.uri(topic), tmp_path, "--until", "now"))
    assert (entry["records_in"], entry["out"], entry["dead_letter"]) == (7, 2, 5)
    assert entry["codes"] == {"malformed": 5}
    lake = Lake.at(str(tmp_path))
    letters = scan(lake, "ops.dead_letter").sort_by("_position")
    assert letters.column("raw").to_pylist() == [b"", b"", b" ", b"\n", b"{}\n{}"]
    (log,) = logs_of(lake, "web")
    landed = [message for segment in log_segments(lake, "web", log) for message in read_messages(segment)]
    assert [message.value for message in landed] == values
    assert {(message.key, message.headers) for message in landed} == {(b"\xff", (("h", b"\x00"), ("h", None)))}


def test_records_of_a_batch_are_accounted_for_one_by_one(broker: Broker, tmp_path: Path) -> None:
    item = json.loads(track("m-1", START))
    values = [{"batch": [{**item, "messageId": f"m-{n}"} for n in range(3)]}, {"batch": []}, {"batch": [17]}, {"no": "list"}]
    with broker.topic() as topic:
        broker.send(topic, [Record(json.dumps(value).encode(), FIRST_MS) for value in values])
        entry = ledger(ingest(broker.uri(topic), tmp_path, "--until", "now", source="mobile"), "mobile")
    assert (entry["records_in"], entry["out"], entry["dead_letter"]) == (5, 3, 2)


def test_a_run_without_anything_to_read(broker: Broker, tmp_path: Path) -> None:
    with broker.topic(3) as topic:
        assert ledger(ingest(broker.uri(topic), tmp_path, "--until", "now"))["records_in"] == 0
