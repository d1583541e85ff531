"""What the command line says of a source that is read from Kafka: status, files, dead letters."""

from __future__ import annotations

import json
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from cli.deadletter import deadletter
from cli.lake import lake as lake_verbs
from cli.status import status
from contracts.spec.project import Project
from lake.ledger.folds import committed_outcomes
from lake.ledger.outcomes import Outcome
from lake.ledger.sidecars import append_outcomes
from lake.location import Lake
from lake.raw.log_ids import LogId
from lake.raw.segment_files import RawMessage
from lake.raw.segments import PartitionLog
from lake.runs.manifest import STARTED, write_document, write_started
from lake.runs.submission import Attempt, record_ending, record_submission
from lake.tables import expire
from lake.tables.iceberg import DEAD_LETTERS, num_shards, published_files
from lake.tables.publish import fold_range, publish
from operations.deadletters.views import short_position
from pipelines.ingest.graph import IngestGraph
from transforms.cut import shards_of
from transforms.decode.kernel import RecordDecoder
from transforms.read.messages import MessageBatch

PROJECT = Path(__file__).parents[3] / "examples" / "webshop"
LOG = LogId("web-events", "AAAA", 2)
DAY_US = 86_400_000_000
RUN = "20261102T100000000000Z-web-abc123"


def event(number: int, time_text: str) -> bytes:
    return json.dumps({"messageId": f"m-{number}", "type": "page", "anonymousId": "a", "originalTimestamp": time_text}).encode()


def made(path: Path, source: str, payloads: list[bytes]) -> Lake:
    """A lake in which these payloads were landed from a partition, at offsets 100, 101, …, and all but the last one were folded."""
    lake = Lake.at(str(path))
    spec, contract = Project.load(PROJECT).source(source)
    graph = IngestGraph(lake=lake, contract=contract, spec=spec, run_id=RUN)
    graph.prepare()
    received = int(datetime(2026, 11, 2, 10, tzinfo=UTC).timestamp() * 1_000)
    offsets = np.arange(100, 100 + len(payloads))
    times = np.full(len(payloads), received * 1_000)
    batch = MessageBatch([str(LOG)] * len(payloads), offsets, times, np.zeros_like(times), payloads)
    counts = batch.records_per_message(spec).tolist()
    messages = [RawMessage(100 + i, received, 1, None, p, (), counts[i]) for i, p in enumerate(payloads)]
    PartitionLog(lake, source, LOG, batched=spec.records is not None).land(100, 100 + len(payloads), messages)
    folded = RecordDecoder(contract, spec, RUN).decode(
        MessageBatch([str(LOG)] * (len(payloads) - 1), offsets[:-1], batch.times_us[:-1], batch.watermarks_us[:-1], payloads[:-1])
    )
    start = received * 1_000 // DAY_US * DAY_US
    for name, key, rows, outcome in (
        (graph.table, contract.event_id, folded.rows, Outcome.ACCEPTED),
        (DEAD_LETTERS, "dead_letter_id", folded.dead_letters, Outcome.DEAD_LETTER),
    ):
        table = lake.catalog().load_table(name)
        shards = shards_of(rows.column(key).to_pylist(), num_shards(table))
        known = list(published_files(table))
        folds = [
            fold_range(
                table, known, rows.filter(pa.array(shards == shard)), key=key, from_us=start, to_us=start + DAY_US, shard=shard
            )
            for shard in sorted(set(shards.tolist()))
        ]
        published = publish(lake, name, folds, key=key, run_id=RUN)
        append_outcomes(lake, list(committed_outcomes(published, outcome, contract.name)), RUN)
    write_started(lake, RUN, datetime(2026, 11, 2, 10, tzinfo=UTC), source)
    return lake


def said(command: click.Command, *arguments: str, lake: Lake) -> str:
    done = CliRunner().invoke(command, [*arguments, "--lake", lake.root, "--project", str(PROJECT)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def told(command: click.Command, *arguments: str, lake: Lake) -> Any:
    return json.loads(said(command, *arguments, "--json", lake=lake))


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    good, bad = "2026-11-02T09:59:00Z", "yesterday"
    payloads = [event(1, good), event(1, good), event(2, bad), event(3, good), b'{"broken', event(4, good)]
    return made(tmp_path_factory.mktemp("logs") / "lake", "web", payloads)


def test_status_of_a_run_without_an_end_shows_where_each_log_stands(web: Lake) -> None:
    (run,) = told(status, lake=web)
    assert run["state"] == "running"
    (log,) = run["stream"]["logs"]
    assert (log["topic"], log["partition"], log["landed_to"], log["frontier"]) == ("web-events", 2, 106, 105)
    ledger = {
        name: log["ledger"][name]
        for name in ("records_in", "out", "duplicate", "late", "filtered", "dead_letter", "pending", "lost")
    }
    assert ledger == {
        "records_in": 6,
        "out": 2,
        "duplicate": 1,
        "late": 0,
        "filtered": 0,
        "dead_letter": 2,
        "pending": 1,
        "lost": 0,
    }
    assert log["ledger"]["codes"] == {"bad_timestamp": 1, "malformed": 1}
    newest = datetime(2026, 11, 2, 9, 59, tzinfo=UTC).timestamp()
    assert run["stream"]["newest_row_age_s"] == pytest.approx(time.time() - newest, abs=600)
    text = said(status, lake=web)
    assert "web-events[2]" in text
    assert "pending" in text


def test_status_knows_runs_that_were_submitted_to_a_cluster(tmp_path: Path) -> None:
    lake = made(tmp_path / "lake", "web", [event(1, "2026-11-02T09:59:00Z"), event(2, "2026-11-02T09:59:00Z")])
    gone = {"run_id": RUN, "started_at": "2026-11-02T10:00:00Z", "source": "web", "pid": 2**22 + 1, "host": socket.gethostname()}
    write_document(lake.runs / RUN / STARTED, gone)
    assert told(status, lake=lake)[0]["state"] == "killed"
    record_submission(lake, RUN, ("ingest", "web"), RUN, "localhost:8081", Attempt("j1", datetime(2026, 11, 2, 10, tzinfo=UTC)))
    assert told(status, lake=lake)[0]["state"] == "submitted"
    assert f"headrace job status {RUN}" in said(status, lake=lake)
    record_ending(lake, RUN, "cancelled")
    assert told(status, lake=lake)[0]["state"] == "cancelled"


def test_status_says_so_where_the_project_does_not_know_the_source(tmp_path: Path) -> None:
    lake = made(tmp_path / "lake", "web", [event(1, "2026-11-02T09:59:00Z"), event(2, "2026-11-02T09:59:00Z")])
    os.rename(lake.raw / "source=web", lake.raw / "source=other")
    write_started(lake, RUN, datetime(2026, 11, 2, 10, tzinfo=UTC), "other")
    assert "its logs cannot be shown: no source 'other'" in said(status, lake=lake)


def test_files_of_logs_are_listed(web: Lake) -> None:
    found = told(lake_verbs, "files", lake=web)
    (log,) = found["logs"]
    assert log.pop("size_bytes") > 0
    wanted = {"source": "web", "topic": "web-events", "topic_id": "AAAA", "partition": 2, "segments": 1}
    assert log == wanted | {"first_offset": 100, "end_offset": 106, "messages": 6}
    assert "web-events[2]" in said(lake_verbs, "files", lake=web)


def test_dead_letter_of_a_log_is_shown_with_its_bytes(web: Lake) -> None:
    letters = {letter["code"]: letter for letter in told(deadletter, "list", lake=web)}
    assert letters["bad_timestamp"]["position"] == f"{LOG}:102"
    assert "web-events[2]:104" in said(deadletter, "list", lake=web)
    for code, payload in (("bad_timestamp", event(2, "yesterday")), ("malformed", b'{"broken')):
        shown = told(deadletter, "show", letters[code]["dead_letter_id"], "--reveal", lake=web)
        assert shown["raw"] == payload.decode()


def test_upkeep_verbs_take_every_table_and_change_nothing_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = made(tmp_path / "lake", "web", [event(1, "2026-11-02T09:59:00Z"), b"{", event(2, "2026-11-02T09:59:00Z")])
    before = told(status, lake=lake)[0]["stream"]["logs"]
    compacted = {entry["table"]: entry for entry in told(lake_verbs, "compact", lake=lake)}
    assert compacted["ops.ledger"] == {"table": "ops.ledger", "files_before": 2, "files_after": 1}
    later = time.time() + 60
    monkeypatch.setattr(expire, "time", SimpleNamespace(time=lambda: later))
    expired = {entry["table"]: entry for entry in told(lake_verbs, "expire", "--older-than", "1s", lake=lake)}
    assert expired["ops.ledger"]["snapshots"] >= 2
    assert expired["ops.ledger"]["files"] >= 4, "two data files, and the manifests and lists that named them"
    assert told(lake_verbs, "clean", "--older-than", "1s", lake=lake)["files"] == []
    assert told(status, lake=lake)[0]["stream"]["logs"] == before


@pytest.mark.parametrize(
    ("position", "batched", "shown"),
    [
        ("0123456789abcdef:7", False, "0123456789ab:7"),
        (f"{LOG}:7", False, "web-events[2]:7"),
        (f"{LOG}:{(7 << 20) + 3}", True, "web-events[2]:7/3"),
    ],
)
def test_short_positions(position: str, batched: bool, shown: str) -> None:
    assert short_position(position, batched) == shown
