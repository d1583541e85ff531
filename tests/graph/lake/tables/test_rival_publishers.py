"""Publishers at once, in threads and in processes: no update is lost and the totals are exact."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from lake.upkeep import compact
from tests.support.small_tables import DAY_S, NAME, assert_holds, make, put_many, row, some_rows


def pool(kind: str) -> Executor:
    if kind == "threads":
        return ThreadPoolExecutor(4)
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.parametrize(
    "ranges",
    [
        pytest.param((DAY_S,), id="same days", marks=pytest.mark.long),
        pytest.param((3_600,), id="same hours", marks=pytest.mark.long),
        pytest.param((60, 3_600, DAY_S), id="minutes in hours in days"),
    ],
)
def test_concurrent_publishers_lose_nothing(kind: str, ranges: tuple[int, ...], tmp_path: Path) -> None:
    lake = make(tmp_path / "lake")
    work = [[(some_rows(10 * w + n, 8, ids=20), ranges[(w + n) % len(ranges)]) for n in range(3)] for w in range(4)]
    with pool(kind) as workers:
        assert list(workers.map(put_many, [lake.root] * len(work), work)) == [3] * 4
    assert_holds(lake, [each for parts in work for rows, _ in parts for each in rows])


def test_concurrent_publishers_of_disjoint_ranges_lose_nothing(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake")
    work = [[([row(f"e{w}-{n}-{i}", w * 3_600 + n, position=i) for i in range(5)], 3_600) for n in range(3)] for w in range(4)]
    with pool("threads") as workers:
        list(workers.map(put_many, [lake.root] * len(work), work))
    assert_holds(lake, [each for parts in work for rows, _ in parts for each in rows])


def test_compaction_beside_publishers_loses_nothing(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake")
    work = [[(some_rows(10 * w + n, 6, ids=20), (60, 3_600)[n % 2]) for n in range(4)] for w in range(2)]
    with pool("threads") as workers:
        done = [workers.submit(put_many, lake.root, parts) for parts in work]
        while not all(future.done() for future in done):
            compact(lake, NAME, to_s=DAY_S, run_id="compaction")
    assert [future.result() for future in done] == [4, 4]
    assert_holds(lake, [each for parts in work for rows, _ in parts for each in rows])
