"""Any choice of ranges, by any number of runs in any order, publishes the same rows; the files of a shard stay disjoint."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest

from contracts.units import DAY_S
from lake.location import Lake
from lake.tables import ranges
from lake.tables.iceberg import published_files
from lake.tables.publish import RangeFold, fold_ranges, publish
from lake.tables.ranges import Ranging
from lake.upkeep import compact
from tests.support.small_tables import NAME, NUM_SHARDS, SCHEMA, Rows, assert_holds, make, row
from tests.support.tiers import thinned
from transforms.cut import shards_of

DENSE = Ranging(ranges.LENGTHS_S[-1], by_density=True)
LENGTHS_S = (60, 7 * 60, 3_600, 5 * 3_600, DAY_S, 7 * DAY_S, 30 * DAY_S, 365 * DAY_S)
RANGINGS = (*map(Ranging, LENGTHS_S), *[DENSE] * 3, Ranging(3_600, by_density=True), Ranging(30 * DAY_S, by_density=True))


def folds(lake: Lake, rows: Rows, ranging: Ranging) -> list[RangeFold]:
    table = lake.load(NAME)
    published = published_files(table)
    shards = shards_of([each["event_id"] for each in rows], NUM_SHARDS).tolist()
    return [
        fold
        for shard in sorted(set(shards))
        for fold in fold_ranges(
            table,
            published,
            pa.Table.from_pylist([each for each, own in zip(rows, shards, strict=True) if own == shard], SCHEMA),
            ranging.spans,
            key="event_id",
            shard=shard,
            most_rows=ranging.most_rows,
        )
    ]


def history(rng: Random) -> Rows:
    """A sparse past, a dense week, hours of one minute; some rows come twice, some ids with other content."""
    seconds = [rng.randrange(0, 900 * DAY_S) for _ in range(20)]
    seconds += [900 * DAY_S + rng.randrange(0, 7 * DAY_S) for _ in range(60)] + [903 * DAY_S + rng.randrange(60) for _ in range(20)]
    rows = [row(f"e{i}", second, rank=i % 3, position=i) for i, second in enumerate(seconds)]
    rows += [row(f"e{i}", seconds[i], rank=1, content="y", position=1_000 + i) for i in range(0, 100, 7)]
    return rows


def assert_disjoint(lake: Lake) -> None:
    files = sorted(published_files(lake.load(NAME)), key=lambda f: (f.shard, f.from_us))
    assert all(a.to_us <= b.from_us for a, b in pairwise(files) if a.shard == b.shard)


@pytest.mark.parametrize("seed", thinned(range(4), 2))
def test_any_ranges_in_any_order_give_the_same_rows_and_hash(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = Random(seed)
    monkeypatch.setattr(ranges, "RANGE_ROWS", rng.choice((3, 10, 40)))
    lake, rows = make(tmp_path / "lake"), history(rng)
    for _ in range(6):
        part = rng.sample(rows, rng.randrange(1, len(rows)))
        brought = [folds(lake, part, rng.choice(RANGINGS))]
        if rng.random() < 0.6:  # a rival that saw the same state; the second finds it changed
            rival = rng.sample(rows, rng.randrange(1, len(rows)))
            part = part + rival
            brought.append(folds(lake, rival, rng.choice(RANGINGS)))
        for number, each in enumerate(brought):
            publish(lake, NAME, each, key="event_id", run_id=f"run-{number}")
        assert_disjoint(lake)
        if rng.random() < 0.3:
            compact(lake, NAME, to_s=rng.choice((DAY_S, 7 * DAY_S)), run_id="compaction")
            assert_disjoint(lake)
    publish(lake, NAME, folds(lake, rows, rng.choice(RANGINGS)), key="event_id", run_id="all")
    assert_disjoint(lake)
    assert_holds(lake, rows)


def test_what_is_published_already_is_not_written_again_whatever_the_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "RANGE_ROWS", 10)
    lake, rows = make(tmp_path / "lake"), history(Random(7))
    for _ in range(2):
        publish(lake, NAME, folds(lake, rows, DENSE), key="event_id", run_id="run")
    again = folds(lake, rows, DENSE)
    assert [fold.path for fold in again] == [None] * len(again)


def test_a_file_that_outgrows_its_range_is_cut_and_its_neighbours_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "RANGE_ROWS", 10)
    lake = make(tmp_path / "lake")
    sparse = [row(f"s{i}", i * 100 * DAY_S, position=i) for i in range(16)]
    dense = [row(f"d{i}", 250 * DAY_S + i * 3_600, position=100 + i) for i in range(80)]
    for rows in (sparse, dense):
        publish(lake, NAME, folds(lake, rows, DENSE), key="event_id", run_id="run")
    files = published_files(lake.load(NAME))
    assert max(file.rows for file in files) <= 10
    assert 10 <= len(files) <= 24
    assert_disjoint(lake)
    assert_holds(lake, sparse + dense)
