"""What a run over files says of how far it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake.raw.files import RawChunk
from lake.runs.progress import Progress
from lake.runs.tally import Counts, Tally
from pipelines.ingest import slices
from pipelines.ingest.files import ingest_files
from pipelines.ingest.options import IngestOptions
from tests.support.shop import Shop, event


def told(shop: Shop, files: int, **more: object) -> list[Progress]:
    """All that a run over files of a hundred records each, ten of them wrong, reports while it checks and folds."""
    for number in range(files):
        lines = [event(1_000 * number + n, 8) for n in range(90)] + ["{broken"] * 10
        shop.write_lines(f"{number}.jsonl", lines)
    seen: list[Progress] = []
    given = {"input": (str(shop.folder / "drop"),), "lake": str(shop.folder / "lake"), "max_rejected": 1.0, "allow_damaged": True}
    ingest_files(IngestOptions(source="web", **given, **more), shop.project, seen.append)
    return [progress for progress in seen if progress.step in ("ingest", "fold")]


def test_a_run_of_one_slice_tells_how_far_it_is_within_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "_LOOK_EVERY_S", 0.001)
    seen = told(Shop(tmp_path), 8)
    checking = [progress for progress in seen if progress.step == "ingest"]
    done = [progress.done for progress in checking]
    assert {progress.total for progress in checking} == {800}
    assert done == sorted(done) and done[0] == 0 and done[-1] == 800
    assert set(done) & set(range(100, 800, 100)), "within the slice too"
    assert any("records/s" in progress.note and "10 rejected" in progress.note for progress in seen)
    assert any(progress.step == "fold" for progress in seen)


def test_slices_add_up_to_the_whole(tmp_path: Path) -> None:
    seen = told(Shop(tmp_path), 3, slice_bytes=1)
    begun: dict[str, int] = {}
    for progress in seen:
        if progress.step == "ingest" and progress.note:
            begun.setdefault(progress.note.split(",")[0], progress.done)
    assert begun == {"slice 1 of 3": 0, "slice 2 of 3": 100, "slice 3 of 3": 200}
    assert (seen[-1].done, seen[-1].total) == (300, 300)


@pytest.mark.parametrize(
    ("sizes", "workers", "slice_bytes", "expected"),
    [
        ([64] * 8, 1, None, [8]),
        ([64] * 8, 2, None, [4, 4]),
        ([64] * 25, 2, None, [6, 6, 7, 6]),  # 1.6 GB: two at a time, of at most 512 MB
        ([64] * 7, 2, None, [3, 4]),
        ([64] * 3, 4, None, [1, 1, 1]),
        ([1] * 6, 4, None, [6]),
        ([1] * 9, 4, None, [4, 5]),
        ([64] * 8, 2, 128, [2, 2, 2, 2]),
        ([], 2, None, []),
    ],
)
def test_slices_are_equal_parts_for_each_worker(
    sizes: list[int], workers: int, slice_bytes: int | None, expected: list[int]
) -> None:
    pieces = [RawChunk("f" * 64, "p", 0, n, 1, 0, size << 20) for n, size in enumerate(sizes)]
    found = slices.slices_of(pieces, workers, slice_bytes and slice_bytes << 20)
    assert [piece for part in found for piece in part] == pieces
    assert [len(part) for part in found] == expected


def test_counts_of_processes_add_up_and_a_folder_that_is_gone_counts_nothing(tmp_path: Path) -> None:
    tally = Tally(str(tmp_path))
    tally.add(Counts(5, 1))
    tally.add(Counts(6, 2))
    (tmp_path / "another").write_bytes((tmp_path / next(tmp_path.iterdir()).name).read_bytes())
    (tmp_path / "torn").write_bytes(b"123")
    assert tally.total() == Counts(22, 6)
    gone = Tally(str(tmp_path / "gone"))
    gone.add(Counts(1, 1))
    assert gone.total() == Counts()
