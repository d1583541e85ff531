"""Runs at the same time on one lake come to what one run would have come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake.location import Lake
from lake.upkeep import compact, folded_tables
from tests.support.lake_state import LakeState, claimed, difference, read_state
from tests.support.population import records, write_files
from tests.support.processes import finish, start_ingest, wait_until
from tests.support.runs import ingest
from tests.support.tiers import thinned

TABLE = "validated.customer_event"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_files(tmp_path_factory.mktemp("files"), records(7), 6)


@pytest.fixture(scope="module")
def alone(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> LakeState:
    lake = tmp_path_factory.mktemp("alone") / "lake"
    assert ingest(lake, files, max_rejected=1.0).exit_code == 0
    return read_state(lake, [("web", TABLE)])


def state(lake: Path) -> LakeState:
    found = read_state(lake, [("web", TABLE)])
    assert claimed(Lake.at(str(lake)), TABLE) == (len(found.rows[TABLE]), found.content_hash[TABLE])
    return found


@pytest.mark.parametrize("attempt", thinned(range(3), 3))
def test_two_runs_that_start_on_a_new_lake_at_once_equal_one(
    attempt: int, files: list[Path], alone: LakeState, tmp_path: Path
) -> None:
    first = start_ingest(tmp_path / "lake", files[:4], "--window", "1d")
    second = start_ingest(tmp_path / "lake", files[2:], "--window", "6h")
    results = [finish(first), finish(second)]
    assert [code for code, _, _ in results] == [0, 0], [err for _, _, err in results]
    assert not difference(state(tmp_path / "lake"), alone)


def test_two_runs_over_the_same_input_equal_one(files: list[Path], alone: LakeState, tmp_path: Path) -> None:
    runs = [start_ingest(tmp_path / "lake", files, "--slice-bytes", "40000") for _ in range(2)]
    results = [finish(run) for run in runs]
    assert [code for code, _, _ in results] == [0, 0], [err for _, _, err in results]
    assert not difference(state(tmp_path / "lake"), alone)


def test_two_runs_beside_a_compaction_equal_one(files: list[Path], alone: LakeState, tmp_path: Path) -> None:
    lake = Lake.at(str(tmp_path / "lake"))
    runs = [start_ingest(lake.path, part, "--window", "1h", "--slice-bytes", "20000") for part in (files[:4], files[2:])]
    for run in runs:
        assert wait_until(run, lambda: any(lake.path.glob("warehouse/ops/ledger/metadata/00000-*")))
    compactions = 0
    while any(run.poll() is None for run in runs):
        for name in folded_tables(lake):
            compact(lake, name, to_s=86_400, run_id="compaction")
        compactions += 1
    results = [finish(run) for run in runs]
    assert [code for code, _, _ in results] == [0, 0], [err for _, _, err in results]
    assert compactions > 1
    assert not difference(state(lake.path), alone)
    for name in folded_tables(lake):
        compact(lake, name, to_s=86_400, run_id="compaction")
    assert not difference(state(lake.path), alone)
