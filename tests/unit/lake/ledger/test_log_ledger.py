"""The ledger of logs against a plain dict: random landings, outcomes that repeat and overlap, published rows and letters."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest

from contracts.codes import Code, Violation
from contracts.spec.paths import PayloadPath
from contracts.spec.source import SourceSpec
from lake.ledger import sidecars
from lake.ledger.ledger import LedgerEntry, frontier, log_ledger, source_ledger
from lake.ledger.outcomes import Outcome, PositionOutcomes, runs_of
from lake.ledger.sidecars import append_outcomes
from lake.location import Lake
from lake.raw import positions as landed
from lake.raw.files import land_file
from lake.raw.inputs import InputFile
from lake.raw.log_ids import LogId, position_of
from lake.raw.segment_files import RawMessage
from lake.raw.segments import PartitionLog
from lake.tables.iceberg import (
    DEAD_LETTER_SCHEMA,
    DEAD_LETTERS,
    LEDGER,
    LEDGER_SCHEMA,
    WITHDRAWN,
    Layout,
    ensure_table,
    published_files,
)
from lake.tables.publish import fold_range, publish
from tests.support.small_tables import DAY_S, NAME, make, put, row
from transforms.letters import dead_letter_rows

LOG, OTHER = LogId("events", "tid", 0), LogId("events", "tid", 1)


def spec(batched: bool = False) -> SourceSpec:
    records = PayloadPath(("batch",)) if batched else None
    return SourceSpec(name="web", dataset="thing", version=1, format="jsonl", columns={}, records=records)


def lake_at(path: Path) -> Lake:
    lake = make(path)
    ensure_table(lake, LEDGER, LEDGER_SCHEMA, None)
    ensure_table(lake, DEAD_LETTERS, DEAD_LETTER_SCHEMA, Layout())
    return lake


def land(lake: Lake, log: LogId, offsets: range, gaps: Collection[int] = (), batched: bool = False) -> list[int]:
    """Land messages, three records each where there are several; gives their positions."""
    messages = [RawMessage(o, 1_000 * o, 1, None, b"{}", (), 3 if batched else 1) for o in offsets if o not in gaps]
    PartitionLog(lake, "web", log, batched=batched).land(offsets.start, offsets.stop, messages)
    return [position_of(m.offset, i, batched) for m in messages for i in range(m.records)]


def say(lake: Lake, log: LogId, outcome: Outcome, positions: list[int]) -> None:
    runs = runs_of(np.array(positions, dtype=np.int64))
    append_outcomes(lake, [PositionOutcomes("web", str(log), outcome, runs, 0, DAY_S * 1_000_000)], "run")


def publish_rows(lake: Lake, log: LogId, positions: list[int]) -> None:
    put(lake, [row(f"{log.partition}-{p}", p % 80_000, position=p) | {"_raw_file": str(log)} for p in positions], 3_600)


def publish_letters(lake: Lake, log: LogId, letters: dict[int, str]) -> None:
    rows = dead_letter_rows(
        [
            {
                "code": code,
                "stage": "decode",
                "dataset": "thing",
                "contract_version": "1",
                "_source": "web",
                "_raw_file": str(log),
                "_position": position,
                "_received_at": 0,
            }
            for position, code in letters.items()
        ],
        [[Violation("$", "type", "something else")] for _ in letters],
        "run",
    )
    table = lake.catalog().load_table(DEAD_LETTERS)
    day = DAY_S * 1_000_000
    fold = fold_range(table, published_files(table), rows, key="dead_letter_id", from_us=0, to_us=day, shard=0)
    publish(lake, DEAD_LETTERS, [fold], key="dead_letter_id", run_id="run")


def model(positions: list[int], said: dict[int, set[Outcome]], published: set[int], letters: dict[int, str]) -> LedgerEntry:
    """The ledger as its definition says it, position by position."""
    entry = LedgerEntry(records_in=len(positions))
    for position in positions:
        told = said.get(position, set())
        outcome = next((o for o in Outcome if o in told and o is not Outcome.DUPLICATE), None)
        code = letters.get(position)
        if outcome is None:
            entry.pending += 1
        elif outcome is Outcome.FILTERED:
            entry.filtered += 1
        elif outcome is Outcome.LATE:
            entry.late += 1
        elif outcome is Outcome.OUTSIDE:
            entry.outside += 1
        elif outcome is Outcome.ACCEPTED and position in published:
            entry.out += 1
        elif Outcome.ERASED in told and outcome in (Outcome.ACCEPTED, Outcome.ERASED):
            entry.erased += 1
        elif Outcome.EXPIRED in told and outcome in (Outcome.ACCEPTED, Outcome.EXPIRED):
            entry.expired += 1
        elif outcome is Outcome.HELD:
            entry.held += 1
        elif outcome is Outcome.ACCEPTED and code != Code.CONFLICTING_DUPLICATE:
            entry.duplicate += Outcome.DUPLICATE in told
            entry.lost += Outcome.DUPLICATE not in told
        else:
            entry.dead_letter += 1
            if code is not None and code != WITHDRAWN and (outcome is Outcome.ACCEPTED) == (code == Code.CONFLICTING_DUPLICATE):
                entry.codes[code] = entry.codes.get(code, 0) + 1
    return entry


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("small", [False, True])
def test_ledger_and_frontier_of_random_logs_are_those_of_a_plain_dict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, small: bool
) -> None:
    if small:
        monkeypatch.setattr(landed, "BATCH_POSITIONS", 17)
        monkeypatch.setattr(sidecars, "ROW_RUNS", 2)
    rng = Random(seed)
    batched = bool(seed % 2)
    lake = lake_at(tmp_path / "lake")
    positions: dict[LogId, list[int]] = {LOG: [], OTHER: []}
    said: dict[LogId, dict[int, set[Outcome]]] = {LOG: {}, OTHER: {}}
    published: dict[LogId, set[int]] = {}
    letters: dict[LogId, dict[int, str]] = {}
    for log, held in positions.items():
        start = rng.randrange(50)
        for _ in range(3):
            end = start + rng.randrange(1, 25)
            held.extend(land(lake, log, range(start, end), set(rng.sample(range(start, end), (end - start) // 4)), batched))
            start = end + rng.choice((0, 0, 7))
        for _ in range(8):
            first = rng.randrange(len(held))
            part = [p for p in held[first : first + rng.randrange(1, 30)] if rng.random() < 0.8]
            outcome = rng.choice((Outcome.ACCEPTED, *Outcome))
            for p in part:
                said[log].setdefault(p, set()).add(outcome)
            say(lake, log, outcome, part)
        published[log] = set(rng.sample(held, len(held) // 2))
        codes = (Code.CONFLICTING_DUPLICATE, Code.WRONG_TYPE, Code.MALFORMED, WITHDRAWN)
        letters[log] = {p: str(rng.choice(codes)) for p in rng.sample(held, len(held) // 3)}
        publish_rows(lake, log, sorted(published[log]))
        publish_letters(lake, log, letters[log])
    both = source_ledger(lake, spec(batched), NAME)
    for log, held in positions.items():
        wanted = model(held, said[log], published[log], letters[log])
        assert both[str(log)] == wanted == log_ledger(lake, spec(batched), NAME, log)
        offsets = [p >> 20 if batched else p for p in held]
        middle = offsets[len(offsets) // 2]
        below = [p for p, offset in zip(held, offsets, strict=True) if offset < middle]
        assert log_ledger(lake, spec(batched), NAME, log, end=middle) == model(below, said[log], published[log], letters[log])
        missing = [offset for p, offset in zip(held, offsets, strict=True) if not said[log].get(p, set()) - {Outcome.DUPLICATE}]
        assert frontier(lake, spec(batched), log) == missing[0]
        above = [offset for offset in missing if offset >= middle]
        if above:
            assert frontier(lake, spec(batched), log, start=middle) == above[0]
        below_it = log_ledger(lake, spec(batched), NAME, log, end=missing[0])
        assert below_it.pending == 0 and below_it.balanced == (below_it.lost == 0)


def test_frontier_moves_over_gaps_and_stops_at_what_has_no_outcome(tmp_path: Path) -> None:
    lake = lake_at(tmp_path / "lake")
    assert frontier(lake, spec(), LOG) is None
    land(lake, LOG, range(10, 30), {10, 11, 20, 29})
    assert frontier(lake, spec(), LOG) == 12
    say(lake, LOG, Outcome.FILTERED, list(range(12, 20)))
    assert frontier(lake, spec(), LOG) == 21
    say(lake, LOG, Outcome.ACCEPTED, list(range(22, 29)))
    assert frontier(lake, spec(), LOG) == 21
    say(lake, LOG, Outcome.LATE, [21])
    assert frontier(lake, spec(), LOG) == 30, "the end of what is landed"
    assert frontier(lake, spec(), LOG, start=30) is None


def test_message_is_below_the_frontier_only_with_all_its_records(tmp_path: Path) -> None:
    lake = lake_at(tmp_path / "lake")
    land(lake, LOG, range(5), batched=True)
    say(lake, LOG, Outcome.ACCEPTED, [position_of(o, i, True) for o in range(5) for i in range(3) if (o, i) != (2, 1)])
    assert frontier(lake, spec(True), LOG) == 2
    say(lake, LOG, Outcome.FILTERED, [position_of(2, 1, True)])
    assert frontier(lake, spec(True), LOG) == 5


def test_offsets_that_a_broker_never_had_need_no_outcome(tmp_path: Path) -> None:
    lake = lake_at(tmp_path / "lake")
    land(lake, LOG, range(0, 10), set(range(10)))
    assert frontier(lake, spec(), LOG) == 10
    assert log_ledger(lake, spec(), NAME, LOG) == LedgerEntry()


def test_source_has_files_and_logs_side_by_side(tmp_path: Path) -> None:
    lake = lake_at(tmp_path / "lake")
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n')
    file = land_file(lake, spec(), InputFile(str(path), path.stat().st_size, 0)).file
    assert file is not None
    land(lake, LOG, range(4))
    outcome = PositionOutcomes("web", file.raw_file, Outcome.ACCEPTED, (0, 2), 0, DAY_S * 1_000_000)
    append_outcomes(lake, [outcome], "run")
    put(lake, [row("file-1", 5, position=1) | {"_raw_file": file.raw_file}], 60)
    say(lake, LOG, Outcome.ACCEPTED, [0, 1, 2])
    say(lake, LOG, Outcome.DUPLICATE, [0, 1])
    publish_rows(lake, LOG, [0, 2])
    assert source_ledger(lake, spec(), NAME) == {
        file.raw_file: LedgerEntry(records_in=2, out=1, lost=1),
        str(LOG): LedgerEntry(records_in=4, out=2, duplicate=1, pending=1),
    }


def test_scans_of_a_part_of_a_log_skip_files_by_position(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read for the end of a log does not grow with the log."""
    lake = lake_at(tmp_path / "lake")
    for start in range(0, 400, 50):
        say(lake, LOG, Outcome.ACCEPTED, land(lake, LOG, range(start, start + 50)))
    read: list[int] = []
    original = sidecars._sidecars

    def counting(batch: pa.RecordBatch):  # type: ignore[no-untyped-def]
        read.append(len(batch))
        return original(batch)

    monkeypatch.setattr(sidecars, "_sidecars", counting)
    assert log_ledger(lake, spec(), NAME, LOG, start=375).lost == 25
    assert sum(read) == 2, "once before the rows, and once after them for notes"
    scan = lake.catalog().load_table(LEDGER).scan(row_filter="first < 400 and last >= 375")
    assert len(list(scan.plan_files())) == 1, "statistics of the data files tell which to skip"


def test_the_frontier_waits_before_a_gap_behind_which_another_source_has_landed(tmp_path: Path) -> None:
    """Sources may share a raw layer: what one of them skips the other has not read."""
    lake = lake_at(tmp_path / "lake")
    say(lake, LOG, Outcome.FILTERED, land(lake, LOG, range(100)))
    behind = land(lake, LOG, range(500, 600))
    assert frontier(lake, spec(), LOG) == 100
    assert frontier(lake, spec(), LOG, start=100) == 100
    assert frontier(lake, spec(), LOG, start=300) == 500, "who asks from there on has read up to there"
    say(lake, LOG, Outcome.FILTERED, behind[:50])
    assert frontier(lake, spec(), LOG) == 550, "this source began there itself"
