"""Merging the ledger table: it says the same before and after, whatever is appended meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from lake.ledger import upkeep as ledger_upkeep
from lake.ledger.outcomes import Outcome, PositionOutcomes, positions_of
from lake.ledger.sidecars import append_outcomes
from lake.ledger.upkeep import merge_ledger, merged_rows
from lake.location import Lake
from lake.tables import appended
from lake.tables.iceberg import LEDGER, LEDGER_SCHEMA, ensure_table
from tests.support.lake_state import scan

Said = dict[tuple[str, str, str], set[int]]


def lake_at(path: Path) -> Lake:
    lake = Lake.at(str(path))
    lake.create()
    ensure_table(lake, LEDGER, LEDGER_SCHEMA, None)
    return lake


def said(rows: pa.Table) -> Said:
    """Which positions have which outcome."""
    found: Said = {}
    for row in rows.to_pylist():
        found.setdefault((row["source"], row["raw_file"], row["outcome"]), set()).update(positions_of(row["runs"]).tolist())
    return found


def random_outcome(rng: Random) -> PositionOutcomes:
    first, second = rng.randrange(50), rng.randrange(60, 110)
    window = rng.choice(((None, None), (rng.randrange(5) * 60, 600)))
    source, raw_file, outcome = rng.choice(("web", "crm")), rng.choice(("f", "kafka:t:i:0")), rng.choice(list(Outcome))
    return PositionOutcomes(source, raw_file, outcome, (first, rng.randrange(1, 9), second, rng.randrange(1, 9)), *window)


@pytest.mark.parametrize("seed", range(4))
def test_merged_ledger_says_the_same_in_fewer_rows(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    lake = lake_at(tmp_path / "lake")
    for _ in range(20):
        append_outcomes(lake, [random_outcome(rng) for _ in range(rng.randrange(1, 4))], "run")
    before = scan(lake, LEDGER)
    assert merge_ledger(lake, "merge") == (20, 1)
    after = scan(lake, LEDGER)
    assert said(after) == said(before)
    keys = [(r["source"], r["raw_file"], r["outcome"]) for r in after.to_pylist()]
    assert keys == sorted(set(keys)), "one row each, in order"
    for row in after.to_pylist():
        positions = positions_of(row["runs"]).tolist()
        assert (row["first"], row["last"], row["run_id"]) == (positions[0], positions[-1], "merge")
        own = [r for r in before.to_pylist() if all(r[k] == row[k] for k in ("source", "raw_file", "outcome"))]
        assert row["window_from"] == min((r["window_from"] for r in own if r["window_from"] is not None), default=None)
        assert row["window_to"] == max((r["window_to"] for r in own if r["window_to"] is not None), default=None)


def test_few_files_stay_as_they_are(tmp_path: Path) -> None:
    lake = lake_at(tmp_path / "lake")
    assert merge_ledger(lake, "merge", at_least=2) == (0, 0)
    for first in range(3):
        append_outcomes(lake, [PositionOutcomes("web", "f", Outcome.LATE, (first, 1), None, None)], "run")
    before = lake.catalog().load_table(LEDGER).metadata_location
    assert merge_ledger(lake, "merge", at_least=4) == (3, 3)
    assert lake.catalog().load_table(LEDGER).metadata_location == before
    assert merge_ledger(lake, "merge", at_least=2) == (3, 1)
    assert merge_ledger(lake, "merge", at_least=2) == (1, 1)


def test_large_files_are_left_alone_and_a_merge_takes_no_more_than_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = lake_at(tmp_path / "lake")
    for first in range(5):
        append_outcomes(lake, [PositionOutcomes("web", "f", Outcome.LATE, (2 * first, 1), None, None)], "run")
    sizes = sorted(t.file.file_size_in_bytes for t in lake.catalog().load_table(LEDGER).scan().plan_files())
    monkeypatch.setattr(appended, "_CLASSES", (sizes[0],))
    assert merge_ledger(lake, "merge", at_least=2) == (5, 5)
    monkeypatch.setattr(appended, "_CLASSES", (sizes[-1] + 1,))
    monkeypatch.setattr(appended, "_TOTAL_BYTES", sum(sizes[:3]))
    assert merge_ledger(lake, "merge", at_least=2) == (5, 3)


@pytest.mark.parametrize("rival", ["append", "merge"])
def test_what_a_rival_commits_between_read_and_commit_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rival: str) -> None:
    lake = lake_at(tmp_path / "lake")
    for first in range(0, 10, 2):
        append_outcomes(lake, [PositionOutcomes("web", "f", Outcome.ACCEPTED, (first, 1), 0, 60)], "run")
    rivals = 1

    def beaten(tables: Iterator[pa.Table], run_id: str) -> Any:
        nonlocal rivals
        rows = merged_rows(tables, run_id)
        if rivals:
            rivals -= 1
            if rival == "append":
                append_outcomes(lake, [PositionOutcomes("web", "f", Outcome.ACCEPTED, (21, 1), 0, 60)], "rival")
            else:
                merge_ledger(lake, "rival", at_least=2)
        return rows

    monkeypatch.setattr(ledger_upkeep, "merged_rows", beaten)
    wanted = {0, 2, 4, 6, 8} | ({21} if rival == "append" else set())
    merge_ledger(lake, "merge", at_least=2)
    rows = scan(lake, LEDGER)
    assert said(rows) == {("web", "f", "accepted"): wanted}
    assert len(rows) == 1, "each position is there once"
