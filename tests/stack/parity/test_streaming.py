"""One population, four ways: files and topics, on this machine and on Flink, give one content hash and equal ledgers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from contracts.spec.project import Project
from devstack.stack import Stack
from examples.webshop import generate as webshop
from lake.ledger.ledger import LedgerEntry
from lake.location import Lake
from pipelines.ingest.files import ingest_files
from pipelines.ingest.options import IngestOptions
from pipelines.ingest.run import IngestReport
from pipelines.ingest.topics import ingest_topics
from tests.support import stream_population as population
from tests.support.kafka import Broker, Record
from tests.support.lake_state import WEEK, claimed, content_hash, merged_with_late, scan
from tests.support.stream_population import START, Sent, track, write_lines

PROJECT = Project.load(Path(webshop.__file__).parent)
TABLE, LATE_TABLE = "validated.customer_event", "late.customer_event"
PARTITIONS = 3
POPULATIONS = {"web": population.web, "mobile": population.mobile}


def options(source: str, lake: Path, *inputs: object, **given: object) -> IngestOptions:
    """Options of a run; many of the records are rejects on purpose."""
    return IngestOptions(source=source, input=tuple(map(str, inputs)), lake=str(lake), max_rejected=1.0, **given)  # type: ignore[arg-type]


def from_topic(given: IngestOptions) -> IngestReport:
    """A bounded run over a topic, whose ledger adds up."""
    report = ingest_topics(replace(given, until="now"), PROJECT, lambda _: None)
    assert isinstance(report, IngestReport)
    assert report.reasons == [] and report.ledger.balanced
    return report


def on_flink(stack: Stack, job_server: str) -> dict[str, Any]:
    """Options of a job on the cluster."""
    return {
        "runner": "flink", "flink": stack.flink_rest, "workers": 2, "checkpoint_every": 1, "beam_options": (job_server,),
    }  # fmt: skip


def content(lake: Path) -> str:
    """The content hash, from the published columns and equal to what the table claims."""
    rows = scan(Lake.at(str(lake)), TABLE)
    digest = content_hash(rows)
    assert claimed(Lake.at(str(lake)), TABLE) == (len(rows), digest)
    return digest


def fill(broker: Broker, topic: str, sent: Sequence[Sent]) -> None:
    """The population dealt over partitions, partly in committed transactions, and between them what no reader may see."""
    records = [Record(one.value, one.time_ms, number % PARTITIONS) for number, one in enumerate(sent)]
    aborted = [Record(track(f"aborted-{n}", START), records[0].time_ms, n % PARTITIONS) for n in range(2 * PARTITIONS)]
    half = len(records) // 2
    broker.send(topic, records[:half])
    broker.abort(topic, aborted)
    broker.commit(topic, [r for r in records[half:] if len(r.value or b"") < 500_000])
    broker.send(topic, [r for r in records[half:] if len(r.value or b"") >= 500_000])
    broker.abort(topic, aborted)


@pytest.fixture(scope="module", params=sorted(POPULATIONS))
def expected(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Sent], LedgerEntry, str]:
    """Source, population, and what one run over files on this machine makes of it: the ledger and the content hash."""
    sent = POPULATIONS[request.param](1)
    folder = tmp_path_factory.mktemp("files")
    report = ingest_files(options(request.param, folder / "lake", *write_lines(folder / "drop", sent, 3)), PROJECT, lambda _: None)
    assert report.ledger.balanced
    return request.param, sent, report.ledger, content(folder / "lake")


def test_the_population_has_everything_that_makes_parity_hard(expected: tuple[str, list[Sent], LedgerEntry, str]) -> None:
    source, _, entry, _ = expected
    assert min(entry.out, entry.duplicate, entry.filtered) > 0
    assert {"malformed", "invalid_encoding", "too_deep", "conflicting_duplicate", "not_in_enum"} <= entry.codes.keys()
    assert ("too_large" in entry.codes) == (source == "web")  # of a batch its items are bounded


def test_files_on_flink(expected: tuple[str, list[Sent], LedgerEntry, str], stack: Stack, tmp_path: Path) -> None:
    source, sent, entry, digest = expected
    before = set(job_servers())  # that of the test run
    files = write_lines(tmp_path / "drop", sent, 4)
    report = ingest_files(
        options(source, tmp_path / "lake", *files, runner="flink", flink=stack.flink_rest, workers=2), PROJECT, lambda _: None
    )
    assert report.ledger == entry
    assert content(tmp_path / "lake") == digest
    assert before == set(job_servers()), "the job server outlives the submission"


def job_servers() -> list[int]:
    """Process ids of job servers that this process has started."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.ZombieProcess, psutil.NoSuchProcess):  # another test has killed it
            if "flink-job-server" in " ".join(child.cmdline()):
                found.append(child.pid)
    return found


def test_a_topic_on_this_machine_once_and_again(
    expected: tuple[str, list[Sent], LedgerEntry, str], stack: Stack, tmp_path: Path
) -> None:
    source, sent, entry, digest = expected
    broker = Broker(stack.kafka_bootstrap)
    with broker.topic(PARTITIONS) as topic:
        fill(broker, topic, sent)
        given = options(source, tmp_path / "lake", broker.uri(topic), commit_every=1, late_panes=1)
        assert from_topic(given).ledger == entry
        assert content(tmp_path / "lake") == digest
        again = from_topic(replace(given, start="earliest", window=60))
        assert again.ledger == entry
        assert content(tmp_path / "lake") == digest
        assert from_topic(given).ledger == LedgerEntry()  # all of it is accounted for


def test_a_topic_on_flink(
    expected: tuple[str, list[Sent], LedgerEntry, str], stack: Stack, job_server: str, tmp_path: Path
) -> None:
    source, sent, entry, digest = expected
    broker = Broker(stack.kafka_bootstrap)
    with broker.topic(PARTITIONS) as topic:
        fill(broker, topic, sent)
        given = options(source, tmp_path / "lake", broker.uri(topic), window=60, commit_every=1, late_panes=1)
        report = from_topic(replace(given, **on_flink(stack, job_server)))
        assert report.ledger == entry
        assert content(tmp_path / "lake") == digest


@pytest.mark.parametrize("runner", ["direct", "flink"])
def test_what_came_too_late_is_what_the_stream_lacks(runner: str, stack: Stack, job_server: str, tmp_path: Path) -> None:
    """rows(batch) = horizon(fold(rows ∪ dropped ∪ late)): stragglers of three kinds come after their windows were over."""
    sent = population.web(2)
    new = [one for one in population.web(3, ids=20) if b"m-0" not in one.value]  # others, without an id
    again = sent[::5]  # duplicates and conflicts of what was published
    over = int((START + timedelta(hours=1)).timestamp() * 1000)
    later = [Sent(track(f"later-{n}", START + timedelta(hours=1)), over + n) for n in range(2 * PARTITIONS)]
    stragglers = [Sent(one.value, over + 1_000 + n) for n, one in enumerate([*new, *again])]
    batch = ingest_files(
        options("web", tmp_path / "files", *write_lines(tmp_path / "drop", [*sent, *later, *stragglers], 2)),
        PROJECT,
        lambda _: None,
    )
    broker = Broker(stack.kafka_bootstrap)
    given = options("web", tmp_path / "lake", window=60, allowed_lateness=120, commit_every=1, late_panes=1)
    if runner == "flink":
        given = replace(given, **on_flink(stack, job_server))
    with broker.topic(PARTITIONS) as topic:
        given = replace(given, input=(broker.uri(topic),))
        for part in (sent, later, stragglers):  # each fills all partitions before the next begins
            broker.send(topic, [Record(one.value, one.time_ms, number % PARTITIONS) for number, one in enumerate(part)])
        stream = from_topic(given)
    lake = Lake.at(str(tmp_path / "lake"))
    late = scan(lake, LATE_TABLE)
    assert len(late) > 10 and stream.ledger.late >= len(late)
    assert stream.ledger.records_in == batch.ledger.records_in
    assert stream.ledger.filtered == batch.ledger.filtered
    merged = merged_with_late(lake, TABLE, LATE_TABLE, WEEK)
    assert content_hash(merged) == content(tmp_path / "files") != content(tmp_path / "lake")
