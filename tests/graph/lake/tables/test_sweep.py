"""The horizon in tables, against the model, whatever the order of folds, sweeps and compactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from pyiceberg.table import Table

from lake.location import Lake
from lake.raw.positions import Positions
from lake.tables import sweep as sweeping
from lake.tables.data_files import read_rows
from lake.tables.expire import expire_snapshots
from lake.tables.iceberg import DEAD_LETTER_SCHEMA, DEAD_LETTERS, Layout, ensure_table, known_files, published_files
from lake.tables.letters import PlacedLetters
from lake.tables.publish import RangeFold, fold_ranges, publish
from lake.tables.ranges import dense_spans
from lake.tables.swap import CommitLabels, Covered, Swap, known_at, swap_ranges
from lake.tables.sweep import sweep
from lake.upkeep import compact
from tests.support.horizon_model import conflicts, pair_of, settled
from tests.support.lake_state import claimed, content_hash, scan
from tests.support.small_tables import NAME, NUM_SHARDS, SCHEMA, Rows, folds_of, make, put, row
from tests.support.tiers import thinned
from transforms.cut import shards_of

HOURS = 6


def held(lake: Lake, *, dropped: bool) -> list[tuple[str, int, str, int]]:
    """What lies in the table: key, window time, content and position."""
    files = [f for f in known_files(lake.load(NAME), lake.branch) if f.dropped == dropped]
    rows = [r for f in files for r in read_rows(f.path).to_pylist()]
    return sorted((r["event_id"], int(r["_window_time"].timestamp()) // 60, r["content"], r["_position"]) for r in rows)


def assert_settled(lake: Lake, accepted: Rows, horizon: int) -> None:
    """Published and dropped rows are those of the model; the totals that the table claims are those of its rows."""
    for dropped, rows in zip((False, True), settled(accepted, horizon), strict=True):
        expected = sorted((r["event_id"], r["_window_time"] // 60_000_000, r["content"], r["_position"]) for r in rows)
        assert held(lake, dropped=dropped) == expected, f"{dropped=}"
    found = scan(lake, NAME)
    assert claimed(lake, NAME) == (len(found), content_hash(found))
    table = lake.load(NAME)
    tagged = table.metadata.snapshot_by_name("settled")
    assert tagged and published_files(table, tagged) == published_files(table)


class Letters:
    """In place of the table of dead letters: what is said of dropped rows. What is withdrawn stays so."""

    def __init__(self) -> None:
        self.conflict: dict[tuple[str, int, bytes], bool] = {}

    def __call__(self, conflicts: pa.Table | None, withdrawn: pa.Table | None) -> PlacedLetters:
        for rows, said in ((conflicts, True), (withdrawn, False)):
            for each in [] if rows is None else rows.to_pylist():
                key = each["event_id"], int(each["_window_time"].timestamp()) // 60, each["_fingerprint"]
                self.conflict[key] = said and self.conflict.get(key, True)
        return []

    def assert_are(self, accepted: Rows, horizon: int) -> None:
        """Those of the model."""
        dropped = settled(accepted, horizon)[1]
        told = {r["_position"] for r in dropped if self.conflict.get((*pair_of(r), r["_fingerprint"]))}
        assert told == conflicts(accepted, horizon)


class Killed(BaseException):
    """A process that goes no further."""


@contextmanager
def dying(rng: Random) -> Iterator[None]:
    """A process that is killed within the block: right before or right after one of its next commits, if it comes that far."""
    left, after, original = rng.randrange(4), rng.random() < 0.5, Table._do_commit

    def commit(*given: Any, **named: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0 and not after:
            raise Killed
        original(*given, **named)
        if left < 0:
            raise Killed

    with suppress(Killed), mock.patch.object(Table, "_do_commit", commit):
        yield


def some_rows(rng: Random, count: int, at: int, *, contested: bool) -> Rows:
    """Few keys, times over some hours: pairs and chains come again. contested: rows of a pair differ in content and revision."""
    rows = []
    for i in range(count):
        key, second = f"e{rng.randrange(8)}", rng.randrange(HOURS * 3_600)
        of_pair = rng if contested else Random(f"{key} {second // 60}")
        content, revision = of_pair.choice("xyz"), of_pair.choice((1, 1, 2))
        rows.append(row(key, second, rank=rng.randrange(3), content=content, position=at + i, revision=revision))
    return rows


def dense_folds(lake: Lake, rows: Rows) -> list[RangeFold]:
    """Folds in ranges by density, of at most three rows a file."""
    table = lake.load(NAME)
    known = known_files(table, lake.branch)
    shards = shards_of([r["event_id"] for r in rows], NUM_SHARDS)
    spans = partial(dense_spans, most_rows=3)
    folds: list[RangeFold] = []
    for shard in range(NUM_SHARDS):
        if part := [each for each, own in zip(rows, shards.tolist(), strict=True) if own == shard]:
            incoming = pa.Table.from_pylist(part, SCHEMA)
            folds += fold_ranges(table, known, incoming, spans, key="event_id", shard=shard, most_rows=3)
    return folds


@pytest.mark.parametrize("seed", thinned(range(12), 3))
def test_any_schedule_gives_what_the_model_says_whenever_it_is_settled(tmp_path: Path, seed: int) -> None:
    run_schedule(tmp_path / "lake", seed)


@pytest.mark.long
def test_many_schedules(tmp_path: Path) -> None:
    for seed in range(1_000, 1_300):
        run_schedule(tmp_path / str(seed), seed)
        run_replays(tmp_path / f"replays-{seed}", seed)


@pytest.mark.parametrize("seed", thinned(range(12), 3))
def test_replays_and_rollbacks_leave_what_the_model_says(tmp_path: Path, seed: int) -> None:
    run_replays(tmp_path / "lake", seed)


def run_schedule(path: Path, seed: int) -> None:
    """Folds, on states that may be gone when they are published; commits that were not noticed and are done again; upkeep."""
    rng, contested = Random(seed), seed % 2 == 1
    horizon = rng.choice((1, 20, 60, 180, 10_000))
    lake = make(path, horizon_s=horizon * 60)
    ensure_table(lake, DEAD_LETTERS, DEAD_LETTER_SCHEMA, Layout())
    letters = Letters()
    accepted: Rows = []
    waiting: list[tuple[Rows, list[RangeFold]]] = []
    dropped: set[tuple[str, int]] = set()
    for step in range(16):
        action = rng.choice(("fold", "fold", "publish", "publish", "again", "sweep", "killed sweep", "compact", "expire"))
        if action == "fold":
            new = some_rows(rng, rng.randrange(1, 12), step * 100, contested=contested)
            length_s = rng.choice((None, 60, 900, 3_600, 86_400))
            waiting.append((new, dense_folds(lake, new) if length_s is None else folds_of(lake, new, length_s)))
        elif action in ("publish", "again") and waiting:
            chosen = rng.randrange(len(waiting))
            new, folds = waiting[chosen] if action == "again" else waiting.pop(chosen)
            publish(lake, NAME, folds, key="event_id", run_id="job")
            accepted += new
        elif action == "sweep" and accepted:
            sweep(lake, NAME, key="event_id", run_id="sweep", letters=letters)
            assert_settled(lake, accepted, horizon)
            if not contested:  # content that lost within its own cell is not looked at
                letters.assert_are(accepted, horizon)
        elif action == "killed sweep" and accepted:
            with dying(rng):
                sweep(lake, NAME, key="event_id", run_id="killed", letters=letters)
        elif action == "compact":
            compact(lake, NAME, to_s=rng.choice((3_600, 86_400)), run_id="compact")
        elif action == "expire" and not waiting:  # folds name files; housekeeping keeps them for longer than a fold may wait
            expire_snapshots(lake, NAME, keep_s=0)
        before, dropped = dropped, {pair[:2] for pair in held(lake, dropped=True)}
        assert before <= dropped, "a dropped pair came back"
        assert dropped.isdisjoint(pair[:2] for pair in held(lake, dropped=False)), "a pair is published and dropped"
    for new, folds in waiting:
        publish(lake, NAME, folds, key="event_id", run_id="job")
        accepted += new
    if accepted:
        sweep(lake, NAME, key="event_id", run_id="sweep", letters=letters)
        assert_settled(lake, accepted, horizon)
        if not contested:
            letters.assert_are(accepted, horizon)


def killed_sweep(lake: Lake, letters: Letters, step: str) -> None:
    """Sweep until this step, at which the process dies."""
    with mock.patch.object(sweeping, step, side_effect=KeyboardInterrupt), suppress(KeyboardInterrupt):
        sweep(lake, NAME, key="event_id", run_id="sweep", letters=letters)


def run_replays(path: Path, seed: int) -> None:
    """Replays that refuse some of the rows, promoted and rolled back, killed in between, beside a job and sweeps."""
    rng = Random(seed)
    horizon = rng.choice((20, 60, 180, 10_000))
    lake = make(path, horizon_s=horizon * 60)
    accepted: Rows = []
    promoted: list[Replayed] = []
    for step in range(12):
        action = rng.choice(("put", "put", "sweep", "killed sweep", "replay", "replay", "rollback", "compact", "expire"))
        if action == "put":
            new = some_rows(rng, rng.randrange(1, 14), step * 100, contested=True)
            put(lake, new, rng.choice((60, 3_600, 86_400)))
            accepted += new
        elif action == "sweep" and accepted:
            sweep(lake, NAME, key="event_id", run_id="sweep")
            assert_settled(lake, accepted, horizon)
        elif action == "replay" and accepted:
            replayed = Replayed(lake, rng, f"r{step}", accepted)
            live = some_rows(rng, 3, step * 100 + 50, contested=True) if rng.random() < 0.5 else []
            put(lake, live, 3_600)
            if rng.random() < 0.5:
                sweep(lake, NAME, key="event_id", run_id="sweep")
            replayed.promote()
            promoted.append(replayed)
            accepted = [row for row in accepted if row not in replayed.refused] + live
            if rng.random() < 0.5:  # else it was killed behind the swap: whoever sweeps next looks what is to come back
                sweep(lake, NAME, key="event_id", run_id="sweep")
                assert_settled(lake, accepted, horizon)
        elif action == "rollback" and promoted:
            replayed = promoted.pop()
            replayed.roll_back()
            accepted += replayed.refused
        elif action == "killed sweep" and accepted:
            with dying(rng):
                sweep(lake, NAME, key="event_id", run_id="killed")
        elif action == "compact":
            compact(lake, NAME, to_s=3_600, run_id="compact")
        elif action == "expire":
            expire_snapshots(lake, NAME, keep_s=0)
    if accepted:
        sweep(lake, NAME, key="event_id", run_id="sweep")
        assert_settled(lake, accepted, horizon)


class Replayed:
    """A range of a table, rebuilt on a branch without some of its rows."""

    def __init__(self, lake: Lake, rng: Random, name: str, accepted: Rows) -> None:
        self.lake, self.name = lake, name
        low, high = sorted(rng.sample(range(HOURS + 1), 2))
        self.ranges = [(low * 3_600_000_000, high * 3_600_000_000)]
        there = [row for row in accepted if self.ranges[0][0] <= row["_window_time"] < self.ranges[0][1]]
        self.refused = [row for row in there if rng.random() < 0.4]
        self.covered = {("web", "f"): Positions.of([n for row in there for n in (row["_position"], 1)])}
        table = lake.load(NAME)
        head, dropped = table.current_snapshot(), table.metadata.snapshot_by_name("dropped")
        assert head is not None
        with table.manage_snapshots() as manage:
            manage.create_tag(head.snapshot_id, f"{name}_base").create_branch(head.snapshot_id, name)
            if dropped:
                manage.create_tag(dropped.snapshot_id, f"{name}_base.dropped").create_branch(dropped.snapshot_id, f"{name}.dropped")
        onto = replace(lake, branch=name)
        swap = Swap(self.ranges, base=known_files(onto.load(NAME), name))
        swap_ranges(onto, NAME, swap, CommitLabels("replay", after=f"{name}_emptied"), key="event_id")
        publish(
            onto, NAME, folds_of(onto, [row for row in there if row not in self.refused], 3_600), key="event_id", run_id="replay"
        )
        sweep(onto, NAME, key="event_id", run_id="replay")

    def promote(self) -> None:
        self._swap(self.name, f"{self.name}_base", "before", "promoted", self.covered)

    def roll_back(self) -> None:
        self._swap(f"{self.name}_before", f"{self.name}_promoted", "unrolled", "rolled_back", {})

    def _swap(self, new: str, base: str, before: str, after: str, covered: Covered) -> None:
        table = self.lake.load(NAME)
        swap = Swap(self.ranges, known_at(table, new, self.ranges), known_at(table, base, self.ranges), covered)
        labels = CommitLabels("promote", before=f"{self.name}_{before}", after=f"{self.name}_{after}")
        for _ in range(2):  # done again, it changes nothing
            swap_ranges(self.lake, NAME, swap, labels, key="event_id")


@pytest.mark.parametrize("step", ["publish_moves", "settle_at"])
def test_a_letter_of_a_sweep_that_died_is_taken_back_when_a_copy_of_the_same_content_came_since(tmp_path: Path, step: str) -> None:
    lake, letters = make(tmp_path / "lake", horizon_s=36_000), Letters()
    ensure_table(lake, DEAD_LETTERS, DEAD_LETTER_SCHEMA, Layout())
    accepted = [row("e", 60), row("e", 3_600, content="y", position=1)]
    put(lake, accepted, 900)
    killed_sweep(lake, letters, step)
    letters.assert_are(accepted, 600)
    accepted.append(row("e", 1_800, content="y", position=2))
    put(lake, accepted[2:], 900)
    sweep(lake, NAME, key="event_id", run_id="sweep", letters=letters)
    assert_settled(lake, accepted, 600)
    letters.assert_are(accepted, 600)


@pytest.fixture
def dropped_for_two(tmp_path: Path) -> Lake:
    """A row of e at minute 60 is dropped for one at minute 1, and one of f at minute 180 for one at minute 120."""
    lake = make(tmp_path / "lake", horizon_s=36_000)
    put(lake, [row("e", 60), row("e", 3_600, position=1), row("f", 7_200, position=2), row("f", 10_800, position=3)], 900)
    sweep(lake, NAME, key="event_id", run_id="sweep")
    return lake


def take(lake: Lake, low: int, high: int, name: str, *, keep: bool = False) -> None:
    """Swap a range of minutes for nothing, or for itself."""
    ranges = [(low * 60_000_000, high * 60_000_000)]
    there = known_at(lake.load(NAME), "main", ranges)
    swap_ranges(lake, NAME, Swap(ranges, there if keep else [], there), CommitLabels(name, after=name), key="event_id")


def test_the_same_range_taken_again_while_a_sweep_looks_at_it_is_looked_at_again(
    dropped_for_two: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, restore, taken = dropped_for_two, sweeping.restore, list[bool]()
    take(lake, 0, 30, "one", keep=True)

    def late(*given: Any, **named: Any) -> bool:
        done = restore(*given, **named)
        if not taken:
            taken.append(True)
            take(lake, 0, 30, "two")
        return done

    monkeypatch.setattr(sweeping, "restore", late)
    sweep(lake, NAME, key="event_id", run_id="sweep")
    assert [r[:2] for r in held(lake, dropped=False)] == [("e", 60), ("f", 120)]


def test_another_range_taken_while_a_sweep_notes_that_it_has_looked_is_looked_at_too(
    dropped_for_two: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, without, taken = dropped_for_two, sweeping.without_properties, list[bool]()
    take(lake, 0, 30, "one")

    def late(*given: Any) -> None:
        if not taken:
            taken.append(True)
            take(lake, 120, 150, "two")
        without(*given)

    monkeypatch.setattr(sweeping, "without_properties", late)
    sweep(lake, NAME, key="event_id", run_id="sweep")
    assert [r[:2] for r in held(lake, dropped=False)] == [("e", 60), ("f", 180)]
