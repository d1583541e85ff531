"""The published tables do not depend on how the data came: order, slices, windows, workers, repetition, number of runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from random import Random
from threading import Event

import pytest

from contracts.spec.project import Project
from examples.webshop import generate as webshop
from lake.location import Lake
from lake.tables import ranges
from lake.upkeep import compact, folded_tables
from runners import direct_workers
from tests.support import runs
from tests.support.lake_state import LakeState, claimed, difference, read_state
from tests.support.population import records, write_files
from tests.support.processes import DEADLINE_S
from tests.support.tiers import thinned

TABLE = "validated.customer_event"
PROJECT = Project.load(Path(webshop.__file__).parent)
POPULATIONS = range(5)
FILES = 4


ingest = partial(runs.ingest, max_rejected=1.0)  # most of a population are rejects and conflicts on purpose


def state(lake: Path) -> LakeState:
    found = read_state(lake, [("web", TABLE)])
    assert claimed(Lake.at(str(lake)), TABLE) == (len(found.rows[TABLE]), found.content_hash[TABLE])
    assert found.ledger["web"].balanced
    return found


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], tuple[list[Path], LakeState]]:
    """Per population its files, and the state after one plain run over them."""

    @cache
    def run(population: int) -> tuple[list[Path], LakeState]:
        folder = tmp_path_factory.mktemp(f"population-{population}")
        files = write_files(folder / "files", records(population), FILES)
        ingest(folder / "lake", files)
        return files, state(folder / "lake")

    return run


@pytest.mark.parametrize("seed", POPULATIONS)
def test_a_population_has_everything_that_makes_convergence_hard(
    seed: int, once: Callable[[int], tuple[list[Path], LakeState]]
) -> None:
    _, expected = once(seed)
    entry = expected.ledger["web"]
    assert min(entry.out, entry.duplicate, entry.filtered, entry.codes["conflicting_duplicate"], entry.codes["malformed"]) > 0
    assert len({row["_window_time"].date() for row in expected.rows[TABLE]}) >= 3
    assert any(row["event_id"].startswith("fp-") for row in expected.rows[TABLE])


# Property (a): the same files


def in_one_run_with_tiny_slices(lake: Path, files: list[Path], rng: Random) -> None:
    ingest(lake, files, slice_bytes=rng.choice((1, 20_000)))


def in_one_run_with_repeated_bundles(lake: Path, files: list[Path], rng: Random) -> None:
    ingest(lake, files, beam_options=(f"--direct_runner_bundle_repeat={rng.choice((1, 2))}",))


def in_other_windows(lake: Path, files: list[Path], rng: Random) -> None:
    ingest(lake, files, window=rng.choice((3_600, 21_600)))


def in_several_runs_of_any_order(lake: Path, files: list[Path], rng: Random) -> None:
    rest = rng.sample(files, len(files))
    while rest:
        count = rng.randrange(1, 4)
        ingest(lake, rest[:count])
        rest = rest[count:]


def in_reversed_runs(lake: Path, files: list[Path], rng: Random) -> None:
    for file in reversed(files):
        ingest(lake, [file])


def in_overlapping_runs_and_all_again(lake: Path, files: list[Path], rng: Random) -> None:
    ingest(lake, rng.sample(files, 3))
    ingest(lake, rng.sample(files, 2))
    ingest(lake, files)
    assert not ingest(lake, files).manifest["ingested_files"]


def in_runs_of_different_windows(lake: Path, files: list[Path], rng: Random) -> None:
    for file in rng.sample(files, 2):
        ingest(lake, [file], window=rng.choice((7_200, 21_600, 86_400)))
    ingest(lake, files, window=rng.choice((7_200, 21_600, 86_400)))


def in_runs_by_density_and_of_windows_that_do_not_nest(lake: Path, files: list[Path], rng: Random) -> None:
    """By density with so few rows a file that ranges are cut; and of days, of which none divides another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "RANGE_ROWS", rng.choice((5, 40)))
        ingest(lake, rng.sample(files, 2), window=rng.choice((None, 7_200, 2 * 86_400, 3 * 86_400, 30 * 86_400)))
        ingest(lake, files, window=rng.choice((None, 5 * 86_400)))


def in_two_runs_with_compaction_between_and_after(lake: Path, files: list[Path], rng: Random) -> None:
    cut = rng.randrange(1, FILES)
    for part in (files[cut:], files[:cut]):
        ingest(lake, part, window=7_200)
        opened = Lake.at(str(lake))
        for name in folded_tables(opened):
            compact(opened, name, to_s=rng.choice((21_600, 86_400)), run_id="compaction")


WAYS = (
    in_one_run_with_tiny_slices,
    in_one_run_with_repeated_bundles,
    in_other_windows,
    in_several_runs_of_any_order,
    in_reversed_runs,
    in_overlapping_runs_and_all_again,
    in_runs_of_different_windows,
    in_runs_by_density_and_of_windows_that_do_not_nest,
    in_two_runs_with_compaction_between_and_after,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("seed", thinned(POPULATIONS, 3))
def test_same_files_give_the_same_state(
    seed: int,
    way: Callable[[Path, list[Path], Random], None],
    once: Callable[[int], tuple[list[Path], LakeState]],
    tmp_path: Path,
) -> None:
    files, expected = once(seed)
    way(tmp_path / "lake", files, Random(f"{seed}:{way.__name__}"))
    assert not difference(state(tmp_path / "lake"), expected)


@pytest.mark.parametrize(("seed", "workers"), thinned([(0, 2), (1, 3), (2, 2), (3, 3)], 3))
def test_worker_processes_give_the_same_state(
    seed: int,
    workers: int,
    once: Callable[[int], tuple[list[Path], LakeState]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Slices of one chunk each fold into the same ranges at the same time: this process begins when another has done one."""
    files, expected = once(seed)
    elsewhere, run = Event(), direct_workers._Worker.run

    def run_elsewhere(worker: direct_workers._Worker, task: direct_workers.Task) -> None:
        run(worker, task)
        elsewhere.set()

    def run_here(task: direct_workers.Task) -> None:
        assert elsewhere.wait(DEADLINE_S)
        task()

    monkeypatch.setattr(direct_workers._Worker, "run", run_elsewhere)
    monkeypatch.setattr(direct_workers, "_call", run_here)
    ingest(tmp_path / "lake", files, workers=workers, slice_bytes=1)
    assert not difference(state(tmp_path / "lake"), expected)


# Property (b): other files with the same records


@pytest.mark.parametrize("seed", thinned(range(10), 3))
def test_records_split_into_other_files_and_copied_give_the_same_content(
    seed: int, once: Callable[[int], tuple[list[Path], LakeState]], tmp_path: Path
) -> None:
    population = seed % len(POPULATIONS)
    _, expected = once(population)
    rng = Random(f"split:{seed}")
    lines = records(population)
    rng.shuffle(lines)
    files = write_files(tmp_path / "files", lines, rng.randrange(1, 9))
    again = write_files(tmp_path / "files", rng.sample(lines, len(lines)), rng.randrange(1, 5), prefix="again")
    if seed % 2:
        ingest(tmp_path / "lake", [*files, *again])
    else:
        ingest(tmp_path / "lake", again, window=3_600)
        ingest(tmp_path / "lake", files)
    found = state(tmp_path / "lake")
    assert found.content_hash == expected.content_hash
    conflicts, before = (
        {(row["event_id"], row["_fingerprint"]) for row in s.rows["ops.dead_letter"] if row["code"] == "conflicting_duplicate"}
        for s in (found, expected)
    )
    assert conflicts == before
    entry, once_entry = found.ledger["web"], expected.ledger["web"]
    assert (entry.records_in, entry.out, entry.filtered) == (2 * once_entry.records_in, once_entry.out, 2 * once_entry.filtered)


def test_files_of_equal_content_and_other_names_count_once(
    tmp_path: Path, once: Callable[[int], tuple[list[Path], LakeState]]
) -> None:
    files, expected = once(0)
    copies = []
    for file in files[:2]:
        copy = tmp_path / f"copy-{file.name}"
        copy.write_bytes(file.read_bytes())
        os.utime(copy, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
        copies.append(copy)
    ingest(tmp_path / "lake", [*copies, *files])
    assert not difference(state(tmp_path / "lake"), expected)
