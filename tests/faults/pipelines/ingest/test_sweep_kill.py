"""A bounded ingest may be killed at any moment of the sweep at its end: readers of the settled state never see a copy, and the same
command again gives what the model of the horizon says, published and dropped rows, dead letters and ledger.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner

from cli.main import main
from contracts.units import datetime_to_us
from lake.ledger.ledger import LedgerEntry
from lake.location import Lake, data_path
from lake.tables.publish import table_totals
from tests.support.copies import Record, ledger, lines, project
from tests.support.horizon_model import Row, conflicts, pair_of, settled
from tests.support.kills import DEADLINE_S, PROCESSES, assert_killed, exit_code, kill_at, put_back, reading, save
from tests.support.lake_state import content_hash, row_digest, scan
from tests.support.moments import commit_moments
from tests.support.sweep_points import headrace
from tests.support.tiers import thinned

TABLE, LETTERS = "validated.thing", "ops.dead_letter"
HORIZON_CELLS = 60
START = datetime(2026, 10, 1, tzinfo=UTC)
HOURS = 6
# Both files of a run hold a bad line each.
BAD = {"id": "bad", "at": "never", "received_at": START.isoformat(), "v": "x"}
MOMENTS = (
    "before the sweep", "after the first filter of keys",
    f"before the first file of {LETTERS}", f"after the first file of {LETTERS}", *commit_moments(LETTERS),
    f"before the first file of {TABLE}", f"after the first file of {TABLE}", *commit_moments(TABLE),
    *commit_moments(f"{TABLE}, 2"), "after the sweep",
)  # fmt: skip
TAGGED = f"after the commit of {TABLE}, 2"  # both tags move in this commit


def _records(seed: int, count: int) -> list[Record]:
    """Few ids, so that pairs of id and minute, copies and chains of them come again; one content to a pair."""
    rng = Random(seed)
    found = []
    for number in range(count):
        key, second = f"e{rng.randrange(6)}", rng.randrange(HOURS * 3_600)
        at = START + timedelta(seconds=second)
        received = at + timedelta(seconds=rng.randrange(1, 5_000), milliseconds=number)
        content = Random(f"{key} {second // 60}").choice("xyz")
        found.append(_record(key, at, received, content))
    return found


def _record(key: str, at: datetime, received: datetime, content: str) -> Record:
    return {"id": key, "at": at.isoformat(), "received_at": received.isoformat(), "v": content}


def _accepted(records: Sequence[Record]) -> list[Row]:
    """The rows of these records, for the model."""
    found = []
    for number, record in enumerate(records):
        at, received = (datetime.fromisoformat(record[name]) for name in ("at", "received_at"))
        public = {"event_id": record["id"], "at": at, "received_at": received, "v": record["v"]}
        known = {"_window_time": datetime_to_us(at), "_rank": 0, "_fingerprint": record["v"]}
        found.append(public | known | {"_row_hash": row_digest(public), "_position": number})
    return found


def _shown(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    return sorted((row["event_id"], row["at"], row["received_at"], row["v"]) for row in rows)


@dataclass(frozen=True)
class State:
    """What readers find: published and dropped rows, and the pairs that have a dead letter of a conflict."""

    published: list[tuple[Any, ...]]
    dropped: list[tuple[Any, ...]]
    letters: list[tuple[str, int]]

    @classmethod
    def of(cls, records: Sequence[Record]) -> State:
        """As the model says."""
        accepted = _accepted(records)
        published, dropped = settled(accepted, HORIZON_CELLS)
        told = conflicts(accepted, HORIZON_CELLS)
        return cls(_shown(published), _shown(dropped), sorted(pair_of(row) for row in accepted if row["_position"] in told))


def _letters(lake: Lake) -> list[tuple[str, int]]:
    found = [letter for letter in scan(lake, LETTERS).to_pylist() if letter["code"] == "conflicting_duplicate"]
    return sorted((letter["event_id"], datetime_to_us(letter["_window_time"]) // 60_000_000) for letter in found)


class Ingest:
    """A project with a lake that is settled, and two files that overlap, with copies of what is there and of each other."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        project(folder, deduplication="{horizon: 1h}")
        records = _records(seed, 60)
        self.files = {"before": [*records[:24], BAD], "first": [*records[20:48], BAD], "second": [*records[36:], BAD]}
        (folder / "in").mkdir()
        for name, content in self.files.items():
            (folder / "in" / name).write_bytes(lines(content))
        assert exit_code(headrace, self.command("before")) == 0
        self.before = State.of(records[:24])
        self.after = State.of(records)
        assert self.tagged() == self.before
        save(self.lake, folder / "saved")

    @property
    def lake(self) -> Lake:
        return Lake.at(str(self.folder / "lake"))

    def reset(self) -> None:
        """The lake as it was before the run."""
        put_back(self.lake, self.folder / "saved")

    def command(self, *names: str) -> list[str]:
        """A run over these files."""
        inputs = chain.from_iterable(("--input", str(self.folder / "in" / name)) for name in names)
        return ["ingest", "src", *inputs, "--project", str(self.folder), "--max-rejected", "1", "--num-shards", "2"]

    def document(self, *arguments: str) -> Any:
        """What a command says."""
        told = CliRunner().invoke(main, [*arguments, "--project", str(self.folder), "--json"])
        assert told.exit_code == 0, told.output
        return json.loads(told.stdout)

    def at(self, published: str, dropped: str) -> State:
        """The state that two references name."""
        metadata = self.lake.load(TABLE).metadata
        rows = []
        for snapshot in (metadata.snapshot_by_name(published), metadata.snapshot_by_name(dropped)):
            rows.append(scan(self.lake, TABLE, snapshot.snapshot_id).to_pylist() if snapshot else [])
        return State(*map(_shown, rows), _letters(self.lake))

    def tagged(self) -> State:
        """The settled state."""
        return self.at("settled", "settled.dropped")

    def assert_no_copy_is_settled(self) -> None:
        """Of what is settled, whoever published it: the model drops what is dropped, and nothing else."""
        found = self.tagged()
        expected = State.of([_record(*row) for row in (*found.published, *found.dropped)])
        assert (found.published, found.dropped) == (expected.published, expected.dropped)

    def settled_hash(self) -> str:
        """The rows that readers of the settled state get."""
        table = self.lake.load(TABLE)
        snapshot = table.metadata.snapshot_by_name("settled")
        assert snapshot
        rows = scan(self.lake, TABLE, snapshot.snapshot_id)
        assert table_totals(table, snapshot) == (len(rows), int(content_hash(rows), 16))
        return content_hash(rows)

    def says_settled(self) -> bool:
        """What the command line says."""
        (told,) = [table for table in self.document("lake", "files", "--verify")["tables"] if table["table"] == TABLE]
        assert told["verified"]
        return bool(told["settled_age_s"] == 0)

    def newest_run(self) -> str:
        """Its state."""
        return str(self.document("status")[0]["state"])

    def assert_unsettled_but_whole(self) -> None:
        """Readers of the settled state have what they had, nothing is lost, and whoever asks is told."""
        found = self.tagged()
        assert (found.published, found.dropped) == (self.before.published, self.before.dropped)
        assert not self.says_settled()

    def assert_as_the_model_says(self, *names: str) -> None:
        """Everything, once. names: of the files that were ingested."""
        assert self.tagged() == self.at("main", "dropped") == self.after
        assert self.says_settled()
        records_in, bad = sum(len(self.files[name]) for name in names), len(names)
        conflicting, out = len(self.after.letters), len(self.after.published)
        found = ledger(self.folder)
        assert found == LedgerEntry(
            records_in=records_in, out=out, duplicate=records_in - out - conflicting - bad, dead_letter=conflicting + bad,
            codes={**found.codes, "conflicting_duplicate": conflicting},
        )  # fmt: skip
        assert found.balanced

    def assert_upkeep_leaves_no_orphan(self) -> None:
        """After it there is no file that no snapshot needs, and all is as it was."""
        old = time.time() - 60
        for path in (p for p in self.lake.path.rglob("*") if (p.is_file() and "warehouse" in p.parts) or "_tmp" in p.parts):
            os.utime(path, (old, old))
        self.document("lake", "clean", "--older-than", "1s")
        left = {str(path) for path in self.lake.path.glob("warehouse/*/*/*/*")}
        assert {path for path in left if not path.endswith(".keys")} == set(self._named())
        assert {path.removesuffix(".keys") for path in left if path.endswith(".keys")} <= left
        assert not list(self.lake.path.glob("_tmp/*"))

    def _named(self) -> Iterator[str]:
        catalog = self.lake.catalog()
        for name in (TABLE, LETTERS, "late.thing", "ops.ledger"):
            table = catalog.load_table(name)
            yield from map(data_path, [table.metadata_location, *(entry.metadata_file for entry in table.metadata.metadata_log)])
            for snapshot in table.snapshots():
                yield data_path(snapshot.manifest_list)
                yield from (data_path(manifest.manifest_path) for manifest in snapshot.manifests(table.io))
                yield from (data_path(t.file.file_path) for t in table.scan(snapshot_id=snapshot.snapshot_id).plan_files())


@pytest.fixture(scope="module")
def ingest(tmp_path_factory: pytest.TempPathFactory) -> Ingest:
    return Ingest(tmp_path_factory.mktemp("ingest"), seed=6)


def _killed(arguments: Sequence[str], moment: str) -> None:
    headrace(arguments, kill_at(moment))


def _held(arguments: Sequence[str], moment: str, reached: Any) -> None:
    def at(told: str) -> None:
        if told == moment:
            reached.set()
            signal.pause()

    headrace(arguments, at)


def _noted(arguments: Sequence[str], path: Path) -> None:
    with path.open("w") as told:
        headrace(arguments, lambda moment: print(moment, file=told, flush=True) or None)


def moments_of(ingest: Ingest, arguments: Sequence[str]) -> tuple[str, ...]:
    """Those of an undisturbed run."""
    told = ingest.folder / "told"
    assert exit_code(_noted, arguments, told) == 0
    return tuple(told.read_text().splitlines())


def kill_and_run_again(ingest: Ingest, moment: str) -> None:
    ingest.reset()
    arguments = ingest.command("first", "second")
    assert_killed(_killed, arguments, moment)
    if moment in (TAGGED, "after the sweep"):
        assert ingest.says_settled() and ingest.tagged() == ingest.after
    else:
        ingest.assert_unsettled_but_whole()
    assert ledger(ingest.folder).balanced
    assert ingest.newest_run() == "killed"
    assert exit_code(headrace, arguments) == 0
    assert ingest.newest_run() == "finished"
    ingest.assert_as_the_model_says("before", "first", "second")
    ingest.assert_upkeep_leaves_no_orphan()


def test_every_moment_is_covered_and_has_something_to_do(ingest: Ingest) -> None:
    ingest.reset()
    assert moments_of(ingest, ingest.command("first", "second")) == MOMENTS
    ingest.assert_as_the_model_says("before", "first", "second")
    taken_back = set(ingest.before.letters) - set(ingest.after.letters)
    assert taken_back and ingest.before.dropped and len(ingest.after.letters) < len(ingest.after.dropped)


@pytest.mark.parametrize("moment", thinned(MOMENTS, 3))
def test_killed_in_its_sweep_and_run_again_it_gives_what_the_model_says(moment: str, ingest: Ingest) -> None:
    kill_and_run_again(ingest, moment)


def test_what_the_first_run_of_a_lake_left_is_not_said_to_be_settled(ingest: Ingest) -> None:
    shutil.rmtree(ingest.lake.root)
    arguments = ingest.command("before", "first", "second")
    assert_killed(_killed, arguments, f"before the commit of {TABLE}")
    assert "settled" not in ingest.lake.load(TABLE).metadata.refs and not ingest.says_settled()
    assert exit_code(headrace, arguments) == 0
    ingest.assert_as_the_model_says("before", "first", "second")
    ingest.assert_upkeep_leaves_no_orphan()


@pytest.mark.parametrize(
    "moment", [f"within the commit of {TABLE}, 2", pytest.param(f"before the commit of {TABLE}", marks=pytest.mark.long)]
)
def test_readers_of_the_settled_state_see_the_one_before_or_the_one_after(moment: str, ingest: Ingest) -> None:
    """All the while: before it is killed, after, and while it is run again."""
    ingest.reset()
    before = ingest.settled_hash()
    arguments = ingest.command("first", "second")
    assert exit_code(headrace, arguments) == 0
    after = ingest.settled_hash()
    ingest.reset()
    with reading(ingest.settled_hash, {before, after}):
        assert_killed(_killed, arguments, moment)
        assert exit_code(headrace, arguments) == 0
    assert ingest.settled_hash() == after != before


@pytest.mark.parametrize(
    "moment",
    [
        "before the sweep",
        f"after the commit of {LETTERS}",
        *(pytest.param(m, marks=pytest.mark.long) for m in MOMENTS[1:-1] if m != f"after the commit of {LETTERS}"),
        f"before the commit of {TABLE}",
        "after the sweep",
    ],
)
def test_another_run_settles_what_one_left_that_was_killed_in_its_sweep(moment: str, ingest: Ingest) -> None:
    """One is held at the moment, another goes from beginning to end, the first is killed and run again."""
    ingest.reset()
    reached = PROCESSES.Event()
    held = PROCESSES.Process(target=_held, args=(ingest.command("first"), moment, reached))
    held.start()
    assert reached.wait(DEADLINE_S)
    assert exit_code(headrace, ingest.command("second")) == 0
    assert held.pid is not None
    os.kill(held.pid, signal.SIGKILL)
    held.join(DEADLINE_S)
    ingest.assert_as_the_model_says("before", "first", "second")
    assert exit_code(headrace, ingest.command("first")) == 0
    ingest.assert_as_the_model_says("before", "first", "second")
    ingest.assert_upkeep_leaves_no_orphan()


@pytest.mark.parametrize("attempt", thinned(range(12), 12))
def test_two_at_once_of_which_one_is_killed_in_its_sweep(attempt: int, ingest: Ingest) -> None:
    """Whatever comes between: no reader of what is settled sees a copy, and the one that was killed is run again."""
    ingest.reset()
    moment = Random(attempt).choice([m for m in MOMENTS if "the commit of" in m])
    killed = PROCESSES.Process(target=_killed, args=(ingest.command("first"), moment))
    other = PROCESSES.Process(target=headrace, args=(ingest.command("second"),))
    for process in (killed, other):
        process.start()
    for process in (killed, other):
        process.join(DEADLINE_S)
        ingest.assert_no_copy_is_settled()
    assert other.exitcode == 0
    assert killed.exitcode in (0, -signal.SIGKILL)  # 0 where the other one has settled everything: then there is no such moment
    assert exit_code(headrace, ingest.command("first")) == 0
    ingest.assert_as_the_model_says("before", "first", "second")
    ingest.assert_upkeep_leaves_no_orphan()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(7, 13))
def test_other_copies(seed: int, tmp_path: Path) -> None:
    ingest = Ingest(tmp_path, seed)
    for moment in moments_of(ingest, ingest.command("first", "second")):
        kill_and_run_again(ingest, moment)
