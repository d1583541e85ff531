"""Upkeep: merging keeps rows and hash and takes small steps beside a job, verifying finds what was changed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import upkeep
from lake.ledger.outcomes import Outcome, PositionOutcomes, positions_of
from lake.ledger.sidecars import append_outcomes
from lake.location import Lake
from lake.tables.iceberg import LEDGER, LEDGER_SCHEMA, ensure_table, published_files
from lake.upkeep import compact, folded_tables, list_tables, maintain
from tests.support.lake_state import claimed, content_hash, scan, table_rows
from tests.support.small_tables import DAY_S, NAME, NUM_SHARDS, make, put, row
from transforms.cut import shards_of


def filled(path: Path) -> Lake:
    """Rows of four hours, in ranges of a minute."""
    lake = make(path)
    put(lake, [row(f"e{n}", n * 700, position=n) for n in range(20)], 60)
    return lake


def minutes(count: int) -> list[dict[str, Any]]:
    """A row a minute, all of one shard."""
    ids = [next(i for i in (f"{n}-{k}" for k in range(99)) if shards_of([i], NUM_SHARDS)[0] == 0) for n in range(count)]
    return [row(event_id, n * 60, position=n) for n, event_id in enumerate(ids)]


def lengths(lake: Lake) -> list[int]:
    """How many minutes the ranges of the files span."""
    return [(f.to_us - f.from_us) // 60_000_000 for f in published_files(lake.catalog().load_table(NAME))]


def step(lake: Lake, closed_before_s: int, budget_s: float = 60.0) -> None:
    maintain(lake, NAME, closed_before_us=closed_before_s * 10**6, run_id="m", keep_snapshots_s=0, budget_s=budget_s)


def test_compaction_merges_ranges_and_changes_no_row_and_no_hash(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake")
    rows, told = table_rows(lake, NAME), claimed(lake, NAME)
    assert compact(lake, NAME, to_s=3_600, run_id="c")[0] == 20
    hours = published_files(lake.catalog().load_table(NAME))
    assert {(f.to_us - f.from_us) // 10**6 for f in hours} == {60, 3_600}
    assert compact(lake, NAME, to_s=DAY_S, run_id="c") == (len(hours), NUM_SHARDS)
    assert (table_rows(lake, NAME), claimed(lake, NAME)) == (rows, told)
    assert content_hash(scan(lake, NAME)) == told[1]


def test_second_compaction_does_nothing(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake")
    compact(lake, NAME, to_s=DAY_S, run_id="c")
    snapshot = lake.catalog().load_table(NAME).current_snapshot()
    assert compact(lake, NAME, to_s=DAY_S, run_id="c") == (NUM_SHARDS, NUM_SHARDS)
    assert compact(lake, NAME, to_s=3_600, run_id="c") == (NUM_SHARDS, NUM_SHARDS)
    assert lake.catalog().load_table(NAME).current_snapshot() == snapshot


def test_list_tells_files_rows_and_hash_and_verifies_them(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake")
    ensure_table(lake, LEDGER, LEDGER_SCHEMA, None)
    assert folded_tables(lake) == [NAME]
    ledger, table = sorted(list_tables(lake, verify=True), key=lambda t: t.table)
    assert (ledger.table, ledger.content_hash, ledger.verified) == (LEDGER, None, None)
    assert (table.files, table.rows, table.content_hash, table.verified) == (20, 20, claimed(lake, NAME)[1], True)
    assert next(t.verified for t in list_tables(lake) if t.table == NAME) is None


def test_verifying_finds_a_changed_file(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake")
    path = Path(published_files(lake.catalog().load_table(NAME))[0].path.removeprefix("file://"))
    rows = pq.read_table(path, partitioning=None)
    other = pa.array([b"0" * 16] * len(rows), pa.binary(16))
    pq.write_table(rows.set_column(rows.schema.get_field_index("_row_hash"), "_row_hash", other), path)
    assert [t.verified for t in list_tables(lake, verify=True)] == [False]


def test_steps_merge_closed_ranges_only_and_never_change_rows_or_hash(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake")
    put(lake, minutes(100), 60)
    rows, told = table_rows(lake, NAME), claimed(lake, NAME)
    step(lake, 3_599)
    assert lengths(lake) == [15] * 3 + [1] * 55
    step(lake, 3_600)
    assert lengths(lake) == [15] * 4 + [1] * 40, "the shortest ranges first"
    step(lake, 3_600)
    assert lengths(lake) == [60] + [1] * 40
    for _ in range(4):
        step(lake, 2 * DAY_S)
    assert lengths(lake) == [24 * 60]
    assert (table_rows(lake, NAME), claimed(lake, NAME)) == (rows, told)


def test_step_ends_with_its_budget_and_leaves_ranges_of_too_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = make(tmp_path / "lake")
    put(lake, minutes(60), 60)
    step(lake, DAY_S, budget_s=0.0)
    assert lengths(lake) == [15] + [1] * 45, "one range, however small the budget"
    monkeypatch.setattr(upkeep, "STEP_ROWS", 15)
    for _ in range(5):
        step(lake, DAY_S)
    assert lengths(lake) == [15] * 4


def test_step_with_nothing_to_do_commits_nothing(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake")
    before = lake.catalog().load_table(NAME).metadata_location
    step(lake, 0)
    assert lake.catalog().load_table(NAME).metadata_location == before


def test_steps_beside_a_writer_and_each_other_lose_nothing(tmp_path: Path) -> None:
    lake = make(tmp_path / "lake")
    ensure_table(lake, LEDGER, LEDGER_SCHEMA, None)
    rows = [row(f"e{n}", n * 30, position=n) for n in range(60)]

    def write() -> None:
        for n, each in enumerate(rows):
            put(lake, [each], 60)
            append_outcomes(lake, [PositionOutcomes("web", "f", Outcome.ACCEPTED, (n, 1), 0, 60)], "run")

    def keep() -> None:
        for _ in range(12):
            for name in (NAME, LEDGER):
                maintain(lake, name, closed_before_us=1_200 * 10**6, run_id="m", keep_snapshots_s=30, budget_s=0.1)

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(write), pool.submit(keep), pool.submit(keep)]:
            done.result()
    plain = make(tmp_path / "plain")
    put(plain, rows, DAY_S)
    assert (table_rows(lake, NAME), claimed(lake, NAME)) == (table_rows(plain, NAME), claimed(plain, NAME))
    said = [p for r in scan(lake, LEDGER).to_pylist() for p in positions_of(r["runs"]).tolist()]
    assert sorted(said) == list(range(60))


def test_stream_of_commits_leaves_a_bounded_table(tmp_path: Path) -> None:
    """Live files, manifests, snapshots and metadata do not grow with the number of commits."""
    lake = make(tmp_path / "lake")
    ensure_table(lake, LEDGER, LEDGER_SCHEMA, None)
    most = dict.fromkeys(("files", "manifests", "snapshots", "metadata files", "data files", "metadata bytes"), 0)
    for minute in range(60):
        put(lake, [row(f"{minute}-{n}", minute * 60 + n, position=minute * 8 + n) for n in range(8)], 60)
        append_outcomes(lake, [PositionOutcomes("web", "f", Outcome.ACCEPTED, (minute * 8, 8), 0, 60)], "run")
        for name in (NAME, LEDGER):
            maintain(lake, name, closed_before_us=(minute - 5) * 60_000_000, run_id="m", keep_snapshots_s=0)
            table = lake.catalog().load_table(name)
            root = Path(table.location().removeprefix("file://"))
            snapshot = table.current_snapshot()
            assert snapshot is not None
            metadata = [p.stat().st_size for p in (root / "metadata").iterdir()]
            sizes = (
                len(list(table.scan().plan_files())),
                len(snapshot.manifests(table.io)),
                len(table.snapshots()),
                len(metadata),
                len(list((root / "data").iterdir())),
                sum(metadata),
            )
            most = {key: max(value, size) for (key, value), size in zip(most.items(), sizes, strict=True)}
    assert most["files"] <= 2 * (15 + 6 + 4 + 2), "of each of the two shards: open minutes, quarters, hours"
    assert most["manifests"] <= 21, "merged whenever there are 20"
    assert most["snapshots"] <= upkeep.EXPIRE_AT + 6
    assert most["data files"] <= 2 * most["files"]
    assert most["metadata files"] <= 150
    assert most["metadata bytes"] <= 2 << 20
    assert table_rows(lake, NAME)[-1]["event_id"] == "59-7"
    assert sum(r["runs"][1] for r in scan(lake, LEDGER).to_pylist()) == 480
