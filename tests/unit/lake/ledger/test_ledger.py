"""The ledger: outcomes as runs of positions, their union, and many writers."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.ledger import sidecars
from lake.ledger.ledger import LedgerEntry, compute_ledger, unfinished
from lake.ledger.outcomes import Outcome, PositionOutcomes, positions_of, runs_of
from lake.ledger.sidecars import FileOutcomes, append_outcomes, outcomes_of
from lake.location import Lake
from lake.raw.files import RawFile
from lake.raw.positions import Extent, Positions
from lake.tables.iceberg import LEDGER, LEDGER_SCHEMA, ensure_table


def lake_at(path: Path) -> Lake:
    lake = Lake.at(str(path))
    lake.create()
    ensure_table(lake, LEDGER, LEDGER_SCHEMA, None)
    return lake


def outcomes(outcome: Outcome, positions: Sequence[int], file: str = "f", source: str = "web") -> PositionOutcomes:
    return PositionOutcomes(source, file, outcome, runs_of(np.array(positions, dtype=np.int64)), 0, 60)


def raw(name: str, records: int, source: str = "web") -> RawFile:
    return RawFile(name, name, source, name, "reader", 1, 0, records, False, ((0, records, 0, 1),))


def found_of(lake: Lake, records: int) -> FileOutcomes:
    """What the sidecars say of the raw file."""
    return outcomes_of(lake, "web", [Extent("f", Positions.of([0, records]))])["f"]


def states(lake: Lake, records: int) -> list[Outcome | None]:
    """What holds for each position of the raw file."""
    names = [None, *Outcome]
    return [names[number] for number in found_of(lake, records).states(Positions.of([0, records])).tolist()]


@given(st.lists(st.integers(0, 40)))
def test_runs_and_positions_are_inverse(positions: list[int]) -> None:
    runs = runs_of(np.array(positions, dtype=np.int64))
    assert positions_of(runs).tolist() == sorted(set(positions))
    ends = [first + length for first, length in zip(runs[::2], runs[1::2], strict=True)]
    assert all(end < following for end, following in zip(ends, runs[2::2], strict=False)), "runs touch or overlap"


def test_where_attempts_disagree_the_first_outcome_in_order_holds(tmp_path: Path) -> None:
    lake = lake_at(tmp_path / "lake")
    order = (Outcome.LATE, Outcome.DEAD_LETTER, Outcome.FILTERED, Outcome.ACCEPTED)
    for number, outcome in enumerate(order):
        append_outcomes(lake, [outcomes(outcome, range(number, 4))], "run")
    assert states(lake, 4) == [Outcome.LATE, Outcome.DEAD_LETTER, Outcome.FILTERED, Outcome.ACCEPTED]


def test_ledger_is_a_union_so_repeats_change_nothing(tmp_path: Path) -> None:
    lake = lake_at(tmp_path / "lake")
    parts = [outcomes(Outcome.ACCEPTED, [0, 1, 5]), outcomes(Outcome.FILTERED, [2])]
    for part in [*parts, *parts, outcomes(Outcome.ACCEPTED, [1])]:
        append_outcomes(lake, [part], "run")
    assert states(lake, 6) == [Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.FILTERED, None, None, Outcome.ACCEPTED]
    found = found_of(lake, 6)
    assert (found.window_from, found.window_to) == (0, 60)


def test_file_is_unfinished_until_every_position_has_an_outcome(tmp_path: Path) -> None:
    lake = lake_at(tmp_path / "lake")
    files = [raw("f", 3), raw("g", 2), raw("empty", 0)]
    assert unfinished(lake, "web", files) == files[:2]
    append_outcomes(lake, [outcomes(Outcome.FILTERED, [0, 2]), outcomes(Outcome.FILTERED, [0, 1], file="g")], "run")
    assert unfinished(lake, "web", files) == files[:1]
    append_outcomes(lake, [outcomes(Outcome.FILTERED, [1])], "run")
    assert unfinished(lake, "web", files) == []


def test_position_without_outcome_is_pending_and_unbalances_the_ledger(tmp_path: Path) -> None:
    lake = lake_at(tmp_path / "lake")
    append_outcomes(lake, [outcomes(Outcome.FILTERED, [0, 1])], "run")
    entry = compute_ledger(lake, "web", "validated.none", [raw("f", 3)])
    assert entry == LedgerEntry(records_in=3, filtered=2, pending=1)
    assert not entry.balanced
    append_outcomes(lake, [outcomes(Outcome.FILTERED, [2])], "run")
    entry = compute_ledger(lake, "web", "validated.none", [raw("f", 3)])
    assert entry.balanced


def test_lake_of_an_older_version_is_read_and_widened(tmp_path: Path) -> None:
    lake = Lake.at(str(tmp_path / "lake"))
    lake.create()
    older = pa.schema([f for f in LEDGER_SCHEMA if f.name not in ("first", "last")])
    ensure_table(lake, LEDGER, older, None)
    row = {"source": "web", "raw_file": "f", "outcome": "filtered", "runs": [0, 2], "run_id": "old"}
    lake.catalog().load_table(LEDGER).append(pa.Table.from_pylist([row], older))
    assert compute_ledger(lake, "web", "validated.none", [raw("f", 3)]).pending == 1
    ensure_table(lake, LEDGER, LEDGER_SCHEMA, None)
    assert compute_ledger(lake, "web", "validated.none", [raw("f", 3)]).pending == 1
    append_outcomes(lake, [outcomes(Outcome.FILTERED, [2])], "run")
    assert compute_ledger(lake, "web", "validated.none", [raw("f", 3)]).balanced


def test_long_outcome_is_written_in_rows_that_tell_their_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecars, "ROW_RUNS", 3)
    lake = lake_at(tmp_path / "lake")
    append_outcomes(lake, [outcomes(Outcome.ACCEPTED, range(0, 20, 2))], "run")
    rows = lake.catalog().load_table(LEDGER).scan().to_arrow().to_pylist()
    assert [(r["first"], r["last"], len(r["runs"]) // 2) for r in rows] == [(0, 4, 3), (6, 10, 3), (12, 16, 3), (18, 18, 1)]
    assert states(lake, 20) == [Outcome.ACCEPTED, None] * 10


def test_entries_of_disjoint_files_add_up() -> None:
    one = LedgerEntry(records_in=3, out=1, dead_letter=2, codes={"malformed": 2})
    two = LedgerEntry(records_in=2, duplicate=1, dead_letter=1, codes={"malformed": 1})
    both = one + two
    assert both == LedgerEntry(records_in=5, out=1, duplicate=1, dead_letter=3, codes={"malformed": 3})
    assert both.balanced


def test_many_writers_at_once_lose_no_outcome(tmp_path: Path) -> None:
    lake = lake_at(tmp_path / "lake")
    positions = Random(1).sample(range(32), 32)

    def write(part: list[int]) -> None:
        for position in part:
            append_outcomes(Lake.at(lake.root), [outcomes(Outcome.ACCEPTED, [position])], f"run-{position}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, [positions[i::8] for i in range(8)]))
    assert states(lake, 32) == [Outcome.ACCEPTED] * 32
