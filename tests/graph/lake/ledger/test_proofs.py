"""Duplicates are proven: whatever jobs fold, repeat or leave undone, nothing that they accepted is lost; and a loss is told."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pyiceberg.expressions import EqualTo

from lake.ledger.folds import LostNotes, committed_outcomes
from lake.ledger.ledger import LedgerEntry, compute_ledger, unfinished
from lake.ledger.outcomes import Outcome, PositionOutcomes, positions_of
from lake.ledger.sidecars import append_outcomes
from lake.ledger.upgrade import note_duplicates
from lake.location import Lake
from lake.raw.files import RawFile
from lake.tables import iceberg
from lake.tables import publish as publishing
from lake.tables.data_files import PROVENANCE_KEY, read_rows
from lake.tables.iceberg import LEDGER, LEDGER_SCHEMA, ensure_table, known_files
from lake.tables.ipc import decode_rows
from lake.tables.publish import RangeFold, publish, with_lost
from lake.tables.sweep import sweep
from lake.upkeep import compact, key_of
from tests.support.lake_state import scan
from tests.support.small_tables import DAY_S, NAME, Rows, folds_of, make, row
from tests.support.tiers import thinned

FILES = (("web", "f"), ("mobile", "f"), ("web", "g"))  # two sources hold the same bytes
RECORDS = 40


class _Killed(Exception):
    """A job that goes no further."""


def lake_at(path: Path, horizon_s: int = 0) -> Lake:
    lake = make(path, horizon_s=horizon_s)
    ensure_table(lake, LEDGER, LEDGER_SCHEMA, None)
    return lake


def raw(name: str, source: str = "web", records: int = RECORDS) -> RawFile:
    return RawFile(name, name, source, name, "reader", 1, 0, records, False, ((0, records, 0, 1),))


def ledger(lake: Lake, source: str, name: str, records: int = RECORDS) -> LedgerEntry:
    return compute_ledger(lake, source, NAME, [raw(name, source, records)])


def commit(lake: Lake, folds: Sequence[RangeFold], killed: str = "") -> None:
    """What a committer does with folds. killed: "noted" right before its rows are committed, "committed" right after."""
    notes = LostNotes(lake, "thing", "job")

    def before(folds: Sequence[RangeFold]) -> None:
        notes.write(folds)
        if killed == "noted":
            raise _Killed

    published = publish(lake, NAME, folds, key="event_id", run_id="job", before=before)
    if killed != "committed":
        append_outcomes(lake, list(committed_outcomes(published, Outcome.ACCEPTED, "thing")), "job")


def records_of(rng: Random) -> dict[tuple[str, str], Rows]:
    """The rows of all records of all files: few keys and times, so that most lose."""
    return {
        (source, file): [
            row(f"e{rng.randrange(6)}", rng.randrange(3 * 60) * 60 + rng.randrange(60), rank=rng.randrange(4),
                content=rng.choice("xyz"), position=position) | {"_source": source, "_raw_file": file}
            for position in range(RECORDS)
        ]
        for source, file in FILES
    }  # fmt: skip


def published_positions(lake: Lake, *, dropped: bool = False) -> set[tuple[str, str, int]]:
    rows = [r for f in known_files(lake.load(NAME), None) if f.dropped == dropped for r in read_rows(f.path).to_pylist()]
    return {(r["_source"], r["_raw_file"], r["_position"]) for r in rows}


@pytest.mark.parametrize("seed", thinned(range(8), 3))
def test_whatever_jobs_do_and_leave_undone_every_accepted_record_is_out_or_a_proven_duplicate(tmp_path: Path, seed: int) -> None:
    run_schedule(tmp_path / "lake", seed)


@pytest.mark.long
def test_many_schedules(tmp_path: Path) -> None:
    for seed in range(1_000, 1_400):
        run_schedule(tmp_path / str(seed), seed)


def run_schedule(path: Path, seed: int) -> None:
    """Folds that wait until they are stale, commits that are killed on either side, reruns, sweeps and compactions."""
    rng = Random(seed)
    lake = lake_at(path, horizon_s=rng.choice((0, 20 * 60, 10_000 * 60)))
    records = records_of(rng)
    waiting: list[list[RangeFold]] = []
    for _ in range(24):
        action = rng.choice(("fold", "fold", "commit", "commit", "killed", "sweep", "compact"))
        if action == "fold":
            own = records[rng.choice(FILES)]
            start = rng.randrange(RECORDS)
            waiting.append(folds_of(lake, own[start : start + rng.randrange(1, 20)], rng.choice((60, 900, 3_600, DAY_S))))
        elif action == "commit" and waiting:
            commit(lake, waiting.pop(rng.randrange(len(waiting))))
        elif action == "killed" and waiting:  # and restored from a state of before, or not
            folds = rng.choice(waiting)
            with contextlib.suppress(_Killed):
                commit(lake, folds, rng.choice(("noted", "committed")))
        elif action == "sweep":
            sweep(lake, NAME, key="event_id", run_id="sweep")
        elif action == "compact":
            compact(lake, NAME, to_s=rng.choice((3_600, DAY_S)), run_id="compact")
        assert_accounted(lake)
    for (source, file), own in records.items():
        if unfinished(lake, source, [raw(file, source)]):
            commit(lake, folds_of(lake, own, DAY_S))
        entry = ledger(lake, source, file)
        assert entry.balanced and entry.pending == 0
    assert_accounted(lake)


def assert_accounted(lake: Lake) -> None:
    """No position is lost, and out are those that are published, as the files and the table's own rows say it."""
    said: dict[tuple[str, str], set[int]] = {file: set() for file in FILES}
    for r in scan(lake, LEDGER).to_pylist():
        if r["outcome"] == "accepted":
            said[r["source"], r["raw_file"]].update(positions_of(r["runs"]).tolist())
        assert (r["dataset"], r["item"]) == ("thing", None)
    published = published_positions(lake)
    for (source, file), accepted in said.items():
        out = len({position for position in accepted if (source, file, position) in published})
        expected = LedgerEntry(records_in=RECORDS, out=out, duplicate=len(accepted) - out, pending=RECORDS - len(accepted))
        assert ledger(lake, source, file) == expected


def lose(lake: Lake, event_id: str) -> None:
    """A published row is deleted behind the ledger's back."""
    lake.catalog().load_table(NAME).delete(EqualTo("event_id", event_id))


def test_a_published_row_that_somebody_deletes_is_lost_and_nothing_adds_up(tmp_path: Path) -> None:
    lake = lake_at(tmp_path / "lake")
    rows = [row("a", 5, position=0), row("b", 6, position=1), row("b", 7, rank=1, position=2)]
    commit(lake, folds_of(lake, rows, DAY_S))
    assert ledger(lake, "web", "f", 3) == LedgerEntry(records_in=3, out=2, duplicate=1)
    lose(lake, "a")
    entry = ledger(lake, "web", "f", 3)
    assert entry == LedgerEntry(records_in=3, out=1, duplicate=1, lost=1)
    assert not entry.balanced
    (fault,) = entry.faults
    assert fault.startswith("1 accepted records have neither a published nor a dropped row") and "with the manifest" in fault


@pytest.mark.parametrize("killed", ["noted", "committed"])
def test_a_winner_that_is_displaced_is_noted_before_its_row_goes(tmp_path: Path, killed: str) -> None:
    """Whoever displaced it may die on either side of the commit: the displaced record is never lost."""
    lake = lake_at(tmp_path / "lake")
    commit(lake, folds_of(lake, [row("a", 5, rank=3, position=0)], DAY_S))
    better = [row("a", 5, rank=1, position=0) | {"_raw_file": "g"}]
    with contextlib.suppress(_Killed):
        commit(lake, folds_of(lake, better, DAY_S), killed)
    still = killed == "noted"  # a note that came too early is none
    assert ledger(lake, "web", "f", 1) == LedgerEntry(records_in=1, out=still, duplicate=not still)
    assert ledger(lake, "web", "g", 1) == LedgerEntry(records_in=1, pending=1)
    assert unfinished(lake, "web", [raw("f", records=1), raw("g", records=1)]) == [raw("g", records=1)]
    commit(lake, folds_of(lake, better, DAY_S))
    assert ledger(lake, "web", "f", 1) == LedgerEntry(records_in=1, duplicate=1)
    assert ledger(lake, "web", "g", 1) == LedgerEntry(records_in=1, out=1)


def test_a_note_alone_is_no_outcome(tmp_path: Path) -> None:
    """Rows were committed, their job died, and another displaced them: the file is taken up again all the same."""
    lake = lake_at(tmp_path / "lake")
    rows = [row("a", 5, rank=3, position=0)]
    commit(lake, folds_of(lake, rows, DAY_S), "committed")
    commit(lake, folds_of(lake, [row("a", 5, rank=1) | {"_raw_file": "g"}], DAY_S))
    assert unfinished(lake, "web", [raw("f", records=1)])
    assert ledger(lake, "web", "f", 1) == LedgerEntry(records_in=1, pending=1)
    commit(lake, folds_of(lake, rows, DAY_S))
    assert ledger(lake, "web", "f", 1) == LedgerEntry(records_in=1, duplicate=1)


def test_stale_folds_that_become_one_keep_what_lost_in_each(tmp_path: Path) -> None:
    lake = lake_at(tmp_path / "lake")
    rows = [row(key, at, rank=rank, position=i) for i, (key, at, rank) in enumerate([("a", 5, 0), ("a", 5, 1), ("b", 9_000, 1)])]
    stale = folds_of(lake, rows, 3_600)
    rivals = [row("a", 6, rank=0, content="y", position=0), row("b", 9_001, rank=0, position=1)]
    commit(lake, folds_of(lake, [r | {"_raw_file": "g"} for r in rivals], DAY_S))
    commit(lake, stale)
    assert ledger(lake, "web", "f", 3) == LedgerEntry(records_in=3, out=1, duplicate=2)
    assert ledger(lake, "web", "g", 2) == LedgerEntry(records_in=2, out=1, duplicate=1)


def test_a_dropped_row_proves_its_duplicate(tmp_path: Path) -> None:
    lake = lake_at(tmp_path / "lake", horizon_s=3_600)
    commit(lake, folds_of(lake, [row("a", 5, position=0), row("a", 500, position=1)], DAY_S))
    assert ledger(lake, "web", "f", 2) == LedgerEntry(records_in=2, out=2)
    sweep(lake, NAME, key="event_id", run_id="sweep")
    assert published_positions(lake, dropped=True) == {("web", "f", 1)}
    assert ledger(lake, "web", "f", 2) == LedgerEntry(records_in=2, out=1, duplicate=1)
    commit(lake, folds_of(lake, [row("a", 501, rank=0, content="w", position=0) | {"_raw_file": "g"}], DAY_S))
    places = published_positions(lake, dropped=True)
    assert ledger(lake, "web", "g", 1).duplicate == ledger(lake, "web", "f", 2).duplicate == 1, (
        f"one is dropped, one noted: {places}"
    )


def test_sweeps_and_compactions_bring_no_losers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[RangeFold] = []
    lake = lake_at(tmp_path / "lake", horizon_s=3_600)
    rows = [
        r | {"_position": i, "_raw_file": "f", "_source": "web"}
        for own in records_of(Random(7)).values()
        for i, r in enumerate(own)
    ]
    commit(lake, folds_of(lake, rows, 900))
    committing = publishing._commit
    monkeypatch.setattr(publishing, "_commit", lambda table, folds, *more: (made.extend(folds), committing(table, folds, *more)))
    sweep(lake, NAME, key="event_id", run_id="sweep")
    compact(lake, NAME, to_s=DAY_S, run_id="compact")
    assert made and not any(fold.beaten or fold.displaced for fold in made)


def test_a_fold_of_a_version_before_tells_what_lost_in_it(tmp_path: Path) -> None:
    """A savepoint of a job that was stopped for an upgrade holds folds without these fields."""
    lake = lake_at(tmp_path / "lake")
    commit(lake, folds_of(lake, [row("a", 5, rank=3, position=0) | {"_raw_file": "g"}], DAY_S))
    folds = folds_of(lake, [row("a", 5, rank=1, position=0), row("a", 5, rank=2, position=1), row("b", 5, position=2)], DAY_S)
    for fold in folds:
        older = pickle.loads(pickle.dumps(fold))
        for name in ("beaten", "displaced"):
            object.__delattr__(older, name)
        older = pickle.loads(pickle.dumps(older))
        assert older.beaten is None
        again = with_lost(older)
        assert places(again.beaten or ()) == places(fold.beaten or ())
        assert places(again.displaced) == places(fold.displaced)


def places(parts: Sequence[bytes]) -> list[dict[str, Any]]:
    return [place for part in parts for place in decode_rows(part).select(PROVENANCE_KEY).to_pylist()]


def test_a_row_that_goes_while_the_ledger_is_computed_is_not_taken_for_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outcomes were read; then a job displaces a row; then rows are read."""
    lake = lake_at(tmp_path / "lake")
    commit(lake, folds_of(lake, [row("a", 5, rank=3, position=0)], DAY_S))
    load, rivals = Lake.load, [[row("a", 5, rank=1, position=0) | {"_raw_file": "g"}]]

    def load_after_a_rival(self: Lake, name: str) -> Any:
        if name == NAME and rivals:
            commit(lake, folds_of(lake, rivals.pop(), DAY_S))
        return load(self, name)

    found = [Lake.at(lake.root)]
    monkeypatch.setattr("lake.ledger.ledger.format_of", lambda _table: iceberg.FORMAT)
    monkeypatch.setattr("lake.ledger.proofs._load", lambda lake, name: load_after_a_rival(lake, name) if name == NAME else None)
    assert ledger(found[0], "web", "f", 1) == LedgerEntry(records_in=1, duplicate=1)
    assert not rivals


def test_what_was_taken_away_on_purpose_is_not_lost(tmp_path: Path) -> None:
    lake = lake_at(tmp_path / "lake")
    commit(lake, folds_of(lake, [row(key, 5, position=i) for i, key in enumerate("abc")], DAY_S))
    for position, outcome in ((0, Outcome.ERASED), (1, Outcome.EXPIRED), (3, Outcome.HELD), (2, Outcome.HELD)):
        append_outcomes(lake, [PositionOutcomes("web", "f", outcome, (position, 1), None, None, "thing")], "r")
    assert ledger(lake, "web", "f", 4) == LedgerEntry(records_in=4, out=3, held=1), "what is published is out"
    lose(lake, "a")
    lose(lake, "b")
    entry = ledger(lake, "web", "f", 4)
    assert entry == LedgerEntry(records_in=4, out=1, erased=1, expired=1, held=1)
    assert entry.balanced


def test_an_upgrade_notes_what_format_1_took_for_duplicates_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = lake_at(tmp_path / "lake")
    accepted = PositionOutcomes("web", "f", Outcome.ACCEPTED, (0, 5), 0, DAY_S * 1_000_000)
    publish(
        lake, NAME, folds_of(lake, [row(k, 5, position=2 * i) for i, k in enumerate("ab")], DAY_S), key=key_of(NAME), run_id="old"
    )
    append_outcomes(lake, [accepted], "old")
    monkeypatch.setattr("lake.ledger.ledger.format_of", lambda _table: 1)
    assert ledger(lake, "web", "f", 5) == LedgerEntry(records_in=5, out=2, duplicate=3), "read as jobs of format 1 meant it"
    monkeypatch.undo()
    assert ledger(lake, "web", "f", 5).lost == 3
    monkeypatch.setattr("lake.ledger.ledger.raw_files", lambda _lake, _source: [raw("f", records=5)])
    spec = type("Spec", (), {"name": "web", "raw_source": "web", "dataset": "thing", "records": None})()
    assert [note_duplicates(lake, spec, NAME), note_duplicates(lake, spec, NAME)] == [3, 0]
    assert ledger(lake, "web", "f", 5) == LedgerEntry(records_in=5, out=2, duplicate=3)
    lose(lake, "a")
    assert ledger(lake, "web", "f", 5).lost == 1
    assert note_duplicates(replace(lake, branch="no_such_replay"), spec, NAME) == 0
