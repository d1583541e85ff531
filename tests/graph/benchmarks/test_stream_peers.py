"""What is read of a streaming peer from outside: its offsets, files and end. The peers themselves: tests/stack/benchmarks."""

from __future__ import annotations

import json
import os
import pickle
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.stream import peers, programs
from benchmarks.stream.bed import Difference, DiffersError, RunFailedError, Sent
from benchmarks.stream.peers import BytewaxPeer, Peer, QuixPeer, SparkPeer
from benchmarks.stream.programs import Program
from devstack.layout import Layout
from devstack.stack import Stack

IDS = ["a", "b", "c"]
SENT = Sent(pa.table({"id": IDS, "kind": ["event"] * 3, "time_ms": [0] * 3, "partition": [0, 0, 1], "offset": [0, 1, 0]}))


@pytest.fixture
def stack() -> Stack:
    """It is not up."""
    return Stack(Layout.default())


def write(peer: Peer, name: str, *ids: str) -> Path:
    path = peer.output / "rows" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"event_id": pa.array(ids, pa.string())}), path)
    return path


def test_spark_has_taken_what_the_last_committed_batch_read(stack: Stack, tmp_path: Path) -> None:
    peer = SparkPeer(stack, tmp_path, "t")
    assert peer.committed() == {}
    for folder in ("offsets", "commits"):
        (tmp_path / "checkpoints" / folder).mkdir(parents=True)
    for batch, offsets in enumerate(({"0": 5, "1": 0}, {"0": 9, "1": 3}, {"0": 50, "1": 50})):
        (tmp_path / f"checkpoints/offsets/{batch}").write_text("v1\n{}\n" + json.dumps({"t": offsets}))
    for batch in (0, 1):
        (tmp_path / f"checkpoints/commits/{batch}").write_text("v1\n{}")
    assert peer.committed() == {0: 9, 1: 3}


def test_bytewax_has_taken_what_was_snapshotted_in_epochs_that_all_workers_have_passed(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "recovery").mkdir()
    for part, frontier in enumerate((4, 3)):
        with closing(sqlite3.connect(tmp_path / f"recovery/part-{part}.sqlite3")) as store, store:
            store.execute("create table fronts (worker_frontier)")
            store.execute("create table snaps (step_id, state_key, snap_epoch, ser_change)")
            store.execute("insert into fronts values (?)", [frontier])
            for epoch in (2, 3):
                snap = ("web.read.kafka_input", f"{part}-t", epoch, pickle.dumps(epoch * 10 + part))
                store.execute("insert into snaps values (?, ?, ?, ?)", snap)
            store.execute("insert into snaps values ('web.first', '0', 2, ?)", [pickle.dumps({})])
    assert BytewaxPeer(stack, tmp_path, "t").committed() == {0: 20, 1: 21}


def test_rows_and_windows_are_those_of_whole_files(stack: Stack, tmp_path: Path) -> None:
    peer = QuixPeer(stack, tmp_path, "t")
    first = write(peer, "minute=60/0-0.parquet", "a", "b")
    write(peer, "batch=1/minute=60/part-0.parquet", "c")
    for unfinished in ("minute=60/.0-9.parquet.77", "batch=2/_temporary/0/minute=60/part-0.parquet", "minute=60/.part.crc"):
        write(peer, unfinished, "x")
    os.utime(first, (50, 50))
    assert peer.published() == 3
    assert [(w.window_end_s, w.visible_s, w.rows) for w in peer.windows()] == [(60, 50, 2)]
    peer.check(SENT)
    write(peer, "minute=120/0-2.parquet", "c", "x")
    with pytest.raises(DiffersError) as told:
        peer.check(SENT)
    assert told.value.difference == Difference(events=3, missing=0, repeated=1, strange=1)
    assert peer.published() == 5


def test_a_peer_is_through_when_all_is_there_or_nothing_more_comes(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_000.0]
    taken = {0: 1, 1: 1}
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(SparkPeer, "committed", lambda _: taken)
    peer = SparkPeer(stack, tmp_path, "t")
    write(peer, "minute=60/a.parquet", "a", "b")
    for _ in range(2):
        assert not peer.settled(SENT), "a message is not taken"
        now[0] += 46
    taken[0] = 2
    assert not peer.settled(SENT), "a row may still come"
    now[0] += 46
    assert peer.settled(SENT)
    write(peer, "minute=60/b.parquet", "c")
    assert peer.settled(SENT)


def test_programs_that_have_ended_are_told_with_their_last_words(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "PEERS_PYTHON", Path(sys.executable))
    peer = SparkPeer(stack, tmp_path, "t")
    peer._programs = [Program("Spark", peer.log, "-c", "import time; time.sleep(99)")]
    assert list(peer.processes().values()) == ["Spark"]
    assert (peer.failure(), peer.taken()) == (None, 0)
    peer._programs.append(Program("other", peer.log, "-c", "raise SystemExit('it broke')"))
    while not peer.failure():
        time.sleep(0.05)
    assert peer.failure() == "other ended with 1: it broke"
    with pytest.raises(RunFailedError, match="it no longer runs"):
        peer.taken()
    peer.stop()
    assert peer.processes() == {}


def test_a_peer_that_is_not_installed_says_how_to_have_it(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PEERS_PYTHON", tmp_path / "python")
    with pytest.raises(RunFailedError, match="not installed: make peers"):
        SparkPeer(stack, tmp_path, "t").start()
